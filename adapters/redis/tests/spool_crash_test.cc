// A process that spools is killed, and another one publishes what it has left: everything that had
// an outcome, in the order of each key, and whatever goes out twice under its own number.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "adapters/redis/tests/redis_server.h"
#include "adapters/redis/tests/spool_book.h"
#include "adapters/redis/tests/spool_words.h"
#include "once/redis/spool.h"
#include "src/test_hooks.h"

namespace once::redis {
namespace {

using testing::Arrival;
using testing::AwaitEmpty;
using testing::Book;
using testing::ExpectAllInOrder;
using testing::OpenTelling;

constexpr int kKeys = 20;

SpoolLogOptions PlaceOf(const std::string& url, absl::Duration lease = absl::Minutes(1)) {
  return {.server = {.url = url}, .key_prefix = "crash:", .lane_lease = lease};
}

constexpr const char* kChildServer = "ONCE_TEST_SPOOL_SERVER";
constexpr int kChildPipe = 3;

// The life of the process that is killed, in a program of its own: it sends, its relay publishes,
// and both are told through the pipe, a line each.
TEST(RedisSpoolChild, DISABLED_SpoolsUntilItIsKilled) {
  const char* const url = std::getenv(kChildServer);
  ASSERT_NE(url, nullptr);
  const auto say = [](const std::string& line) {
    if (write(kChildPipe, line.data(), line.size()) < 0) _exit(1);
  };
  auto producer = OpenTelling(PlaceOf(url, absl::Seconds(3)), [&say](const OutgoingRecord& record) {
    say(absl::StrCat("sent ", *record.message.key, " ", *record.message.value, " ",
                     std::string(record.stamp), "\n"));
  });
  ASSERT_TRUE(producer.ok()) << producer.status();
  for (int value = 0;; ++value) {
    (*producer)->Send(testing::MessageOf(absl::StrCat(value), absl::StrCat("k", value % kKeys)),
                      [&say, value](const SendOutcome& outcome) {
                        if (outcome.status.ok()) say(absl::StrCat("ok x ", value, " x\n"));
                      });
    if (value % 50 == 0) absl::SleepFor(absl::Milliseconds(2));
  }
}

// `kill_at`: a kill point and its turn; empty: none. What it says comes out of `pipe`.
pid_t StartChild(const std::string& url, const std::string& kill_at, int& pipe) {
  int ends[2] = {-1, -1};
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t process = fork();
  if (process == 0) {
    const int written = dup(ends[1]);
    dup2(written, kChildPipe);
    setenv(kChildServer, url.c_str(), 1);
    if (!kill_at.empty()) setenv("ONCE_KILL_AT", kill_at.c_str(), 1);
    execl("/proc/self/exe", "child", "--gtest_filter=RedisSpoolChild.*",
          "--gtest_also_run_disabled_tests", nullptr);
    _exit(127);
  }
  close(ends[1]);
  pipe = ends[0];
  return process;
}

void Read(const std::string& line, Book& book) {
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  ASSERT_EQ(words.size(), 4u) << line;
  int value = 0;
  ASSERT_TRUE(absl::SimpleAtoi(words[2], &value)) << line;
  if (words[0] == "ok") {
    book.spooled.insert(value);
  } else {
    book.arrivals.push_back({.key = words[1], .value = value, .stamp = words[3]});
  }
}

// Kills the process once it has been told of so many outcomes, and reads the rest. `is_killed`: it
// was not dead by itself before.
Book ReadUntilKilled(pid_t process, int pipe, std::size_t spooled_min, bool& is_killed) {
  Book book;
  std::string text;
  is_killed = false;
  char part[65536];
  while (true) {
    const ssize_t size = read(pipe, part, sizeof part);
    if (size <= 0) break;
    text.append(part, static_cast<std::size_t>(size));
    std::size_t end = 0;
    while ((end = text.find('\n')) != std::string::npos) {
      Read(text.substr(0, end), book);
      text.erase(0, end + 1);
    }
    if (!is_killed && book.spooled.size() >= spooled_min) {
      kill(process, SIGKILL);
      is_killed = true;
    }
  }
  waitpid(process, nullptr, 0);
  return book;
}

class RedisSpoolKill : public ::testing::TestWithParam<std::string> {};

TEST_P(RedisSpoolKill, AnotherProcessPublishesWhatAKilledOneHasSpooled) {
  if (!GetParam().empty() && !test_hooks::AreCompiledIn()) {
    GTEST_SKIP() << "built without ONCE_TEST_HOOKS";
  }
  const testing::RedisServer server;
  int pipe = -1;
  const pid_t process = StartChild(server.url(), GetParam(), pipe);
  ASSERT_GT(process, 0);
  bool is_killed = false;
  // Long before the second number it has come to its point, however slow its relay is.
  const std::size_t spooled_min = GetParam().empty() ? 3000 : 50'000;
  Book killed = ReadUntilKilled(process, pipe, spooled_min, is_killed);
  close(pipe);
  EXPECT_EQ(is_killed, GetParam().empty()) << "it never came there: " << killed.spooled.size();

  std::mutex mutex;
  std::vector<Arrival> later;
  const auto tell = [&](const OutgoingRecord& record) {
    const std::lock_guard lock(mutex);
    int value = 0;
    EXPECT_TRUE(absl::SimpleAtoi(*record.message.value, &value));
    later.push_back(
        {.key = *record.message.key, .value = value, .stamp = std::string(record.stamp)});
  };
  auto survivor = OpenTelling(PlaceOf(server.url()), tell);
  ASSERT_TRUE(survivor.ok()) << survivor.status();
  const auto look = testing::MustOpenSpool(PlaceOf(server.url()));
  ASSERT_NE(look, nullptr);
  AwaitEmpty(look->outgoing());
  (*survivor)->Close(absl::Now() + absl::Seconds(10));
  const std::lock_guard lock(mutex);
  killed.arrivals.insert(killed.arrivals.end(), later.begin(), later.end());
  ExpectAllInOrder(killed);
}

std::string NameOf(const ::testing::TestParamInfo<std::string>& point) {
  std::string name = point.param.empty() ? "some_time" : point.param;
  for (char& byte : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(byte))) byte = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(At, RedisSpoolKill,
                         ::testing::Values("", "redis_spool.before_append:4",
                                           "redis_spool.appended:4", "redis_spool.lanes_held:1",
                                           "redis_spool.advanced:3", "outbox_relay.sent:9",
                                           "spool.appended:5"),
                         NameOf);

// Two that live: each relays a part of the keys, and each key's messages keep their order.
TEST(RedisSpoolCrash, TwoProcessesDrainOneSpoolInTheOrderOfItsKeys) {
  std::mutex mutex;
  std::map<std::string, std::vector<int>> values;
  const auto tell = [&](const OutgoingRecord& record) {
    const std::lock_guard lock(mutex);
    int value = 0;
    EXPECT_TRUE(absl::SimpleAtoi(*record.message.value, &value));
    values[*record.message.key].push_back(value);
  };
  const testing::RedisServer server;
  auto one = OpenTelling(PlaceOf(server.url()), tell);
  auto other = OpenTelling(PlaceOf(server.url()), tell);
  ASSERT_TRUE(one.ok()) << one.status();
  ASSERT_TRUE(other.ok()) << other.status();
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    // Who has its outcome comes before whoever is sent then, through either of them.
    Producer& producer = round % 2 == 0 ? **one : **other;
    for (int key = 0; key < kKeys; ++key) {
      producer.Send(testing::MessageOf(absl::StrCat(round), absl::StrCat("k", key)),
                    [](const SendOutcome& outcome) { EXPECT_TRUE(outcome.status.ok()); });
    }
    EXPECT_EQ(producer.Flush(absl::Now() + absl::Seconds(10)).count, 0u);
  }
  const auto look = testing::MustOpenSpool(PlaceOf(server.url()));
  ASSERT_NE(look, nullptr);
  AwaitEmpty(look->outgoing());
  const std::lock_guard lock(mutex);
  EXPECT_EQ(values.size(), static_cast<std::size_t>(kKeys));
  for (const auto& [key, list] : values) {
    ASSERT_EQ(list.size(), static_cast<std::size_t>(kRounds)) << key;
    EXPECT_TRUE(std::is_sorted(list.begin(), list.end())) << key;
  }
}

}  // namespace
}  // namespace once::redis
