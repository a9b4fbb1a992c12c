// kill -9 of the consuming process, twenty times under load, against a real broker: every order is
// booked once, read from a table without a unique key.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "once/consumer.h"
#include "once/kafka/source.h"
#include "once/sqlite/store.h"
#include "tests/integration/child.h"
#include "tests/integration/effects.h"

namespace once {
namespace {

constexpr int kPartitions = 6;
constexpr int kOrders = 200'000;
constexpr int kKills = 20;
constexpr int kInvocationsPerBeat = 100;

// The child: `--consume BROKERS GROUP TOPIC PATH`. A beat goes to the pipe every so many
// invocations.
int Consume(char** arguments) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto source = kafka::Subscribe({.brokers = arguments[0],
                                  .group = arguments[1],
                                  .topics = {arguments[2]},
                                  .instance_id = "killed",
                                  .session_timeout = absl::Seconds(6)});
  auto store = sqlite::OpenStore({.path = arguments[3], .setup = testing::CreateEffects});
  if (!source.ok() || !store.ok()) {
    std::cerr << source.status() << " " << store.status() << "\n";
    return 2;
  }
  int invocations = 0;
  auto consumer = Consumer::Create(
      {.source = *std::move(source),
       .store = *store,
       .id = HeaderId("order-id"),
       .log = JsonLog(LogLevel::kError)},
      [&](const Message& message, Transaction& transaction) {
        absl::Status booked = testing::BookEffect(message, transaction);
        if (++invocations % kInvocationsPerBeat == 0) {
          [[maybe_unused]] const ssize_t written = write(testing::kProgressPipe, ".", 1);
        }
        return booked;
      });
  if (!consumer.ok()) {
    std::cerr << consumer.status() << "\n";
    return 2;
  }
  const absl::Status status = RunUntilSignal(**consumer);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
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
  constexpr int kConsumeArguments = 6;
  if (argc == kConsumeArguments && std::string_view(argv[1]) == "--consume") {
    return once::Consume(argv + 2);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
