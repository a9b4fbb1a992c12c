// What a loss detector must have reported, and what it must not.
#include "tests/campaign/loss_truth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace once::campaign {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const StreamId kStream{.partition = 1, .producer = "shop", .epoch = 7};

LostRange Lost(std::uint64_t first, std::uint64_t last) {
  return {.stream = kStream, .first = first, .last = last};
}

TEST(LossTruth, NothingIsLostOfAWholeStream) {
  EXPECT_THAT(FindLost({{kStream, {.arrived = {1, 2, 3}, .marked = 3}}}), IsEmpty());
  EXPECT_THAT(FindLost({{kStream, {}}}), IsEmpty());
}

TEST(LossTruth, NeighboursAreOneRange) {
  EXPECT_THAT(FindLost({{kStream, {.arrived = {2, 6, 7, 9}}}}),
              ElementsAre(Lost(1, 1), Lost(3, 5), Lost(8, 8)));
}

TEST(LossTruth, AMarkShowsATailAndAWholeStream) {
  EXPECT_THAT(FindLost({{kStream, {.arrived = {1, 2}, .marked = 4}}}), ElementsAre(Lost(3, 4)));
  EXPECT_THAT(FindLost({{kStream, {.marked = 4}}}), ElementsAre(Lost(1, 4)));
}

TEST(LossTruth, WhatWasGivenUpIsNotLost) {
  EXPECT_THAT(FindLost({{kStream, {.arrived = {1, 5}, .given_up = {2, 3}, .marked = 5}}}),
              ElementsAre(Lost(4, 4)));
}

TEST(LossTruth, ARangeIsFoundOnlyAsItIs) {
  const LossJudgement exact = JudgeLosses({Lost(3, 5), Lost(8, 8)}, {Lost(3, 5), Lost(8, 8)});
  EXPECT_EQ(exact.injected, 2);
  EXPECT_EQ(exact.missed, 0);
  EXPECT_EQ(exact.false_alarms, 0);
  const LossJudgement torn = JudgeLosses({Lost(3, 5), Lost(8, 8)}, {Lost(3, 4)});
  EXPECT_EQ(torn.missed, 2);
  EXPECT_EQ(torn.false_alarms, 1);
}

}  // namespace
}  // namespace once::campaign
