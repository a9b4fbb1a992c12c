// Ids that are old enough, by the time of the log, are forgotten; nothing else is.
#include <algorithm>

#include "adapters/sqlite/tests/ids_scene.h"

namespace once::sqlite {
namespace {

class SqliteRetention : public IdsScene {
 protected:
  static constexpr absl::Duration kRetention = absl::Seconds(100);
  static constexpr int kPartitions = 2;

  static PartitionKey KeyOf(int partition) {
    return {.cluster = "cluster", .group = "group", .partition = {"orders", partition}};
  }

  void OpenWithRetention() {
    StoreOptions options = Patient(path());
    options.retention = kRetention;
    MustOpen(options);
  }

  // Completes ids `first` to `end` - 1, one a commit, in messages of one partition; the log time of
  // the n-th id is n seconds.
  void MustSettle(int partition, int first, int end) {
    const TakeRequest take{.key = KeyOf(partition), .writer = 7};
    const auto taken = transactions().Take({&take, 1});
    ASSERT_TRUE(taken.ok()) << taken.status();
    PositionStamp stamp = taken->front().current;
    for (int i = first; i < end; ++i) {
      const PositionLock lock{.key = KeyOf(partition), .expected = stamp};
      auto begun = transactions().Begin({&lock, 1});
      ASSERT_TRUE(begun.ok() && begun->transaction) << begun.status();
      ASSERT_TRUE(Complete(*begun->transaction, IdOf(i)).ok());
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
    const std::vector<bool> known = AreCompleted(end);
    return static_cast<int>(std::count(known.begin(), known.end(), true));
  }
  // The background task may be at it still.
  bool IsForgottenSoon(int end) {
    for (int i = 0; i < 5000 && CountKnown(end) > 0; ++i) absl::SleepFor(absl::Milliseconds(1));
    return CountKnown(end) == 0;
  }
};

TEST_F(SqliteRetention, WhatIsOlderThanTheSlowestPartitionsLogByMoreIsForgottenAndNothingElse) {
  OpenWithRetention();
  MustSettle(1, 0, 1);
  MustSettle(0, 1, 600);
  WaitUntilSealed();
  EXPECT_EQ(CountKnown(600), 600) << "the other partition stands at 0 s";
  // Its log time is 1 000 s now, that of the first one 599 s: what is older than 499 s may go.
  MustSettle(1, 1000, 1001);
  MustSettle(0, 600, 700);
  EXPECT_TRUE(IsForgottenSoon(300));
  const std::vector<bool> known = AreCompleted(700);
  for (std::size_t i = 600; i < 700; ++i) EXPECT_TRUE(known[i]) << i;
}

TEST_F(SqliteRetention, FailuresOutliveTheirAge) {
  OpenWithRetention();
  auto begun = transactions().Begin({});
  ASSERT_TRUE(begun.ok());
  const IdWrite dead{.key = {"scope", "dead"}, .record = {.state = IdState::kDead, .attempt = 3}};
  ASSERT_TRUE(begun->transaction->PutIds({&dead, 1}).ok());
  ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
  begun->transaction.reset();
  MustSettle(0, 0, 800);
  EXPECT_TRUE(IsForgottenSoon(300));
  const auto found = store_->operations()->FindId("dead");
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(found->front().record.state, IdState::kDead);
}

TEST_F(SqliteRetention, OfPlainHandlersNothingIsForgotten) {
  OpenWithRetention();
  MustApplyRange(0, 100);
  MustSettle(0, 100, 800);
  WaitUntilSealed();
  for (int i = 0; i < 20; ++i) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(CountKnown(100), 100);
}

TEST_F(SqliteRetention, IsStatedByTheStoreAndRefusedWhenItIsNone) {
  OpenWithRetention();
  EXPECT_EQ(store_->traits().retention, kRetention);
  StoreOptions options = Patient(folder_.File("other"));
  options.retention = -absl::Seconds(1);
  EXPECT_THAT(OpenStore(options).status().ToString(),
              ::testing::HasSubstr("StoreOptions::retention"));
}

}  // namespace
}  // namespace once::sqlite
