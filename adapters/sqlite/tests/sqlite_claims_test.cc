// Claims in a file, beyond what the conformance suite asks of every store: other writers, damage,
// reopening, and what stays in the file.
#include <fstream>
#include <iterator>

#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
constexpr absl::Duration kLease = absl::Minutes(1);

class SqliteClaimsScene : public StoreScene {
 protected:
  ClaimStore& claims() { return *store_->claims(); }

  struct Asked {
    absl::Status status;
    Claim claim;
    ClaimResult result;
  };
  Asked Ask(std::string_view id) {
    const ClaimRequest request{.key = {"scope", id}, .fence = claims().NewFence()};
    Asked asked{.claim = {.key = request.key, .fence = request.fence}};
    asked.status = claims().TryClaim({&request, 1}, kLease, {&asked.result, 1});
    return asked;
  }
  // Fails the test unless the id is ours.
  Claim MustClaim(std::string_view id) {
    const Asked asked = Ask(id);
    EXPECT_TRUE(asked.status.ok()) << asked.status;
    EXPECT_EQ(asked.result.verdict, ClaimVerdict::kFresh) << id;
    return asked.claim;
  }
  void MustComplete(const Claim& claim, std::string_view result = {}) {
    const CompletedClaim completed{.claim = claim, .result = result};
    absl::Status outcome = absl::InternalError("not answered");
    const absl::Status called = claims().Complete({&completed, 1}, {&outcome, 1});
    EXPECT_TRUE(called.ok() && outcome.ok()) << called << outcome;
  }
  void MustBegin(const Claim& claim) {
    absl::Status outcome = absl::InternalError("not answered");
    const absl::Status called = claims().Begun({&claim, 1}, {&outcome, 1});
    EXPECT_TRUE(called.ok() && outcome.ok()) << called << outcome;
  }

  std::vector<std::string> Query(const std::string& sql) {
    return OwnConnection(path()).Run(sql).rows;
  }
  IdRecord Find(std::string_view id) {
    const IdKey key{"scope", id};
    IdRecord record;
    EXPECT_TRUE(Begin()->FindIds({&key, 1}, {&record, 1}).ok());
    return record;
  }
};

class SqliteClaimsTest : public SqliteClaimsScene {
 protected:
  void SetUp() override { MustOpen(); }
};

TEST_F(SqliteClaimsTest, AnotherWriterIsWaitedForAndNamed) {
  const Claim claim = MustClaim("held");
  absl::Status outcome;
  {
    OwnConnection other(path());
    ASSERT_EQ(other.Run("BEGIN IMMEDIATE; INSERT INTO effects VALUES('of another')").code,
              SQLITE_OK);
    EXPECT_THAT(Ask("id").status,
                Says(kUnavailable, "claim on " + path() + ": database is locked"));
    EXPECT_THAT(claims().Begun({&claim, 1}, {&outcome, 1}), Says(kUnavailable, "record as begun"));
  }
  EXPECT_TRUE(Ask("id").status.ok());
  MustBegin(claim);
}

TEST_F(SqliteClaimsTest, AnOpenTransactionIsWaitedForAndNamed) {
  const auto transaction = Begin();
  EXPECT_THAT(Ask("id").status, Says(kUnavailable, "another transaction of this process"));
}

TEST_F(SqliteClaimsTest, OnlyTheIdStaysOnceItIsCompleted) {
  const Claim claim = MustClaim("id");
  EXPECT_THAT(Query("SELECT count(*) FROM once_ids"), ElementsAre("0"));
  EXPECT_THAT(Query("SELECT CAST(id AS TEXT), is_begun FROM once_claims"), ElementsAre("id|0"));
  MustBegin(claim);
  MustComplete(claim);
  EXPECT_THAT(Query("SELECT count(*) FROM once_claims"), ElementsAre("0"));
  EXPECT_THAT(Query("SELECT count(*) FROM once_results"), ElementsAre("0"));
  EXPECT_THAT(Query("SELECT CAST(id AS TEXT), state, attempt, not_before FROM once_ids"),
              ElementsAre("id|1|null|null"));
}

TEST_F(SqliteClaimsTest, AReleasedClaimLeavesNothing) {
  const Claim claim = MustClaim("id");
  absl::Status outcome;
  ASSERT_TRUE(claims().Release({&claim, 1}, {&outcome, 1}).ok());
  ASSERT_TRUE(outcome.ok()) << outcome;
  EXPECT_THAT(Query("SELECT * FROM once_claims"), IsEmpty());
  EXPECT_THAT(Query("SELECT * FROM once_ids"), IsEmpty());
}

TEST_F(SqliteClaimsTest, AnIdThatATransactionForgetsKeepsNoResult) {
  MustComplete(MustClaim("id"), "the result");
  EXPECT_EQ(Ask("id").result.result, "the result");
  const auto transaction = Begin();
  const IdWrite forget{.key = {"scope", "id"}, .record = {.state = IdState::kAbsent}};
  ASSERT_TRUE(transaction->PutIds({&forget, 1}).ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  MustComplete(MustClaim("id"));
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask("id").result.result, "");
}

TEST_F(SqliteClaimsTest, ATransactionMeetsTheClaimsOfAnEarlierOpeningAsOver) {
  MustBegin(MustClaim("begun"));
  MustClaim("not begun");
  MustComplete(MustClaim("completed"));
  MustOpen();
  EXPECT_EQ(Find("begun").state, IdState::kRetrying);
  EXPECT_EQ(Find("begun").attempt, 1);
  EXPECT_EQ(Find("not begun"), IdRecord{});
  EXPECT_EQ(Find("completed").state, IdState::kCompleted);
}

TEST_F(SqliteClaimsTest, FencesOfTwoOpeningsDiffer) {
  const Fence first = claims().NewFence();
  EXPECT_NE(claims().NewFence(), first);
  MustOpen();
  EXPECT_NE(claims().NewFence().incarnation, first.incarnation);
}

TEST_F(SqliteClaimsTest, TheSystemsClockIsTheDefault) {
  const ClaimRequest request{.key = {"scope", "id"}, .fence = claims().NewFence()};
  ClaimResult result;
  const absl::Time before = absl::Now();
  ASSERT_TRUE(claims().TryClaim({&request, 1}, kLease, {&result, 1}).ok());
  const ClaimResult other = Ask("id").result;
  EXPECT_EQ(other.verdict, ClaimVerdict::kInProgress);
  EXPECT_LE(other.wait, kLease);
  EXPECT_GT(other.wait, kLease - (absl::Now() - before) - absl::Milliseconds(1));
}

// ---- Damage ----

TEST_F(SqliteClaimsTest, RowsThatNobodyWroteAreDataLossNeverAFreshClaim) {
  MustComplete(MustClaim("id"));
  const Claim held = MustClaim("held");
  ASSERT_EQ(OwnConnection(path())
                .Run("UPDATE once_ids SET state = 77; UPDATE once_claims SET disposition = 99")
                .code,
            SQLITE_OK);
  EXPECT_THAT(Ask("id").status, Says(kDataLoss, "unknown state 77"));
  EXPECT_THAT(Ask("held").status, Says(kDataLoss, "unknown disposition 99"));
  absl::Status outcome;
  EXPECT_THAT(claims().Begun({&held, 1}, {&outcome, 1}), Says(kDataLoss, "unknown disposition"));
  EXPECT_THAT(store_->operations()->FindId("id").status(), Says(kDataLoss, "unknown state 77"));
}

TEST_F(SqliteClaimsTest, ADamagedPageIsDataLossNeverAFreshClaim) {
  constexpr int kIds = 2000;
  std::vector<std::string> ids;
  std::vector<ClaimRequest> requests;
  std::vector<CompletedClaim> completed;
  for (int i = 0; i < kIds; ++i) ids.push_back(absl::StrCat("a rather long message id ", i));
  for (const std::string& id : ids) {
    requests.push_back({.key = {"scope", id}, .fence = claims().NewFence()});
    completed.push_back({.claim = {.key = requests.back().key, .fence = requests.back().fence}});
  }
  std::vector<ClaimResult> results(kIds);
  std::vector<absl::Status> outcomes(kIds);
  ASSERT_TRUE(claims().TryClaim(requests, kLease, results).ok());
  ASSERT_TRUE(claims().Complete(completed, outcomes).ok());
  store_.reset();

  std::string content = [this] {
    std::ifstream in(path(), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  for (std::size_t page = content.size() / 4096 - 10; (page + 1) * 4096 <= content.size(); ++page) {
    content.replace(page * 4096, 4096, 4096, '\xff');
  }
  std::ofstream(path(), std::ios::binary | std::ios::trunc) << content;
  MustOpen();
  int damaged = 0;
  for (const std::string& id : ids) {
    const Asked asked = Ask(id);
    if (asked.status.ok()) {
      ASSERT_EQ(asked.result.verdict, ClaimVerdict::kDuplicate) << id;
    } else {
      ASSERT_THAT(asked.status, Says(kDataLoss, path()));
      ++damaged;
    }
  }
  EXPECT_GT(damaged, 0);
}

}  // namespace
}  // namespace once::sqlite
