// The way out, on a real broker: a person with the `once` command beside a running consumer, and on
// the store that it has left.
#include <atomic>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/kafka/tests/kafka_test_broker.h"
#include "once/kafka/dead_letter_topic.h"
#include "tests/integration/consumer_group.h"

#ifdef ONCE_COMMAND
#include "tests/once_command.h"

namespace once {
namespace {

using testing::AwaitCondition;
using testing::CommandResult;
using testing::EffectTotals;
using ::testing::HasSubstr;
using testing::Must;
using testing::Order;
using testing::ReadEffects;
using testing::RunningConsumer;

class Operator : public ::testing::Test {
 protected:
  void SetUp() override {
    ONCE_REQUIRE_KAFKA(broker);
    brokers_ = broker.brokers();
    topic_ = broker.NewTopic(1);
  }

  ConsumerOptions Options() {
    return {.source = Must(
                kafka::Subscribe({.brokers = brokers_, .group = "billing", .topics = {topic_}})),
            .store = testing::OpenEffects(path_),
            .id = HeaderId("order-id"),
            .retry = {.max_attempts = 3, .backoff = {.initial = absl::Milliseconds(5)}},
            .dead_letters = Must(kafka::OpenDeadLetterTopic({.brokers = brokers_})),
            .times = {.idle_audit = absl::Milliseconds(200)},
            .log = NoLog()};
  }

  // Rejects order "bad" as long as is_broken_, and books what else comes.
  TransactionalHandlerFunction Handler() {
    return [this](const Message& message, Transaction& transaction) -> Outcome {
      if (message.id() == "bad") {
        ++invocations_;
        if (is_broken_) return Reject("no such account");
      }
      return testing::BookEffect(message, transaction);
    };
  }

  void Produce(const std::vector<OutgoingMessage>& messages) {
    kafka::testing::TestBroker(brokers_).Produce(messages);
  }

  CommandResult Once(std::vector<std::string> words) {
    words.insert(words.end(), {"--json", "--store", path_});
    CommandResult result = testing::RunOnce(std::move(words));
    EXPECT_TRUE(result.Json().is_object()) << result.output << result.errors;
    return result;
  }
  std::size_t CountFailures() { return Once({"failures", "list"}).Json()["failures"].size(); }

  const testing::ScratchFolder folder_;
  const std::string path_ = folder_.File("orders.db");
  std::string brokers_;
  std::string topic_;
  std::atomic<bool> is_broken_ = true;
  std::atomic<int> invocations_ = 0;
};

TEST_F(Operator, RedrivesADeadMessageThroughTheRunningConsumer) {
  RunningConsumer consumer(Options(), Handler());
  Produce({Order(topic_, 0, "good"), Order(topic_, 0, "bad"), Order(topic_, 0, "bad")});
  ASSERT_TRUE(AwaitCondition([&] { return consumer->stats().published == 1; }));
  const CommandResult list = Once({"failures", "list"});
  EXPECT_EQ(list.code, 0) << list.errors;
  EXPECT_EQ(list.Json()["through"], "owner");
  ASSERT_EQ(list.Json()["failures"].size(), 1);
  const auto failure = list.Json()["failures"][0];
  EXPECT_EQ(failure["id"], "bad");
  EXPECT_EQ(failure["offset"], 1);
  EXPECT_EQ(failure["disposition"], "rejected");
  EXPECT_EQ(failure["error_message"], "no such account");
  EXPECT_EQ(failure["scope_in_words"], "group billing, topic " + topic_);

  is_broken_ = false;  // somebody has opened the account
  const CommandResult redriven = Once({"redrive", "bad"});
  EXPECT_EQ(redriven.code, 0) << redriven.errors;
  ASSERT_TRUE(AwaitCondition([&] { return ReadEffects(path_) == EffectTotals{2, 2}; }));
  EXPECT_EQ(invocations_, 2) << "once when it failed, once more on demand";
  EXPECT_EQ(CountFailures(), 0);

  // It is done: nothing brings it back.
  EXPECT_EQ(Once({"redrive", "bad"}).code, 3);
  Produce({Order(topic_, 0, "bad"), Order(topic_, 0, "last")});
  ASSERT_TRUE(AwaitCondition([&] { return ReadEffects(path_) == EffectTotals{3, 3}; }));
  EXPECT_EQ(invocations_, 2);
  EXPECT_TRUE(consumer.Stop().ok());
}

TEST_F(Operator, RedrivesOnTheClosedStoreAndTheNextConsumerPublishesIt) {
  {
    RunningConsumer consumer(Options(), Handler());
    Produce({Order(topic_, 0, "bad")});
    ASSERT_TRUE(AwaitCondition([&] { return consumer->stats().published == 1; }));
    EXPECT_TRUE(consumer.Stop().ok());
  }
  is_broken_ = false;
  const CommandResult redriven = Once({"redrive", "bad"});
  EXPECT_EQ(redriven.code, 0) << redriven.errors;
  EXPECT_EQ(redriven.Json()["through"], "file");
  EXPECT_THAT(redriven.output, HasSubstr("when a consumer with dead_letters opens this store"));
  RunningConsumer consumer(Options(), Handler());
  ASSERT_TRUE(AwaitCondition([&] { return ReadEffects(path_) == EffectTotals{1, 1}; }));
  EXPECT_EQ(invocations_, 2);
  EXPECT_EQ(CountFailures(), 0);
  EXPECT_TRUE(consumer.Stop().ok());
}

TEST_F(Operator, CallsOffARetryThatHoldsItsPartition) {
  ConsumerOptions options = Options();
  options.retry = {.max_attempts = 1000,
                   .backoff = {.initial = absl::Seconds(1), .max = absl::Seconds(1), .jitter = 0}};
  RunningConsumer consumer(std::move(options),
                           [&](const Message& message, Transaction& transaction) -> Outcome {
                             if (message.id() != "bad") {
                               return testing::BookEffect(message, transaction);
                             }
                             ++invocations_;
                             return Retry("the account is locked");
                           });
  Produce({Order(topic_, 0, "bad"), Order(topic_, 0, "behind")});
  ASSERT_TRUE(AwaitCondition([&] { return consumer->stats().retried > 0; }));
  const CommandResult discarded = Once({"discard", "bad", "--yes"});
  EXPECT_EQ(discarded.code, 0) << discarded.errors;
  ASSERT_TRUE(AwaitCondition([&] { return ReadEffects(path_) == EffectTotals{1, 1}; }));
  // Counted once the consumer hears of the commit, which others may see before.
  EXPECT_TRUE(AwaitCondition([&] { return consumer->stats().discarded == 1; }));
  EXPECT_TRUE(consumer.Stop().ok());
}

// Two messages whose plain handler was begun by a process that died in it.
TEST_F(Operator, ResolvesWhatMayHaveHappened) {
  const std::string scope = GroupTopicScope("billing", topic_);
  const std::vector<std::string> ids = {"paid", "not-paid"};
  for (const std::string& id : ids) Produce({Order(topic_, 0, id)});
  {
    const auto store = testing::OpenEffects(path_);
    ClaimStore& claims = *store->claims();
    for (const std::string& id : ids) {
      const ClaimRequest request{.key = {.scope = scope, .id = id},
                                 .fingerprint = Fingerprint::Of("value of " + id),
                                 .fence = claims.NewFence()};
      ClaimResult result;
      ASSERT_TRUE(
          claims.TryClaim(std::span(&request, 1), absl::Hours(1), std::span(&result, 1)).ok());
      const Claim claim{.key = request.key, .fence = request.fence};
      absl::Status outcome;
      ASSERT_TRUE(claims.Begun(std::span(&claim, 1), std::span(&outcome, 1)).ok());
      ASSERT_TRUE(outcome.ok());
    }
  }
  ConsumerOptions options = Options();
  options.claims.on_lost = LostClaim::kPark;
  std::atomic<int> paid = 0;
  std::atomic<int> not_paid = 0;
  RunningConsumer consumer(std::move(options), [&](const Message& message) -> Outcome {
    ++(message.id() == "paid" ? paid : not_paid);
    return Done();
  });
  ASSERT_TRUE(AwaitCondition([&] { return consumer->stats().uncertain == 2; }));
  const CommandResult list = Once({"failures", "list"});
  ASSERT_EQ(list.Json()["failures"].size(), 2) << list.output;
  EXPECT_EQ(list.Json()["failures"][0]["state"], "uncertain");
  EXPECT_EQ(list.Json()["failures"][0]["disposition"], "uncertain");

  EXPECT_EQ(Once({"resolve", "paid", "--happened"}).code, 0);
  EXPECT_EQ(Once({"resolve", "not-paid", "--not-happened"}).code, 0);
  ASSERT_TRUE(AwaitCondition([&] { return consumer->stats().processed == 1; }));
  EXPECT_EQ(CountFailures(), 0);
  Produce({Order(topic_, 0, "paid"), Order(topic_, 0, "not-paid")});
  ASSERT_TRUE(AwaitCondition([&] { return consumer->stats().duplicates == 2; }));
  EXPECT_EQ(paid, 0) << "it had happened";
  EXPECT_EQ(not_paid, 1);
  EXPECT_EQ(Once({"resolve", "paid", "--happened"}).code, 5) << "nothing is uncertain any more";
  EXPECT_TRUE(consumer.Stop().ok());
}

TEST_F(Operator, MovesAStoppedPartitionOnWithoutARestart) {
  kafka::testing::TestBroker broker(brokers_);
  {
    RunningConsumer consumer(Options(), Handler());
    Produce({Order(topic_, 0, "first")});
    ASSERT_TRUE(AwaitCondition([&] { return ReadEffects(path_) == EffectTotals{1, 1}; }));
    EXPECT_TRUE(consumer.Stop().ok());
  }
  const std::int64_t last =
      broker.Produce({Order(topic_, 0, "lost-1"), Order(topic_, 0, "lost-2")});
  broker.Produce({Order(topic_, 0, "kept")});
  broker.Truncate({.topic = topic_, .partition = 0}, last + 1);
  RunningConsumer consumer(Options(), Handler());
  ASSERT_TRUE(AwaitCondition([&] { return !consumer->stopped_partitions().empty(); }));
  EXPECT_THAT(std::string(consumer->stopped_partitions().front().reason.message()),
              HasSubstr("once position set"))
      << "the reason names the way out";
  const CommandResult moved = Once({"position", "set", topic_, "0", "earliest", "--yes"});
  EXPECT_EQ(moved.code, 0) << moved.errors;
  ASSERT_TRUE(AwaitCondition([&] { return ReadEffects(path_) == EffectTotals{2, 2}; }));
  EXPECT_TRUE(consumer->stopped_partitions().empty());
  EXPECT_TRUE(consumer.Stop().ok());
}

}  // namespace
}  // namespace once
#endif
