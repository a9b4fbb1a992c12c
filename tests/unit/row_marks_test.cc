// What is remembered of an attempt that was recorded before its handler ran: only what is, or may
// be, in the store.
#include "src/row_marks.h"

#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/faulty_store.h"

namespace once {
namespace {

const PartitionKey kKey{.cluster = "c", .group = "g", .partition = {"orders", 0}};
constexpr std::int64_t kOffset = 5;

IdRecord Retrying(int attempt, absl::Time not_before = absl::InfinitePast()) {
  return {.state = IdState::kRetrying, .attempt = attempt, .not_before = not_before};
}

TEST(WithoutRecorded, TakesBackTheRecordedAttemptOfThatMessage) {
  const RecordedAttempt recorded{.offset = kOffset, .attempt = 2};
  EXPECT_EQ(WithoutRecorded(Retrying(2), recorded, kOffset).attempt, 1);
  const RecordedAttempt first{.offset = kOffset, .attempt = 1};
  EXPECT_EQ(WithoutRecorded(Retrying(1), first, kOffset), IdRecord{});
}

TEST(WithoutRecorded, LeavesWhatSomebodyElseHasRecorded) {
  const RecordedAttempt recorded{.offset = kOffset, .attempt = 1};
  EXPECT_EQ(WithoutRecorded(Retrying(1), std::nullopt, kOffset), Retrying(1));
  EXPECT_EQ(WithoutRecorded(Retrying(1), recorded, kOffset + 1), Retrying(1));
  EXPECT_EQ(WithoutRecorded(Retrying(2), recorded, kOffset), Retrying(2));
  // A copy failed meanwhile: that failure has a time to wait for.
  const IdRecord failed = Retrying(1, absl::FromUnixSeconds(1'700'000'000));
  EXPECT_EQ(WithoutRecorded(failed, recorded, kOffset), failed);
}

class RowMarks : public ::testing::Test {
 protected:
  // The order of one message that runs singly.
  BatchOrder Order() {
    const TakeRequest request{.key = kKey, .writer = 7, .start = kOffset};
    const auto taken = store_.Take(std::span(&request, 1));
    EXPECT_TRUE(taken.ok()) << taken.status();
    BatchOrder order{.is_single = true};
    WorkPartition& partition = order.partitions.emplace_back();
    partition.lock = {.key = kKey, .expected = taken->front().current};
    partition.scope = "s";
    std::vector<Message> messages;
    messages.emplace_back(MessageFields{.topic = "orders", .offset = kOffset});
    const auto batch = std::make_shared<Batch>(std::move(messages), nullptr);
    partition.items.push_back({.delivery = Delivery(batch, batch->messages().front())});
    return order;
  }
  BatchEnd Mark(BatchOrder& order) {
    const SingleMessage single{.key = {.scope = "s", .id = "a"}, .offset = kOffset};
    return MarkInvocations(store_, order, &single, 3, absl::UnixEpoch());
  }

  FaultyStore store_;
};

TEST_F(RowMarks, ARecordedAttemptIsRemembered) {
  BatchOrder order = Order();
  EXPECT_EQ(Mark(order), BatchEnd::kPending);
  ASSERT_TRUE(order.partitions.front().attempt.has_value());
  EXPECT_EQ(order.partitions.front().attempt->attempt, 1);
  EXPECT_EQ(store_.FindId("s", "a").attempt, 1);
}

TEST_F(RowMarks, AnAttemptThatMayBeRecordedIsRemembered) {
  store_.OnMark([] { return CommitFate::kUnknownUndone; });
  BatchOrder order = Order();
  EXPECT_EQ(Mark(order), BatchEnd::kMarkUnknown);
  EXPECT_TRUE(order.partitions.front().attempt.has_value());
}

TEST_F(RowMarks, AnAttemptThatIsCertainlyNotRecordedIsForgotten) {
  store_.OnMark([] { return CommitFate::kTrouble; });
  BatchOrder order = Order();
  EXPECT_EQ(Mark(order), BatchEnd::kStoreTrouble);
  EXPECT_FALSE(order.partitions.front().attempt.has_value());
}

}  // namespace
}  // namespace once
