// Plain handlers when answers, leases and processes are lost.
#include "tests/unit/engine_claims_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::TestWithParam;

class EngineLease : public EngineClaimsTest {};

TEST_F(EngineLease, AnIdThatSomebodyElseWorksOnIsWaitedFor) {
  const Fence fence = ClaimElsewhere("a", true);
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, IsEmpty());
  CompleteElsewhere("a", fence);
  SettleAfter(absl::Seconds(1));
  EXPECT_THAT(invoked_, ElementsAre("b#1"));
  EXPECT_EQ(stats().duplicates, 1u);
}

TEST_F(EngineLease, ABegunClaimWhoseLeaseEndedIsRunAgainAndSaysSo) {
  ClaimElsewhere("a", true);
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  SettleAfter(absl::Seconds(31));
  EXPECT_THAT(invoked_, ElementsAre("a#2?"));
  EXPECT_EQ(stats().taken_over, 1u);
  EXPECT_EQ(RecordOf("a").state, IdState::kCompleted);
}

TEST_F(EngineLease, AClaimThatNeverBeganChargesNobody) {
  ClaimElsewhere("a", false);
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  SettleAfter(absl::Seconds(31));
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
}

TEST_F(EngineLease, AHandlerThatKillsItsProcessEveryTimeIsDeadLetteredAfterMaxAttempts) {
  for (int death = 0; death < 3; ++death) {
    ClaimElsewhere("a", true);
    clock_->Advance(absl::Seconds(31));
  }
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, ElementsAre("b#1"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "retries-exhausted");
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-attempt"), "3");
}

TEST_F(EngineLease, WhatMayHaveRunIsParkedAsUncertainWhenAsked) {
  options_.claims.on_lost = LostClaim::kPark;
  ClaimElsewhere("a", true);
  clock_->Advance(absl::Seconds(31));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, IsEmpty());
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "uncertain");
  EXPECT_EQ(RecordOf("a").state, IdState::kUncertain);
  EXPECT_EQ(stats().uncertain, 1u);
  Send(kOrders0, "a");
  Settle();
  EXPECT_EQ(stats().discarded, 1u);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 2);
}

TEST_F(EngineLease, ReconcilingAsksTheDownstream) {
  options_.claims.on_lost = LostClaim::kReconcile;
  options_.claims.reconcile = [](const Message& message) {
    EXPECT_TRUE(message.maybe_repeated());
    if (message.id() == "happened") return Reconciled::kHappened;
    if (message.id() == "not") return Reconciled::kNotHappened;
    return Reconciled::kUnknown;
  };
  for (const char* id : {"happened", "not", "who knows"}) {
    ClaimElsewhere(id, true);
    Send(kOrders0, id);
  }
  clock_->Advance(absl::Seconds(31));
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, ElementsAre("not#2?"));
  EXPECT_EQ(RecordOf("happened").state, IdState::kCompleted);
  EXPECT_EQ(RecordOf("not").state, IdState::kCompleted);
  EXPECT_EQ(RecordOf("who knows").state, IdState::kUncertain);
}

TEST_F(EngineLease, AReconcileCallbackThatThrowsIsAskedAgainLater) {
  int calls = 0;
  options_.claims.on_lost = LostClaim::kReconcile;
  options_.claims.reconcile = [&](const Message&) {
    if (++calls == 1) throw std::runtime_error("the bank does not answer");
    return Reconciled::kHappened;
  };
  ClaimElsewhere("a", true);
  clock_->Advance(absl::Seconds(31));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_EQ(calls, 1);
  EXPECT_NE(RecordOf("a").state, IdState::kCompleted);
  SettleAfter(absl::Seconds(1));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(RecordOf("a").state, IdState::kCompleted);
  EXPECT_THAT(invoked_, IsEmpty());
}

TEST_F(EngineLease, AnOutcomeAfterTheLeaseWasLostIsNotAcknowledgedAndTheMessageIsClaimedAgain) {
  Fence thief;
  When("a", [&](const Message& message) -> Outcome {
    if (message.attempt() > 1) return Done();
    clock_->Advance(absl::Seconds(31));  // longer than the lease; Step() renews nothing
    thief = ClaimElsewhere("a", true);
    return Done();
  });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_EQ(stats().lease_lost, 1u);
  EXPECT_EQ(stats().processed, 0u);
  CompleteElsewhere("a", thief);
  SettleAfter(absl::Seconds(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_EQ(stats().duplicates, 1u);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 1);
}

TEST_F(EngineLease, ADeadLetterAfterTheLeaseWasLostIsNotPublished) {
  Fence thief;
  When("a", [&](const Message&) -> Outcome {
    clock_->Advance(absl::Seconds(31));
    thief = ClaimElsewhere("a", true);
    return Reject("no");
  });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  CompleteElsewhere("a", thief);
  SettleAfter(absl::Seconds(1));
  EXPECT_THAT(publisher_->published(), IsEmpty());
  EXPECT_EQ(RecordOf("a").state, IdState::kCompleted);
}

TEST_F(EngineLease, AStoreThatIsAwayForLongNeverMakesAHandlerRunAgain) {
  claims().Script("complete", std::vector<ClaimFate>(4, ClaimFate::kRefused));
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  for (int i = 0; i < 5; ++i) SettleAfter(absl::Seconds(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1", "b#1"));
  EXPECT_EQ(stats().processed, 2u);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 2);
}

TEST_F(EngineLease, ACompletionThatIsOwedSurvivesTheCutOfAWaitingPartition) {
  options_.limits = {.batch_messages_max = 2, .inflight_messages_max = 2};
  // "b" is owed behind an "a" that is asked for again; the share of a waiting partition is one.
  claims().Script("complete", {ClaimFate::kHappens, ClaimFate::kRefused});
  claims().Script("sync", {ClaimFate::kRefused});
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  for (int i = 0; i < 3; ++i) SettleAfter(absl::Minutes(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1", "b#1"));
  EXPECT_EQ(stats().duplicates, 1u);
  EXPECT_EQ(stats().processed, 1u);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 2);
}

TEST_F(EngineLease, AHandlerIsNotInvokedBeforeBegunIsKnown) {
  claims().Script("begun", std::vector<ClaimFate>(4, ClaimFate::kUnknownUndone));
  Send(kOrders0, "a");
  log_->Assign({kOrders0});
  StartConsumer();
  Settle(2);
  EXPECT_THAT(claims().calls(), Not(Contains("handle a")));
  for (int i = 0; i < 3; ++i) SettleAfter(absl::Seconds(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
}

TEST_F(EngineLease, AStoreThatCannotClaimHandlesNothingAndLosesNothing) {
  claims().Script("try", {ClaimFate::kRefused, ClaimFate::kUnknownDone, ClaimFate::kUnknownUndone});
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  for (int i = 0; i < 4; ++i) SettleAfter(absl::Seconds(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_EQ(stats().taken_over, 0u);
}

// Every call of the protocol, every way to lose its answer: one invocation, one outcome.
struct LostAnswer {
  std::string call;
  ClaimFate fate;
  int times;
};

class EngineLostAnswer : public EngineClaimsTest,
                         public ::testing::WithParamInterface<LostAnswer> {};

TEST_P(EngineLostAnswer, OfADoneMessageIsMadeGood) {
  claims().Script(
      GetParam().call,
      std::vector<ClaimFate>(static_cast<std::size_t>(GetParam().times), GetParam().fate));
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  for (int i = 0; i < 8; ++i) SettleAfter(absl::Seconds(5));
  EXPECT_THAT(invoked_, ElementsAre("a#1", "b#1"));
  EXPECT_EQ(stats().processed + stats().duplicates, 2u);
  EXPECT_EQ(RecordOf("a").state, IdState::kCompleted);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 2);
}

TEST_P(EngineLostAnswer, OfADeadLetterIsMadeGood) {
  When("a", [](const Message&) { return Reject("no"); });
  claims().Script(
      GetParam().call,
      std::vector<ClaimFate>(static_cast<std::size_t>(GetParam().times), GetParam().fate));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  for (int i = 0; i < 8; ++i) SettleAfter(absl::Seconds(5));
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(RecordOf("a").state, IdState::kDead);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 1);
}

TEST_P(EngineLostAnswer, OfAFailedAttemptIsMadeGood) {
  When("a", [](const Message& message) -> Outcome {
    return message.attempt() == 1 ? Outcome(absl::UnavailableError("again")) : Done();
  });
  claims().Script(
      GetParam().call,
      std::vector<ClaimFate>(static_cast<std::size_t>(GetParam().times), GetParam().fate));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  for (int i = 0; i < 8; ++i) SettleAfter(absl::Seconds(5));
  EXPECT_THAT(invoked_, ElementsAre("a#1", "a#2"));
  EXPECT_EQ(RecordOf("a").state, IdState::kCompleted);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 1);
}

std::vector<LostAnswer> AllLostAnswers() {
  std::vector<LostAnswer> all;
  for (const char* call : {"try", "begun", "complete", "fail", "dying", "kill", "sync"}) {
    for (const ClaimFate fate :
         {ClaimFate::kRefused, ClaimFate::kUnknownDone, ClaimFate::kUnknownUndone}) {
      for (const int times : {1, 4}) all.push_back({.call = call, .fate = fate, .times = times});
    }
  }
  return all;
}

std::string NameOf(const ::testing::TestParamInfo<LostAnswer>& test) {
  const char* fate = test.param.fate == ClaimFate::kRefused       ? "Refused"
                     : test.param.fate == ClaimFate::kUnknownDone ? "UnknownDone"
                                                                  : "UnknownUndone";
  return test.param.call + fate + std::to_string(test.param.times);
}

INSTANTIATE_TEST_SUITE_P(Each, EngineLostAnswer, ::testing::ValuesIn(AllLostAnswers()), NameOf);

}  // namespace
}  // namespace once
