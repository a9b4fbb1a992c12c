// Three consumers of one group, sharing one open store in one process, while members come and go
// under load: every order is booked once.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "adapters/kafka/tests/kafka_test_broker.h"
#include "tests/integration/consumer_group.h"

namespace once {
namespace {

using testing::Milestone;
using testing::Must;
using testing::RunningConsumer;

constexpr int kPartitions = 6;
constexpr int kOrders = 40'000;

class Rebalance : public ::testing::TestWithParam<kafka::AssignmentStrategy> {};

TEST_P(Rebalance, OfThreeConsumersThatShareAStoreBooksEveryOrderOnce) {
  ONCE_REQUIRE_KAFKA(broker);
  const testing::ScratchFolder folder;
  const std::string topic = broker.NewTopic(kPartitions);
  const std::string path = folder.File("orders.db");
  const std::shared_ptr<DedupStore> store = testing::OpenEffects(path);
  Milestone handled;
  const auto join = [&] {
    auto source = Must(kafka::Subscribe({.brokers = broker.brokers(),
                                         .group = topic + "-group",
                                         .topics = {topic},
                                         .assignment = GetParam(),
                                         .session_timeout = absl::Seconds(10)}));
    return std::make_unique<RunningConsumer>(ConsumerOptions{.source = std::move(source),
                                                             .store = store,
                                                             .id = HeaderId("order-id"),
                                                             .limits = {.batch_messages_max = 100},
                                                             .log = JsonLog(LogLevel::kError)},
                                             [&](const Message& message, Transaction& transaction) {
                                               absl::Status booked =
                                                   testing::BookEffect(message, transaction);
                                               handled.Count();
                                               return booked;
                                             });
  };
  constexpr int kWaves = 4;
  constexpr int kWave = kOrders / kWaves;
  std::vector<std::unique_ptr<RunningConsumer>> consumers;
  consumers.push_back(join());
  for (int wave = 0; wave < kWaves; ++wave) {
    broker.Produce(testing::OrdersWithDuplicates(topic, kPartitions, wave * kWave, kWave));
    ASSERT_TRUE(handled.Await(wave * kWave + kWave / 4));
    if (wave < 2) consumers.push_back(join());  // the second and the third come …
    if (wave == 2) {                            // … the first leaves in the middle …
      EXPECT_TRUE(consumers.front()->Stop().ok());
    }
    if (wave == 3) consumers.push_back(join());  // … and one more comes
  }
  ASSERT_TRUE(handled.Await(kOrders));
  // A handler that ran in a batch of lost partitions ran for nothing, and was counted too.
  ASSERT_TRUE(
      testing::AwaitCondition([&] { return testing::ReadEffects(path).distinct_ids == kOrders; }));
  std::uint64_t processed = 0;
  for (const auto& consumer : consumers) {
    EXPECT_TRUE(consumer->Stop().ok());
    EXPECT_TRUE((*consumer)->stopped_partitions().empty());
    processed += (*consumer)->stats().processed;
  }
  EXPECT_EQ(testing::ReadEffects(path), (testing::EffectTotals{kOrders, kOrders}));
  EXPECT_EQ(processed, kOrders) << "what the consumers count is what the table holds";
}

INSTANTIATE_TEST_SUITE_P(Kafka, Rebalance,
                         ::testing::Values(kafka::AssignmentStrategy::kEager,
                                           kafka::AssignmentStrategy::kCooperative),
                         [](const auto& strategy) {
                           return strategy.param == kafka::AssignmentStrategy::kEager
                                      ? "Eager"
                                      : "Cooperative";
                         });

}  // namespace
}  // namespace once
