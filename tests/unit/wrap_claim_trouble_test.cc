// Wrap around functions without a transaction, over a store that loses its answers, is in trouble,
// or takes the claim away.
#include <deque>
#include <string>
#include <vector>

#include "tests/unit/wrap_claim_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

class WrapInTrouble : public WrapUnderClaim {};

// Every word of a successful and of a failing call, lost with and without having been heard.
struct LostWord {
  std::string word;
  WordFate fate;
};

class WrapLosesAnswers : public WrapUnderClaim, public ::testing::WithParamInterface<LostWord> {};

TEST_P(WrapLosesAnswers, AndStillRunsOnce) {
  store_->Jam(GetParam().word, {GetParam().fate, GetParam().fate});
  const Wrapped<Charge> charge = WrapCharging();
  const auto done = charge({.id = "a"});
  EXPECT_THAT(done, IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(done->result, Optional(std::string("receipt 1")));
  const auto again = charge({.id = "a"});
  EXPECT_THAT(again, IsAnswer(CallVerdict::kDuplicate));
  EXPECT_THAT(again->result, Optional(std::string("receipt 1")));
  EXPECT_THAT(charged_, ElementsAre("10.00"));
}

TEST_P(WrapLosesAnswers, AndStillFailsForGood) {
  store_->Jam(GetParam().word, {GetParam().fate, GetParam().fate});
  const Wrapped<Charge> charge = WrapOutcome(Options(), [] { return Reject("no such account"); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
  EXPECT_EQ(attempts_.size(), 1);
}

TEST_P(WrapLosesAnswers, AndStillSkips) {
  store_->Jam(GetParam().word, {GetParam().fate, GetParam().fate});
  const Wrapped<Charge> charge = WrapOutcome(Options(), [] { return Skip("a test order"); });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDiscarded));
  EXPECT_EQ(attempts_.size(), 1);
}

TEST_P(WrapLosesAnswers, AndStillCountsAFailureOnce) {
  store_->Jam(GetParam().word, {GetParam().fate, GetParam().fate});
  const Wrapped<Charge> charge = WrapCharging(Options(), [this] {
    return attempts_.size() == 1 ? CallEnd(absl::UnavailableError("closed"))
                                 : CallEnd(absl::OkStatus());
  });
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kFailed));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(attempts_, ElementsAre(1, 2));
}

INSTANTIATE_TEST_SUITE_P(Words, WrapLosesAnswers, ::testing::ValuesIn([] {
                           std::vector<LostWord> lost;
                           for (const char* word : {"claim", "begun", "complete", "fail", "dying",
                                                    "kill", "discard", "sync"}) {
                             lost.push_back({.word = word, .fate = WordFate::kLostDone});
                             lost.push_back({.word = word, .fate = WordFate::kLostUndone});
                           }
                           return lost;
                         }()),
                         [](const auto& lost) {
                           return lost.param.word +
                                  (lost.param.fate == WordFate::kLostDone ? "Heard" : "Unheard");
                         });

TEST_F(WrapInTrouble, AWordThatIsRepeatedAfterItWasHeardMayBeAnsweredAsLost) {
  // As a store may answer that forgets the fence of what is completed.
  store_->Jam("complete", {WordFate::kLostDone, WordFate::kLeaseLost});
  const Wrapped<Charge> charge = WrapCharging();
  const auto done = charge({.id = "a"});
  EXPECT_THAT(done, IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(done->result, Optional(std::string("receipt 1")));
  EXPECT_THAT(charged_, ElementsAre("10.00"));
}

TEST_F(WrapInTrouble, AWordThatWasNotHeardAndIsThenRefusedIsALostLease) {
  store_->Jam("complete", {WordFate::kLostUndone, WordFate::kLeaseLost});
  const Wrapped<Charge> charge = WrapCharging();
  // The claim that nobody completed is still in the store, under the fence of this call.
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kInProgress));
  clock_->Advance(kLease + absl::Seconds(1));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(repeated_, ElementsAre(false, true));
}

TEST_F(WrapInTrouble, ABurialThatIsHeardTwiceIsFinishedByTheNextQuestion) {
  store_->Jam("dying", {WordFate::kLostDone, WordFate::kLeaseLost});
  const Wrapped<Charge> charge = WrapOutcome(Options(), [] { return Reject("no such account"); });
  // The record is dying under a fence that the store no longer accepts: whoever comes after the
  // lease finishes it, without running the function.
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kInProgress));
  clock_->Advance(kLease + absl::Seconds(1));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDead));
  EXPECT_EQ(attempts_.size(), 1);
}

TEST_F(WrapInTrouble, ALeaseThatIsLostBeforeTheFunctionBeginsRunsNothing) {
  store_->Jam("begun", {WordFate::kLeaseLost});
  EXPECT_THAT(WrapCharging()({.id = "a"}), IsError(absl::StatusCode::kAborted));
  EXPECT_THAT(attempts_, IsEmpty());
}

TEST_F(WrapInTrouble, TroubleBeforeTheFunctionIsTheCallersToRepeat) {
  const Wrapped<Charge> charge = WrapCharging();
  store_->Jam("claim", {WordFate::kTrouble});
  EXPECT_THAT(charge({.id = "a"}), IsError(absl::StatusCode::kUnavailable));
  store_->Jam("begun", {WordFate::kTrouble});
  EXPECT_THAT(charge({.id = "a"}), IsError(absl::StatusCode::kUnavailable));
  EXPECT_THAT(store_->words(), Contains("release"));
  EXPECT_THAT(attempts_, IsEmpty());
  const auto done = charge({.id = "a"});
  EXPECT_THAT(done, IsAnswer(CallVerdict::kDone)) << "at once: the claim was given back";
  EXPECT_EQ(done->attempt, 1) << "nobody is charged for what never ran";
  EXPECT_THAT(repeated_, ElementsAre(false));
}

TEST_F(WrapInTrouble, TroubleAfterTheFunctionIsRiddenOut) {
  store_->Jam("complete", {WordFate::kTrouble, WordFate::kTrouble, WordFate::kTrouble});
  EXPECT_THAT(WrapCharging()({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_EQ(charged_.size(), 1);
}

TEST_F(WrapInTrouble, TroubleThatStaysIsAnErrorAndTheNextCallMayBeARepetition) {
  store_->Jam("complete", std::deque<WordFate>(100, WordFate::kTrouble));
  const Wrapped<Charge> charge = WrapCharging();
  const auto unrecorded = charge({.id = "a"});
  EXPECT_THAT(unrecorded, IsError(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(unrecorded.status().message()), HasSubstr("could not be recorded"));
  EXPECT_LT(store_->CountOf("complete"), 20);
  store_->Jam("complete", {});
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kInProgress));
  clock_->Advance(kLease + absl::Seconds(1));
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDone));
  EXPECT_THAT(repeated_, ElementsAre(false, true));
}

TEST_F(WrapInTrouble, WhatIsNotDurableIsNotAnswered) {
  store_->Jam("sync", std::deque<WordFate>(100, WordFate::kTrouble));
  const Wrapped<Charge> charge = WrapCharging();
  EXPECT_THAT(charge({.id = "a"}), IsError(absl::StatusCode::kUnavailable));
  store_->Jam("sync", {});
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
  EXPECT_EQ(charged_.size(), 1);
}

TEST_F(WrapInTrouble, ASyncThatFailedIsRepeatedByTheNextCallOnlyWhichAsksForTheIdAgain) {
  store_->Jam("sync", {WordFate::kTrouble});
  const Wrapped<Charge> charge = WrapCharging();
  EXPECT_THAT(charge({.id = "a"}), IsError(absl::StatusCode::kUnavailable));
  EXPECT_EQ(store_->CountOf("sync"), 1) << "a store that restarted would sync without the record";
  EXPECT_THAT(charge({.id = "a"}), IsAnswer(CallVerdict::kDuplicate));
  EXPECT_EQ(charged_.size(), 1);
}

}  // namespace
}  // namespace once
