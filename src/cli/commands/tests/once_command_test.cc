// The `once` command on real SQLite stores: closed ones, ones that this or another process has
// open, ones whose owner was killed, hangs, or serves nobody. Every exit code, every way in.
#include "tests/once_command.h"

#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "once/dead_letter.h"
#include "once/operator_socket.h"
#include "once/sqlite/store.h"
#include "once/transact.h"
#include "src/cli/commands/store_access.h"
#include "src/cli/exit_code.h"
#include "tests/operator/scripted_operations.h"

namespace once::cli {
namespace {

using ::testing::AllOf;
using testing::CommandResult;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::RunOnce;
using testing::ScratchFolder;

const PartitionKey kOrders0 = {
    .cluster = "cluster-1", .group = "billing", .partition = {"orders", 0}};

std::string Scope() { return GroupTopicScope("billing", "orders"); }

OutboxRow LetterOf(const std::string& id, std::int64_t offset) {
  OutboxRow row{.origin = {.key = kOrders0, .offset = offset},
                .message = testing::FailureOf(1, id).letter};
  if (!id.empty()) row.scope = Scope();
  row.id = id;
  return row;
}

// As a consumer leaves a store behind: `position`, ids in the given states, letters.
struct Contents {
  std::int64_t position = 10;
  std::vector<std::pair<std::string, IdState>> ids;
  std::vector<OutboxRow> letters;
};

void Fill(DedupStore& store, const Contents& contents) {
  TransactionalStore& transactions = *store.transactions();
  const TakeRequest request{.key = kOrders0, .writer = 1};
  const auto taken = transactions.Take(std::span(&request, 1));
  ASSERT_TRUE(taken.ok()) << taken.status();
  const PositionLock lock{.key = kOrders0, .expected = taken->front().current};
  auto begun = transactions.Begin(std::span(&lock, 1));
  ASSERT_TRUE(begun.ok() && begun->transaction != nullptr) << begun.status();
  StoreTransaction& transaction = *begun->transaction;
  std::vector<IdWrite> writes;
  const std::string scope = Scope();
  for (const auto& [id, state] : contents.ids) {
    writes.push_back({.key = {.scope = scope, .id = id}, .record = {.state = state, .attempt = 1}});
  }
  ASSERT_TRUE(transaction.PutIds(writes).ok());
  ASSERT_TRUE(transaction.PutOutgoing(contents.letters).ok());
  const PositionUpdate update{.key = kOrders0, .position = contents.position};
  ASSERT_TRUE(transaction.SetPositions(std::span(&update, 1)).ok());
  ASSERT_TRUE(transaction.Commit(Durability::kMachine).ok());
}

std::shared_ptr<DedupStore> MustOpen(const sqlite::StoreOptions& options) {
  auto store = sqlite::OpenStore(options);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *store : nullptr;
}

class OnceCommand : public ::testing::Test {
 protected:
  // Two dead messages, one of them twice, one uncertain, one waiting, one completed, and a letter
  // without an id; the store is closed again.
  OnceCommand() {
    Fill(*MustOpen({.path = path_}), {.ids = {{"dead-1", IdState::kDead},
                                              {"dead-2", IdState::kDead},
                                              {"unsure", IdState::kUncertain},
                                              {"waiting", IdState::kRetrying},
                                              {"done", IdState::kCompleted}},
                                      .letters = {LetterOf("dead-1", 3), LetterOf("dead-2", 4),
                                                  LetterOf("unsure", 5), LetterOf("", 6)}});
  }

  CommandResult Once(std::vector<std::string> words) {
    words.insert(words.end(), {"--store", "sqlite:" + path_});
    return RunOnce(std::move(words));
  }
  CommandResult OnceJson(std::vector<std::string> words) {
    words.emplace_back("--json");
    CommandResult result = Once(std::move(words));
    EXPECT_TRUE(result.Json().is_object()) << result.output << result.errors;
    return result;
  }
  IdState StateOf(const std::string& id) {
    const auto store = MustOpen({.path = path_});
    const auto found = store->operations()->FindId(id);
    EXPECT_TRUE(found.ok() && found->size() == 1) << found.status();
    return found.ok() && found->size() == 1 ? found->front().record.state : IdState::kAbsent;
  }
  std::string socket() const { return path_ + std::string(kOperatorSocketSuffix); }

  const ScratchFolder folder_;
  const std::string path_ = folder_.File("billing.db");
};

TEST_F(OnceCommand, ListsAndShowsOnAClosedStore) {
  const CommandResult list = OnceJson({"failures", "list"});
  EXPECT_EQ(list.code, kDone);
  EXPECT_EQ(list.errors, "");
  EXPECT_EQ(list.Json()["through"], "file");
  EXPECT_EQ(list.Json()["complete"], true);
  ASSERT_EQ(list.Json()["failures"].size(), 4);
  EXPECT_EQ(list.Json()["failures"][0]["id"], "dead-1");
  EXPECT_EQ(list.Json()["failures"][2]["state"], "uncertain");
  EXPECT_EQ(list.Json()["failures"][3]["id"], nullptr);

  const CommandResult table = Once({"failures", "list"});
  EXPECT_THAT(table.output, AllOf(HasSubstr("orders[0]@3"), Not(HasSubstr("4711"))));
  EXPECT_THAT(Once({"failures", "show", "dead-1", "--payload"}).output, HasSubstr("account 4711"));
  EXPECT_THAT(Once({"position", "show"}).output, HasSubstr("billing"));
}

TEST_F(OnceCommand, AcceptsABarePathAndALinkToTheStore) {
  EXPECT_EQ(RunOnce({"failures", "list", "--store", path_}).code, kDone);
  const std::string link = folder_.File("link.db");
  std::filesystem::create_symlink(path_, link);
  const auto owner = MustOpen({.path = path_});
  const CommandResult linked = RunOnce({"failures", "list", "--json", "--store", link});
  EXPECT_EQ(linked.code, kDone) << linked.errors;
  EXPECT_EQ(linked.Json()["through"], "owner") << "the socket lies beside the real file";
}

TEST_F(OnceCommand, DecidesOnAClosedStore) {
  const CommandResult redriven = OnceJson({"redrive", "dead-1"});
  EXPECT_EQ(redriven.code, kDone) << redriven.errors;
  EXPECT_THAT(redriven.output, HasSubstr("when a consumer with dead_letters opens this store"));
  EXPECT_EQ(StateOf("dead-1"), IdState::kRetrying);
  EXPECT_EQ(Once({"discard", "dead-2", "waiting", "--yes"}).code, kDone);
  EXPECT_EQ(StateOf("dead-2"), IdState::kDiscarded);
  EXPECT_EQ(StateOf("waiting"), IdState::kDiscarded);
  EXPECT_EQ(Once({"resolve", "unsure", "--happened"}).code, kDone);
  EXPECT_EQ(StateOf("unsure"), IdState::kCompleted);
  auto failures = OnceJson({"failures", "list"}).Json()["failures"];
  ASSERT_EQ(failures.size(), 2) << failures;
  EXPECT_EQ(failures[0]["id"], "dead-1");
  EXPECT_EQ(failures[0]["state"], "retrying") << "open until it completes";
  const std::int64_t nameless = failures[1]["number"];
  EXPECT_EQ(Once({"discard", "--number", std::to_string(nameless), "--yes"}).code, kDone);
  EXPECT_EQ(OnceJson({"failures", "list"}).Json()["failures"].size(), 1);

  const auto store = MustOpen({.path = path_});
  const auto pending = store->transactions()->outbox().FindPending(100);
  ASSERT_TRUE(pending.ok()) << pending.status();
  const auto redrive = std::find_if(pending->begin(), pending->end(), [](const PendingRow& row) {
    return row.message.topic == "orders";
  });
  ASSERT_NE(redrive, pending->end()) << "the redriven message is in the outbox";
  EXPECT_EQ(redrive->message.partition, 0);
  EXPECT_EQ(redrive->message.value, "account 4711");
}

TEST_F(OnceCommand, ResolvesAnUncertainMessageThatDidNotHappen) {
  EXPECT_EQ(Once({"resolve", "unsure", "--not-happened"}).code, kDone);
  EXPECT_EQ(StateOf("unsure"), IdState::kRetrying);
}

TEST_F(OnceCommand, MovesAPosition) {
  const CommandResult refused = OnceJson({"position", "set", "orders", "0", "99"});
  EXPECT_EQ(refused.code, kRefused) << "messages would be skipped, and nobody said yes";
  EXPECT_THAT(refused.errors, HasSubstr("--yes"));
  EXPECT_EQ(Once({"position", "set", "orders", "0", "99", "--yes"}).code, kDone);
  const auto row = OnceJson({"position", "show", "orders", "0"}).Json()["positions"][0];
  EXPECT_EQ(row["position"], 99);
  EXPECT_EQ(row["directive"], "set");
  EXPECT_EQ(Once({"position", "set", "orders", "0", "earliest"}).code, kDone);
  EXPECT_EQ(OnceJson({"position", "show"}).Json()["positions"][0]["directive"], "earliest");
  EXPECT_EQ(Once({"position", "adopt", "orders", "0", "--yes"}).code, kDone);
  EXPECT_EQ(OnceJson({"position", "show"}).Json()["positions"][0]["directive"], "adopt");
}

TEST_F(OnceCommand, GoesThroughTheProcessThatHasTheStoreOpen) {
  const auto owner = MustOpen({.path = path_});
  const CommandResult list = OnceJson({"failures", "list"});
  EXPECT_EQ(list.code, kDone) << list.errors;
  EXPECT_EQ(list.Json()["through"], "owner");
  EXPECT_EQ(list.Json()["failures"].size(), 4);
  EXPECT_THAT(list.errors,
              HasSubstr("through process " + std::to_string(::getpid()) + ", which has the store"));
  const CommandResult redriven = OnceJson({"redrive", "dead-1"});
  EXPECT_EQ(redriven.code, kDone) << redriven.errors;
  EXPECT_THAT(redriven.output,
              HasSubstr("the running consumer, if it has dead_letters, publishes it to orders[0]"));
  EXPECT_EQ(OnceJson({"failures", "show", "dead-1"}).Json()["failures"][0]["state"], "retrying");
  EXPECT_EQ(OnceJson({"redrive", "dead-1"}).code, kRefused) << "it is on its way";
  EXPECT_EQ(Once({"position", "set", "orders", "0", "2"}).code, kDone);
  EXPECT_EQ(Once({"discard", "waiting", "--yes"}).code, kDone);
  EXPECT_EQ(owner->operations()->FindId("waiting")->front().record.state, IdState::kDiscarded);
}

TEST_F(OnceCommand, TheSocketGoesWithTheStoreAndIsPrivate) {
  auto owner = MustOpen({.path = path_});
  struct stat status = {};
  ASSERT_EQ(::lstat(socket().c_str(), &status), 0);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  EXPECT_EQ(status.st_mode & 07777, 0600);
  owner.reset();
  EXPECT_NE(::lstat(socket().c_str(), &status), 0);
  EXPECT_EQ(OnceJson({"failures", "list"}).Json()["through"], "file");
  EXPECT_NE(::lstat(socket().c_str(), &status), 0) << "the command leaves none behind";
}

TEST_F(OnceCommand, SaysWhatIsWrongWithTheWords) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"redrive"},
                                             {"redrive", "hex:zz"},
                                             {"position", "set", "orders", "zero", "1"},
                                             {"position", "set", "orders", "0", "-5"},
                                             {"position", "set", "orders", "0", "first"},
                                             {"failures", "show"},
                                             {"failures", "show", "a", "--number", "1"},
                                             {"resolve", "unsure"},
                                             {"resolve", "unsure", "--happened", "--not-happened"},
                                             {"failures", "list", "--max", "0"},
                                             {"failures", "list", "--timeout", "soon"},
                                             {"failures", "burn"}}) {
    const CommandResult result = OnceJson(words);
    EXPECT_EQ(result.code, kUsage) << ::testing::PrintToString(words) << result.output;
    EXPECT_EQ(result.Json()["error"]["code"], "invalid_argument");
    EXPECT_NE(result.errors, "");
  }
  EXPECT_EQ(RunOnce({"failures", "list"}).code, kUsage) << "which store?";
  EXPECT_EQ(RunOnce({"failures", "list", "--store", "redis:6379"}).code, kUsage);
}

TEST_F(OnceCommand, SaysWhatIsNotThere) {
  EXPECT_EQ(OnceJson({"redrive", "nobody"}).code, kNotFound);
  EXPECT_EQ(OnceJson({"discard", "nobody", "--yes"}).code, kNotFound);
  EXPECT_EQ(OnceJson({"failures", "show", "--number", "999"}).code, kNotFound);
  EXPECT_EQ(OnceJson({"position", "show", "nothing"}).code, kNotFound);
  const std::string nowhere = folder_.File("no.db");
  EXPECT_EQ(RunOnce({"failures", "list", "--store", nowhere}).code, kNotFound);
  EXPECT_FALSE(std::filesystem::exists(nowhere)) << "a mistyped path makes no store";
}

TEST_F(OnceCommand, SaysWhatTheStateDoesNotPermit) {
  const CommandResult done = OnceJson({"resolve", "done", "--happened"});
  EXPECT_EQ(done.code, kRefused) << done.output;
  EXPECT_THAT(done.errors, HasSubstr("completed"));
  EXPECT_EQ(OnceJson({"discard", "done", "--yes"}).code, kRefused);
  EXPECT_EQ(OnceJson({"discard", "dead-1"}).code, kRefused) << "nobody said yes";
}

TEST_F(OnceCommand, SaysWhichOfSeveralWereDone) {
  const CommandResult result = OnceJson({"redrive", "dead-1", "nobody", "dead-2"});
  EXPECT_EQ(result.code, kPartlyFailed);
  EXPECT_EQ(result.Json()["complete"], false);
  EXPECT_EQ(result.Json()["outcomes"].size(), 3);
  EXPECT_EQ(StateOf("dead-2"), IdState::kRetrying);
}

TEST_F(OnceCommand, ACheckFindsDeadLetters) {
  EXPECT_EQ(OnceJson({"failures", "list", "--check"}).code, kFoundProblems);
  EXPECT_EQ(OnceJson({"failures", "list", "--check", "--topic", "other"}).code, kDone);
}

TEST_F(OnceCommand, ADamagedStoreIsAnInternalError) {
  std::filesystem::resize_file(path_, 0);
  const CommandResult result = OnceJson({"failures", "list"});
  EXPECT_EQ(result.code, kFailed) << result.output;
  EXPECT_EQ(result.Json()["error"]["code"], "data_loss");
}

// A message to a topic that is not there, parked, and one behind it of its key.
void ParkOne(DedupStore& store) {
  for (const char* id : {"order-1", "order-2"}) {
    const absl::Status published = Transact(store, [&](Transaction& transaction) {
      return transaction.Publish(
          {.topic = "orders", .key = "k", .value = "v", .headers = {{"once-id", id}}});
    });
    ASSERT_TRUE(published.ok()) << published;
  }
  OutgoingLog& log = *store.transactions()->outgoing();
  const auto rows = log.FindUnplaced(0, {.rows_max = 10, .bytes_max = 1'000'000});
  ASSERT_TRUE(rows.ok() && rows->size() == 2) << rows.status();
  const RefusedRow refused{.number = rows->front().number,
                           .reason = absl::InvalidArgumentError("there is no topic orders")};
  ASSERT_TRUE(log.Advance({.refused = {&refused, 1}}).ok());
}

TEST_F(OnceCommand, WorksOnTheOutboxOfAClosedStore) {
  ParkOne(*MustOpen({.path = path_}));
  const CommandResult list = OnceJson({"outbox", "list", "--check"});
  EXPECT_EQ(list.code, kFoundProblems) << list.output << list.errors;
  EXPECT_EQ(list.Json()["through"], "file");
  EXPECT_EQ(list.Json()["waiting"], 2);
  EXPECT_EQ(list.Json()["messages"][0]["id"], "order-1");
  EXPECT_EQ(list.Json()["messages"][0]["state"], "parked");
  EXPECT_EQ(list.Json()["messages"][1]["state"], "waiting");
  EXPECT_THAT(Once({"outbox", "list"}).output, HasSubstr("there is no topic orders"));

  const CommandResult retry = OnceJson({"outbox", "retry", "order-1"});
  EXPECT_EQ(retry.code, kDone) << retry.output << retry.errors;
  EXPECT_EQ(OnceJson({"outbox", "list", "--parked"}).Json()["messages"].size(), 0);
}

TEST_F(OnceCommand, WorksOnTheOutboxThroughTheProcessThatHasItOpen) {
  const auto owner = MustOpen({.path = path_});
  ParkOne(*owner);
  OutgoingLog& log = *owner->transactions()->outgoing();
  EXPECT_EQ(OnceJson({"outbox", "list"}).Json()["through"], "owner");
  EXPECT_EQ(OnceJson({"outbox", "list"}).Json()["messages"].size(), 2);
  EXPECT_EQ(OnceJson({"outbox", "discard", "order-1", "--reason", "sent by hand"}).code, kRefused)
      << "nobody said yes";
  EXPECT_EQ(OnceJson({"outbox", "retry", "--topic", "orders"}).Json()["retried_messages"], 1);
  EXPECT_EQ(log.Count().value().parked, 0U);
  EXPECT_EQ(OnceJson({"outbox", "retry", "--topic", "orders"}).code, kNotFound);
  const auto rows = log.FindUnplaced(0, {.rows_max = 10, .bytes_max = 1'000'000});
  const RefusedRow refused{.number = rows.value().front().number,
                           .reason = absl::InvalidArgumentError("too large")};
  ASSERT_TRUE(log.Advance({.refused = {&refused, 1}}).ok());
  const CommandResult discard =
      OnceJson({"outbox", "discard", "order-1", "--reason", "sent by hand", "--yes"});
  EXPECT_EQ(discard.code, kDone) << discard.output << discard.errors;
  EXPECT_EQ(log.Count().value().waiting, 1U);
  const CommandResult discarded = OnceJson({"outbox", "list", "--discarded"});
  EXPECT_EQ(discarded.Json()["messages"][0]["reason"], "sent by hand");
}

TEST_F(OnceCommand, WordsAboutTheOutboxThatMeanNothingAreUsage) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"outbox"},
                                             {"outbox", "retry"},
                                             {"outbox", "retry", "a", "--topic", "orders"},
                                             {"outbox", "discard", "a"},
                                             {"outbox", "discard", "--reason", "why"},
                                             {"outbox", "discard", "a", "b", "--reason", "why"},
                                             {"outbox", "list", "--parked", "--discarded"},
                                             {"outbox", "list", "--max", "0"}}) {
    EXPECT_EQ(Once(words).code, kUsage) << ::testing::PrintToString(words);
  }
}

// A process that has the store open until it is killed.
class Owner {
 public:
  explicit Owner(const sqlite::StoreOptions& options) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("pipe failed");
    child_ = ::fork();
    if (child_ == 0) {
      const auto store = sqlite::OpenStore(options);
      const char word = store.ok() ? 'y' : 'n';
      [[maybe_unused]] const ssize_t written = ::write(ends[1], &word, 1);
      ::pause();
      ::_exit(0);
    }
    char word = 0;
    EXPECT_EQ(::read(ends[0], &word, 1), 1);
    EXPECT_EQ(word, 'y') << "the child could not open the store";
    ::close(ends[0]);
    ::close(ends[1]);
  }
  ~Owner() { Kill(); }

  void Kill() {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  void Freeze() {
    ::kill(child_, SIGSTOP);
    ::waitpid(child_, nullptr, WUNTRACED);
  }

 private:
  pid_t child_ = 0;
};

TEST_F(OnceCommand, AKilledOwnersSocketStandsInNobodysWay) {
  Owner owner({.path = path_});
  EXPECT_EQ(OnceJson({"failures", "list"}).Json()["through"], "owner");
  owner.Kill();
  EXPECT_TRUE(std::filesystem::exists(socket())) << "left behind";
  EXPECT_EQ(OnceJson({"failures", "list"}).Json()["through"], "file");
  const auto next = MustOpen({.path = path_});
  EXPECT_EQ(OnceJson({"failures", "list"}).Json()["through"], "owner");
}

TEST_F(OnceCommand, AnOwnerThatHangsIsNamedWithTheWayOut) {
  Owner owner({.path = path_});
  owner.Freeze();
  const CommandResult result = OnceJson({"redrive", "dead-1", "--timeout", "300ms"});
  EXPECT_EQ(result.code, kUnreachable) << result.output;
  EXPECT_THAT(result.errors, AllOf(HasSubstr("does not answer"), HasSubstr("stop that process")));
  owner.Kill();
  EXPECT_EQ(StateOf("dead-1"), IdState::kDead) << "nothing was done";
}

TEST_F(OnceCommand, AnOwnerThatServesNobodyIsNamedWithTheWayOut) {
  Owner owner({.path = path_, .serve_operators = false});
  EXPECT_FALSE(std::filesystem::exists(socket()));
  const CommandResult result = OnceJson({"failures", "list", "--timeout", "300ms"});
  EXPECT_EQ(result.code, kUnreachable) << result.output;
  EXPECT_THAT(result.errors, AllOf(HasSubstr("has it open"), HasSubstr("serve_operators = true")));
}

// The system's clock, and something that happens while somebody waits.
class WaitingExecutor : public Executor {
 public:
  explicit WaitingExecutor(std::function<void()> meanwhile) : meanwhile_(std::move(meanwhile)) {}
  absl::Time Now() override { return system_->Now(); }
  std::unique_ptr<Event> NewEvent() override { return std::make_unique<Wait>(meanwhile_); }
  std::unique_ptr<Task> Spawn(std::string_view name, std::function<void()> body) override {
    return system_->Spawn(name, std::move(body));
  }

 private:
  class Wait : public Event {
   public:
    explicit Wait(std::function<void()>& meanwhile) : meanwhile_(meanwhile) {}
    void Set() override {}
    bool WaitUntil(absl::Time) override {
      meanwhile_();
      return false;
    }

   private:
    std::function<void()>& meanwhile_;
  };

  std::shared_ptr<Executor> system_ = SystemExecutor();
  std::function<void()> meanwhile_;
};

TEST_F(OnceCommand, WaitsForAnOwnerThatIsJustEnding) {
  Owner owner({.path = path_, .serve_operators = false});
  int waits = 0;
  WaitingExecutor executor([&] {
    ++waits;
    owner.Kill();
  });
  const auto access = ReachStore({.text = path_}, executor);
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_FALSE(access->is_running());
  EXPECT_EQ(waits, 1);
}

TEST_F(OnceCommand, AnotherUsersStoreIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const auto owner = MustOpen({.path = path_});
  std::filesystem::permissions(folder_.File(""), std::filesystem::perms(0755));
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(65534) != 0) ::_exit(100);
    // The scratch files of RunOnce are nobody's own.
    ::_exit(OnceJson({"failures", "list"}).code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), kRefused);
}

}  // namespace
}  // namespace once::cli
