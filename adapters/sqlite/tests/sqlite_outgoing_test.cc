// Outgoing messages of a process that is really killed: every one that was committed is sent, none
// that was not, in the order of commits, and a number never names two.
#include <fcntl.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "absl/strings/str_split.h"

#include "adapters/sqlite/tests/kill_scene.h"
#include "once/outbox_relay.h"
#include "once/transact.h"
#include "src/test_hooks.h"
#include "tests/telling_client.h"

namespace once::sqlite {
namespace {

using testing::TellingClient;

class SqliteOutgoing : public KillScene {
 protected:
  // "sent STAMP KEY VALUE", as each message is sent.
  template <typename Tell>
  std::unique_ptr<OutboxRelay> StartRelay(Tell tell) {
    const auto send = [tell](const OutgoingRecord& record) {
      tell(absl::StrCat("sent ", ToAbsl(record.stamp), " ", *record.message.key, " ",
                        *record.message.value));
    };
    auto relay = OutboxRelay::Create({.store = store_,
                                      .clients = [send](const RecordClientOptions&)
                                          -> absl::StatusOr<std::unique_ptr<RecordClient>> {
                                        return std::make_unique<TellingClient>(send);
                                      },
                                      .round_rows_max = 5,
                                      .log = NoLog()});
    EXPECT_TRUE(relay.ok()) << relay.status();
    return relay.ok() ? *std::move(relay) : nullptr;
  }

  // The effect is what shows afterwards that the transaction was committed.
  absl::Status PublishOne(int number) {
    const std::string value = absl::StrCat(number);
    return Transact(*store_, [&](Transaction& transaction) -> absl::Status {
      if (absl::Status effect = AddEffect(transaction, value); !effect.ok()) return effect;
      return transaction.Publish(
          {.topic = "orders", .key = absl::StrCat("k", number % 4), .value = value});
    });
  }

  void Judge(const std::vector<std::string>& told) {
    std::map<std::string, std::string> by_stamp;
    std::map<std::string, std::string> by_value;
    std::map<std::string, int> last_of_key;
    for (const std::string& line : told) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ');
      ASSERT_EQ(words.size(), 4u) << line;
      const auto [stamp, is_new] = by_stamp.try_emplace(words[1], words[3]);
      EXPECT_EQ(stamp->second, words[3]) << "a number that names two messages";
      EXPECT_EQ(by_value.try_emplace(words[3], words[1]).first->second, words[1])
          << "a message with two numbers";
      if (!is_new) continue;
      const int number = std::stoi(words[3]);
      EXPECT_GT(number, last_of_key[words[2]]) << "not in the order of commits";
      last_of_key[words[2]] = number;
    }
    std::set<std::string> sent;
    for (const auto& [value, stamp] : by_value) sent.insert(value);
    const std::vector<std::string> rows = OwnConnection(path()).Run("SELECT row FROM effects").rows;
    EXPECT_EQ(sent, std::set<std::string>(rows.begin(), rows.end()));
    EXPECT_GT(rows.size(), 50u);
  }
};

TEST_F(SqliteOutgoing, OfAKilledProcessAreAllSentUnderOneNumberEach) {
  std::vector<std::string> told;
  int child = 0;
  for (const std::size_t lines : {1, 4, 9, 16, 25, 40, 60}) {
    const int first = 1000 * ++child;
    for (std::string& line : RunAndKill(lines, [&](const auto& tell) {
           const auto relay = StartRelay(tell);
           for (int i = 0; relay != nullptr; ++i) {
             // Three transactions for a turn: rounds of several messages, and a backlog.
             if (!PublishOne(first + i).ok()) return;
             if (i % 3 == 0) relay->Step().IgnoreError();
           }
         })) {
      told.push_back(std::move(line));
    }
  }
  MustOpen();
  const auto relay = StartRelay([&told](const std::string& line) { told.push_back(line); });
  ASSERT_NE(relay, nullptr);
  for (int i = 0; i < 10'000 && !relay->is_idle(); ++i) EXPECT_TRUE(relay->Step().ok());
  EXPECT_TRUE(relay->is_idle());
  Judge(told);
}

// What a child does, in a program of its own: it is told by the environment where to die.
constexpr const char* kPathVariable = "ONCE_SQLITE_OUTGOING_CHILD";

std::vector<std::string> PointsOfRelays() {
  std::vector<std::string> points;
  for (const std::string& point : test_hooks::KillPoints()) {
    if (absl::StartsWith(point, "outbox_relay.") || absl::StartsWith(point, "transact.")) {
      points.push_back(point);
    }
  }
  return points;
}

class SqliteOutgoingPoints : public SqliteOutgoing {
 protected:
  // True: it was killed, as it should be.
  bool RunChild(const std::string& point, int hit, int first) {
    store_.reset();
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("ONCE_KILL_AT", absl::StrCat(point, ":", hit).c_str(), 1);
      ::setenv(kPathVariable, absl::StrCat(path(), " ", first).c_str(), 1);
      ::execl("/proc/self/exe", "child", "--gtest_filter=SqliteOutgoingChild.*", "--gtest_brief=1",
              static_cast<char*>(nullptr));
      ::_exit(1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  std::string sent_path() const { return path() + ".sent"; }
};

TEST_F(SqliteOutgoingPoints, AtNoPlaceWhereARelayMayDieAnythingIsLostOrRenumbered) {
  const std::vector<std::string> points = PointsOfRelays();
  if (points.empty()) GTEST_SKIP() << "built without kill points";
  int child = 0;
  for (const std::string& point : points) {
    for (const int hit : {1, 2, 7}) {
      EXPECT_TRUE(RunChild(point, hit, 1000 * ++child)) << point << " " << hit;
    }
  }
  std::ifstream file(sent_path());
  std::vector<std::string> told;
  for (std::string line; std::getline(file, line);) told.push_back(line);
  EXPECT_FALSE(told.empty());
  MustOpen();
  const auto relay = StartRelay([&told](const std::string& line) { told.push_back(line); });
  ASSERT_NE(relay, nullptr);
  for (int i = 0; i < 10'000 && !relay->is_idle(); ++i) EXPECT_TRUE(relay->Step().ok());
  Judge(told);
}

class SqliteOutgoingChild : public SqliteOutgoing {};

TEST_F(SqliteOutgoingChild, PublishesUntilItDies) {
  const char* variable = std::getenv(kPathVariable);
  if (variable == nullptr) GTEST_SKIP() << "only as a child";
  const std::vector<std::string> words = absl::StrSplit(variable, ' ');
  MustOpen(OptionsFor(words.at(0)));
  const int sent = ::open((words[0] + ".sent").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  const auto relay = StartRelay([sent](const std::string& line) {
    if (::write(sent, (line + "\n").data(), line.size() + 1) < 0) ::_exit(2);
  });
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(PublishOne(std::stoi(words.at(1)) + i).ok());
    if (i % 3 == 0) relay->Step().IgnoreError();
  }
}

TEST_F(SqliteOutgoing, MayBePublishedWhileARelayWorks) {
  MustOpen();
  std::vector<std::string> told;
  const auto relay = StartRelay([&told](const std::string& line) { told.push_back(line); });
  ASSERT_NE(relay, nullptr);
  auto transaction = Begin();
  ASSERT_TRUE(transaction->Publish({.topic = "orders", .key = "k", .value = "open"}).ok());
  // It cannot write meanwhile, and there is nothing to write.
  EXPECT_TRUE(relay->Step().ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(relay->Step().ok());
  EXPECT_EQ(told.size(), 1u);
}

}  // namespace
}  // namespace once::sqlite
