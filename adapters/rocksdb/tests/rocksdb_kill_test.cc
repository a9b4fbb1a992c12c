// A process that is really killed: between two commits, inside a transaction, and right after a
// commit. What was acknowledged is there, and no id without its effect.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "adapters/rocksdb/tests/store_scene.h"

namespace once::rocksdb {
namespace {

using ::testing::ElementsAre;

constexpr const char* kBodyVariable = "ONCE_ROCKSDB_CHILD";
constexpr const char* kPathVariable = "ONCE_ROCKSDB_CHILD_PATH";
constexpr int kTellDescriptor = 3;

void Tell(const std::string& line) {
  if (::write(kTellDescriptor, (line + "\n").data(), line.size() + 1) < 0) ::_exit(2);
}

class RocksKill : public StoreScene {
 protected:
  // Runs the test of that name as a process of its own: RocksDB's threads do not survive a fork.
  // Kills it after it has told `lines` lines or is at its end. The lines.
  std::vector<std::string> RunAndKill(const std::string& body, std::size_t lines) {
    store_.reset();
    int pipe_ends[2];
    if (::pipe(pipe_ends) != 0) return {};
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(pipe_ends[1], kTellDescriptor);
      ::setenv(kBodyVariable, body.c_str(), 1);
      ::setenv(kPathVariable, path().c_str(), 1);
      ::setenv("TMPDIR", folder_.path().c_str(), 1);  // what it leaves goes with this test
      ::execl("/proc/self/exe", "child", "--gtest_filter=RocksKillChild.*", "--gtest_brief=1",
              static_cast<char*>(nullptr));
      ::_exit(1);
    }
    ::close(pipe_ends[1]);
    std::vector<std::string> told = ReadLines(pipe_ends[0], lines);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    // What it told before it died counts as well.
    for (std::string& line : ReadLines(pipe_ends[0], SIZE_MAX)) told.push_back(std::move(line));
    ::close(pipe_ends[0]);
    return told;
  }

 private:
  static std::vector<std::string> ReadLines(int descriptor, std::size_t lines) {
    std::vector<std::string> told;
    std::string line;
    for (char byte = 0; told.size() < lines && ::read(descriptor, &byte, 1) == 1;) {
      if (byte != '\n') {
        line.push_back(byte);
      } else {
        told.push_back(std::exchange(line, ""));
      }
    }
    return told;
  }
};

TEST_F(RocksKill, InsideATransactionLeavesNothingOfIt) {
  ASSERT_THAT(RunAndKill("inside", 1), ElementsAre("ready"));
  MustOpen();
  EXPECT_TRUE(IsCompleted("committed"));
  EXPECT_FALSE(IsCompleted("open"));
  EXPECT_THAT(Effects(), ElementsAre("committed"));
}

TEST_F(RocksKill, RightAfterACommitLosesNothing) {
  ASSERT_THAT(RunAndKill("commit", 1), ElementsAre("committed"));
  MustOpen();
  EXPECT_TRUE(IsCompleted("committed"));
  EXPECT_THAT(Effects(), ElementsAre("committed"));
}

TEST_F(RocksKill, AtAnyMomentKeepsIdsAndEffectsTogether) {
  std::vector<std::string> acknowledged;
  for (const std::size_t lines : {1, 2, 3, 7, 20, 40}) {
    const std::vector<std::string> told =
        RunAndKill(absl::StrCat(lines % 2 == 0 ? "synced-" : "unsynced-", lines), lines);
    EXPECT_GE(told.size(), lines);
    acknowledged.insert(acknowledged.end(), told.begin(), told.end());
    MustOpen();
    const std::vector<std::string> effects = Effects();
    for (const std::string& id : acknowledged) {
      EXPECT_EQ(std::count(effects.begin(), effects.end(), id), 1) << id;
    }
    for (const std::string& id : effects) EXPECT_TRUE(IsCompleted(id)) << id;
  }
}

// ---- Claims ----

Claim Ask(DedupStore& store, std::string_view id, ClaimResult& result) {
  ClaimStore& claims = *store.claims();
  const ClaimRequest request{
      .key = {"scope", id}, .fingerprint = {1, 2}, .fence = claims.NewFence()};
  EXPECT_TRUE(claims.TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok());
  return {.key = request.key, .fence = request.fence};
}

template <typename C>
void Say(DedupStore& store,
         absl::Status (ClaimStore::*word)(std::span<const C>, std::span<absl::Status>),
         const C& claim) {
  absl::Status outcome;
  if (!(store.claims()->*word)({&claim, 1}, {&outcome, 1}).ok() || !outcome.ok()) ::_exit(3);
}

// Nothing is synced here: what the calls recorded is in the page cache, which outlives the process.
TEST_F(RocksKill, ClaimsLeaveExactlyWhatWasRecorded) {
  ASSERT_THAT(RunAndKill("claims", 1), ElementsAre("ready"));
  MustOpen();  // the leases of the dead process last for an hour, but it is known to be dead
  const auto ask = [&](std::string_view id) {
    ClaimResult result;
    Ask(*store_, id, result);
    return result;
  };
  EXPECT_EQ(ask("claimed").verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(ask("completed").verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(ask("completed").result, "the result");
  const ClaimResult begun = ask("begun");
  EXPECT_EQ(begun.verdict, ClaimVerdict::kTakeover);
  EXPECT_EQ(begun.attempt, 2);
  const ClaimResult failed = ask("failed");
  EXPECT_EQ(failed.verdict, ClaimVerdict::kFresh) << "it is known to have failed";
  EXPECT_EQ(failed.attempt, 2);
  const ClaimResult dying = ask("dying");
  EXPECT_EQ(dying.verdict, ClaimVerdict::kPublish);
  EXPECT_EQ(dying.disposition, Disposition::kRetriesExhausted);
  EXPECT_EQ(dying.attempt, 5);
}

TEST_F(RocksKill, CountsEveryInvocationThatWasBegun) {
  for (int attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_THAT(RunAndKill("poison", 1), ElementsAre(absl::StrCat("begun ", attempt)));
  }
}

// ---- What the children do ----

class RocksKillChild : public StoreScene {
 protected:
  void RecordClaims() {
    ClaimResult result;
    for (const std::string id : {"claimed", "begun", "completed", "failed", "dying"}) {
      const Claim claim = Ask(*store_, id, result);
      if (id == "claimed") continue;
      Say(*store_, &ClaimStore::Begun, claim);
      if (id == "completed") {
        Say(*store_, &ClaimStore::Complete, CompletedClaim{.claim = claim, .result = "the result"});
      } else if (id == "failed") {
        Say(*store_, &ClaimStore::Fail, FailedClaim{.claim = claim});
      } else if (id == "dying") {
        Say(*store_, &ClaimStore::Dying,
            DyingClaim{
                .claim = claim, .disposition = Disposition::kRetriesExhausted, .attempt = 5});
      }
    }
    Tell("ready");
  }
};

TEST_F(RocksKillChild, Works) {
  const char* body = std::getenv(kBodyVariable);
  if (body == nullptr) GTEST_SKIP() << "only as the child of another test";
  const std::string work = body;
  MustOpen(OptionsFor(std::getenv(kPathVariable)));
  if (work == "inside") {
    MustApply("committed");
    const auto transaction = Begin();
    if (AddEffect(*transaction, "open").ok() && Complete(*transaction, "open").ok()) Tell("ready");
    for (;;) ::pause();
  } else if (work == "commit") {
    MustApply("committed");
    Tell("committed");
  } else if (work == "claims") {
    RecordClaims();
  } else if (work == "poison") {
    ClaimResult result;
    const Claim claim = Ask(*store_, "poison", result);
    Say(*store_, &ClaimStore::Begun, claim);
    Tell(absl::StrCat("begun ", result.attempt));
  } else {
    const bool is_synced = work[0] == 's';
    for (int i = 0;; ++i) {
      const std::string id = absl::StrCat(work, "-", i);
      if (!Apply(id, is_synced ? Durability::kMachine : Durability::kProcess).ok()) ::_exit(3);
      Tell(id);
    }
  }
  ::raise(SIGKILL);
}

}  // namespace
}  // namespace once::rocksdb
