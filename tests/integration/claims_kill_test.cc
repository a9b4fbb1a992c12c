// kill -9 of a process with a plain handler, twenty times under load, against a real broker. The
// effect is a line in a file that no transaction covers: none is missing, a kill repeats at most
// the one that was running, and whatever is repeated was told so.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <map>
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
constexpr int kOrders = 40'000;
constexpr int kKills = 20;
constexpr int kInvocationsPerBeat = 20;

// The child: `--consume BROKERS GROUP TOPIC STORE EFFECTS`.
int Consume(char** arguments) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  auto source = kafka::Subscribe({.brokers = arguments[0],
                                  .group = arguments[1],
                                  .topics = {arguments[2]},
                                  .instance_id = "killed",
                                  .session_timeout = absl::Seconds(6)});
  auto store = sqlite::OpenStore({.path = arguments[3]});
  const int effects = open(arguments[4], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (!source.ok() || !store.ok() || effects < 0) {
    std::cerr << source.status() << " " << store.status() << "\n";
    return 2;
  }
  int invocations = 0;
  auto consumer = Consumer::Create(
      {.source = *std::move(source),
       .store = *store,
       .id = HeaderId("order-id"),
       .log = JsonLog(LogLevel::kError)},
      [&](const Message& message) -> Outcome {
        const std::string line =
            std::string(message.id()) + (message.maybe_repeated() ? " repeated\n" : " first\n");
        if (write(effects, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
          return absl::UnavailableError("the effects file cannot be written");
        }
        if (++invocations % kInvocationsPerBeat == 0) {
          [[maybe_unused]] const ssize_t written = write(testing::kProgressPipe, ".", 1);
        }
        return Done();
      });
  if (!consumer.ok()) {
    std::cerr << consumer.status() << "\n";
    return 2;
  }
  const absl::Status status = RunUntilSignal(**consumer);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}

struct Effects {
  std::map<std::string, int> by_id;
  int unannounced = 0;  // lines of an id that had one before and were not told so
};

Effects ReadEffectLines(const std::string& path) {
  Effects effects;
  std::ifstream lines(path);
  for (std::string id, kind; lines >> id >> kind;) {
    const bool is_repeat = ++effects.by_id[id] > 1;
    effects.unannounced += is_repeat && kind != "repeated" ? 1 : 0;
  }
  return effects;
}

TEST(KillNineOfAPlainHandler, LosesNothingAndRepeatsAtMostWhatWasRunning) {
  ONCE_REQUIRE_KAFKA(broker);
  const testing::ScratchFolder folder;
  const std::string effects_path = folder.File("effects");
  const std::string topic = broker.NewTopic(kPartitions);
  constexpr int kOrdersPerBatch = 10'000;
  for (int first = 0; first < kOrders; first += kOrdersPerBatch) {
    broker.Produce(testing::OrdersWithDuplicates(topic, kPartitions, first, kOrdersPerBatch));
  }
  const std::vector<std::string> arguments = {broker.brokers(), topic + "-group", topic,
                                              folder.File("orders.db"), effects_path};
  const absl::Time begin = absl::Now();
  for (int i = 0; i < kKills; ++i) {
    testing::Child child(arguments);
    ASSERT_TRUE(child.WaitForBeats(30 + 7 * (i % 5), absl::Seconds(30))) << "before kill " << i;
    const int status = child.End(SIGKILL);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "kill " << i;
  }
  testing::Child child(arguments);
  while (child.WaitForBeats(1, absl::Seconds(5))) {
  }
  const int status = child.End(SIGTERM);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "graceful stop: " << status;

  const Effects effects = ReadEffectLines(effects_path);
  EXPECT_EQ(effects.by_id.size(), static_cast<std::size_t>(kOrders)) << "lost";
  EXPECT_EQ(effects.unannounced, 0);
  int repeats = 0;
  for (const auto& [id, count] : effects.by_id) repeats += count - 1;
  EXPECT_LE(repeats, kKills);
  std::cout << kOrders << " orders, " << kKills << " kills, " << repeats << " repeats, "
            << absl::FormatDuration(absl::Now() - begin) << "\n";
}

}  // namespace
}  // namespace once

int main(int argc, char** argv) {
  constexpr int kConsumeArguments = 7;
  if (argc == kConsumeArguments && std::string_view(argv[1]) == "--consume") {
    return once::Consume(argv + 2);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
