// Losses as a consumer sees them: numbered messages, gaps, restarts, and who is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/unit/engine_loss_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

TEST_F(EngineLossTest, NumbersInOrderAreNoLoss) {
  for (std::uint64_t number = 1; number <= 5; ++number) SendNumber(number);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_EQ(stats().processed, 5U);
  EXPECT_THAT(told_, IsEmpty());
  EXPECT_EQ(stats().unstamped, 0U);
}

TEST_F(EngineLossTest, AMissingNumberIsReportedOnceTheGraceIsOver) {
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  Advance(absl::Minutes(4));
  SendNumber(4);
  Settle();
  EXPECT_THAT(told_, IsEmpty());

  Advance(absl::Minutes(2));
  Settle();
  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
  EXPECT_THAT(Reported(), ElementsAre("2-2"));
  EXPECT_EQ(stats().suspected, 1U);
}

TEST_F(EngineLossTest, AMissingNumberIsReportedThoughNothingFollows) {
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
}

TEST_F(EngineLossTest, WhatIsDatedInThePastGetsItsGraceToo) {
  const absl::Time yesterday = clock_->Now() - absl::Hours(24);
  SendDated(1, yesterday);
  SendDated(3, yesterday);
  StartAndSettle({kOrders});
  Advance(absl::Minutes(4));
  Settle();
  EXPECT_THAT(told_, IsEmpty()) << "it may still be sent again";
  SendDated(2, yesterday);
  Settle();
  SendDated(5, yesterday);
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 4-4 of shop-1"));
}

TEST_F(EngineLossTest, ALateArrivalIsRecovered) {
  SendNumber(1);
  SendNumber(4);
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  SendNumber(2);
  Settle();

  EXPECT_THAT(told_, ElementsAre("suspected 2-3 of shop-1", "recovered 2-2 of shop-1"));
  EXPECT_THAT(Reported(), ElementsAre("3-3"));
}

TEST_F(EngineLossTest, ARestartKnowsWhatWasMissingAndDoesNotTellTwice) {
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  Restart({kOrders});
  Settle();
  LetTheGraceEnd();
  SendNumber(4);
  SendNumber(6);
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1", "suspected 5-5 of shop-1"));
}

TEST_F(EngineLossTest, WhatWasWaitedForBeforeARestartIsReportedAfterIt) {
  SendNumber(2);
  StartAndSettle({kOrders});
  Restart({kOrders});
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 1-1 of shop-1"));
}

TEST_F(EngineLossTest, ARestartInTheMiddleOfAStreamIsNoLoss) {
  SendNumber(1);
  SendNumber(2);
  StartAndSettle({kOrders});
  Restart({kOrders});
  SendNumber(3);
  Settle();
  LetTheGraceEnd();

  EXPECT_EQ(stats().processed, 1U);
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, AStoreThatIsRolledBackMeetsTheMessagesAgainAndMissesNone) {
  SendNumber(1);
  StartAndSettle({kOrders});
  const std::size_t before = store_->recorded_calls();
  SendNumber(2);
  SendNumber(3);
  Settle();
  consumer_.reset();
  store_->RollBackTo(before);
  Restart({kOrders});
  SendNumber(4);
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, AStoreThatForgetsWhatWasReportedIsToldAgainThoughNothingFollows) {
  options_.times.idle_audit = absl::Seconds(10);
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  const std::size_t before = store_->recorded_calls();
  LetTheGraceEnd();
  ASSERT_THAT(Reported(), ElementsAre("2-2"));
  store_->RollBackTo(before);
  ASSERT_THAT(Reported(), IsEmpty());
  LetTheGraceEnd();
  LetTheGraceEnd();

  EXPECT_THAT(events_->actions(), Contains("store_rolled_back"));
  EXPECT_THAT(Reported(), ElementsAre("2-2"));
  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1", "suspected 2-2 of shop-1"));
  EXPECT_EQ(stats().processed, 2U);
}

TEST_F(EngineLossTest, WhatIsReportedBetweenBatchesDisturbsNone) {
  SendNumber(1);
  StartAndSettle({kOrders});
  for (std::uint64_t number = 3; number <= 9; number += 2) {
    SendNumber(number);
    Settle();
    LetTheGraceEnd();
  }

  EXPECT_THAT(Reported(), ElementsAre("2-2", "4-4", "6-6", "8-8"));
  EXPECT_EQ(stats().processed, 5U);
  EXPECT_EQ(stats().rollbacks, 0U);
  EXPECT_THAT(events_->actions(), Not(Contains("store_rolled_back")));
}

TEST_F(EngineLossTest, AfterAReportOfUnknownFateTheNextBatchMeetsTheRowAsItIs) {
  for (const CommitFate fate : {CommitFate::kUnknownDone, CommitFate::kUnknownUndone}) {
    told_.clear();
    const ProducerEpoch by{.producer = "shop-1", .epoch = static_cast<std::uint64_t>(fate)};
    SendNumber(1, by);
    SendNumber(3, by);
    Restart({kOrders});
    Settle();
    bool is_first = true;
    store_->OnMark([&] { return std::exchange(is_first, false) ? fate : CommitFate::kHappens; });
    LetTheGraceEnd();
    LetTheGraceEnd();
    EXPECT_FALSE(is_first);
    store_->OnMark(nullptr);
    SendNumber(4, by);
    Settle();

    EXPECT_THAT(Reported(by), ElementsAre("2-2"));
    EXPECT_EQ(stats().processed, 3U);
    EXPECT_EQ(stats().rollbacks, 0U);
    EXPECT_THAT(events_->actions(), Not(Contains("store_rolled_back")));
  }
}

TEST_F(EngineLossTest, ACommitThatIsRefusedIsNoArrival) {
  SendNumber(1);
  SendNumber(2);
  SendNumber(4);
  int refusals = 1;
  store_->OnCommit([&](const std::vector<std::string>&) {
    return refusals-- > 0 ? CommitFate::kTrouble : CommitFate::kHappens;
  });
  StartAndSettle({kOrders});
  Advance(absl::Seconds(1));
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 3-3 of shop-1"));
}

TEST_F(EngineLossTest, AnUnknownCommitThatHappenedHasReceivedItsNumbers) {
  for (const CommitFate fate : {CommitFate::kUnknownDone, CommitFate::kUnknownUndone}) {
    told_.clear();
    const ProducerEpoch by{.producer = "shop-1", .epoch = static_cast<std::uint64_t>(fate)};
    bool is_first = true;
    store_->OnCommit([&](const std::vector<std::string>&) {
      return std::exchange(is_first, false) ? fate : CommitFate::kHappens;
    });
    SendNumber(1, by);
    SendNumber(3, by);
    Restart({kOrders});
    Settle();
    Advance(absl::Seconds(1));
    Settle();
    LetTheGraceEnd();

    EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
  }
}

TEST_F(EngineLossTest, AMessageThatWaitsForARetryHasArrived) {
  When("shop-1/7/1",
       [](const Message&, Transaction&) -> Outcome { return absl::UnavailableError("not now"); });
  options_.retry.backoff.initial = absl::Hours(1);
  options_.retry.backoff.max = absl::Hours(1);
  SendNumber(1);
  SendNumber(2);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, AConsumerThatBeganInTheMiddleMissesNothingBeforeThat) {
  for (std::uint64_t number = 1; number <= 3; ++number) SendNumber(number);
  log_->SetCommitted(kOrders, 2);
  SendNumber(5);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 4-4 of shop-1"));
}

TEST_F(EngineLossTest, WhatTheLogHasLostIsMissing) {
  options_.out_of_range = OutOfRange::kEarliest;
  SendNumber(1);
  SendNumber(2);
  StartAndSettle({kOrders});
  consumer_.reset();
  for (std::uint64_t number = 3; number <= 6; ++number) SendNumber(number);
  log_->DeleteBelow(kOrders, 4);
  Restart({kOrders});
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 3-4 of shop-1"));
}

TEST_F(EngineLossTest, WhatAnOperatorSkippedIsNot) {
  SendNumber(1);
  SendNumber(2);
  StartAndSettle({kOrders});
  consumer_.reset();
  for (std::uint64_t number = 3; number <= 6; ++number) SendNumber(number);
  const PositionOrder order{
      .key = KeyOf(kOrders), .directive = PositionDirective::kSet, .position = 4};
  ASSERT_TRUE(store_->operations()->OrderPosition(order).ok());
  Restart({kOrders});
  Settle();
  SendNumber(8);
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 7-7 of shop-1"));
}

TEST_F(EngineLossTest, HolesInTheOffsetsProveNothing) {
  SendNumber(1);
  log_->AppendHole(kOrders);
  SendNumber(2);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, MessagesWithoutANumberAreCountedAndHandled) {
  Send(kOrders, "plain");
  log_->Append(kOrders, {.value = "v",
                         .headers = {{"id", "elsewhere"},
                                     {std::string(kSequenceHeader),
                                      EncodeStamp(StreamName("other", 0, kShop), 9, false)}}});
  SendNumber(1);
  StartAndSettle({kOrders});

  EXPECT_EQ(stats().processed, 3U);
  EXPECT_EQ(stats().unstamped, 2U);
}

TEST_F(EngineLossTest, EveryIncarnationOfAProducerCountsFromOne) {
  SendNumber(1);
  SendNumber(2);
  SendNumber(1, {.producer = "shop-1", .epoch = 8});
  SendNumber(3, {.producer = "shop-1", .epoch = 8});
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
}

TEST_F(EngineLossTest, InACompactedTopicNothingIsReportedAndThatIsSaidOnce) {
  log_->Compact();
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders, {"orders", 1}});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
  const std::vector<std::string> events = events_->actions();
  EXPECT_EQ(std::count(events.begin(), events.end(), "loss_not_tracked"), 1);
}

TEST_F(EngineLossTest, ObservingTellsAndKeepsNothing) {
  options_.loss.mode = LossMode::kObserve;
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 2-2 of shop-1"));
  EXPECT_THAT(Reported(), IsEmpty());
}

TEST_F(EngineLossTest, NobodyLooksAtStampsWhenItIsOff) {
  options_.loss.mode = LossMode::kOff;
  SendNumber(1);
  SendNumber(3);
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
  EXPECT_EQ(stats().unstamped, 0U);
}

}  // namespace
}  // namespace once
