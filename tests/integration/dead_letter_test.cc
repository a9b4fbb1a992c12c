// Dead letters on a real broker: what cannot be handled is read back with its headers, and what the
// broker has deleted is reported.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/kafka/tests/kafka_test_broker.h"
#include "once/kafka/dead_letter_topic.h"
#include "tests/integration/consumer_group.h"

namespace once {
namespace {

using ::testing::HasSubstr;
using testing::Milestone;
using testing::Must;
using testing::Order;
using testing::RunningConsumer;

std::map<std::string, std::string> HeadersOf(const OutgoingMessage& message) {
  std::map<std::string, std::string> headers;
  for (const OwnedHeader& header : message.headers)
    headers[header.name] = header.value.value_or("");
  return headers;
}

ConsumerOptions OptionsFor(kafka::testing::TestBroker& broker, const std::string& topic,
                           const std::shared_ptr<DedupStore>& store) {
  return {.source = Must(kafka::Subscribe(
              {.brokers = broker.brokers(), .group = "billing", .topics = {topic}})),
          .store = store,
          .id = HeaderId("order-id"),
          .retry = {.max_attempts = 3, .backoff = {.initial = absl::Milliseconds(5)}},
          .dead_letters = Must(kafka::OpenDeadLetterTopic({.brokers = broker.brokers()})),
          .log = JsonLog(LogLevel::kError)};
}

TEST(DeadLetters, AreReadBackWithTheirHeadersAndTheirNeighboursAreBooked) {
  ONCE_REQUIRE_KAFKA(broker);
  const testing::ScratchFolder folder;
  const std::string topic = broker.NewTopic(2);
  OutgoingMessage nameless = Order(topic, 0, "nameless");
  nameless.headers = {{.name = "trace", .value = "t-1"}};
  OutgoingMessage conflict = Order(topic, 0, "good-1");
  conflict.value = "another value";
  broker.Produce({Order(topic, 0, "good-1"), Order(topic, 0, "rejected"), nameless, conflict,
                  Order(topic, 1, "failing"), Order(topic, 1, "good-2"),
                  Order(topic, 1, std::string(80, 'x'))});

  Milestone handled;
  std::map<std::string, int> invocations;
  RunningConsumer consumer(
      OptionsFor(broker, topic, testing::OpenEffects(folder.File("orders.db"))),
      [&](const Message& message, Transaction& transaction) -> Outcome {
        ++invocations[std::string(message.id())];
        if (message.id() == "rejected") return Reject("no such account");
        if (message.id() == "failing") return Retry("the account is locked");
        absl::Status booked = testing::BookEffect(message, transaction);
        handled.Count();
        return booked;
      });
  std::vector<testing::StoredMessage> letters;
  const std::string letter_topic = topic + ".billing.dlq";
  constexpr std::size_t kLetters = 5;
  EXPECT_TRUE(testing::AwaitCondition([&] { return consumer->stats().published >= kLetters; }));
  EXPECT_TRUE(consumer.Stop().ok());
  letters = broker.DumpTopic(letter_topic);
  ASSERT_EQ(letters.size(), kLetters);

  std::map<std::string, std::map<std::string, std::string>> by_disposition;
  for (const testing::StoredMessage& letter : letters) {
    const auto headers = HeadersOf(letter.message);
    by_disposition[headers.at("once-disposition")] = headers;
  }
  const auto rejected = by_disposition["rejected"];
  EXPECT_EQ(rejected.at("once-id"), "rejected");
  EXPECT_EQ(rejected.at("order-id"), "rejected") << "the original headers are kept";
  EXPECT_EQ(rejected.at("once-attempt"), "1");
  EXPECT_EQ(rejected.at("once-error-message"), "no such account");
  EXPECT_EQ(rejected.at("once-origin-topic"), topic);
  EXPECT_EQ(rejected.at("once-origin-partition"), "0");
  EXPECT_EQ(rejected.at("once-origin-offset"), "1");
  EXPECT_EQ(by_disposition["retries-exhausted"].at("once-attempt"), "3");
  EXPECT_EQ(by_disposition["no-id"].at("trace"), "t-1");
  EXPECT_EQ(by_disposition["conflict"].at("once-id"), "good-1");
  EXPECT_THAT(by_disposition["invalid-id"].at("once-error-message"), HasSubstr("80 bytes"));
  EXPECT_EQ(invocations["failing"], 3);
  EXPECT_EQ(testing::ReadEffects(folder.File("orders.db")), (testing::EffectTotals{2, 2}));
}

TEST(OutOfRange, DeletedMessagesStopThePartitionUntilSomebodyAcceptsTheGap) {
  ONCE_REQUIRE_KAFKA(broker);
  const testing::ScratchFolder folder;
  const std::string topic = broker.NewTopic(1);
  const auto store = testing::OpenEffects(folder.File("orders.db"));
  Milestone handled;
  const auto run = [&](OutOfRange policy) {
    ConsumerOptions options = OptionsFor(broker, topic, store);
    options.out_of_range = policy;
    options.log = NoLog();
    return std::make_unique<RunningConsumer>(
        std::move(options), [&](const Message& message, Transaction& transaction) {
          absl::Status booked = testing::BookEffect(message, transaction);
          handled.Count();
          return booked;
        });
  };
  broker.Produce(testing::OrdersWithDuplicates(topic, 1, 0, 10));
  auto consumer = run(OutOfRange::kStop);
  ASSERT_TRUE(handled.Await(10));
  EXPECT_TRUE(consumer->Stop().ok());

  const std::int64_t last =
      broker.Produce({Order(topic, 0, "deleted-1"), Order(topic, 0, "deleted-2")});
  broker.Produce({Order(topic, 0, "kept")});
  broker.Truncate({.topic = topic, .partition = 0}, last + 1);

  consumer = run(OutOfRange::kStop);
  testing::AwaitCondition([&] { return !(*consumer)->stopped_partitions().empty(); });
  ASSERT_EQ((*consumer)->stopped_partitions().size(), 1);
  const StoppedPartition stopped = (*consumer)->stopped_partitions().front();
  EXPECT_EQ(stopped.position, last - 1);
  EXPECT_THAT(std::string(stopped.reason.message()), HasSubstr("OutOfRange::kEarliest"));
  EXPECT_TRUE(consumer->Stop().ok());
  EXPECT_EQ(testing::ReadEffects(folder.File("orders.db")), (testing::EffectTotals{10, 10}));

  consumer = run(OutOfRange::kEarliest);
  EXPECT_TRUE(handled.Await(11));
  EXPECT_EQ((*consumer)->stats().gaps, 1);
  EXPECT_TRUE(consumer->Stop().ok());
  EXPECT_EQ(testing::ReadEffects(folder.File("orders.db")), (testing::EffectTotals{11, 11}));
}

}  // namespace
}  // namespace once
