// A process that is really killed: between two commits, inside a transaction, and right after a
// commit. What was acknowledged is there, and no id without its effect.
#include "adapters/sqlite/tests/ids_of_file.h"
#include "adapters/sqlite/tests/kill_scene.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;

class SqliteKill : public KillScene {
 protected:
  std::vector<std::string> Ids() { return NamesOfIds(path()); }
  std::vector<std::string> SortedEffects() {
    return OwnConnection(path()).Run("SELECT row FROM effects ORDER BY 1").rows;
  }
};

TEST_F(SqliteKill, InsideATransactionLeavesNothingOfIt) {
  RunAndKill(1, [&](const auto& tell) {
    if (!Apply("committed").ok()) return;
    const auto transaction = Begin();
    if (AddEffect(*transaction, "open").ok() && Complete(*transaction, "open").ok()) tell("ready");
    for (;;) ::pause();
  });
  MustOpen();
  EXPECT_THAT(Ids(), ElementsAre("committed"));
  EXPECT_THAT(SortedEffects(), ElementsAre("committed"));
}

TEST_F(SqliteKill, RightAfterACommitLosesNothing) {
  RunAndKill(1, [&](const auto& tell) {
    if (Apply("committed").ok()) tell("committed");
  });
  MustOpen();
  EXPECT_THAT(Ids(), ElementsAre("committed"));
  EXPECT_THAT(SortedEffects(), ElementsAre("committed"));
}

TEST_F(SqliteKill, AtAnyMomentKeepsIdsAndEffectsTogether) {
  std::vector<std::string> acknowledged;
  for (const std::size_t lines : {1U, 2U, 3U, 7U, 20U, 40U}) {
    const std::vector<std::string> told = RunAndKill(lines, [&](const auto& tell) {
      for (int i = 0;; ++i) {
        const std::string id = absl::StrCat("round-", lines, "-", i);
        if (!Apply(id).ok()) return;
        tell(id);
      }
    });
    EXPECT_GE(told.size(), lines);
    acknowledged.insert(acknowledged.end(), told.begin(), told.end());
    MustOpen();
    EXPECT_EQ(Ids(), SortedEffects());
    for (const std::string& id : acknowledged) EXPECT_TRUE(IsCompleted(id)) << id;
  }
}

// ---- Claims ----

class SqliteKilledClaims : public SqliteKill {
 protected:
  ClaimStore& claims() { return *store_->claims(); }

  Claim Ask(std::string_view id, ClaimResult& result) {
    const ClaimRequest request{
        .key = {"scope", id}, .fingerprint = {1, 2}, .fence = claims().NewFence()};
    EXPECT_TRUE(claims().TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok());
    return {.key = request.key, .fence = request.fence};
  }
  ClaimResult Ask(std::string_view id) {
    ClaimResult result;
    Ask(id, result);
    return result;
  }
  // In the child, where a failed expectation is seen by nobody.
  static void Require(const absl::Status& status) {
    if (!status.ok()) ::_exit(3);
  }
  template <typename C>
  void Do(absl::Status (ClaimStore::*call)(std::span<const C>, std::span<absl::Status>),
          const C& claim) {
    absl::Status outcome;
    Require((claims().*call)({&claim, 1}, {&outcome, 1}));
    Require(outcome);
  }
};

// Nothing is synced here: what the calls recorded is in the page cache, which outlives the process.
TEST_F(SqliteKilledClaims, LeaveExactlyWhatWasRecorded) {
  const std::vector<std::string> told = RunAndKill(1, [&](const auto& tell) {
    ClaimResult result;
    for (const char* id : {"claimed", "begun", "completed", "failed", "dying", "twice"}) {
      const Claim claim = Ask(id, result);
      if (id == std::string("claimed")) continue;
      Do(&ClaimStore::Begun, claim);
      if (id == std::string("completed")) {
        Do(&ClaimStore::Complete, CompletedClaim{.claim = claim, .result = "the result"});
      } else if (id == std::string("failed")) {
        Do(&ClaimStore::Fail, FailedClaim{.claim = claim});
      } else if (id == std::string("dying")) {
        Do(&ClaimStore::Dying,
           DyingClaim{.claim = claim, .disposition = Disposition::kRetriesExhausted, .attempt = 5});
      }
    }
    tell("ready");
  });
  ASSERT_THAT(told, ElementsAre("ready"));

  MustOpen();  // the leases of the dead process last for an hour, but it is known to be dead
  EXPECT_EQ(Ask("claimed").verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(Ask("completed").verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask("completed").result, "the result");
  const ClaimResult begun = Ask("begun");
  EXPECT_EQ(begun.verdict, ClaimVerdict::kTakeover);
  EXPECT_EQ(begun.attempt, 2);
  const ClaimResult failed = Ask("failed");
  EXPECT_EQ(failed.verdict, ClaimVerdict::kFresh) << "it is known to have failed";
  EXPECT_EQ(failed.attempt, 2);
  const ClaimResult dying = Ask("dying");
  EXPECT_EQ(dying.verdict, ClaimVerdict::kPublish);
  EXPECT_EQ(dying.disposition, Disposition::kRetriesExhausted);
  EXPECT_EQ(dying.attempt, 5);
}

TEST_F(SqliteKilledClaims, ChargeNobodyWhoNeverBeganHoweverOftenTheyDie) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_THAT(RunAndKill(1,
                           [&](const auto& tell) {
                             const ClaimResult result = Ask("id");
                             if (result.verdict == ClaimVerdict::kFresh && result.attempt == 1) {
                               tell("claimed");
                             }
                           }),
                ElementsAre("claimed"));
  }
  MustOpen();
  EXPECT_EQ(Ask("id").attempt, 1);
}

TEST_F(SqliteKilledClaims, CountEveryInvocationThatWasBegun) {
  for (int attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_THAT(RunAndKill(1,
                           [&](const auto& tell) {
                             ClaimResult result;
                             const Claim claim = Ask("poison", result);
                             if (result.attempt != attempt) return;
                             Do(&ClaimStore::Begun, claim);
                             tell("begun");
                           }),
                ElementsAre("begun"));
  }
  MustOpen();
  EXPECT_EQ(Ask("poison").verdict, ClaimVerdict::kTakeover);
  EXPECT_EQ(Ask("poison").verdict, ClaimVerdict::kInProgress);
}

TEST_F(SqliteKilledClaims, AtAnyMomentEveryAcknowledgedCompletionStays) {
  std::vector<std::string> acknowledged;
  for (const std::size_t lines : {1U, 5U, 30U, 100U}) {
    const std::vector<std::string> told = RunAndKill(lines, [&](const auto& tell) {
      for (int i = 0;; ++i) {
        const std::string id = absl::StrCat("round-", lines, "-", i);
        ClaimResult result;
        const Claim claim = Ask(id, result);
        Do(&ClaimStore::Begun, claim);
        Do(&ClaimStore::Complete, CompletedClaim{.claim = claim});
        tell(id);
      }
    });
    EXPECT_GE(told.size(), lines);
    acknowledged.insert(acknowledged.end(), told.begin(), told.end());
    MustOpen();
    for (const std::string& id : acknowledged) {
      ASSERT_EQ(Ask(id).verdict, ClaimVerdict::kDuplicate) << id;
    }
  }
}

}  // namespace
}  // namespace once::sqlite
