// Wrap around functions that take a Transaction&: id and effect commit together, and everything
// that a store may answer to the commit.
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/faulty_store.h"
#include "tests/unit/wrap_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class WrapInTransaction : public ::testing::Test {
 protected:
  using Function = std::function<Outcome(const Charge&, Transaction&, const Invocation&)>;

  WrapOptions<Charge> Options() { return ChargeOptions(store_, clock_); }

  // Books the amount, and then ends as `outcome` says.
  Wrapped<Charge> WrapBooking(WrapOptions<Charge> options, std::function<Outcome()> outcome) {
    return Must(Wrap<Charge>(std::move(options), [this, outcome = std::move(outcome)](
                                                     const Charge& charge, Transaction& transaction,
                                                     const Invocation& invocation) {
      attempts_.push_back(invocation.attempt);
      Records(transaction)->Append("booked", charge.amount);
      return outcome();
    }));
  }
  Wrapped<Charge> WrapBooking() {
    return WrapBooking(Options(), [] { return Done(); });
  }

  static memory::RecordWriter* Records(Transaction& transaction) {
    return dynamic_cast<memory::RecordWriter*>(&transaction);
  }
  std::vector<std::string> booked() const { return store_->ReadRecords("booked"); }
  IdRecord RecordOf(const std::string& id) { return store_->FindId(NamedScope("charges"), id); }

  std::shared_ptr<FrozenExecutor> clock_ = std::make_shared<FrozenExecutor>();
  std::shared_ptr<FaultyStore> store_ = std::make_shared<FaultyStore>();
  std::vector<int> attempts_;  // of the invocations
};

TEST_F(WrapInTransaction, ACallTakesEffectOnceHoweverOftenItIsRepeated) {
  const Wrapped<Charge> charge = WrapBooking();
  const auto first = charge({.id = "a"});
  EXPECT_THAT(first, IsAnswer(CallVerdict::kDone));
  EXPECT_EQ(first->attempt, 1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
  }
  EXPECT_THAT(charge({.id = "b", .amount = "7.00"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(booked(), ElementsAre("10.00", "7.00"));
}

TEST_F(WrapInTransaction, AnotherContentUnderTheSameIdIsAConflictAndNeverRuns) {
  const Wrapped<Charge> charge = WrapBooking();
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  const auto other = charge({.id = "a", .amount = "99.00"});
  EXPECT_THAT(other, IsAnswer(CallVerdict::kConflict));
  EXPECT_TRUE(other->is_settled());
  EXPECT_FALSE(other->has_happened());
  EXPECT_THAT(booked(), ElementsAre("10.00"));
}

TEST_F(WrapInTransaction, WithoutAFingerprintFunctionTheIdAloneDecides) {
  WrapOptions<Charge> options = Options();
  options.fingerprint = nullptr;
  const Wrapped<Charge> charge = WrapBooking(std::move(options), [] { return Done(); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(charge({.id = "a", .amount = "99.00"}), IsAnswer(CallVerdict::kDuplicate));
}

TEST_F(WrapInTransaction, AFailureLeavesNoEffectAndTheNextCallIsTheNextAttempt) {
  absl::Status answer = absl::UnavailableError("the bank is closed");
  const Wrapped<Charge> charge = WrapBooking(Options(), [&] { return answer; });
  const auto failed = charge({.id = "a"});
  EXPECT_THAT(failed, IsAnswer(CallVerdict::kFailed));
  EXPECT_EQ(failed->status.message(), "the bank is closed");
  EXPECT_FALSE(failed->is_settled());
  EXPECT_THAT(booked(), IsEmpty());
  answer = absl::OkStatus();
  const auto done = charge({.id = "a"});
  EXPECT_THAT(done, IsAnswer(CallVerdict::kDone));
  EXPECT_EQ(done->attempt, 2);
  EXPECT_THAT(attempts_, ElementsAre(1, 2));
  EXPECT_THAT(booked(), ElementsAre("10.00"));
}

TEST_F(WrapInTransaction, AnExceptionIsAFailureThatMayBeRepeated) {
  const Wrapped<Charge> charge =
      WrapBooking(Options(), []() -> Outcome { throw std::runtime_error("boom"); });
  const auto failed = charge({.id = "a"});
  EXPECT_THAT(failed, IsAnswer(CallVerdict::kFailed));
  EXPECT_THAT(std::string(failed->status.message()), HasSubstr("boom"));
  EXPECT_THAT(booked(), IsEmpty());
}

TEST_F(WrapInTransaction, RunningOutOfMemoryIsChargedToNobody) {
  const Wrapped<Charge> charge =
      WrapBooking(Options(), []() -> Outcome { throw std::bad_alloc(); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  EXPECT_EQ(RecordOf("a").state, IdState::kAbsent);
}

TEST_F(WrapInTransaction, ARejectionIsDeadForGood) {
  Outcome answer = Reject("no such account");
  const Wrapped<Charge> charge = WrapBooking(Options(), [&] { return answer; });
  const auto dead = charge({.id = "a"});
  EXPECT_THAT(dead, IsAnswer(CallVerdict::kDead));
  EXPECT_EQ(dead->status.message(), "no such account");
  answer = Done();
  const auto again = charge({.id = "a"});
  EXPECT_THAT(again, IsAnswer(CallVerdict::kDead));
  EXPECT_TRUE(again->is_settled());
  EXPECT_FALSE(again->has_happened());
  EXPECT_THAT(attempts_, ElementsAre(1));
  EXPECT_THAT(booked(), IsEmpty());
}

TEST_F(WrapInTransaction, ASkipIsOnRecordAndHasNoEffect) {
  const Wrapped<Charge> charge = WrapBooking(Options(), [] { return Skip("a test order"); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDiscarded));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDiscarded));
  EXPECT_EQ(RecordOf("a").state, IdState::kDiscarded);
  EXPECT_THAT(attempts_, ElementsAre(1));
  EXPECT_THAT(booked(), IsEmpty());
}

TEST_F(WrapInTransaction, AttemptsAreUnlimitedUnlessTheCallerLimitsThem) {
  WrapOptions<Charge> options = Options();
  options.retry.max_attempts = 2;
  const auto fail = [] { return Retry("still closed"); };
  const Wrapped<Charge> limited = WrapBooking(std::move(options), fail);
  EXPECT_THAT(limited({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  EXPECT_THAT(limited({.id = "a"}), IsAnswer(CallVerdict::kDead));
  const Wrapped<Charge> unlimited = WrapBooking(Options(), fail);
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(unlimited({.id = "b"}), IsAnswer(CallVerdict::kFailed));
  }
  EXPECT_EQ(RecordOf("b").attempt, 20);
}

TEST_F(WrapInTransaction, ALimitThatWasLoweredEndsAnIdWithoutAnotherInvocation) {
  const Wrapped<Charge> charge = WrapBooking(Options(), [] { return Retry("still closed"); });
  for (int i = 0; i < 3; ++i) EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  WrapOptions<Charge> options = Options();
  options.retry.max_attempts = 2;
  const Wrapped<Charge> lowered = WrapBooking(std::move(options), [] { return Done(); });
  EXPECT_THAT(lowered({.id = "a"}), IsAnswer(CallVerdict::kDead));
  EXPECT_EQ(attempts_.size(), 3);
  EXPECT_EQ(RecordOf("a").state, IdState::kDead);
}

TEST_F(WrapInTransaction, ABackoffAnswersNotYetUntilItIsOver) {
  WrapOptions<Charge> options = Options();
  options.retry.backoff = {.initial = absl::Seconds(10), .jitter = 0};
  const Wrapped<Charge> charge = WrapBooking(std::move(options), [this]() -> Outcome {
    return attempts_.size() == 1 ? Retry("closed") : Done();
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
  EXPECT_EQ(attempts_.size(), 2);
}

TEST_F(WrapInTransaction, ARefusedCommitIsAFailedAttempt) {
  int commits = 0;
  store_->OnCommit(
      [&](const auto&) { return ++commits == 1 ? CommitFate::kRefused : CommitFate::kHappens; });
  const Wrapped<Charge> charge = WrapBooking();
  const auto failed = charge({.id = "a"});
  EXPECT_THAT(failed, IsAnswer(CallVerdict::kFailed));
  EXPECT_THAT(std::string(failed->status.message()), HasSubstr("constraint"));
  EXPECT_EQ(RecordOf("a").attempt, 1);
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(booked(), ElementsAre("10.00"));
}

TEST_F(WrapInTransaction, StoreTroubleIsAnErrorAndNothingHasHappened) {
  const Wrapped<Charge> charge = WrapBooking();
  store_->OnCommit([](const auto&) { return CommitFate::kTrouble; });
  const auto troubled = charge({.id = "a"});
  EXPECT_THAT(troubled, IsError(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(troubled.status().message()), HasSubstr("nothing was committed"));
  store_->OnCommit(nullptr);
  store_->OnBegin([] { return absl::UnavailableError("no connection"); });
  EXPECT_THAT(charge({.id = "a"}), IsError(absl::StatusCode::kUnavailable));
  store_->OnBegin(nullptr);
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(booked(), ElementsAre("10.00"));
}

TEST_F(WrapInTransaction, ALostAnswerToACommitThatHappenedIsDone) {
  int commits = 0;
  store_->OnCommit([&](const auto&) {
    return ++commits == 1 ? CommitFate::kUnknownDone : CommitFate::kHappens;
  });
  const Wrapped<Charge> charge = WrapBooking();
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(booked(), ElementsAre("10.00"));
  EXPECT_EQ(attempts_.size(), 1);
}

TEST_F(WrapInTransaction, ALostAnswerToACommitThatDidNotHappenIsRepeated) {
  int commits = 0;
  store_->OnCommit([&](const auto&) {
    return ++commits == 1 ? CommitFate::kUnknownUndone : CommitFate::kHappens;
  });
  const Wrapped<Charge> charge = WrapBooking();
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(booked(), ElementsAre("10.00"));
  EXPECT_THAT(attempts_, ElementsAre(1, 1)) << "what was rolled back is not counted";
}

TEST_F(WrapInTransaction, ALostAnswerToARecordedFailureDoesNotCountItTwice) {
  int marks = 0;
  store_->OnMark([&] { return ++marks == 1 ? CommitFate::kUnknownDone : CommitFate::kHappens; });
  const Wrapped<Charge> charge = WrapBooking(Options(), [] { return Retry("closed"); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  EXPECT_EQ(marks, 1) << "it found its own failure and wrote no other";
  EXPECT_EQ(RecordOf("a").attempt, 1);
  EXPECT_EQ(attempts_.size(), 1);
}

// Another process fails with the same id between the commit and the question what became of it.
TEST_F(WrapInTransaction, ALostAnswerToARecordedFailureDoesNotCountItTwiceAfterAnothersFailure) {
  const Wrapped<Charge> charge = WrapBooking(Options(), [] { return Retry("closed"); });
  const Wrapped<Charge> other = WrapBooking(Options(), [] { return Retry("closed"); });
  int marks = 0;
  bool has_asked = false;
  store_->OnMark([&] { return ++marks == 1 ? CommitFate::kUnknownDone : CommitFate::kHappens; });
  store_->OnBegin([&] {
    if (marks == 0 || has_asked) return absl::OkStatus();
    has_asked = true;
    clock_->Advance(absl::Minutes(1));  // past the backoff
    EXPECT_THAT(other({.id = "a"}), IsAnswer(CallVerdict::kFailed));
    return absl::OkStatus();
  });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  EXPECT_EQ(marks, 2) << "one failure each";
  EXPECT_EQ(RecordOf("a").attempt, 2);
  EXPECT_THAT(attempts_, ElementsAre(1, 2));
}

TEST_F(WrapInTransaction, ARepetitionThatMeetsTroubleIsKnownNotToHaveHappened) {
  int commits = 0;
  store_->OnCommit([&](const auto&) {
    return ++commits == 1 ? CommitFate::kUnknownUndone : CommitFate::kTrouble;
  });
  const auto troubled = WrapBooking()({.id = "a"});
  EXPECT_THAT(troubled, IsError(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(troubled.status().message()), HasSubstr("nothing was committed"));
  EXPECT_THAT(booked(), IsEmpty());
}

TEST_F(WrapInTransaction, NoAttemptFollowsLongAfterTheFirstFailure) {
  WrapOptions<Charge> options = Options();
  options.retry.max_elapsed = absl::Minutes(1);
  const Wrapped<Charge> charge = WrapBooking(std::move(options), [] { return Retry("closed"); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  clock_->Advance(absl::Seconds(40));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  clock_->Advance(absl::Seconds(40));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
}

TEST_F(WrapInTransaction, AStoreThatFallsSilentAfterACommitLeavesAnErrorThatSaysSo) {
  const Wrapped<Charge> charge = WrapBooking();
  store_->OnCommit([this](const auto&) {
    store_->OnBegin([] { return absl::UnavailableError("no connection"); });
    return CommitFate::kUnknownDone;
  });
  const auto unknown = charge({.id = "a"});
  EXPECT_THAT(unknown, IsError(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("not known"));
  store_->OnBegin(nullptr);
  store_->OnCommit(nullptr);
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
  EXPECT_THAT(booked(), ElementsAre("10.00"));
}

TEST_F(WrapInTransaction, AStoreThatLosesEveryAnswerIsNotAskedForEver) {
  store_->OnCommit([](const auto&) { return CommitFate::kUnknownUndone; });
  const Wrapped<Charge> charge = WrapBooking();
  EXPECT_FALSE(charge({.id = "a"}).ok());
  EXPECT_LE(attempts_.size(), 8);
  EXPECT_THAT(booked(), IsEmpty());
}

// Whoever has committed it may sync it only later.
TEST_F(WrapInTransaction, WhatIsFoundSettledIsAnsweredOnlyOnceItIsSynced) {
  const Wrapped<Charge> charge = WrapBooking();
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  store_->OnCommit([](const auto&) { return CommitFate::kTrouble; });
  EXPECT_THAT(charge({.id = "a"}), IsError(absl::StatusCode::kUnavailable));
  EXPECT_THAT(charge({.id = "a", .amount = "7.00"}), IsError(absl::StatusCode::kUnavailable));
  int commits = 0;
  store_->OnCommit([&](const auto&) {
    return ++commits == 1 ? CommitFate::kUnknownUndone : CommitFate::kHappens;
  });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
  EXPECT_EQ(commits, 2) << "it asks again after a sync of which nobody knows";
  EXPECT_THAT(booked(), ElementsAre("10.00"));
}

TEST_F(WrapInTransaction, WhatIsNotSettledIsAnsweredWithoutWaitingForTheDisk) {
  WrapOptions<Charge> options = Options();
  options.retry.backoff = {.initial = absl::Seconds(10), .jitter = 0};
  const Wrapped<Charge> charge = WrapBooking(std::move(options), [] { return Retry("closed"); });
  store_->OnCommit([](const auto&) { return CommitFate::kTrouble; });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kNotYet));
}

TEST_F(WrapInTransaction, AFunctionThatEndsTheTransactionItselfIsDead) {
  const Wrapped<Charge> charge = WrapBooking();
  store_->EndNextTransactionWith(absl::FailedPreconditionError("the handler committed"));
  const auto dead = charge({.id = "a"});
  EXPECT_THAT(dead, IsAnswer(CallVerdict::kDead));
  EXPECT_THAT(std::string(dead->status.message()), HasSubstr("committed"));
}

TEST_F(WrapInTransaction, AFunctionThatReportsItsFailedStatementMayBeCalledAgain) {
  int calls = 0;
  const Wrapped<Charge> charge = WrapBooking(Options(), [&]() -> Outcome {
    if (++calls > 1) return Done();
    store_->EndNextTransactionWith(absl::FailedPreconditionError("a statement failed"));
    return Retry("the account is locked");
  });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
}

TEST_F(WrapInTransaction, AStoreThatRollsBackByItselfIsTroubleAndNobodysFault) {
  const Wrapped<Charge> charge = WrapBooking();
  store_->EndNextTransactionWith(absl::AbortedError("the disk is full"));
  EXPECT_THAT(charge({.id = "a"}), IsError(absl::StatusCode::kAborted));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(attempts_, ElementsAre(1, 1));
  EXPECT_THAT(booked(), ElementsAre("10.00"));
}

TEST_F(WrapInTransaction, SharesItsIdsWithWhoeverHasItsScopeAndWithNobodyElse) {
  const Wrapped<Charge> charge = WrapBooking();
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  WrapOptions<Charge> same = Options();
  WrapOptions<Charge> other = Options();
  other.scope = "refunds";
  const auto done = [] { return Done(); };
  EXPECT_THAT(WrapBooking(std::move(same), done)({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
  EXPECT_THAT(WrapBooking(std::move(other), done)({.id = "a"}), IsAnswer(CallVerdict::kDone));
}

TEST_F(WrapInTransaction, AnIdThatIsNoneIsRefusedBeforeAnythingRuns) {
  const Wrapped<Charge> charge = WrapBooking();
  EXPECT_THAT(charge({.id = ""}), IsError(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(charge({.id = std::string(80, 'x')}), IsError(absl::StatusCode::kInvalidArgument));
  WrapOptions<Charge> throwing = Options();
  throwing.id = [](const Charge&) -> std::string { throw std::runtime_error("no key"); };
  const auto refused = WrapBooking(std::move(throwing), [] { return Done(); })({.id = "a"});
  EXPECT_THAT(refused, IsError(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("no key"));
  EXPECT_THAT(attempts_, IsEmpty());
}

TEST_F(WrapInTransaction, ManyThreadsWithTheSameIdsBookEachOnce) {
  const std::shared_ptr<memory::Store> store = memory::OpenStore();
  const Wrapped<Charge> charge = Must(Wrap<Charge>(
      ChargeOptions(store, SystemExecutor()), [](const Charge& one, Transaction& transaction) {
        memory::Records(transaction)->Append("booked", one.id);
        return absl::OkStatus();
      }));
  constexpr int kThreads = 8;
  constexpr int kIds = 200;
  std::atomic<int> done = 0;
  std::atomic<int> duplicates = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int id = 0; id < kIds; ++id) {
        const auto answer = charge({.id = std::to_string(id)});
        if (!answer.ok()) continue;
        done += answer->verdict == CallVerdict::kDone ? 1 : 0;
        duplicates += answer->verdict == CallVerdict::kDuplicate ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done, kIds);
  EXPECT_EQ(duplicates, (kThreads - 1) * kIds);
  EXPECT_EQ(store->ReadRecords("booked").size(), kIds);
}

}  // namespace
}  // namespace once
