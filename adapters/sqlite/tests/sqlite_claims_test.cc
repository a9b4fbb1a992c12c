// Claims in a file, beyond what the conformance suite asks of every store: other writers, damage,
// reopening, and what stays in the file.
#include <filesystem>

#include "adapters/sqlite/tests/ids_of_file.h"
#include "adapters/sqlite/tests/store_scene.h"
#include "src/stores/id_log/open_rows.h"

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
  EXPECT_THAT(Query("SELECT count(*) FROM once_segments"), ElementsAre("0"));
  EXPECT_THAT(Query("SELECT count(*) FROM once_open"), ElementsAre("1"));
  MustBegin(claim);
  MustComplete(claim);
  EXPECT_THAT(Query("SELECT count(*) FROM once_open"), ElementsAre("0"));
  EXPECT_THAT(Query("SELECT count(*) FROM once_results"), ElementsAre("0"));
  const std::vector<IdOfFile> ids = IdsOfFile(path());
  ASSERT_EQ(ids.size(), 1u);
  EXPECT_EQ(ids.front().id, "id");
  EXPECT_EQ(ids.front().record, (IdRecord{.state = IdState::kCompleted}));
}

TEST_F(SqliteClaimsTest, AReleasedClaimLeavesNothing) {
  const Claim claim = MustClaim("id");
  absl::Status outcome;
  ASSERT_TRUE(claims().Release({&claim, 1}, {&outcome, 1}).ok());
  ASSERT_TRUE(outcome.ok()) << outcome;
  EXPECT_THAT(Query("SELECT key FROM once_open"), IsEmpty());
  EXPECT_THAT(IdsOfFile(path()), IsEmpty());
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
  MustClaim("held");
  for (const char* damage :
       {"UPDATE once_open SET row = substr(row, 1, length(row) - 1) || x'ff'",
        "UPDATE once_open SET row = x''", "UPDATE once_open SET key = key || x'61'",
        "UPDATE once_open SET key = x'61'"}) {
    SCOPED_TRACE(damage);
    const std::string copy = folder_.File("damaged.db");
    for (const char* suffix : {"", "-wal", "-shm", ".once-lock"}) {
      std::filesystem::remove(copy + suffix);
    }
    ASSERT_TRUE(store_->maintenance()->Backup(copy, {}).ok());
    ASSERT_EQ(OwnConnection(copy).Run(damage).code, SQLITE_OK);
    EXPECT_THAT(OpenStore(OptionsFor(copy)).status(), Says(kDataLoss, "open row"));
  }
}

// Its own bytes are sound, but what it says cannot be.
TEST_F(SqliteClaimsTest, ADyingClaimWhoseIdIsNotIsDataLossNeverAnAbsentId) {
  store_.reset();
  const IdKey key{"scope", "dying"};
  const std::string row =
      stores::EncodeOpenRow(key, {}, stores::EncodeClaim({.disposition = Disposition::kRejected}));
  {
    OwnConnection connection(path());
    ConnectionIds storage;
    ASSERT_TRUE(storage.Prepare(connection.get(), path()).ok());
    ASSERT_TRUE(storage.PutOpen(EncodeIdKey(key), row).ok());
  }
  MustOpen();
  EXPECT_THAT(Ask("dying").status, Says(kDataLoss, "a claim is dying whose id is absent"));
  EXPECT_THAT(store_->operations()->FindId("dying").status(), Says(kDataLoss, "absent"));
}

}  // namespace
}  // namespace once::sqlite
