// Plain handlers under Run(), with real threads: deadlines, renewal, revocation. Every test waits
// for something that happens.
#include <condition_variable>
#include <future>
#include <stop_token>
#include <thread>

#include "tests/unit/engine_claims_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// Returns when the token is stopped.
Outcome WaitForCancellation(const Message& message) {
  std::promise<void> cancelled;
  const std::stop_callback tell(message.cancellation(), [&] { cancelled.set_value(); });
  cancelled.get_future().wait();
  return absl::CancelledError("cancelled");
}

class EngineClaimsRun : public EngineClaimsTest {
 protected:
  EngineClaimsRun() { log_->BlockPolls(); }

  std::shared_ptr<Executor> executor() override { return SystemExecutor(); }

  // Runs until `is_over` says so after an event, on a thread of its own.
  void Run() {
    runner_ = std::jthread([this](const std::stop_token& stop) { result_ = consumer_->Run(stop); });
  }
  void StopAndJoin() {
    runner_.request_stop();
    runner_.join();
  }

  absl::Status result_;
  std::jthread runner_;
};

TEST_F(EngineClaimsRun, AHandlerPastItsDeadlineIsCancelledAndItsAttemptCounts) {
  options_.times.handler_deadline = absl::Milliseconds(20);
  options_.retry.backoff.initial = absl::Milliseconds(1);
  std::promise<void> done;
  When("a", [&](const Message& message) -> Outcome {
    if (message.attempt() == 1) return WaitForCancellation(message);
    EXPECT_FALSE(message.cancellation().stop_requested());
    done.set_value();
    return Done();
  });
  // The store's clock stands still in this fixture: no retry would ever become due.
  memory_ = memory::OpenStore();
  store_ = std::make_shared<ClaimsOnlyStore>(memory_);
  Send(kOrders0, "a");
  log_->Assign({kOrders0});
  StartConsumer();
  Run();
  done.get_future().wait();
  StopAndJoin();
  EXPECT_TRUE(result_.ok()) << result_;
  EXPECT_THAT(invoked_, ElementsAre("a#1", "a#2"));
  EXPECT_EQ(stats().overdue, 1u);
}

TEST_F(EngineClaimsRun, AHandlerWhosePartitionIsLostIsCancelledAndItsOutcomeIsStillRecorded) {
  std::promise<void> running;
  When("a", [&](const Message& message) -> Outcome {
    running.set_value();
    (void)WaitForCancellation(message);
    return Done();  // the effect had happened
  });
  Send(kOrders0, "a");
  log_->Assign({kOrders0});
  StartConsumer();
  Run();
  running.get_future().wait();
  log_->Revoke({kOrders0}, Revocation::kLost);
  events_->WaitFor("lost");
  StopAndJoin();
  EXPECT_EQ(RecordOf("a").state, IdState::kCompleted);
  EXPECT_EQ(log_->committed(kOrders0), 0);
}

TEST_F(EngineClaimsRun, AHandlerLongerThanItsLeaseKeepsItsClaim) {
  memory_ = memory::OpenStore();
  store_ = std::make_shared<ClaimsOnlyStore>(memory_);
  options_.claims.lease = absl::Seconds(1);
  std::promise<void> seen;
  When("a", [&](const Message&) -> Outcome {
    // A lease and a half; somebody else finds the id in progress all the time.
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
    const std::string scope = GroupTopicScope("billing", "orders");
    while (std::chrono::steady_clock::now() < end) {
      const ClaimRequest request{.key = {.scope = scope, .id = "a"},
                                 .fingerprint = Fingerprint::Of("v"),
                                 .fence = memory_->claims()->NewFence()};
      ClaimResult result;
      EXPECT_TRUE(memory_->claims()
                      ->TryClaim(std::span(&request, 1), absl::Seconds(1), std::span(&result, 1))
                      .ok());
      EXPECT_EQ(result.verdict, ClaimVerdict::kInProgress);
      std::this_thread::yield();
    }
    seen.set_value();
    return Done();
  });
  Send(kOrders0, "a");
  log_->Assign({kOrders0});
  StartConsumer();
  Run();
  seen.get_future().wait();
  StopAndJoin();
  EXPECT_EQ(stats().processed, 1u);
  EXPECT_EQ(stats().lease_lost, 0u);
}

}  // namespace
}  // namespace once
