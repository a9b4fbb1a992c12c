// Wrap around functions without a transaction: a claim guards the id, whatever the store's verdict
// and whatever became of an earlier call.
#include <atomic>
#include <latch>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/wrap_claim_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

TEST_F(WrapUnderClaim, ACallRunsOnceAndItsResultIsReplayed) {
  const Wrapped<Charge> charge = WrapCharging();
  const auto first = charge({.id = "a"});
  EXPECT_THAT(first, IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(first->result, Optional(std::string("receipt 1")));
  for (int i = 0; i < 3; ++i) {
    const auto again = charge({.id = "a"});
    EXPECT_THAT(again, IsAnswer(CallVerdict::kDuplicate));
    EXPECT_THAT(again->result, Optional(std::string("receipt 1")));
  }
  EXPECT_THAT(charged_, ElementsAre("10.00"));
}

TEST_F(WrapUnderClaim, AnEmptyResultIsReplayedTooAndNoResultIsNone) {
  const Wrapped<Charge> empty =
      WrapCharging(Options(), [] { return CallEnd(absl::StatusOr<std::string>("")); });
  EXPECT_THAT(empty({.id = "a"})->result, Optional(std::string()));
  EXPECT_THAT(empty({.id = "a"})->result, Optional(std::string()));
  const Wrapped<Charge> none = WrapOutcome(Options(), [] { return Done(); });
  EXPECT_EQ(none({.id = "b"})->result, std::nullopt);
  EXPECT_EQ(none({.id = "b"})->result, std::nullopt);
}

TEST_F(WrapUnderClaim, TheLongestResultIsKeptAndALongerOneReachesTheFirstCallerOnly) {
  std::string result(kCallResultBytesMax, 'r');
  const Wrapped<Charge> charge =
      WrapCharging(Options(), [&] { return CallEnd(absl::StatusOr<std::string>(result)); });
  EXPECT_THAT(charge({.id = "a"})->result, Optional(result));
  EXPECT_THAT(charge({.id = "a"})->result, Optional(result));
  result += 'r';
  EXPECT_THAT(charge({.id = "b"})->result, Optional(result));
  const auto again = charge({.id = "b"});
  EXPECT_THAT(again, IsAnswer(CallVerdict::kDuplicate));
  EXPECT_EQ(again->result, std::nullopt);
  EXPECT_EQ(charged_.size(), 2);
}

TEST_F(WrapUnderClaim, NothingIsAnsweredBeforeItIsDurable) {
  const Wrapped<Charge> charge = WrapCharging();
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(store_->words(), ElementsAre("claim", "begun", "complete", "sync"));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
  EXPECT_EQ(store_->CountOf("sync"), 2) << "the first call's sync may still be under way";
}

TEST_F(WrapUnderClaim, AFailureIsRepeatedByTheCallerAsTheNextAttempt) {
  absl::Status answer = absl::UnavailableError("the bank is closed");
  const Wrapped<Charge> charge = WrapCharging(Options(), [&] { return CallEnd(answer); });
  const auto failed = charge({.id = "a"});
  EXPECT_THAT(failed, IsAnswer(CallVerdict::kFailed));
  EXPECT_EQ(failed->status.message(), "the bank is closed");
  answer = absl::OkStatus();
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(attempts_, ElementsAre(1, 2));
  EXPECT_THAT(repeated_, ElementsAre(false, false));
}

TEST_F(WrapUnderClaim, ABackoffAnswersNotYetUntilItIsOver) {
  WrapOptions<Charge> options = Options();
  options.retry.backoff = {.initial = absl::Seconds(10), .jitter = 0};
  const Wrapped<Charge> charge = WrapCharging(std::move(options), [this] {
    return attempts_.size() == 1 ? CallEnd(absl::UnavailableError("closed"))
                                 : CallEnd(absl::OkStatus());
  });
  const auto failed = charge({.id = "a"});
  EXPECT_THAT(failed, IsAnswer(CallVerdict::kFailed));
  EXPECT_EQ(failed->wait, absl::Seconds(10));
  clock_->Advance(absl::Seconds(4));
  const auto early = charge({.id = "a"});
  EXPECT_THAT(early, IsAnswer(CallVerdict::kNotYet));
  EXPECT_EQ(early->wait, absl::Seconds(6));
  clock_->Advance(absl::Seconds(6));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
}

TEST_F(WrapUnderClaim, AnExceptionIsAFailureThatMayBeRepeated) {
  const Wrapped<Charge> charge =
      WrapCharging(Options(), []() -> CallEnd { throw std::runtime_error("boom"); });
  const auto failed = charge({.id = "a"});
  EXPECT_THAT(failed, IsAnswer(CallVerdict::kFailed));
  EXPECT_THAT(std::string(failed->status.message()), HasSubstr("boom"));
}

TEST_F(WrapUnderClaim, ARejectionIsDeadForGood) {
  const Wrapped<Charge> charge = WrapOutcome(Options(), [] { return Reject("no such account"); });
  const auto dead = charge({.id = "a"});
  EXPECT_THAT(dead, IsAnswer(CallVerdict::kDead));
  EXPECT_EQ(dead->status.message(), "no such account");
  EXPECT_THAT(store_->words(), ElementsAre("claim", "begun", "dying", "kill", "sync"));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
  EXPECT_EQ(attempts_.size(), 1);
}

TEST_F(WrapUnderClaim, ASkipIsOnRecord) {
  const Wrapped<Charge> charge = WrapOutcome(Options(), [] { return Skip("a test order"); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDiscarded));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDiscarded));
  EXPECT_EQ(attempts_.size(), 1);
}

TEST_F(WrapUnderClaim, TheLastAttemptIsTheLast) {
  WrapOptions<Charge> options = Options();
  options.retry.max_attempts = 2;
  const Wrapped<Charge> charge = WrapOutcome(std::move(options), [] { return Retry("closed"); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
  EXPECT_EQ(attempts_.size(), 2);
}

TEST_F(WrapUnderClaim, AFunctionThatKillsItsProcessEveryTimeIsDeadAfterTheLastAttempt) {
  WrapOptions<Charge> options = Options();
  options.retry.max_attempts = 2;
  DieInside({.id = "a"});
  DieInside({.id = "a"});
  const Wrapped<Charge> charge = WrapOutcome(std::move(options), [] { return Done(); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
  EXPECT_THAT(attempts_, IsEmpty());
}

TEST_F(WrapUnderClaim, WhereGivingUpMeansToDiscardTheLastAttemptDiscards) {
  WrapOptions<Charge> options = Options();
  options.retry.max_attempts = 1;
  options.retry.give_up = GiveUp::kDiscard;
  DieInside({.id = "b"});
  const Wrapped<Charge> charge = WrapOutcome(std::move(options), [] { return Retry("closed"); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDiscarded));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDiscarded));
  EXPECT_EQ(attempts_.size(), 1);
  EXPECT_THAT(charge({.id = "b"}), IsAnswer(CallVerdict::kDiscarded)) << "its process died in it";
  EXPECT_EQ(attempts_.size(), 1);
}

TEST_F(WrapUnderClaim, AnotherContentUnderTheSameIdIsAConflictAndNeverRuns) {
  const Wrapped<Charge> charge = WrapCharging();
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(charge({.id = "a", .amount = "99.00"}), IsAnswer(CallVerdict::kConflict));
  EXPECT_THAT(charged_, ElementsAre("10.00"));
}

TEST_F(WrapUnderClaim, WhatIsAtWorkElsewhereIsInProgress) {
  const Wrapped<Charge> other = WrapCharging();
  std::optional<absl::StatusOr<CallAnswer>> meanwhile;
  const Wrapped<Charge> charge = WrapCharging(Options(), [&] {
    if (!meanwhile) meanwhile = other({.id = "a"});
    return CallEnd(absl::OkStatus());
  });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(*meanwhile, IsAnswer(CallVerdict::kInProgress));
  EXPECT_FALSE((*meanwhile)->is_settled());
  EXPECT_EQ(charged_.size(), 1);
}

TEST_F(WrapUnderClaim, WhoeverLosesItsLeaseAnswersNothing) {
  const Wrapped<Charge> successor = WrapCharging();
  const Wrapped<Charge> stalled = WrapCharging(Options(), [&] {
    clock_->Advance(kLease + absl::Seconds(1));
    const auto taken_over = successor({.id = "a"});
    EXPECT_THAT(taken_over, IsAnswer(CallVerdict::kDone));
    EXPECT_EQ(taken_over->attempt, 2);
    return CallEnd(absl::StatusOr<std::string>("of the stalled one"));
  });
  EXPECT_THAT(stalled({.id = "a"}), IsError(absl::StatusCode::kAborted));
  EXPECT_THAT(repeated_, ElementsAre(false, true))
      << "the successor knew that it may be a repetition";
  const auto again = stalled({.id = "a"});
  EXPECT_THAT(again, IsAnswer(CallVerdict::kDuplicate));
  EXPECT_THAT(again->result, Optional(std::string("receipt 1"))) << "what the successor recorded";
}

TEST_F(WrapUnderClaim, AStalledFailureDoesNotTouchItsSuccessorsSuccess) {
  const Wrapped<Charge> successor = WrapCharging();
  const Wrapped<Charge> stalled = WrapCharging(Options(), [&] {
    clock_->Advance(kLease + absl::Seconds(1));
    EXPECT_THAT(successor({.id = "a"}), IsAnswer(CallVerdict::kDone));
    return CallEnd(absl::InvalidArgumentError("rejected"));
  });
  EXPECT_THAT(stalled({.id = "a"}), IsError(absl::StatusCode::kAborted));
  EXPECT_THAT(stalled({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
}

TEST_F(WrapUnderClaim, AStalledTransientFailureIsALostLeaseToo) {
  const Wrapped<Charge> successor = WrapCharging();
  const Wrapped<Charge> stalled = WrapCharging(Options(), [&] {
    clock_->Advance(kLease + absl::Seconds(1));
    EXPECT_THAT(successor({.id = "a"}), IsAnswer(CallVerdict::kDone));
    return CallEnd(absl::UnavailableError("closed"));
  });
  EXPECT_THAT(stalled({.id = "a"}), IsError(absl::StatusCode::kAborted));
}

TEST_F(WrapUnderClaim, NoAttemptFollowsLongAfterTheFirstFailure) {
  WrapOptions<Charge> options = Options();
  options.retry.max_elapsed = absl::Minutes(1);
  const Wrapped<Charge> charge = WrapOutcome(std::move(options), [] { return Retry("closed"); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  clock_->Advance(absl::Seconds(40));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  clock_->Advance(absl::Seconds(40));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
}

TEST_F(WrapUnderClaim, AnIdWhoseProcessDiedInsideRunsAgainByDefault) {
  DieInside({.id = "a"});
  const auto answer = WrapCharging()({.id = "a"});
  EXPECT_THAT(answer, IsAnswer(CallVerdict::kDone));
  EXPECT_EQ(answer->attempt, 2);
  EXPECT_THAT(repeated_, ElementsAre(true));
}

TEST_F(WrapUnderClaim, ParkedItIsUncertainAndNeverRunsAgain) {
  DieInside({.id = "a"});
  WrapOptions<Charge> options = Options();
  options.on_lost = LostClaim::kPark;
  const Wrapped<Charge> charge =
      WrapCharging(std::move(options), [] { return CallEnd(absl::OkStatus()); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kUncertain));
  const auto again = charge({.id = "a"});
  EXPECT_THAT(again, IsAnswer(CallVerdict::kUncertain));
  EXPECT_TRUE(again->is_settled());
  EXPECT_FALSE(again->has_happened());
  EXPECT_THAT(attempts_, IsEmpty());
}

TEST_F(WrapUnderClaim, ALetterThatAConsumerOwesStaysItsToPublish) {
  const std::string scope = NamedScope("charges");
  const auto claim_as_consumer = [&](Claim& claim) {
    claim = {.key = {.scope = scope, .id = "a"}, .fence = store_->NewFence()};
    const ClaimRequest request{
        .key = claim.key, .fingerprint = Fingerprint::Of("10.00"), .fence = claim.fence};
    ClaimResult result;
    EXPECT_TRUE(store_->TryClaim(std::span(&request, 1), kLease, std::span(&result, 1)).ok());
    return result;
  };
  Claim claim;
  EXPECT_EQ(claim_as_consumer(claim).verdict, ClaimVerdict::kFresh);
  const DyingClaim dying{.claim = claim, .disposition = Disposition::kRejected, .attempt = 1};
  absl::Status outcome;
  ASSERT_TRUE(store_->Begun(std::span(&claim, 1), std::span(&outcome, 1)).ok());
  ASSERT_TRUE(store_->Dying(std::span(&dying, 1), std::span(&outcome, 1)).ok());
  ASSERT_TRUE(outcome.ok()) << outcome;
  clock_->Advance(kLease + absl::Seconds(1));  // the consumer died before it published

  const Wrapped<Charge> charge = WrapCharging();
  for (int i = 0; i < 2; ++i) EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
  EXPECT_THAT(attempts_, IsEmpty());
  EXPECT_EQ(claim_as_consumer(claim).verdict, ClaimVerdict::kPublish) << "at once, and still owed";
}

class WrapReconciles : public WrapUnderClaim {
 protected:
  // What a call is answered whose first invocation was lost, when the downstream says `found`.
  absl::StatusOr<CallAnswer> CallAfterLoss(std::function<Reconciled()> found) {
    DieInside({.id = "a"});
    WrapOptions<Charge> options = Options();
    options.on_lost = LostClaim::kReconcile;
    options.reconcile = [this, found = std::move(found)](const Charge& charge) {
      asked_.push_back(charge.id);
      return found();
    };
    charge_ = WrapCharging(std::move(options), [] { return CallEnd(absl::OkStatus()); });
    return (*charge_)({.id = "a"});
  }

  std::optional<Wrapped<Charge>> charge_;
  std::vector<std::string> asked_;
};

TEST_F(WrapReconciles, WhatHappenedIsADuplicateFromThenOn) {
  EXPECT_THAT(CallAfterLoss([] { return Reconciled::kHappened; }),
              IsAnswer(CallVerdict::kDuplicate));
  EXPECT_THAT((*charge_)({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
  EXPECT_THAT(asked_, ElementsAre("a"));
  EXPECT_THAT(charged_, IsEmpty());
}

TEST_F(WrapReconciles, WhatDidNotHappenRunsAndMayYetBeARepetition) {
  EXPECT_THAT(CallAfterLoss([] { return Reconciled::kNotHappened; }), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(repeated_, ElementsAre(true)) << "the lost invocation may only have stalled";
}

TEST_F(WrapReconciles, WhatNobodyKnowsIsUncertain) {
  EXPECT_THAT(CallAfterLoss([] { return Reconciled::kUnknown; }),
              IsAnswer(CallVerdict::kUncertain));
  EXPECT_THAT(charged_, IsEmpty());
}

TEST_F(WrapReconciles, AQuestionThatThrowsIsAskedAgainByTheNextCall) {
  bool is_down = true;
  const auto failed = CallAfterLoss([&]() -> Reconciled {
    if (is_down) throw std::runtime_error("the bank does not answer");
    return Reconciled::kHappened;
  });
  EXPECT_THAT(failed, IsError(absl::StatusCode::kInternal));
  EXPECT_THAT(std::string(failed.status().message()), HasSubstr("the bank does not answer"));
  is_down = false;
  EXPECT_THAT((*charge_)({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
  EXPECT_THAT(charged_, IsEmpty());
}

TEST_F(WrapUnderClaim, TheFunctionLearnsWhatItMayPassDownstream) {
  std::string key;
  const Wrapped<Charge> charge =
      Must(Wrap<Charge>(Options(), [&](const Charge&, const Invocation& invocation) {
        EXPECT_EQ(invocation.id, "a");
        EXPECT_EQ(invocation.scope, NamedScope("charges"));
        EXPECT_FALSE(invocation.cancellation.stop_requested());
        key = invocation.idempotency_key();
        return absl::OkStatus();
      }));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_EQ(key, IdempotencyKey({.scope = NamedScope("charges"), .id = "a"}));
}

// Real threads and a real clock from here on.

WrapOptions<Charge> BusyOptions(std::shared_ptr<DedupStore> store) {
  return ChargeOptions(std::move(store), SystemExecutor());
}

TEST(WrapWithThreads, OneOfManyCallsWithTheSameIdRunsAndTheOthersAreToldSo) {
  constexpr int kThreads = 8;
  std::latch everybody_has_called(kThreads - 1);
  std::atomic<int> runs = 0;
  const Wrapped<Charge> charge =
      Must(Wrap<Charge>(BusyOptions(memory::OpenStore()), [&](const Charge&) {
        ++runs;
        everybody_has_called.wait();
        return absl::OkStatus();
      }));
  std::atomic<int> done = 0;
  std::atomic<int> in_progress = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const auto answer = charge({.id = "a"});
      if (answer.ok() && answer->verdict == CallVerdict::kDone) ++done;
      if (answer.ok() && answer->verdict == CallVerdict::kInProgress) {
        ++in_progress;
        everybody_has_called.count_down();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(done, 1);
  EXPECT_EQ(in_progress, kThreads - 1);
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
}

TEST(WrapWithThreads, ALongCallKeepsItsClaim) {
  auto store = std::make_shared<JammedStore>(memory::OpenStore());
  std::latch renewed(1);
  std::atomic<int> renewals = 0;
  store->OnRenew([&] {
    if (++renewals == 1) renewed.count_down();
  });
  WrapOptions<Charge> options = BusyOptions(store);
  options.lease = absl::Seconds(1);
  const Wrapped<Charge> charge = Must(Wrap<Charge>(std::move(options), [&](const Charge&) {
    renewed.wait();
    return absl::OkStatus();
  }));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_GE(renewals, 1);
}

TEST(WrapWithThreads, ALostClaimCancelsTheFunction) {
  auto store = std::make_shared<JammedStore>(memory::OpenStore());
  store->Jam("renew", {WordFate::kLeaseLost});
  WrapOptions<Charge> options = BusyOptions(store);
  options.lease = absl::Seconds(1);
  const Wrapped<Charge> charge =
      Must(Wrap<Charge>(std::move(options), [&](const Charge&, const Invocation& invocation) {
        std::latch cancelled(1);
        const std::stop_callback on_stop(invocation.cancellation, [&] { cancelled.count_down(); });
        cancelled.wait();
        return absl::CancelledError("another call has it");
      }));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
}

}  // namespace
}  // namespace once
