// Relays of several processes over one store, and what becomes of it when they die.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "adapters/postgres/tests/relay_scene.h"
#include "src/stores/lane_sharing.h"
#include "src/test_hooks.h"
#include "tests/forwarding_seams.h"

namespace once::postgres {
namespace {

using ::testing::IsSupersetOf;
using ::testing::SizeIs;

class RelayTest : public StoreScene {
 protected:
  void SetUp() override {
    MustOpen();
    RunSql(connection(), "CREATE SEQUENCE " + schema().name() + "_handler.turns");
    RunSql(connection(), "CREATE TABLE " + schema().name() +
                             "_handler.orders(value text PRIMARY KEY, turn int8 NOT NULL)");
  }
  // Publishes, and notes in which turn, while the key is locked: who commits later has a later one.
  void PublishAsUser(const UsersSession& session, const std::string& key, const std::string& value,
                     bool commits) {
    session.MustRun("BEGIN");
    const absl::Status said =
        PublishIn(session.get(), MessageOf(key, value), {.schema = schema().name()});
    EXPECT_TRUE(said.ok()) << said;
    session.MustRun(absl::StrCat("INSERT INTO ", schema().name(), "_handler.orders VALUES('", value,
                                 "', nextval('", schema().name(), "_handler.turns'))"));
    session.MustRun(
        "SELECT pg_sleep(coalesce(nullif(current_setting('once.pause', true), ''), "
        "'0')::float8)");
    session.MustRun(commits ? "COMMIT" : "ROLLBACK");
  }
  std::map<std::string, int> Turns() {
    std::map<std::string, int> turns;
    for (const auto& row :
         RunSql(connection(), "SELECT value, turn FROM " + schema().name() + "_handler.orders")) {
      turns[row[0]] = std::stoi(row[1]);
    }
    return turns;
  }
  // All that were committed, nothing else, in the order of commits for each key.
  void Check(const ToldMessages& told) {
    const std::map<std::string, int> turns = Turns();
    std::set<std::string> committed;
    for (const auto& [value, turn] : turns) committed.insert(value);
    EXPECT_EQ(told.Values(), committed);
    told.Check([&](const std::string& key, const std::vector<std::string>& values) {
      int last = 0;
      for (const std::string& value : values) {
        const auto turn = turns.find(value);
        if (turn == turns.end()) continue;  // told above
        EXPECT_GT(turn->second, last) << "of key " << key << " not in the order of commits";
        last = turn->second;
      }
    });
  }
  std::size_t CountRows(const std::string& table) {
    return std::stoul(
        RunSql(connection(), "SELECT count(*) FROM " + schema().name() + "." + table)[0][0]);
  }
  void EndRelaySessions() {
    RunSql(connection(),
           absl::StrCat("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                        "application_name LIKE 'once:",
                        schema().name(), ":%'"));
  }
};

TEST_F(RelayTest, ThreeRelaysWhoseSessionsEndPublishEverythingInOrder) {
  constexpr int kWriters = 4;
  constexpr int kMessages = 400;
  ToldMessages told;
  std::atomic<int> writing = kWriters;
  std::vector<std::jthread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      const UsersSession session(connection());
      for (int i = 0; i < kMessages; ++i) {
        // Some are open for long, while others are committed that have drawn later numbers.
        session.MustRun(absl::StrCat("SET once.pause TO '", i % 50 == 0 ? 0.1 : 0.0, "'"));
        PublishAsUser(session, absl::StrCat("k", (writer + i) % 7), absl::StrCat(writer, ".", i),
                      i % 7 != 3);
      }
      --writing;
    });
  }
  {
    std::vector<std::jthread> relays;
    for (int i = 0; i < 3; ++i) {
      relays.emplace_back([&](const std::stop_token& stop) {
        const auto store = MustOpen(Options());
        const auto relay = MustCreateRelay(store, told);
        relay->Run(stop).IgnoreError();
      });
    }
    while (writing > 0) {
      absl::SleepFor(absl::Milliseconds(300));
      EndRelaySessions();
    }
  }
  // Whatever the last of them were about when they were stopped.
  MustOpen();
  const auto last = MustCreateRelay(store_, told);
  RunUntilIdle(*last);
  Check(told);
  EXPECT_GT(told.size(), 1'200u);
  EXPECT_EQ(CountRows("outgoing"), 0u);
}

// Before one of its calls all sessions end.
class EndingLog final : public once::testing::ForwardingOutgoingLog, public stores::LaneSharing {
 public:
  EndingLog(OutgoingLog& inner, int ends_at, std::function<void()> end)
      : ForwardingOutgoingLog(inner), ends_at_(ends_at), end_(std::move(end)) {}

  bool has_ended() const { return calls_ >= ends_at_; }

  absl::StatusOr<std::vector<int>> HoldLanes() override {
    Pass();
    return ForwardingOutgoingLog::HoldLanes();
  }
  std::vector<int> FindSurplus() override {
    return dynamic_cast<stores::LaneSharing&>(inner_).FindSurplus();
  }
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override {
    if (lane % 5 == 0) Pass();
    return ForwardingOutgoingLog::FindUnfinished(lane);
  }
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override {
    if (lane % 5 == 0) Pass();
    return ForwardingOutgoingLog::FindUnplaced(lane, bound);
  }
  absl::Status Advance(const OutgoingProgress& progress) override {
    Pass();
    return ForwardingOutgoingLog::Advance(progress);
  }
  absl::StatusOr<std::vector<StreamProgress>> ListStreams() override {
    Pass();
    return ForwardingOutgoingLog::ListStreams();
  }
  absl::StatusOr<bool> IsEpochInUse(std::uint64_t epoch) override {
    Pass();
    return ForwardingOutgoingLog::IsEpochInUse(epoch);
  }
  absl::Status CloseEpoch(std::uint64_t epoch) override {
    Pass();
    return ForwardingOutgoingLog::CloseEpoch(epoch);
  }

 private:
  void Pass() {
    if (++calls_ == ends_at_) end_();
  }

  const int ends_at_;
  const std::function<void()> end_;
  int calls_ = 0;
};

class EndingStore final : public once::testing::ForwardingStore {
 public:
  EndingStore(const std::shared_ptr<DedupStore>& inner, int ends_at, std::function<void()> end)
      : ForwardingStore(inner), log_(*inner->transactions()->outgoing(), ends_at, std::move(end)) {}
  EndingLog* outgoing() override { return &log_; }

 private:
  EndingLog log_;
};

TEST_F(RelayTest, BeforeWhicheverCallItsSessionEndsNothingIsLostOrRenumbered) {
  ToldMessages told;
  const UsersSession session(connection());
  constexpr int kCalls = 40;
  bool has_ended = true;
  for (int call = 1; call <= kCalls && has_ended; ++call) {
    for (int i = 0; i < 8; ++i) {
      PublishAsUser(session, absl::StrCat("k", i % 3), absl::StrCat(call, ".", i), i != 5);
    }
    const auto store = std::make_shared<EndingStore>(store_, call, [this] { EndRelaySessions(); });
    const auto relay = MustCreateRelay(store, told);
    RunUntilIdle(*relay);
    has_ended = store->outgoing()->has_ended();
    EXPECT_TRUE(has_ended || call > 12) << "only " << call << " calls";
  }
  Check(told);
  EXPECT_EQ(CountRows("outgoing"), 0u);
  EXPECT_EQ(RunSql(connection(), "SELECT count(*) FROM " + schema().name() +
                                     ".outgoing_facts WHERE key >= 'r' AND key < 's'")[0][0],
            "0");
}

TEST_F(RelayTest, RelaysLetEachOtherHaveTheirShare) {
  ToldMessages told;
  const auto lanes_of = [&](OutgoingLog& log) { return log.HoldLanes().value().size(); };
  const auto second = MustOpen(Options());
  const auto relay = MustCreateRelay(store_, told);
  RunUntilIdle(*relay);
  const auto other = MustCreateRelay(second, told);
  for (int i = 0; i < 200 && lanes_of(*second->transactions()->outgoing()) < 8; ++i) {
    EXPECT_TRUE(relay->Step().ok());
    EXPECT_TRUE(other->Step().ok());
    absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_EQ(lanes_of(*second->transactions()->outgoing()), 8u);
  EXPECT_EQ(lanes_of(*store_->transactions()->outgoing()), 8u);
}

TEST_F(RelayTest, TheEpochOfARelayThatLivesIsLeftAlone) {
  ToldMessages told;
  const auto publish = [&](const std::string& value) {
    const UsersSession session(connection());
    PublishAsUser(session, "k", value, true);
  };
  publish("1");
  const auto relay = MustCreateRelay(store_, told);
  RunUntilIdle(*relay);
  EXPECT_EQ(CountRows("outgoing_streams"), 1u);
  {
    const auto second = MustOpen(Options());
    const auto other = MustCreateRelay(second, told);
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(other->Step().ok());
    EXPECT_EQ(CountRows("outgoing_streams"), 1u) << "its last mark is to be published yet";
  }
  publish("2");
  RunUntilIdle(*relay);
  Check(told);
}

TEST_F(RelayTest, TheStreamsOfARelayThatIsGoneAreClosed) {
  ToldMessages told;
  {
    const UsersSession session(connection());
    PublishAsUser(session, "k", "1", true);
  }
  {
    const auto gone = MustOpen(Options());
    const auto relay = MustCreateRelay(gone, told);
    RunUntilIdle(*relay);
  }
  EXPECT_EQ(CountRows("outgoing_streams"), 1u);
  const auto relay = MustCreateRelay(store_, told);
  for (int i = 0; i < 100 && CountRows("outgoing_streams") > 0; ++i) {
    RunUntilIdle(*relay);
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_EQ(CountRows("outgoing_streams"), 0u);
}

// A broker that hears everything and, for now, answers nothing.
class SilentClient final : public once::testing::ForwardingRecordClient {
 public:
  SilentClient(std::unique_ptr<RecordClient> inner, const bool& is_silent)
      : ForwardingRecordClient(std::move(inner)), is_silent_(is_silent) {}
  void Poll(absl::Time deadline, const Listener& listener) override {
    if (!is_silent_) ForwardingRecordClient::Poll(deadline, listener);
  }

 private:
  const bool& is_silent_;
};

TEST_F(RelayTest, TheLanesOfARelayThatHangsAreTakenAndItWakesUpWithoutHarm) {
  ToldMessages told;
  bool is_silent = true;
  const auto clients = told.clients();
  auto hanging =
      OutboxRelay::Create({.store = store_,
                           .clients = [&](const RecordClientOptions& options)
                               -> absl::StatusOr<std::unique_ptr<RecordClient>> {
                             auto client = clients(options);
                             if (!client.ok()) return client.status();
                             return std::make_unique<SilentClient>(*std::move(client), is_silent);
                           },
                           .round_rows_max = 5,
                           .log = NoLog()});
  ASSERT_TRUE(hanging.ok()) << hanging.status();
  const UsersSession user(connection());
  for (int i = 1; i <= 7; ++i) PublishAsUser(user, "k", absl::StrCat(i), true);
  for (int i = 0; i < 100 && told.size() < 5; ++i) {
    (*hanging)->Step().IgnoreError();
    absl::SleepFor(absl::Milliseconds(1));
  }
  const std::size_t sent_before = told.size();
  EXPECT_GE(sent_before, 5u);
  EXPECT_LE(CountRows("outgoing"), 7u);

  const absl::Time hangs_since = absl::Now();
  const auto second = MustOpen(Options());
  const auto relay = MustCreateRelay(second, told);
  while (CountRows("outgoing") > 0 && absl::Now() < hangs_since + absl::Seconds(30)) {
    relay->Step().IgnoreError();
    absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_EQ(CountRows("outgoing"), 0u) << "nobody has taken over";
  EXPECT_GT(absl::Now() - hangs_since, absl::Seconds(14)) << "nothing is taken from who lives";
  PublishAsUser(user, "k", "8", true);
  RunUntilIdle(*relay);

  is_silent = false;
  for (int i = 0; i < 50; ++i) {
    (*hanging)->Step().IgnoreError();
    relay->Step().IgnoreError();
    absl::SleepFor(absl::Milliseconds(50));
  }
  PublishAsUser(user, "k", "9", true);
  for (int i = 0; i < 100 && CountRows("outgoing") > 0; ++i) {
    (*hanging)->Step().IgnoreError();
    relay->Step().IgnoreError();
    absl::SleepFor(absl::Milliseconds(20));
  }
  Check(told);
  EXPECT_EQ(CountRows("outgoing"), 0u);
}

// What a child does, in a program of its own: it is told by the environment where to die.
constexpr const char* kChildVariable = "ONCE_POSTGRES_RELAY_CHILD";

class RelayPoints : public RelayTest {
 protected:
  // True: it was killed, as it should be.
  bool RunChild(const std::string& point, int hit, int first) {
    const pid_t child = fork();
    if (child == 0) {
      setenv("ONCE_KILL_AT", absl::StrCat(point, ":", hit).c_str(), 1);
      setenv(kChildVariable,
             absl::StrCat(schema().name(), " ", folder_.File("sent"), " ", first).c_str(), 1);
      execl("/proc/self/exe", "child", "--gtest_filter=PostgresRelayChild.*", "--gtest_brief=1",
            static_cast<char*>(nullptr));
      _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

  const once::testing::ScratchFolder folder_;
};

TEST_F(RelayPoints, AtNoPlaceWhereARelayMayDieAnythingIsLostOrRenumbered) {
  std::vector<std::string> points;
  for (const std::string& point : test_hooks::KillPoints()) {
    if (absl::StartsWith(point, "outbox_relay.") || absl::StartsWith(point, "transact.") ||
        absl::StartsWith(point, "lanes.")) {
      points.push_back(point);
    }
  }
  if (points.empty()) GTEST_SKIP() << "built without kill points";
  EXPECT_THAT(points, IsSupersetOf({"lanes.locked", "lanes.read_ahead"}));
  int child = 0;
  for (const std::string& point : points) {
    for (const int hit : {1, 2, 7}) {
      if (point == "lanes.locked" && hit > 1) continue;  // once in a life
      EXPECT_TRUE(RunChild(point, hit, 1000 * ++child)) << point << " " << hit;
    }
  }
  ToldMessages told;
  std::ifstream file(folder_.File("sent"));
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    ASSERT_THAT(words, SizeIs(3)) << line;
    told.Add({.stamp = words[0], .key = words[1], .value = words[2]});
  }
  EXPECT_GT(told.size(), 0u);
  const auto relay = MustCreateRelay(store_, told);
  RunUntilIdle(*relay);
  const std::vector<std::string> effects = Effects();
  EXPECT_EQ(told.Values(), std::set<std::string>(effects.begin(), effects.end()));
  EXPECT_GT(effects.size(), 50u);
  told.Check([](const std::string& key, const std::vector<std::string>& values) {
    for (std::size_t i = 1; i < values.size(); ++i) {
      EXPECT_LT(std::stoi(values[i - 1]), std::stoi(values[i])) << "of key " << key;
    }
  });
  EXPECT_EQ(CountRows("outgoing"), 0u);
}

TEST(PostgresRelayChild, PublishesUntilItDies) {
  const char* const variable = std::getenv(kChildVariable);
  if (variable == nullptr) GTEST_SKIP() << "only as a child";
  const std::vector<std::string> words = absl::StrSplit(variable, ' ');
  const auto store = OpenStore(OptionsFor(testing::SharedServer(), words.at(0)));
  ASSERT_TRUE(store.ok()) << store.status();
  const int sent = open(words[1].c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const auto relay = OutboxRelay::Create(
      {.store = *store,
       .clients =
           [sent](const RecordClientOptions&) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
         return std::make_unique<once::testing::TellingClient>([sent](const OutgoingRecord& one) {
           const std::string line = absl::StrCat(ToAbsl(one.stamp), " ", *one.message.key, " ",
                                                 *one.message.value, "\n");
           if (write(sent, line.data(), line.size()) < 0) _exit(2);
         });
       },
       .round_rows_max = 5,
       .log = NoLog()});
  ASSERT_TRUE(relay.ok()) << relay.status();
  for (int i = 0; i < 60; ++i) {
    const std::string value = absl::StrCat(std::stoi(words.at(2)) + i);
    const absl::Status done = Transact(**store, [&](Transaction& transaction) -> absl::Status {
      absl::Status effect =
          Connection(transaction)
              .Execute("INSERT INTO " + words[0] + "_handler.effects(body) VALUES($1)",
                       {Bytes{value}})
              .status();
      if (!effect.ok()) return effect;
      return transaction.Publish(MessageOf(absl::StrCat("k", i % 4), value));
    });
    ASSERT_TRUE(done.ok()) << done;
    if (i % 3 == 0) (*relay)->Step().IgnoreError();
  }
}

}  // namespace
}  // namespace once::postgres
