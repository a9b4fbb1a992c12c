// RetentionScene: what a store that forgets ids by log time must forget, and what it must not, over
// the scene of any store that does. A test of an adapter opens its store with kRetention and calls
// one of the checks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "tests/store_figures.h"

namespace once::testing {

// `Scene` has transactions(), store_, Complete(), IdOf(), AreCompleted(), MustApplyRange() and
// WaitUntilSealed().
template <typename Scene>
class RetentionScene : public Scene {
 protected:
  static constexpr absl::Duration kRetention = absl::Seconds(100);

  // The other partition's log time is 0 s, and then 1 000 s; this one's at last 699 s.
  void CheckWhatIsOlderThanTheSlowestPartitionsLogByMoreIsForgottenAndNothingElse() {
    MustSettle(1, 0, 1);
    MustSettle(0, 1, 600);
    this->WaitUntilSealed();
    EXPECT_EQ(CountKnown(600), 600) << "the other partition stands at 0 s";
    MustSettle(1, 1000, 1001);
    MustSettle(0, 600, 700);
    EXPECT_TRUE(IsForgottenSoon(300));
    EXPECT_EQ(FiguresOf(*this->store_->maintenance()).at("undated_ids_count"), 0);
    const std::vector<bool> known = this->AreCompleted(700);
    for (std::size_t i = 600; i < 700; ++i) EXPECT_TRUE(known[i]) << i;
  }

  void CheckFailuresOutliveTheirAge() {
    auto begun = this->transactions().Begin({});
    ASSERT_TRUE(begun.ok());
    const IdWrite dead{.key = {"scope", "dead"}, .record = {.state = IdState::kDead, .attempt = 3}};
    ASSERT_TRUE(begun->transaction->PutIds({&dead, 1}).ok());
    ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
    begun->transaction.reset();
    MustSettle(0, 0, 800);
    EXPECT_TRUE(IsForgottenSoon(300));
    const auto found = this->store_->operations()->FindId("dead");
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_EQ(found->size(), 1u);
    EXPECT_EQ(found->front().record.state, IdState::kDead);
  }

  // Without a position nothing says how old they are.
  void CheckUndatedIdsAreKeptWithAllThatCameAfterThem() {
    this->MustApplyRange(0, 100);
    MustSettle(0, 100, 800);
    this->WaitUntilSealed();
    absl::SleepFor(absl::Milliseconds(100));
    EXPECT_EQ(CountKnown(800), 800);
    EXPECT_GE(FiguresOf(*this->store_->maintenance()).at("undated_ids_count"), 100);
  }

  static PartitionKey KeyOf(int partition) {
    return {.cluster = "cluster", .group = "group", .partition = {"orders", partition}};
  }

  // Completes ids `first` to `end` - 1, one a commit, in messages of one partition; the log time of
  // the n-th id is n seconds.
  void MustSettle(int partition, int first, int end) {
    const TakeRequest take{.key = KeyOf(partition), .writer = 7};
    const auto taken = this->transactions().Take({&take, 1});
    ASSERT_TRUE(taken.ok()) << taken.status();
    PositionStamp stamp = taken->front().current;
    for (int i = first; i < end; ++i) {
      const PositionLock lock{.key = KeyOf(partition), .expected = stamp};
      auto begun = this->transactions().Begin({&lock, 1});
      ASSERT_TRUE(begun.ok() && begun->transaction) << begun.status();
      ASSERT_TRUE(this->Complete(*begun->transaction, this->IdOf(i)).ok());
      const PositionUpdate update{
          .key = KeyOf(partition),
          .position = i + 1,
          .reach = i + 1,
          .last_applied = AppliedRecord{.offset = i, .log_time_ms = 1000 * i}};
      ASSERT_TRUE(begun->transaction->SetPositions({&update, 1}).ok());
      ASSERT_TRUE(begun->transaction->Commit(Durability::kProcess).ok());
      stamp = {.position = i + 1, .revision = stamp.revision + 1, .writer = 7};
    }
  }

  int CountKnown(int end) {
    const std::vector<bool> known = this->AreCompleted(end);
    return static_cast<int>(std::count(known.begin(), known.end(), true));
  }
  // The background task may be at it still.
  bool IsForgottenSoon(int end) {
    for (int i = 0; i < 5000 && CountKnown(end) > 0; ++i) absl::SleepFor(absl::Milliseconds(1));
    return CountKnown(end) == 0;
  }
};

}  // namespace once::testing
