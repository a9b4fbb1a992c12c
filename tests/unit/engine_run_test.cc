// Run() with real threads: handlers on a worker, polling on the caller's thread. Every test waits
// for something that happens, never for time to pass.
#include <atomic>
#include <csignal>
#include <future>
#include <stop_token>
#include <thread>

#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// A door that one thread waits at and another opens, once.
class Gate {
 public:
  void Open() { opened_.set_value(); }
  void Pass() { future_.wait(); }

 private:
  std::promise<void> opened_;
  std::shared_future<void> future_ = opened_.get_future().share();
};

// The system's threads and clock; tells when the polling thread begins to wait for the worker. That
// is the only wait with a deadline in a consumer without a relay.
class WatchedExecutor : public Executor {
 public:
  absl::Time Now() override { return system_->Now(); }
  std::unique_ptr<Task> Spawn(std::string_view name, std::function<void()> body) override {
    return system_->Spawn(name, std::move(body));
  }
  std::unique_ptr<Event> NewEvent() override {
    return std::make_unique<WatchedEvent>(*this, system_->NewEvent());
  }

  void AwaitWaitForWorker() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waits_ > 0; });
  }

 private:
  class WatchedEvent : public Event {
   public:
    WatchedEvent(WatchedExecutor& executor, std::unique_ptr<Event> event)
        : executor_(executor), event_(std::move(event)) {}
    void Set() override { event_->Set(); }
    bool WaitUntil(absl::Time deadline) override {
      if (deadline != absl::InfiniteFuture()) executor_.NoteWait();
      return event_->WaitUntil(deadline);
    }

   private:
    WatchedExecutor& executor_;
    const std::unique_ptr<Event> event_;
  };

  void NoteWait() {
    const std::lock_guard lock(mutex_);
    ++waits_;
    changed_.notify_all();
  }

  const std::shared_ptr<Executor> system_ = SystemExecutor();
  std::mutex mutex_;
  std::condition_variable changed_;
  int waits_ = 0;
};

class EngineRun : public EngineTest {
 protected:
  EngineRun() {
    log_->BlockPolls();
    options_.times.poll_timeout = absl::Milliseconds(10);
    options_.dead_letters = {};
  }
  ~EngineRun() override {
    if (thread_.joinable()) FinishRun().IgnoreError();
  }

  std::shared_ptr<Executor> executor() override { return watched_; }

  void StartRun(std::vector<TopicPartition> partitions) {
    log_->Assign(std::move(partitions));
    StartConsumer();
    thread_ = std::thread([this] { result_ = consumer_->Run(stop_.get_token()); });
  }
  absl::Status FinishRun() {
    stop_.request_stop();
    thread_.join();
    return result_;
  }
  // Every end of a batch is followed by a poll, so this wakes as often as there is news.
  template <typename Predicate>
  void Await(Predicate predicate) {
    while (!predicate()) AwaitPolls(1);
  }
  void AwaitPolls(std::size_t count) { log_->WaitForPolls(log_->polls().size() + count); }

  // The message's handler says when it has been entered and goes on when it is let.
  void HoldHandlerOf(std::string id) {
    When(std::move(id), [this](const Message& message, Transaction& transaction) -> Outcome {
      AppendEffect(transaction, message.id());
      entered_.Open();
      let_go_.Pass();
      return Done();
    });
  }

  Gate entered_;
  Gate let_go_;
  std::shared_ptr<WatchedExecutor> watched_ = std::make_shared<WatchedExecutor>();
  std::stop_source stop_;
  absl::Status result_;
  std::thread thread_;
};

TEST_F(EngineRun, HandlesWhatArrivesAndStopsCleanly) {
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartRun({kOrders0});
  Await([&] { return effects().size() == 2; });
  Send(kOrders0, "c");
  Await([&] { return effects().size() == 3; });
  EXPECT_TRUE(FinishRun().ok());
  EXPECT_EQ(log_->committed(kOrders0), 3);
  EXPECT_EQ(log_->calls().back(), "close");
}

TEST_F(EngineRun, ASlowHandlerDoesNotStopThePolling) {
  HoldHandlerOf("slow");
  Send(kOrders0, "slow");
  StartRun({kOrders0});
  entered_.Pass();
  AwaitPolls(5);
  EXPECT_THAT(effects(), IsEmpty());
  let_go_.Open();
  Await([&] { return effects().size() == 1; });
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, ASlowHandlerBeforeAFullBufferPausesThePartitionAndPollingGoesOn) {
  options_.limits = {.batch_messages_max = 1, .inflight_messages_max = 2};
  options_.times.pause_after = absl::Milliseconds(1);
  HoldHandlerOf("slow");
  for (const char* id : {"slow", "b", "c", "d"}) Send(kOrders0, id);
  StartRun({kOrders0});
  entered_.Pass();
  Await([&] {
    const auto calls = log_->calls();
    return std::find(calls.begin(), calls.end(), "pause orders[0]") != calls.end();
  });
  AwaitPolls(3);
  let_go_.Open();
  Await([&] { return effects().size() == 4; });
  EXPECT_THAT(effects(), ElementsAre("slow", "b", "c", "d"));
}

TEST_F(EngineRun, ARevocationEndsTheBatchEarlyAndCommitsWhatIsHandled) {
  HoldHandlerOf("b");
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartRun({kOrders0});
  entered_.Pass();
  log_->Revoke({kOrders0});
  watched_->AwaitWaitForWorker();
  let_go_.Open();
  events_->WaitFor("revoked");
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(PositionOf(kOrders0), 2);
  EXPECT_TRUE(FinishRun().ok());
  EXPECT_THAT(invoked(), Not(Contains("c")));
  EXPECT_EQ(log_->committed(kOrders0), 2);
}

TEST_F(EngineRun, AHandlerThatOutlivesTheRevokeBudgetIsRolledBackAndKeptPartitionsReplay) {
  options_.times.revoke_budget = absl::Milliseconds(1);
  HoldHandlerOf("a");
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartRun({kOrders0, kOrders1});
  entered_.Pass();
  log_->Revoke({kOrders0});
  events_->WaitFor("doomed");
  let_go_.Open();
  Await([&] { return !effects().empty(); });
  EXPECT_THAT(effects(), ElementsAre("b"));
  EXPECT_EQ(PositionOf(kOrders0), 0);
  EXPECT_EQ(PositionOf(kOrders1), 1);
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, WhatRunsWhenItsPartitionIsLostIsNotCommitted) {
  HoldHandlerOf("a");
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartRun({kOrders0, kOrders1});
  entered_.Pass();
  log_->Revoke({kOrders0}, Revocation::kLost);
  events_->WaitFor("lost");
  let_go_.Open();
  Await([&] { return !effects().empty(); });
  EXPECT_THAT(effects(), ElementsAre("b"));
  EXPECT_EQ(PositionOf(kOrders0), 0);
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, APartitionThatComesBackWhileItsDoomedHandlerRunsIsHandledOnce) {
  options_.times.revoke_budget = absl::Milliseconds(1);
  When("a", [this, calls = 0](const Message& message, Transaction& transaction) mutable -> Outcome {
    AppendEffect(transaction, message.id());
    if (++calls == 1) {
      entered_.Open();
      let_go_.Pass();
    }
    return Done();
  });
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartRun({kOrders0});
  entered_.Pass();
  log_->Revoke({kOrders0});
  log_->Assign({kOrders0});
  events_->WaitFor("doomed");
  AwaitPolls(2);
  let_go_.Open();
  Await([&] { return effects().size() == 2; });
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_TRUE(FinishRun().ok());
  EXPECT_EQ(stats().processed, 2U);
}

TEST_F(EngineRun, AStopFinishesTheMessageAtHandAndCommitsIt) {
  HoldHandlerOf("a");
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartRun({kOrders0});
  entered_.Pass();
  stop_.request_stop();
  watched_->AwaitWaitForWorker();
  let_go_.Open();
  EXPECT_TRUE(FinishRun().ok());
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_EQ(log_->committed(kOrders0), 1);
}

TEST_F(EngineRun, AHandlerThatOutlivesTheStopDeadlineIsRolledBackAndReported) {
  options_.times.stop_deadline = absl::Milliseconds(1);
  HoldHandlerOf("a");
  Send(kOrders0, "a");
  StartRun({kOrders0});
  entered_.Pass();
  stop_.request_stop();
  events_->WaitFor("stop_deadline_exceeded");
  let_go_.Open();
  EXPECT_EQ(FinishRun().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(effects(), IsEmpty());
  EXPECT_EQ(PositionOf(kOrders0), 0);
}

TEST_F(EngineRun, AStopDoesNotWaitForThePollToTimeOut) {
  options_.times.poll_timeout = absl::Minutes(4);  // the test's own time limit is far below that
  StartRun({kOrders0});
  Await([&] { return PositionOf(kOrders0) == 0; });
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, AStopRequestedBeforeTheRunEndsItAtOnce) {
  stop_.request_stop();
  StartRun({kOrders0});
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, TheEndOfABatchIsNoticedBeforeThePollTimesOut) {
  options_.times.poll_timeout = absl::Minutes(4);
  options_.limits.batch_messages_max = 1;
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartRun({kOrders0});
  Await([&] { return effects().size() == 3; });
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, ANewPartitionIsServedWhileAnotherHasWorkWithoutEnd) {
  options_.limits = {.batch_messages_max = 1, .inflight_messages_max = 10};
  constexpr int kBacklog = 400;
  for (int i = 0; i < kBacklog; ++i) Send(kOrders0, std::to_string(i));
  Send(kOrders1, "newcomer");
  When("5", [this](const Message& message, Transaction& transaction) -> Outcome {
    log_->Assign({kOrders1});
    return Book(message, transaction);
  });
  StartRun({kOrders0});
  Await([&] { return effects().size() == kBacklog + 1; });
  const std::vector<std::string> order = effects();
  const auto newcomer = std::find(order.begin(), order.end(), "newcomer");
  EXPECT_LT(newcomer - order.begin(), kBacklog / 4);
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, APartitionStoppedWhileItsBatchWasFencedStaysStopped) {
  Send(kOrders0, "a");
  StartRun({kOrders0});
  Await([&] { return effects().size() == 1 && stats().processed == 1; });
  store_->LetAnotherTake(KeyOf(kOrders0));
  store_->OnBegin([this] {
    entered_.Open();
    let_go_.Pass();
    return absl::OkStatus();
  });
  Send(kOrders0, "b");
  entered_.Pass();
  log_->FailPartition(kOrders0, absl::PermissionDeniedError("not allowed any more"));
  events_->WaitFor("partition_stopped");
  let_go_.Open();
  AwaitPolls(10);
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_THAT(events_->actions(), Not(Contains("fenced")));
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, TheRelayPublishesOnATaskOfItsOwn) {
  options_.dead_letters = {.publisher = publisher_};
  When("a", [](const Message&, Transaction&) { return Reject("no"); });
  Send(kOrders0, "a");
  StartRun({kOrders0});
  Await([&] { return stats().published == 1; });
  EXPECT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, AnErrorThatMakesGoingOnImpossibleEndsTheRun) {
  StartRun({kOrders0});
  log_->FailPoll(absl::PermissionDeniedError("group authorization failed"));
  thread_.join();
  EXPECT_EQ(result_.code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(EngineRun, ATransientFailureIsTriedAgainOnTheRealClock) {
  options_.retry.backoff = {.initial = absl::Milliseconds(1), .jitter = 0};
  When("a", [calls = 0](const Message& message, Transaction& transaction) mutable -> Outcome {
    if (++calls < 3) return absl::UnavailableError("down");
    return Book(message, transaction);
  });
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartRun({kOrders0, kOrders1});
  Await([&] { return effects().size() == 2; });
  EXPECT_THAT(effects(), UnorderedElementsAre("a", "b"));
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, ASignalStopsTheConsumerGracefully) {
  When("b", [](const Message& message, Transaction& transaction) -> Outcome {
    raise(SIGTERM);
    return Book(message, transaction);
  });
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  log_->Assign({kOrders0});
  StartConsumer();
  EXPECT_TRUE(RunUntilSignal(*consumer_).ok());
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(log_->committed(kOrders0), 2);
}

TEST_F(EngineRun, ARunThatEndsByItselfGivesTheSignalsBack) {
  log_->FailPoll(absl::PermissionDeniedError("not allowed"));
  StartConsumer();
  EXPECT_EQ(RunUntilSignal(*consumer_).code(), absl::StatusCode::kPermissionDenied);
  struct sigaction current = {};
  sigaction(SIGTERM, nullptr, &current);
  EXPECT_EQ(current.sa_handler, SIG_DFL);
}

TEST_F(EngineRun, TheNextBatchRunsWhileTheLastOneIsSyncedAndNeitherIsAcknowledgedBefore) {
  options_.limits = {.batch_messages_max = 1};
  options_.times.commit_interval = absl::ZeroDuration();
  std::atomic<int> syncs = 0;
  store_->OnSync([this, &syncs] {
    if (syncs++ == 0) {
      entered_.Open();
      let_go_.Pass();
    }
    return absl::OkStatus();
  });
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartRun({kOrders0});
  entered_.Pass();
  Await([&] { return effects().size() == 2; });
  AwaitPolls(3);
  EXPECT_THAT(log_->calls(), Not(Contains("commit orders[0]@1")));
  EXPECT_THAT(log_->calls(), Not(Contains("commit orders[0]@2")));
  let_go_.Open();
  Await([&] { return log_->committed(kOrders0) == 2; });
  EXPECT_TRUE(FinishRun().ok());
}

TEST_F(EngineRun, AfterASyncThatFailedTheRowIsTakenAgainBeforeAnythingIsAcknowledged) {
  std::atomic<int> syncs = 0;
  store_->OnSync([&syncs]() -> absl::Status {
    if (syncs++ > 0) return absl::OkStatus();
    return absl::UnavailableError("the disk did not take it");
  });
  Send(kOrders0, "a");
  StartRun({kOrders0});
  events_->WaitFor("sync_failed");
  Await([&] {
    const auto calls = log_->calls();
    return std::find(calls.begin(), calls.end(), "verify orders[0]@0") != calls.end();
  });
  Send(kOrders0, "b");
  Await([&] { return effects().size() == 2; });
  EXPECT_TRUE(FinishRun().ok());
  EXPECT_EQ(log_->committed(kOrders0), 2);
}

TEST_F(EngineRun, WhereSyncsMayNotOverlapEveryBatchIsSyncedByItsCommit) {
  options_.overlaps_syncs = false;
  std::atomic<int> commits = 0;
  store_->OnSync([] { return absl::InternalError("nobody may ask for it"); });
  store_->OnCommit([&commits](const std::vector<std::string>&) {
    ++commits;
    return CommitFate::kHappens;
  });
  Send(kOrders0, "a");
  StartRun({kOrders0});
  Await([&] { return effects().size() == 1; });
  EXPECT_TRUE(FinishRun().ok());
  EXPECT_EQ(commits, 1);
}

}  // namespace
}  // namespace once
