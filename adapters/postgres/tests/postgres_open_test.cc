// Opening: what is refused, and what is right for whom.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <set>
#include <stdexcept>
#include <thread>

#include "adapters/postgres/settings.h"
#include "adapters/postgres/tests/fake_pooler.h"
#include "adapters/postgres/tests/former_format.h"
#include "adapters/postgres/tests/store_scene.h"
#include "adapters/postgres/tests/unix_socket.h"

namespace once::postgres {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class OpenTest : public StoreScene {};

std::string SettingOf(const std::string& connection, std::string_view name) {
  const auto settings = SettingsFor({.connection = connection}, "once:test");
  EXPECT_TRUE(settings.ok()) << settings.status();
  for (const auto& [key, value] : settings.value_or(ConnectionSettings{})) {
    if (key == name) return value;
  }
  return "";
}

TEST_F(OpenTest, AServerElsewhereIsVerifiedUnlessItIsSaidOtherwise) {
  EXPECT_EQ(SettingOf("host=db.example.com", "sslmode"), "verify-full");
  EXPECT_EQ(SettingOf("postgresql://a:b@10.0.0.1:5433/c", "sslmode"), "verify-full");
  EXPECT_EQ(SettingOf("host=localhost,db2", "sslmode"), "verify-full");
  EXPECT_EQ(SettingOf("host=db hostaddr=127.0.0.1", "sslmode"), "verify-full");
  EXPECT_EQ(SettingOf("host=localhost hostaddr=10.0.0.1", "sslmode"), "verify-full");
  EXPECT_EQ(SettingOf("host=/run/postgresql hostaddr=10.0.0.1", "sslmode"), "verify-full");
  EXPECT_EQ(SettingOf("host=127.evil.example", "sslmode"), "verify-full");
  EXPECT_EQ(SettingOf("host=127.1", "sslmode"), "verify-full");
  EXPECT_EQ(SettingOf("service=billing", "sslmode"), "verify-full");
  EXPECT_EQ(SettingOf("host=db sslmode=disable", "sslmode"), "disable");
  for (const char* local : {"host=/run/postgresql", "host=localhost", "hostaddr=127.0.0.1",
                            "host=::1", "dbname=x", "host=/a,127.0.0.2"}) {
    EXPECT_EQ(SettingOf(local, "sslmode"), "") << local;
  }
  EXPECT_EQ(SettingOf("host=db sslrootcert=mine.crt", "sslrootcert"), "mine.crt");
}

TEST_F(OpenTest, AServerThatTheEnvironmentNamesIsVerifiedToo) {
  constexpr std::pair<const char*, const char*> kElsewhere[] = {
      {"PGHOST", "db.example.com"}, {"PGHOSTADDR", "10.0.0.1"}, {"PGSERVICE", "billing"}};
  for (const auto& [variable, value] : kElsewhere) {
    setenv(variable, value, 1);
    EXPECT_EQ(SettingOf("dbname=x", "sslmode"), "verify-full") << variable;
    unsetenv(variable);
  }
  EXPECT_EQ(SettingOf("dbname=x", "sslmode"), "");
}

TEST_F(OpenTest, AConnectionStringThatIsNoneIsNotQuoted) {
  for (const char* wrong :
       {"password=x geheim", "password='geheim", "postgresql://a:geheim%zz@db", "geheim=x"}) {
    const absl::Status refused = OpenStore({.connection = wrong}).status();
    EXPECT_THAT(refused, Says(absl::StatusCode::kInvalidArgument, "no connection string"));
    EXPECT_THAT(refused.ToString(), Not(HasSubstr("geheim")));
  }
}

TEST_F(OpenTest, TheUsersOwnSettingsOfTheServerStay) {
  EXPECT_THAT(SettingOf("options='-c work_mem=1MB' application_name=mine", "options"),
              AllOf(HasSubstr("-c work_mem=1MB"), HasSubstr("lock_timeout=800")));
  EXPECT_EQ(SettingOf("application_name=mine", "application_name"), "once:test");
}

// What a server says when a login fails, in the language of its operator.
class RefusingServer {
 public:
  explicit RefusingServer(std::string sqlstate) : sqlstate_(std::move(sqlstate)) {
    listener_ = testing::ListenAt(testing::SocketIn(folder_.path()));
    thread_ = std::thread([this] { Run(); });
  }
  ~RefusingServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::string connection() const {
    return absl::StrCat("host=", folder_.path(), " dbname=billing user=billing");
  }

 private:
  void Run() const {
    for (int client = accept(listener_, nullptr, nullptr); client >= 0;
         client = accept(listener_, nullptr, nullptr)) {
      char start[1024];
      EXPECT_GT(read(client, start, sizeof(start)), 0);
      const std::string fields = absl::StrCat("SSCHLIMM\n", "VFATAL\n", "C", sqlstate_, "\n",
                                              "MPasswort-Authentifizierung fehlgeschlagen\n\n");
      std::string message = absl::StrCat("E...", "?", fields);
      message[1] = message[2] = message[3] = '\0';
      message[4] = static_cast<char>(4 + fields.size());
      std::replace(message.begin() + 5, message.end(), '\n', '\0');
      EXPECT_GT(write(client, message.data(), message.size()), 0);
      close(client);
    }
  }

  const std::string sqlstate_;
  const once::testing::ScratchFolder folder_;
  int listener_ = -1;
  std::thread thread_;
};

TEST_F(OpenTest, ARefusalIsUnderstoodInAnyLanguage) {
  constexpr std::pair<const char*, absl::StatusCode> kRefusals[] = {
      {"28P01", absl::StatusCode::kPermissionDenied},
      {"28000", absl::StatusCode::kPermissionDenied},
      {"42501", absl::StatusCode::kPermissionDenied},
      {"3D000", absl::StatusCode::kNotFound},
      {"57P03", absl::StatusCode::kUnavailable}};
  for (const auto& [sqlstate, code] : kRefusals) {
    const RefusingServer server(sqlstate);
    const absl::Status opened = OpenStore({.connection = server.connection()}).status();
    EXPECT_THAT(opened, Says(code, "Passwort-Authentifizierung")) << sqlstate;
  }
}

TEST_F(OpenTest, OptionsThatCannotBeAreRefusedByName) {
  const auto refused = [&](void (*spoil)(StoreOptions&), std::string_view said) {
    StoreOptions options{.connection = connection()};
    spoil(options);
    EXPECT_THAT(OpenStore(options).status(), Says(absl::StatusCode::kInvalidArgument, said));
  };
  refused([](StoreOptions& o) { o.schema = "Once"; }, "schema");
  refused([](StoreOptions& o) { o.handler_lock_timeout = absl::ZeroDuration(); }, "timeouts");
  refused([](StoreOptions& o) { o.schema = "a\"; DROP"; }, "schema");
  refused([](StoreOptions& o) { o.schema = ""; }, "schema");
  refused([](StoreOptions& o) { o.schema = "pg_mine"; }, "schema");
  refused([](StoreOptions& o) { o.schema = "1st"; }, "schema");
  refused([](StoreOptions& o) { o.lock_timeout = absl::Seconds(1); }, "lock_timeout");
  refused([](StoreOptions& o) { o.connections_max = 1; }, "connections_max");
  refused([](StoreOptions& o) { o.answer_timeout = absl::ZeroDuration(); }, "timeouts");
  refused([](StoreOptions& o) { o.connection = "host"; }, "connection string");
}

TEST_F(OpenTest, AStoreThatMustExistIsNotCreated) {
  StoreOptions options = Options();
  options.must_exist = true;
  EXPECT_THAT(OpenStore(options).status(), Says(absl::StatusCode::kNotFound, "must_exist"));
  MustOpen();
  EXPECT_TRUE(OpenStore(options).ok());
}

TEST_F(OpenTest, ASchemaOfSomebodyElseIsLeftAlone) {
  StoreOptions options = Options();
  options.schema += "_handler";  // has a table already
  EXPECT_THAT(OpenStore(options).status(),
              Says(absl::StatusCode::kFailedPrecondition, "another StoreOptions::schema"));
}

TEST_F(OpenTest, TheIdsOfAStoreOfFormat2AreKeptForEverAndChangedWhereTheyWereKnown) {
  MustOpen();
  MustApply("to know the scope");
  store_.reset();
  ReturnToFormat2(connection(), schema().name());
  PutFormerId(connection(), schema().name(), "'completed', 1, 1, NULL, 'result'");
  PutFormerId(connection(), schema().name(), "'dead', 3, 4, NULL, NULL");
  MustOpen();
  EXPECT_TRUE(IsCompleted("completed"));
  EXPECT_FALSE(IsCompleted("to know the scope")) << "the table it was in is gone";
  const auto found = store_->operations()->FindId("dead");
  ASSERT_TRUE(found.ok() && found->size() == 1u) << found.status();
  EXPECT_EQ(found->front().record.state, IdState::kDead);
  EXPECT_EQ(found->front().record.attempt, 4);
  const absl::Status discarded = store_->operations()->Discard({"scope", "dead"});
  ASSERT_TRUE(discarded.ok()) << discarded;
  const auto rows = RunSql(connection(), absl::StrCat("SELECT encode(id, 'escape'), bucket FROM ",
                                                      schema().name(), ".known_ids ORDER BY 1"));
  EXPECT_THAT(rows, ::testing::ElementsAre(std::vector<std::string>{"completed", "0"},
                                           std::vector<std::string>{"dead", "1"}));
  const auto oldest = RunSql(
      connection(), absl::StrCat("SELECT min(log_time_max_ms) FROM ", schema().name(), ".buckets"));
  EXPECT_EQ(oldest[0][0], absl::StrCat(std::numeric_limits<std::int64_t>::max()));
}

TEST_F(OpenTest, AStoreOfAnEarlierFormatStaysAsItIsWhereNobodyMayMigrateIt) {
  MustOpen();
  store_.reset();
  ReturnToFormat2(connection(), schema().name());
  StoreOptions options = Options();
  options.may_migrate = false;
  EXPECT_THAT(OpenStore(options).status(),
              Says(absl::StatusCode::kFailedPrecondition, "the store has format 2"));
  const std::string format = "SELECT value FROM " + schema().name() + ".meta WHERE key = 'format'";
  EXPECT_EQ(RunSql(connection(), format)[0][0], "2");
  MustOpen();
  EXPECT_TRUE(OpenStore(options).ok()) << "of our own format it is";
}

TEST_F(OpenTest, AStoreThatAnOlderVersionHasOpenIsNotTakenAwayFromIt) {
  MustOpen();
  ReturnToFormat2(connection(), schema().name());
  EXPECT_THAT(OpenStore(Options()).status(),
              Says(absl::StatusCode::kFailedPrecondition, "stop them"));
  store_.reset();
  MustOpen();
}

TEST_F(OpenTest, AProcessOfAnOlderVersionFindsNoIdsToDamage) {
  MustOpen();
  store_.reset();
  ReturnToFormat2(connection(), schema().name());
  MustOpen();
  EXPECT_THROW(RunSql(connection(), absl::StrCat("SELECT FROM ", schema().name(), ".ids")),
               std::runtime_error);
}

TEST_F(OpenTest, AStoreOfFormat1IsMigratedAndKeepsWhatItHas) {
  const std::string meta = schema().name() + ".meta";
  const std::string positions = schema().name() + ".positions";
  const std::string id = MustOpen(Options())->traits().id;
  ReturnToFormat2(connection(), schema().name());
  PutFormerId(connection(), schema().name(), "'completed', 1, 1, NULL, NULL");
  RunSql(connection(), "ALTER TABLE " + positions + " DROP COLUMN log_time_ms");
  RunSql(connection(), "UPDATE " + meta + " SET value = '1' WHERE key = 'format'");
  RunSql(connection(), "INSERT INTO " + positions +
                           " VALUES('c', 'g', 't', 0, 41, 9, 77, 41, 40, 1600000000000, 1, 2)");
  const std::shared_ptr<DedupStore> store = MustOpen(Options());
  EXPECT_EQ(store->traits().id, id);
  const auto rows = store->operations()->ListPositions();
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->front().stamp, (PositionStamp{41, 9, 77}));
  EXPECT_EQ(rows->front().last_applied, (AppliedRecord{.offset = 40,
                                                       .timestamp_ms = 1'600'000'000'000,
                                                       .fingerprint = {1, 2},
                                                       .log_time_ms = -1}));
  store_ = MustOpen(Options());
  ASSERT_NE(store_, nullptr) << "a second time there is nothing to do";
  EXPECT_TRUE(IsCompleted("completed"));
}

TEST_F(OpenTest, ANewerFormatIsLeftAlone) {
  MustOpen();
  RunSql(connection(),
         "UPDATE " + schema().name() + ".meta SET value = '1000' WHERE key = 'format'");
  EXPECT_THAT(OpenStore(Options()).status(),
              Says(absl::StatusCode::kFailedPrecondition, "newer version"));
}

TEST_F(OpenTest, ManyMayOpenANewStoreAtOnce) {
  std::vector<std::thread> threads;
  std::vector<std::shared_ptr<DedupStore>> stores(6);
  const StoreOptions options = Options();
  for (auto& store : stores) {
    threads.emplace_back([&store, &options] { store = MustOpen(options); });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::uint64_t> counts;
  for (const auto& store : stores) {
    ASSERT_NE(store, nullptr);
    EXPECT_EQ(store->traits().id, stores[0]->traits().id);
    counts.insert(store->traits().open_count);
  }
  EXPECT_EQ(counts.size(), stores.size());
}

TEST_F(OpenTest, MoreTransactionsThanConnectionsWaitAndAreTold) {
  StoreOptions options = Options();
  options.connections_max = 2;
  store_ = MustOpen(options);
  const auto first = Begin();
  auto second = Begin();
  EXPECT_THAT(transactions().Begin({}).status(),
              Says(absl::StatusCode::kUnavailable, "connections_max"));
  second.reset();
  EXPECT_NE(Begin(), nullptr);
}

// Poolers, on a server of their own: its socket is at the usual place.
class PooledOpen : public OpenTest {
 protected:
  std::string connection() const override { return server_.connection(); }
  void TearDown() override {
    store_.reset();
    schema_.reset();  // its server goes first otherwise
  }
  StoreOptions Through(const testing::FakePooler& pooler) {
    return OptionsFor(absl::StrCat("host=", pooler.folder(), " dbname=postgres user=once"),
                      schema().name());
  }

  testing::PrivateServer server_;
};

TEST_F(PooledOpen, APoolOfTransactionsIsRefused) {
  const testing::FakePooler pooler(server_.socket_folder(), testing::PoolMode::kTransaction);
  EXPECT_THAT(OpenStore(Through(pooler)).status(),
              Says(absl::StatusCode::kFailedPrecondition, "pool_mode = session"));
}

TEST_F(PooledOpen, APoolOfSessionsIsAsGoodAsTheServer) {
  const testing::FakePooler pooler(server_.socket_folder(), testing::PoolMode::kSession);
  store_ = MustOpen(Through(pooler));
  ASSERT_NE(store_, nullptr);
  MustApply("1");
  EXPECT_TRUE(IsCompleted("1"));
}

TEST_F(PooledOpen, APoolerThatDropsSettingsIsRefused) {
  const testing::FakePooler dropping(server_.socket_folder(), testing::PoolMode::kSession, true);
  EXPECT_THAT(OpenStore(Through(dropping)).status(),
              Says(absl::StatusCode::kFailedPrecondition, "ignore_startup_parameters"));
}

TEST_F(OpenTest, APasswordIsInNoMessage) {
  StoreOptions options{.connection = "host=/nowhere user=once password=geheim dbname=x"};
  const absl::Status refused = OpenStore(options).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(refused.ToString(), Not(HasSubstr("geheim")));
  EXPECT_THAT(refused.ToString(), HasSubstr("/nowhere"));
}

// Two processes, as far as the store can tell.
TEST_F(OpenTest, ProcessesThatShareAStoreApplyEveryIdOnce) {
  MustOpen();
  constexpr int kIds = 30;
  const auto work = [&] {
    const std::shared_ptr<DedupStore> store = MustOpen(Options());
    for (int i = 0; i < kIds;) {
      const std::string id = absl::StrCat("id ", i);
      const IdKey key{"scope", id};
      auto begun = store->transactions()->Begin({});
      if (!begun.ok()) continue;
      IdRecord record;
      if (!begun->transaction->FindIds({&key, 1}, {&record, 1}).ok()) continue;
      if (record.state == IdState::kAbsent) {
        if (!AddEffect(*begun->transaction, schema(), id).ok()) continue;
        if (!Complete(*begun->transaction, id).ok()) continue;
        if (!begun->transaction->Commit(Durability::kMachine).ok()) continue;
      }
      ++i;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(Effects(), ::testing::SizeIs(kIds));
}

}  // namespace
}  // namespace once::postgres
