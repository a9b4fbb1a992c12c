// kill -9 of a process with a plain handler, twenty times under load, against a real broker. The
// effect is a line in a file that no transaction covers: none is missing, a kill repeats at most
// the one that was running, and whatever is repeated was told so.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
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
constexpr int kOrders = 40'000;
constexpr int kKills = 20;
constexpr int kInvocationsPerBeat = 20;

// The fifth word is the file of effects.
int Consume(const std::vector<std::string>& words) {
  const int effects = open(words.at(4).c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (effects < 0) throw std::runtime_error("the effects file cannot be opened");
  return testing::ConsumeAsChild(
      words, {}, [effects, invocations = 0](const Message& message) mutable -> Outcome {
        const std::string line =
            std::string(message.id()) + (message.maybe_repeated() ? " repeated\n" : " first\n");
        if (write(effects, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
          return absl::UnavailableError("the effects file cannot be written");
        }
        if (++invocations % kInvocationsPerBeat == 0) testing::Beat();
        return Done();
      });
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
  return once::testing::RunTestsOrChild(argc, argv, once::Consume);
}
