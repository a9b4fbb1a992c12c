// The queue broker that hand-written workers are simulated with.
#include "once/testing/fake_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

namespace once::testing {
namespace {

class FakeQueueTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* id : {"a", "b", "c"}) queue_.Send({.number = next_++, .id = id});
  }

  std::shared_ptr<Process> NewProcess() { return scheduler_.NewProcess("worker"); }
  std::unique_ptr<QueueChannel> Open() { return queue_.Open(NewProcess()); }
  // Does not wait.
  static QueueDelivery Get(QueueChannel& channel) {
    auto delivery = channel.Get(absl::InfinitePast());
    EXPECT_TRUE(delivery.ok() && delivery->has_value()) << delivery.status();
    return delivery.ok() && *delivery ? **delivery : QueueDelivery{};
  }
  // "" when there is none.
  static std::string IdOfNext(QueueChannel& channel) {
    auto delivery = channel.Get(absl::InfinitePast());
    return delivery.ok() && *delivery ? (*delivery)->message.id : "";
  }

  DepthFirstOracle oracle_{Budget{}};
  FiberScheduler scheduler_{oracle_};
  SeamGate gate_{scheduler_, {}};
  FakeQueue queue_{gate_, {.prefetch = 2}, nullptr};
  std::int64_t next_ = 0;
};

TEST_F(FakeQueueTest, AChannelIsSentNoMoreThanItMayHaveUnacknowledged) {
  const auto channel = Open();
  const QueueDelivery first = Get(*channel);
  EXPECT_EQ(first.message.id, "a");
  EXPECT_EQ(IdOfNext(*channel), "b");
  EXPECT_EQ(IdOfNext(*channel), "");
  EXPECT_TRUE(channel->Ack(first.tag).ok());
  EXPECT_EQ(IdOfNext(*channel), "c");
}

TEST_F(FakeQueueTest, WhatIsGivenBackComesAgainAtItsPlaceAndIsMarked) {
  const auto channel = Open();
  const QueueDelivery first = Get(*channel);
  EXPECT_FALSE(first.is_redelivered);
  EXPECT_EQ(IdOfNext(*channel), "b");
  EXPECT_TRUE(channel->Requeue(first.tag).ok());
  const QueueDelivery again = Get(*channel);
  EXPECT_EQ(again.message.id, "a");
  EXPECT_TRUE(again.is_redelivered);
  EXPECT_NE(again.tag, first.tag);
}

TEST_F(FakeQueueTest, WhatADeadProcessHeldGoesBackInOrder) {
  const auto process = NewProcess();
  const auto doomed = queue_.Open(process);
  const auto heir = Open();
  EXPECT_EQ(Get(*doomed).message.id, "a");
  EXPECT_EQ(IdOfNext(*heir), "c");
  scheduler_.Kill(*process);
  EXPECT_TRUE(absl::IsCancelled(doomed->Get(absl::InfinitePast()).status()));
  EXPECT_EQ(IdOfNext(*heir), "a");
  heir->Reopen();
  EXPECT_EQ(IdOfNext(*heir), "a");
  EXPECT_EQ(IdOfNext(*heir), "b");
}

TEST_F(FakeQueueTest, AnUnknownTagCostsTheChannelAndNobodyElse) {
  const auto channel = Open();
  EXPECT_EQ(IdOfNext(*channel), "a");
  EXPECT_TRUE(channel->Ack(77).ok()) << "there is no answer to an acknowledgement";
  EXPECT_TRUE(absl::IsUnavailable(channel->Get(absl::InfinitePast()).status()));
  EXPECT_TRUE(absl::IsUnavailable(channel->Ack(1)));
  channel->Reopen();
  EXPECT_TRUE(Get(*channel).is_redelivered);
}

TEST_F(FakeQueueTest, TagsOfAnEndedChannelMeanOthersOnTheNext) {
  const auto channel = Open();
  const QueueDelivery a = Get(*channel);
  EXPECT_TRUE(channel->Ack(a.tag).ok());
  const QueueDelivery b = Get(*channel);
  EXPECT_EQ(b.tag, 2);
  channel->Reopen();
  EXPECT_TRUE(channel->Ack(b.tag).ok());
  channel->Reopen();
  EXPECT_EQ(IdOfNext(*channel), "b") << "c was acknowledged in its place";
  EXPECT_EQ(IdOfNext(*channel), "");
}

TEST_F(FakeQueueTest, WhoDoesNotHearOfABrokenConnectionGoesOnAndIsNotHeard) {
  const auto process = NewProcess();
  const auto channel = queue_.Open(process);
  queue_.Disconnect(*process, true);
  const QueueDelivery first = Get(*channel);
  EXPECT_EQ(first.message.id, "a");
  EXPECT_TRUE(channel->Ack(first.tag).ok());
  EXPECT_TRUE(absl::IsUnavailable(channel->Ack(first.tag)));
  channel->Reopen();
  EXPECT_EQ(IdOfNext(*channel), "a");
}

}  // namespace
}  // namespace once::testing
