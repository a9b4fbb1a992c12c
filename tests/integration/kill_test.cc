// kill -9 of the consuming process, twenty times under load, against a real broker: every order is
// booked once, read from a table without a unique key.
#include <signal.h>
#include <sys/wait.h>

#include <iostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "tests/integration/consuming_child.h"

namespace once {
namespace {

constexpr int kPartitions = 6;
constexpr int kOrders = 200'000;
constexpr int kKills = 20;
constexpr int kInvocationsPerBeat = 100;

// A beat goes to the parent every so many invocations.
int Consume(const std::vector<std::string>& words) {
  return testing::ConsumeAsChild(
      words, {}, [invocations = 0](const Message& message, Transaction& transaction) mutable {
        absl::Status booked = testing::BookEffect(message, transaction);
        if (++invocations % kInvocationsPerBeat == 0) testing::Beat();
        return booked;
      });
}

TEST(KillNine, TwentyTimesUnderLoadLosesNothingAndRepeatsNothing) {
  ONCE_REQUIRE_KAFKA(broker);
  const testing::ScratchFolder folder;
  const std::string path = folder.File("orders.db");
  const std::string topic = broker.NewTopic(kPartitions);
  constexpr int kOrdersPerBatch = 10'000;
  for (int first = 0; first < kOrders; first += kOrdersPerBatch) {
    broker.Produce(testing::OrdersWithDuplicates(topic, kPartitions, first, kOrdersPerBatch));
  }
  const std::vector<std::string> arguments = {broker.brokers(), topic + "-group", topic, path};
  constexpr absl::Duration kPatience = absl::Seconds(30);
  const absl::Time begin = absl::Now();
  for (int i = 0; i < kKills; ++i) {
    testing::Child child(arguments);
    // Uneven distances, so that the kills fall into different places of a batch.
    ASSERT_TRUE(child.WaitForBeats(60 + 7 * (i % 5), kPatience)) << "before kill " << i;
    const int status = child.End(SIGKILL);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "kill " << i;
  }
  testing::Child child(arguments);
  const testing::EffectTotals expected{.rows = kOrders, .distinct_ids = kOrders};
  while (child.WaitForBeats(1, absl::Seconds(5))) {
  }
  EXPECT_EQ(testing::ReadEffects(path).rows, expected.rows);
  EXPECT_EQ(testing::ReadEffects(path).distinct_ids, expected.distinct_ids);
  const int status = child.End(SIGTERM);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "graceful stop: " << status;
  std::cout << kOrders << " orders, " << kKills << " kills, "
            << absl::FormatDuration(absl::Now() - begin) << "\n";

  auto source =
      kafka::Subscribe({.brokers = broker.brokers(), .group = topic + "-group", .topics = {topic}});
  ASSERT_TRUE(source.ok()) << source.status();
  std::vector<TopicPartition> names;
  for (int i = 0; i < kPartitions; ++i) names.push_back({.topic = topic, .partition = i});
  const auto bounds = (*source)->Describe(names);
  ASSERT_TRUE(bounds.ok()) << bounds.status();
  for (const PartitionBounds& partition : *bounds) {
    EXPECT_EQ(partition.committed, partition.end) << "the stop committed what was settled";
  }
}

}  // namespace
}  // namespace once

int main(int argc, char** argv) {
  return once::testing::RunTestsOrChild(argc, argv, once::Consume);
}
