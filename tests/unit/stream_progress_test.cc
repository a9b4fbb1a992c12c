// How far a stream has come.
#include "src/stream_progress.h"

#include <gtest/gtest.h>

namespace once {
namespace {

TEST(StreamProgress, NothingIsMarkedBeforeTheFirstAcknowledgement) {
  StreamProgress progress;
  EXPECT_FALSE(progress.mark().has_value());
  progress.Declare(1);
  EXPECT_FALSE(progress.mark().has_value()) << "a void has no offset";
  EXPECT_EQ(progress.settled(), 1U);
}

TEST(StreamProgress, AMarkCoversWhatIsSettledWithoutAGap) {
  StreamProgress progress;
  progress.Acknowledge(1, 10);
  progress.Acknowledge(3, 12);
  EXPECT_EQ(progress.mark(), (StreamMark{.last = 1, .last_offset = 10, .first_offset = 10}));
  progress.Acknowledge(2, 11);
  EXPECT_EQ(progress.mark(), (StreamMark{.last = 3, .last_offset = 12, .first_offset = 10}));
}

TEST(StreamProgress, AVoidClosesTheGap) {
  StreamProgress progress;
  progress.Acknowledge(1, 10);
  progress.Acknowledge(3, 12);
  progress.Declare(2);
  EXPECT_EQ(progress.mark(), (StreamMark{.last = 3, .last_offset = 12, .first_offset = 10}));
  progress.Declare(4);
  EXPECT_EQ(progress.mark()->last, 4U);
}

TEST(StreamProgress, OffsetsOfWhatWasSentAgainMayGoBack) {
  StreamProgress progress;
  progress.Acknowledge(1, 20);
  progress.Acknowledge(2, 15);
  EXPECT_EQ(progress.mark(), (StreamMark{.last = 2, .last_offset = 20, .first_offset = 15}));
}

TEST(StreamProgress, ARecordThatLiesNobodyKnowsWhereIsMarkedWithTheNextOne) {
  StreamProgress progress;
  progress.Acknowledge(1, 10);
  progress.Acknowledge(2, -1);
  EXPECT_EQ(progress.mark()->last, 1U);
  progress.Declare(3);
  EXPECT_EQ(progress.mark()->last, 1U) << "a void does not say where it lies";
  progress.Acknowledge(4, 14);
  EXPECT_EQ(progress.mark(), (StreamMark{.last = 4, .last_offset = 14, .first_offset = 10}));
}

TEST(StreamProgress, AFirstRecordNobodyKnowsWhereObligesOnlyWhoBeganAtTheBeginning) {
  StreamProgress progress;
  progress.Acknowledge(1, -1);
  progress.Acknowledge(2, 14);
  EXPECT_EQ(progress.mark(), (StreamMark{.last = 2, .last_offset = 14, .first_offset = 0}));
}

TEST(StreamProgress, WhatIsSettledTwiceCountsOnce) {
  StreamProgress progress;
  progress.Acknowledge(1, 10);
  progress.Declare(1);
  progress.Acknowledge(1, 99);
  EXPECT_EQ(progress.mark(), (StreamMark{.last = 1, .last_offset = 10, .first_offset = 10}));
}

}  // namespace
}  // namespace once
