// What the side topics tell a consumer: lost tails, messages that were given up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/unit/engine_loss_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

TEST_F(EngineLossTest, AMarkShowsALostTailOnceThePositionHasPassedIt) {
  ReadMarks();
  SendNumber(1);
  SendMark({.last = 3, .last_offset = 2, .first_offset = 0});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  LetTheGraceEnd();
  EXPECT_THAT(told_, IsEmpty()) << "what it speaks of has not been read yet";

  log_->AppendHole(kOrders);
  log_->AppendHole(kOrders);
  Send(kOrders, "from somebody else");
  Settle();
  LetTheGraceEnd();
  LetTheGraceEnd();
  EXPECT_THAT(told_, ElementsAre("suspected 2-3 of shop-1"));
}

TEST_F(EngineLossTest, AMarkShowsAStreamOfWhichNothingArrived) {
  ReadMarks();
  log_->AppendHole(kOrders);
  log_->AppendHole(kOrders);
  Send(kOrders, "from somebody else");
  SendMark({.last = 2, .last_offset = 1, .first_offset = 0});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 1-2 of shop-1"));
}

TEST_F(EngineLossTest, AMarkSaysWhereAStreamBeganThatWasMetInTheMiddle) {
  ReadMarks();
  Send(kOrders, "from somebody else");
  log_->SetCommitted(kOrders, 1);
  log_->AppendHole(kOrders);
  SendNumber(2);
  SendMark({.last = 2, .last_offset = 2, .first_offset = 1});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre("suspected 1-1 of shop-1"));
}

TEST_F(EngineLossTest, AMarkOfAStreamThatBeganBeforeUsSaysNothingOfItsBeginning) {
  ReadMarks();
  SendNumber(1);
  log_->SetCommitted(kOrders, 1);
  SendNumber(2);
  SendMark({.last = 2, .last_offset = 1, .first_offset = 0});
  SendMark({.last = 9, .last_offset = 0, .first_offset = 0}, {.producer = "long-ago", .epoch = 1});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, WhatAProducerHasGivenUpIsNoLoss) {
  ReadMarks();
  SendNumber(1);
  SendNumber(4);
  SendVoid({.first = 2, .last = 3});
  StartAndSettle({kOrders});
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, AVoidThatIsReadLongBeforeItsPlaceIsRemembered) {
  ReadMarks();
  SendVoid({.first = 2, .last = 3});
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  SendNumber(1);
  SendNumber(4);
  Settle();
  LetTheGraceEnd();

  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(EngineLossTest, NothingIsReportedBeforeTheSideTopicHasBeenRead) {
  ReadMarks();
  SendNumber(1);
  SendNumber(4);
  SendVoid({.first = 2, .last = 2});
  marks_->KeepBehind();
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  EXPECT_THAT(told_, IsEmpty());

  marks_->CatchUp();
  LetTheGraceEnd();
  LetTheGraceEnd();
  EXPECT_THAT(told_, ElementsAre("suspected 3-3 of shop-1"));
}

TEST_F(EngineLossTest, MarksForWhichThereIsNoRoomAreReadAgain) {
  ReadMarks();
  const auto named = [](std::size_t i) { return absl::StrCat("p", i); };
  for (std::size_t i = 0; i < SequenceTracker::kHeldStreamsMax; ++i) {
    const std::string name = named(i);
    SendMark({.last = 1, .last_offset = 1, .first_offset = 1}, {.producer = name, .epoch = 1});
  }
  SendVoid({.first = 2, .last = 2});
  SendMark({.last = 4, .last_offset = 2, .first_offset = 0});
  SendNumber(1);
  StartAndSettle({kOrders});
  LetTheGraceEnd();
  SendNumber(3);
  Settle();
  LetTheGraceEnd();
  EXPECT_THAT(told_, Not(Contains("suspected 2-2 of shop-1"))) << "it was given up";
  Send(kOrders, "behind the mark");
  for (int i = 0; i < 40; ++i) LetTheGraceEnd();

  EXPECT_THAT(told_, Not(Contains("suspected 2-2 of shop-1")));
  EXPECT_THAT(told_, Contains("suspected 4-4 of shop-1")) << "the mark says so";
}

TEST_F(EngineLossTest, AStreamOfManyVoidsIsStillWatched) {
  ReadMarks();
  constexpr std::uint64_t kLast = 6 * SequenceTracker::kHeldVoidsMax;
  for (std::uint64_t number = 2; number < kLast; number += 2) {
    SendVoid({.first = number, .last = number});
    SendNumber(number - 1);
  }
  SendNumber(kLast + 1);  // its own place and the one before it are empty
  StartAndSettle({kOrders});
  for (int i = 0; i < 12; ++i) LetTheGraceEnd();

  EXPECT_THAT(told_, ElementsAre(absl::StrCat("suspected ", kLast - 1, "-", kLast, " of shop-1")));
}

TEST_F(EngineLossTest, AStoreThatIsRolledBackHearsOfTheMarksAgain) {
  ReadMarks();
  SendNumber(1);
  Send(kOrders, "from somebody else");
  SendMark({.last = 2, .last_offset = 0, .first_offset = 0});
  log_->Assign({kOrders});
  StartConsumer();
  Settle();
  const std::size_t before = store_->recorded_calls();
  LetTheGraceEnd();
  LetTheGraceEnd();
  ASSERT_THAT(Reported(), ElementsAre("2-2"));
  store_->RollBackTo(before);
  Send(kOrders, "another");
  Settle();
  LetTheGraceEnd();
  LetTheGraceEnd();

  EXPECT_THAT(Reported(), ElementsAre("2-2"));
}

}  // namespace
}  // namespace once
