// What a batch must have come to before another may follow it, and what that one then expects.
#include "src/batch_succession.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace once {
namespace {

constexpr PositionStamp kBefore{.position = 5, .revision = 3, .writer = 9};
constexpr PositionStamp kAfter{.position = 7, .revision = 4, .writer = 9};

// A share of two messages of `partition`.
WorkPartition Share(int partition, std::int64_t first, Verdict verdict) {
  WorkPartition work;
  work.lock = {.key = {.cluster = "c", .group = "g", .partition = {"orders", partition}},
               .expected = kBefore};
  std::vector<Message> messages;
  for (std::int64_t i = 0; i < 2; ++i) {
    messages.emplace_back(
        MessageFields{.topic = "orders", .partition = partition, .offset = first + i});
  }
  const auto batch = std::make_shared<Batch>(std::move(messages), nullptr);
  for (Message& message : batch->messages()) {
    work.items.push_back({.delivery = Delivery(batch, message), .verdict = verdict});
  }
  return work;
}

class Succession : public ::testing::Test {
 protected:
  Succession() {
    BatchOrder ended{.end = BatchEnd::kCommitted};
    for (int partition = 0; partition < 2; ++partition) {
      WorkPartition& work = ended.partitions.emplace_back(Share(partition, 5, Verdict::kProcessed));
      work.is_committed = true;
      work.committed = kAfter;
      work.reach = 9;
      work.last_applied = AppliedRecord{.offset = 6};
    }
    ended_.Set(std::move(ended));
    BatchOrder next;
    next.partitions.push_back(Share(1, 7, Verdict::kUnsettled));
    next.partitions.back().place_before = 1;
    next.partitions.back().attempt = RecordedAttempt{.offset = 5, .attempt = 1};
    next.partitions.push_back(Share(2, 5, Verdict::kUnsettled));
    next_.Set(std::move(next));
  }

  BatchOrder& ended() { return *ended_.batch; }
  bool MayFollow() { return once::MayFollow(ended_, next_); }

  WorkOrder ended_;
  WorkOrder next_;
};

TEST_F(Succession, TheNextExpectsWhatTheFormerHasCommitted) {
  ASSERT_TRUE(MayFollow());
  const WorkPartition& same = next_.batch->partitions[0];
  EXPECT_EQ(same.lock.expected, kAfter);
  EXPECT_EQ(same.reach, 9);
  EXPECT_EQ(same.last_applied->offset, 6);
  EXPECT_FALSE(same.attempt.has_value());
  const WorkPartition& other = next_.batch->partitions[1];
  EXPECT_EQ(other.lock.expected, kBefore) << "nobody has written its row";
}

TEST_F(Succession, WhatWasDiscardedOrIsADuplicateIsSettledToo) {
  ended().partitions[0].items[0].verdict = Verdict::kDuplicate;
  ended().partitions[0].items[1].verdict = Verdict::kDeadLettered;
  EXPECT_TRUE(IsSettledWhole(ended()));
  EXPECT_TRUE(MayFollow());
}

TEST_F(Succession, NothingFollowsWhereAMessageIsLeft) {
  ended().partitions[1].items[1].verdict = Verdict::kUnsettled;
  EXPECT_FALSE(IsSettledWhole(ended()));
  EXPECT_FALSE(MayFollow());
}

TEST_F(Succession, NothingFollowsWhereAPartitionMustStop) {
  ended().partitions[0].stop = absl::FailedPreconditionError("stop");
  EXPECT_FALSE(MayFollow());
}

TEST_F(Succession, NothingFollowsAnyOtherEnd) {
  for (const BatchEnd end : {BatchEnd::kNothing, BatchEnd::kMismatch, BatchEnd::kUnknown,
                             BatchEnd::kMarkUnknown, BatchEnd::kStoreTrouble, BatchEnd::kDoomed}) {
    ended().end = end;
    EXPECT_FALSE(MayFollow());
  }
}

TEST_F(Succession, NothingFollowsWhatWasToldToEnd) {
  ended_.finish_early = true;
  EXPECT_FALSE(MayFollow());
  ended_.finish_early = false;
  ended_.doomed = true;
  EXPECT_FALSE(MayFollow());
}

}  // namespace
}  // namespace once
