// once::Wrap over an SQLite file: both forms, from many threads, after a restart, and after a
// process that was killed inside the function.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "adapters/sqlite/tests/store_scene.h"
#include "once/wrap.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;

class SqliteWrap : public StoreScene {
 protected:
  WrapOptions<std::string> WrapOptionsOf() {
    return {.store = store_,
            .scope = "charges",
            .id = [](const std::string& id) { return id; },
            .log = NoLog()};
  }

  // Adds the id to the table of effects.
  Wrapped<std::string> WrapAdding() {
    return Wrap<std::string>(WrapOptionsOf(),
                             [](const std::string& id, Transaction& transaction) {
                               return AddEffect(transaction, id);
                             })
        .value();
  }
  // Calls `effect`, whose result is kept.
  Wrapped<std::string> WrapCalling(std::function<std::string(const Invocation&)> effect) {
    return Wrap<std::string>(
               WrapOptionsOf(),
               [effect = std::move(effect)](const std::string&, const Invocation& invocation)
                   -> absl::StatusOr<std::string> { return effect(invocation); })
        .value();
  }

  // Runs `body` in a child process with the store open, and kills it once it has told that it is
  // where it is to die.
  void DieInside(const std::function<void(const std::function<void()>& tell)>& body) {
    store_.reset();
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      if (!Open(OptionsFor(path())).ok()) ::_exit(1);
      body([&] {
        if (::write(pipe_ends[1], "!", 1) != 1) ::_exit(2);
        for (;;) ::pause();
      });
      ::_exit(3);
    }
    ::close(pipe_ends[1]);
    char told = 0;
    ASSERT_EQ(::read(pipe_ends[0], &told, 1), 1) << "the child ended before it was to die";
    ::close(pipe_ends[0]);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    MustOpen();
  }

  static CallVerdict VerdictOf(const absl::StatusOr<CallAnswer>& answer) {
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.ok() ? answer->verdict : CallVerdict::kFailed;
  }
};

TEST_F(SqliteWrap, AnEffectInTheFileIsThereOnceAlsoAfterARestart) {
  MustOpen();
  EXPECT_EQ(VerdictOf(WrapAdding()("a")), CallVerdict::kDone);
  EXPECT_EQ(VerdictOf(WrapAdding()("a")), CallVerdict::kDuplicate);
  MustOpen();
  EXPECT_EQ(VerdictOf(WrapAdding()("a")), CallVerdict::kDuplicate);
  EXPECT_THAT(Effects(), ElementsAre("a"));
}

TEST_F(SqliteWrap, AFailureTakesItsEffectBackAndIsCounted) {
  MustOpen();
  bool is_closed = true;
  const auto charge = Wrap<std::string>(
      WrapOptionsOf(), [&](const std::string& id, Transaction& transaction) -> absl::Status {
        if (absl::Status added = AddEffect(transaction, id); !added.ok()) return added;
        return is_closed ? absl::UnavailableError("the bank is closed") : absl::OkStatus();
      });
  EXPECT_EQ(VerdictOf(charge.value()("a")), CallVerdict::kFailed);
  EXPECT_THAT(Effects(), IsEmpty());
  is_closed = false;
  const auto done = charge.value()("a");
  EXPECT_EQ(VerdictOf(done), CallVerdict::kDone);
  EXPECT_EQ(done->attempt, 2);
  EXPECT_THAT(Effects(), ElementsAre("a"));
}

TEST_F(SqliteWrap, AFunctionCannotCommitItself) {
  MustOpen();
  const auto charge = Wrap<std::string>(
      WrapOptionsOf(), [](const std::string& id, Transaction& transaction) -> absl::Status {
        if (absl::Status added = AddEffect(transaction, id); !added.ok()) return added;
        const SqlResult committed = RunSql(Connection(transaction), "COMMIT");
        return committed.code == SQLITE_OK ? absl::OkStatus()
                                           : absl::PermissionDeniedError(committed.error);
      });
  EXPECT_EQ(VerdictOf(charge.value()("a")), CallVerdict::kDead);
  EXPECT_THAT(Effects(), IsEmpty());
}

TEST_F(SqliteWrap, AResultIsReplayedAlsoAfterARestart) {
  MustOpen();
  const std::string receipt("receipt \0 1", 11);
  EXPECT_THAT(WrapCalling([&](const auto&) { return receipt; })("a")->result, Optional(receipt));
  MustOpen();
  const auto again = WrapCalling([](const auto&) -> std::string { return "another"; })("a");
  EXPECT_EQ(VerdictOf(again), CallVerdict::kDuplicate);
  EXPECT_THAT(again->result, Optional(receipt));
}

TEST_F(SqliteWrap, AProcessThatDiesInATransactionLeavesNothing) {
  DieInside([&](const auto& tell) {
    const auto charge = Wrap<std::string>(
        WrapOptionsOf(), [&](const std::string& id, Transaction& transaction) -> absl::Status {
          if (AddEffect(transaction, id).ok()) tell();
          return absl::OkStatus();
        });
    (void)charge.value()("a");
  });
  EXPECT_THAT(Effects(), IsEmpty());
  EXPECT_EQ(VerdictOf(WrapAdding()("a")), CallVerdict::kDone);
  EXPECT_THAT(Effects(), ElementsAre("a"));
}

TEST_F(SqliteWrap, AProcessThatDiesUnderAClaimIsKnownToHaveBegun) {
  DieInside([&](const auto& tell) {
    (void)WrapCalling([&](const auto&) -> std::string {
      tell();
      return "";
    })("a");
  });
  bool maybe_repeated = false;
  const auto done = WrapCalling([&](const Invocation& invocation) -> std::string {
    maybe_repeated = invocation.maybe_repeated;
    return "";
  })("a");
  EXPECT_EQ(VerdictOf(done), CallVerdict::kDone) << "at once: nobody else can hold its lease";
  EXPECT_EQ(done->attempt, 2);
  EXPECT_TRUE(maybe_repeated);
}

TEST_F(SqliteWrap, AProcessThatDiesAfterItsAnswerHasSettledIt) {
  DieInside([&](const auto& tell) {
    const auto done = WrapCalling([](const auto&) -> std::string { return "receipt"; })("a");
    if (done.ok() && done->verdict == CallVerdict::kDone) tell();
  });
  const auto again = WrapCalling([](const auto&) -> std::string { return "another"; })("a");
  EXPECT_EQ(VerdictOf(again), CallVerdict::kDuplicate);
  EXPECT_THAT(again->result, Optional(std::string("receipt")));
}

TEST_F(SqliteWrap, ManyThreadsRunEachIdOnce) {
  StoreOptions options = OptionsFor(path());
  options.busy_timeout = absl::Seconds(30);
  MustOpen(std::move(options));
  constexpr int kThreads = 6;
  constexpr int kIds = 40;
  std::atomic<int> calls = 0;
  const Wrapped<std::string> adding = WrapAdding();
  const Wrapped<std::string> calling =
      WrapCalling([&](const auto&) { return std::to_string(++calls); });
  std::atomic<int> unsettled = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int id = 0; id < kIds; ++id) {
        const auto added = adding(absl::StrCat("added-", id));
        const auto called = calling(absl::StrCat("called-", id));
        if (!added.ok() || !added->has_happened()) ++unsettled;
        if (!called.ok() ||
            (!called->has_happened() && called->verdict != CallVerdict::kInProgress)) {
          ++unsettled;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(unsettled, 0);
  EXPECT_EQ(calls, kIds);
  EXPECT_THAT(Effects(), SizeIs(kIds));
}

}  // namespace
}  // namespace once::sqlite
