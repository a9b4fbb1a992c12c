// LeaseKeeper with real threads: what is kept is renewed, what is dropped is not, and whoever's
// claim is gone hears of it. The tests wait for renewals, never for time to pass.
#include "src/lease_keeper.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

// Renews everything but what is lost; anything else is not its business.
class RenewingStore : public ClaimStore {
 public:
  Fence NewFence() override { return {.incarnation = 1, .counter = ++counter_}; }
  absl::Status Renew(std::span<const Claim> claims, absl::Duration,
                     std::span<absl::Status> outcomes) override {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> ids;
    for (std::size_t i = 0; i < claims.size(); ++i) {
      ids.emplace_back(claims[i].key.id);
      if (lost_.contains(ids.back())) outcomes[i] = absl::AbortedError("lease lost");
    }
    last_ = ids;
    ++rounds_;
    changed_.notify_all();
    return answer_;
  }

  void Lose(const std::string& id) {
    const std::lock_guard lock(mutex_);
    lost_.insert(id);
  }
  void AnswerWith(absl::Status answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  // The ids of a round that began after this call.
  std::vector<std::string> NextRound() {
    std::unique_lock lock(mutex_);
    const int seen = rounds_;
    changed_.wait(lock, [&] { return rounds_ > seen + 1; });
    return last_;
  }

  absl::Status TryClaim(std::span<const ClaimRequest>, absl::Duration,
                        std::span<ClaimResult>) override {
    return Unexpected();
  }
  absl::Status Begun(std::span<const Claim>, std::span<absl::Status>) override {
    return Unexpected();
  }
  absl::Status Complete(std::span<const CompletedClaim>, std::span<absl::Status>) override {
    return Unexpected();
  }
  absl::Status Fail(std::span<const FailedClaim>, std::span<absl::Status>) override {
    return Unexpected();
  }
  absl::Status Dying(std::span<const DyingClaim>, std::span<absl::Status>) override {
    return Unexpected();
  }
  absl::Status Kill(std::span<const Claim>, std::span<absl::Status>) override {
    return Unexpected();
  }
  absl::Status Discard(std::span<const Claim>, std::span<absl::Status>) override {
    return Unexpected();
  }
  absl::Status Release(std::span<const Claim>, std::span<absl::Status>) override {
    return Unexpected();
  }
  absl::Status Sync() override { return Unexpected(); }

 private:
  static absl::Status Unexpected() {
    ADD_FAILURE() << "the keeper only renews";
    return absl::InternalError("unexpected");
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> lost_;
  std::vector<std::string> last_;
  absl::Status answer_;
  int rounds_ = 0;
  std::uint64_t counter_ = 0;
};

class LeaseKeeperTest : public ::testing::Test {
 protected:
  Claim ClaimOf(std::string_view id) {
    return {.key = {.scope = "s", .id = id}, .fence = store_.NewFence()};
  }

  RenewingStore store_;
  std::shared_ptr<Executor> executor_ = SystemExecutor();
  std::shared_ptr<LogSink> log_ = NoLog();
  LeaseKeeper keeper_{
      {.store = store_, .executor = *executor_, .log = *log_, .lease = absl::Milliseconds(30)}};
};

TEST_F(LeaseKeeperTest, WhatIsKeptIsRenewedAgainAndAgain) {
  keeper_.Start();
  const LeaseKeeper::Hold a = keeper_.Keep(ClaimOf("a"));
  const LeaseKeeper::Hold b = keeper_.Keep(ClaimOf("b"));
  EXPECT_THAT(store_.NextRound(), UnorderedElementsAre("a", "b"));
  EXPECT_THAT(store_.NextRound(), UnorderedElementsAre("a", "b"));
}

TEST_F(LeaseKeeperTest, WhatIsDroppedIsNotRenewedAnyMore) {
  keeper_.Start();
  const LeaseKeeper::Hold a = keeper_.Keep(ClaimOf("a"));
  {
    const LeaseKeeper::Hold b = keeper_.Keep(ClaimOf("b"));
    EXPECT_THAT(store_.NextRound(), Contains("b"));
  }
  EXPECT_THAT(store_.NextRound(), ElementsAre("a"));
}

TEST_F(LeaseKeeperTest, AHoldThatIsMovedKeepsItsClaim) {
  keeper_.Start();
  LeaseKeeper::Hold kept;
  {
    LeaseKeeper::Hold made = keeper_.Keep(ClaimOf("a"));
    kept = std::move(made);
  }
  EXPECT_THAT(store_.NextRound(), ElementsAre("a"));
}

TEST_F(LeaseKeeperTest, ALostClaimIsTold) {
  keeper_.Start();
  const Claim a = ClaimOf("a");
  const Claim b = ClaimOf("b");
  const LeaseKeeper::Hold hold_a = keeper_.Keep(a);
  const LeaseKeeper::Hold hold_b = keeper_.Keep(b);
  std::stop_source lost_a;
  std::stop_source lost_b;
  keeper_.Watch(a.fence, lost_a);
  keeper_.Watch(b.fence, lost_b);
  store_.Lose("a");
  store_.NextRound();
  store_.NextRound();  // the round before this one has been told about
  EXPECT_TRUE(lost_a.stop_requested());
  EXPECT_FALSE(lost_b.stop_requested());
}

TEST_F(LeaseKeeperTest, AStoreThatDoesNotAnswerIsAskedAgainAndNothingIsLost) {
  keeper_.Start();
  const Claim a = ClaimOf("a");
  const LeaseKeeper::Hold hold = keeper_.Keep(a);
  std::stop_source lost;
  keeper_.Watch(a.fence, lost);
  store_.AnswerWith(absl::UnavailableError("away"));
  EXPECT_THAT(store_.NextRound(), ElementsAre("a"));
  store_.AnswerWith(absl::OkStatus());
  EXPECT_THAT(store_.NextRound(), ElementsAre("a"));
  EXPECT_FALSE(lost.stop_requested());
}

TEST_F(LeaseKeeperTest, KeepingBeginsAnewAfterNothingWasKept) {
  keeper_.Start();
  { const LeaseKeeper::Hold a = keeper_.Keep(ClaimOf("a")); }
  const LeaseKeeper::Hold b = keeper_.Keep(ClaimOf("b"));
  EXPECT_THAT(store_.NextRound(), ElementsAre("b"));
}

}  // namespace
}  // namespace once
