// A message whose handler kills the process, however often it is started again: it ends as a dead
// letter after its attempts, and its neighbours are neither charged nor applied twice.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "once/kafka/dead_letter_topic.h"
#include "tests/integration/consuming_child.h"

namespace once {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr int kPartitions = 2;
constexpr int kOrders = 30;  // no more than 16 a partition: each runs singly after a death
constexpr int kPoison = 24;  // the number of the order, among neighbours of its partition
constexpr int kAttemptsMax = 3;

[[noreturn]] void Die(std::string_view how) {
  if (how == "abort") std::abort();
  raise(how == "segfault" ? SIGSEGV : SIGKILL);
  std::_Exit(3);
}

int SignalOf(std::string_view how) {
  if (how == "abort") return SIGABRT;
  return how == "segfault" ? SIGSEGV : SIGKILL;
}

std::string PoisonId() { return absl::StrCat("order-", kPoison); }

// Further words: the trace, and how to die. Each invocation is a line of the trace, written before
// anything happens, and a beat.
int Consume(const std::vector<std::string>& words) {
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  setrlimit(RLIMIT_CORE, &no_core);
  const int trace = open(words.at(4).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (trace < 0) throw std::runtime_error("the trace cannot be opened");
  return testing::ConsumeAsChild(
      words,
      {.retry = {.max_attempts = kAttemptsMax},
       .dead_letters = testing::Must(kafka::OpenDeadLetterTopic({.brokers = words.at(0)}))},
      [trace, how = words.at(5)](const Message& message, Transaction& transaction) {
        const std::string line =
            absl::StrCat(std::string(message.id()), " ", message.attempt(), "\n");
        [[maybe_unused]] const ssize_t written = write(trace, line.data(), line.size());
        testing::Beat();
        if (message.id() == PoisonId()) Die(how);
        return testing::BookEffect(message, transaction);
      });
}

std::map<std::string, std::vector<int>> ReadTrace(const std::string& path) {
  std::map<std::string, std::vector<int>> attempts;
  std::ifstream lines(path);
  std::string id;
  int attempt = 0;
  while (lines >> id >> attempt) attempts[id].push_back(attempt);
  return attempts;
}

class Crash : public ::testing::TestWithParam<const char*> {};

TEST_P(Crash, AMessageThatKillsEveryProcessIsDeadLetteredAndItsNeighboursAreNotCharged) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string how = GetParam();
  const testing::ScratchFolder folder;
  const std::string path = folder.File("orders.db");
  const std::string trace = folder.File("trace");
  const std::string topic = broker.NewTopic(kPartitions);
  const std::string group = topic + "-group";
  std::vector<OutgoingMessage> orders;
  for (int i = 0; i < kOrders; ++i) {
    orders.push_back(testing::Order(topic, i % kPartitions, absl::StrCat("order-", i)));
  }
  broker.Produce(orders);

  const std::vector<std::string> arguments = {broker.brokers(), group, topic, path, trace, how};
  constexpr int kLivesMax = 12;
  constexpr absl::Duration kLifeMax = absl::Seconds(60);
  int deaths = 0;
  bool is_done = false;
  while (!is_done) {
    ASSERT_LT(deaths, kLivesMax) << "it is still being invoked";
    testing::Child child(arguments);
    const absl::Time deadline = absl::Now() + kLifeMax;
    std::optional<int> ended;
    while (!ended && !is_done) {
      ASSERT_LT(absl::Now(), deadline) << "nothing moves in life " << deaths;
      child.WaitForBeats(1, absl::Milliseconds(200));
      ended = child.Ended();
      is_done = !ended && testing::ReadEffects(path).distinct_ids == kOrders - 1;
    }
    if (ended) {
      ++deaths;
      ASSERT_TRUE(WIFSIGNALED(*ended) && WTERMSIG(*ended) == SignalOf(how)) << *ended;
      continue;
    }
    const int status = child.End(SIGTERM);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "graceful stop: " << status;
  }

  // Once in a batch with its neighbours, which is charged to nobody, then by itself.
  EXPECT_EQ(deaths, kAttemptsMax + 1);
  for (const auto& [id, attempts] : ReadTrace(trace)) {
    if (id == PoisonId()) {
      EXPECT_THAT(attempts, ElementsAre(1, 1, 2, 3));
    } else {
      EXPECT_THAT(attempts, Each(1)) << id;
    }
  }
  EXPECT_EQ(testing::ReadEffects(path), (testing::EffectTotals{kOrders - 1, kOrders - 1}));
  const auto letters = broker.DumpTopic(DefaultDeadLetterTopic(topic, group));
  ASSERT_EQ(letters.size(), 1U);
  std::map<std::string, std::string> headers;
  for (const OwnedHeader& header : letters[0].message.headers) {
    headers[header.name] = header.value.value_or("");
  }
  EXPECT_EQ(headers["once-id"], PoisonId());
  EXPECT_EQ(headers["once-disposition"], "retries-exhausted");
  EXPECT_EQ(headers["once-attempt"], std::to_string(kAttemptsMax));
}

INSTANTIATE_TEST_SUITE_P(Handler, Crash, ::testing::Values("abort", "segfault", "kill"),
                         [](const ::testing::TestParamInfo<const char*>& test) {
                           return std::string(test.param);
                         });

}  // namespace
}  // namespace once

int main(int argc, char** argv) {
  return once::testing::RunTestsOrChild(argc, argv, once::Consume);
}
