// Who is ended when somebody else needs his rows, and who is not.
#include <libpq-fe.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "adapters/postgres/tests/store_scene.h"
#include "adapters/postgres/tests/wire_proxy.h"

namespace once::postgres {
namespace {

using OwnerTest = StoreScene;

// What a child process says when it ends.
enum ChildEnd : int { kWasFenced = 0, kCommitted = 1, kWentWrong = 2 };

// Takes the row, opens a transaction on it, tells the parent, and commits once the parent says so.
ChildEnd WorkAsOwner(const StoreOptions& options, const std::string& effects, int said, int heard) {
  const auto store = OpenStore(options);
  if (!store.ok()) return kWentWrong;
  const TakeRequest request{.key = Orders(), .writer = 1};
  const auto taken = (*store)->transactions()->Take({&request, 1});
  if (!taken.ok()) return kWentWrong;
  const PositionLock lock{.key = Orders(), .expected = taken->front().current};
  auto begun = (*store)->transactions()->Begin({&lock, 1});
  if (!begun.ok() || !begun->transaction) return kWentWrong;
  const auto effect = Connection(*begun->transaction)
                          .Execute("INSERT INTO " + effects + "(body) VALUES($1)", {Bytes{"hung"}});
  char word = 'x';
  if (!effect.ok() || write(said, &word, 1) != 1 || read(heard, &word, 1) != 1) return kWentWrong;
  const PositionUpdate update{.key = Orders(), .position = 1, .reach = 1};
  begun->transaction->SetPositions({&update, 1}).IgnoreError();
  const absl::Status committed = begun->transaction->Commit(Durability::kMachine);
  return committed.ok() ? kCommitted : kWasFenced;
}

// Another process that works on the row, and may be stopped there.
class OtherOwner {
 public:
  OtherOwner(const StoreOptions& options, const std::string& effects) {
    int up[2];
    int down[2];
    if (pipe(up) != 0 || pipe(down) != 0) abort();
    pid_ = fork();
    if (pid_ == 0) _exit(WorkAsOwner(options, effects, up[1], down[0]));
    go_on_ = down[1];
    char word = 0;
    EXPECT_EQ(read(up[0], &word, 1), 1);
    for (const int unused : {up[0], up[1], down[0]}) close(unused);
  }
  ~OtherOwner() {
    if (pid_ != 0) kill(pid_, SIGKILL);
    close(go_on_);
  }
  void Stop() const { kill(pid_, SIGSTOP); }
  int Finish() {
    kill(pid_, SIGCONT);
    EXPECT_EQ(write(go_on_, "x", 1), 1);
    int status = 0;
    waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = 0;
  int go_on_ = -1;
};

absl::Status TryTake(DedupStore& store, std::uint64_t writer) {
  const TakeRequest request{.key = Orders(), .writer = writer};
  return store.transactions()->Take({&request, 1}).status();
}

TEST_F(OwnerTest, AnOwnerThatHangsLosesHisSessionToWhoeverTakesOver) {
  StoreOptions options = Options();
  options.hung_after = absl::Milliseconds(300);
  MustOpen(options)->traits();  // the schema is there before the two meet
  OtherOwner owner(options, schema().effects());
  owner.Stop();
  store_ = MustOpen(options);
  absl::Status taken;
  for (int attempt = 0; attempt < 100; ++attempt) {
    taken = TryTake(*store_, 2);
    if (!absl::IsUnavailable(taken)) break;
  }
  EXPECT_TRUE(taken.ok()) << taken;
  EXPECT_EQ(owner.Finish(), kWasFenced);
  EXPECT_THAT(Effects(), ::testing::IsEmpty());
}

// Its process hangs while the server sends it an answer: to the server it is at work.
TEST_F(OwnerTest, AnOwnerThatHangsOverAnAnswerLosesHisSessionToo) {
  StoreOptions options = Options();
  options.hung_after = absl::Milliseconds(300);
  store_ = MustOpen(options);
  const PositionStamp stamp = Take(*store_, 1);
  const std::string login =
      absl::StrCat(connection(), " application_name=once:", schema().name(), ":1");
  const std::unique_ptr<PGconn, void (*)(PGconn*)> owner(PQconnectdb(login.c_str()), PQfinish);
  const std::string work =
      absl::StrCat("BEGIN; UPDATE ", schema().name(), ".positions SET position = 7; ",
                   "SELECT repeat('x', 1000000) FROM generate_series(1, 100)");
  ASSERT_EQ(PQsendQuery(owner.get(), work.c_str()), 1) << PQerrorMessage(owner.get());
  const std::string waiting = absl::StrCat(
      "SELECT 1 FROM pg_stat_activity WHERE application_name = 'once:", schema().name(),
      ":1' AND state = 'active' AND wait_event_type = 'Client'");
  for (int i = 0; i < 2000 && RunSql(connection(), waiting).empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const TakeRequest request{.key = Orders(), .writer = 2};
  absl::StatusOr<std::vector<TakenPosition>> taken = absl::UnknownError("not asked");
  for (int attempt = 0; attempt < 100; ++attempt) {
    taken = transactions().Take({&request, 1});
    if (!absl::IsUnavailable(taken.status())) break;
  }
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->front().previous, stamp);
}

TEST_F(OwnerTest, AnOwnerThatHasAskedSomethingLatelyIsLeftAtWork) {
  StoreOptions options = Options();
  options.hung_after = absl::Hours(1);
  MustOpen(options)->traits();
  OtherOwner owner(options, schema().effects());
  store_ = MustOpen(options);
  EXPECT_THAT(TryTake(*store_, 2), Says(absl::StatusCode::kUnavailable, "another transaction"));
  EXPECT_EQ(owner.Finish(), kCommitted);
  EXPECT_TRUE(TryTake(*store_, 2).ok());
  EXPECT_THAT(Effects(), ::testing::ElementsAre("hung"));
}

TEST_F(OwnerTest, WhoeverWaitsWithoutAnEndEndsNobody) {
  StoreOptions options = Options();
  MustOpen(options)->traits();
  OtherOwner owner(options, schema().effects());
  options.hung_after = absl::InfiniteDuration();
  store_ = MustOpen(options);
  EXPECT_THAT(TryTake(*store_, 2), Says(absl::StatusCode::kUnavailable, "another transaction"));
  EXPECT_EQ(owner.Finish(), kCommitted);
  EXPECT_TRUE(TryTake(*store_, 2).ok());
}

TEST_F(OwnerTest, ATransactionOfThisOpeningIsNeverTakenForHung) {
  StoreOptions options = Options();
  options.hung_after = absl::Microseconds(1);
  store_ = MustOpen(options);
  const auto transaction = Begin(*store_, Take(*store_, 1));
  ASSERT_NE(transaction, nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_THAT(TryTake(*store_, 2), Says(absl::StatusCode::kUnavailable, "another transaction"));
  EXPECT_TRUE(transaction->Commit(Durability::kMachine).ok());
}

// Another process may be the relay by then.
TEST_F(OwnerTest, ARelayWhoseLockIsGoneWithItsSessionDoesNothingMore) {
  MustOpen();
  Outbox& outbox = transactions().outbox();
  ASSERT_TRUE(outbox.TryAcquireRelay());
  EXPECT_TRUE(outbox.FindPending(10).ok());
  schema().EndSessions();
  const auto other = MustOpen(Options());
  EXPECT_TRUE(other->transactions()->outbox().TryAcquireRelay());
  const std::int64_t sequence = 1;
  EXPECT_FALSE(outbox.MarkPublished({&sequence, 1}).ok());
  EXPECT_FALSE(outbox.FindPending(10).ok());
  outbox.ReleaseRelay();
  EXPECT_FALSE(outbox.TryAcquireRelay());
  other->transactions()->outbox().ReleaseRelay();
  EXPECT_TRUE(outbox.TryAcquireRelay());
  EXPECT_TRUE(outbox.FindPending(10).ok());
  outbox.ReleaseRelay();
}

// As many as are allowed at least: the relay must not wait for a connection of its own doing.
TEST_F(OwnerTest, ARelayAndATransactionNeedTwoConnectionsTogether) {
  StoreOptions options = Options();
  options.connections_max = 2;
  store_ = MustOpen(options);
  const auto transaction = Begin();
  Outbox& outbox = transactions().outbox();
  ASSERT_TRUE(outbox.TryAcquireRelay());
  const auto pending = outbox.FindPending(10);
  EXPECT_TRUE(pending.ok()) << pending.status();
  outbox.ReleaseRelay();
}

// Nothing can be locked that is not there: the second one must not write over the first one's row.
TEST_F(OwnerTest, OfTwoWhoCreateARowAtOnceOneIsTold) {
  StoreOptions options = Options();
  options.lock_timeout = absl::Milliseconds(900);
  store_ = MustOpen(options);
  const auto first = Begin();
  ASSERT_NE(first, nullptr);
  const auto created = Connection(*first).Execute(
      absl::StrCat("INSERT INTO ", schema().name(),
                   ".positions VALUES('cluster', 'group', 'orders', 0, 5, 1, 77, 5)"));
  ASSERT_TRUE(created.ok()) << created.status();
  absl::StatusOr<std::vector<TakenPosition>> taken = absl::UnknownError("not answered");
  std::thread second([&] {
    const TakeRequest request{.key = Orders(), .writer = 2};
    taken = transactions().Take({&request, 1});
  });
  const std::string waiting = absl::StrCat(
      "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'once:", schema().name(),
      ":%' AND wait_event_type = 'Lock'");
  for (int i = 0; i < 400 && RunSql(connection(), waiting).empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(first->Commit(Durability::kMachine).ok());
  second.join();
  if (taken.ok()) {
    EXPECT_EQ(taken->front().previous, (PositionStamp{5, 1, 77}));
  } else {
    EXPECT_TRUE(absl::IsAborted(taken.status()) || absl::IsUnavailable(taken.status()))
        << taken.status();
  }
}

// The network has swallowed the end of the connection: the server would wait for it for minutes.
TEST_F(OwnerTest, ALostSessionOfOursThatTheServerBelievesToBeAliveIsEnded) {
  PrivateServer server;
  testing::WireProxy proxy(server.socket_folder(), [] {});
  schema_ = std::make_unique<TestSchema>(server.connection());
  store_ = MustOpen(OptionsFor(absl::StrCat("host=", proxy.folder(), " dbname=postgres user=once"),
                               schema_->name()));
  const PositionStamp stamp = Take(*store_, 1);
  const auto transaction = Begin(*store_, stamp);
  ASSERT_NE(transaction, nullptr);
  proxy.Arm(testing::Cut::kUnnoticed);
  EXPECT_TRUE(absl::IsUnknown(transaction->Commit(Durability::kMachine)));
  const TakeRequest request{.key = Orders(), .writer = 2};
  const auto taken = transactions().Take({&request, 1});
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->front().previous, stamp);
  schema_.reset();  // its server goes first otherwise
}

}  // namespace
}  // namespace once::postgres
