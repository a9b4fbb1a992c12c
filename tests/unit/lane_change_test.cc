// A relay's progress by lanes.
#include "src/stores/lane_change.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace once::stores {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::int64_t> NumbersOf(const std::vector<OrderedRow>& rows) {
  std::vector<std::int64_t> numbers;
  for (const OrderedRow& row : rows) numbers.push_back(row.number);
  return numbers;
}

TEST(LaneChange, WhatLeavesIsAskedForOnceAndInOrder) {
  const std::vector<RefusedRow> refused = {{.number = 40, .reason = absl::AbortedError("large")},
                                           {.number = 7, .reason = absl::AbortedError("large")}};
  const std::vector<std::int64_t> waiting = {39, 40, 8};
  EXPECT_THAT(FindLeaving({.refused = refused, .waiting = waiting}), ElementsAre(7, 8, 39, 40));
  EXPECT_THAT(FindLeaving({}), IsEmpty());
}

TEST(LaneChange, RoundsGoToTheirLanes) {
  const std::vector<OutgoingProgress::Finished> finished = {
      {.lane = 3, .round = 11}, {.lane = 0, .round = 4}, {.lane = 3, .round = 12}};
  std::vector<OutgoingRound> placed(2);
  placed[0].lane = 5;
  placed[1].lane = 3;
  const LaneChanges changes = SortByLane({.finished = finished, .placed = placed}, {});
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_THAT(changes.at(0).finished, ElementsAre(4));
  EXPECT_THAT(changes.at(3).finished, ElementsAre(11, 12));
  EXPECT_THAT(changes.at(3).placed, ElementsAre(&placed[1]));
  EXPECT_THAT(changes.at(5).placed, ElementsAre(&placed[0]));
  EXPECT_FALSE(changes.at(3).passes);
}

TEST(LaneChange, RowsThatLeaveAreSortedOutByTheirReasons) {
  const absl::Time now = absl::FromUnixSeconds(1'000'000);
  const std::vector<RefusedRow> refused = {
      {.number = 35, .reason = absl::InvalidArgumentError("too large")},
      {.number = 19, .reason = absl::NotFoundError("no topic")},
      {.number = 51, .reason = absl::InvalidArgumentError("gone meanwhile")}};
  const std::vector<std::int64_t> waiting = {67, 20};
  const std::vector<LeavingRow> found = {
      {.lane = 3, .row = {.number = 67, .order = 1}, .parked_at = now},
      {.lane = 3, .row = {.number = 35, .order = 2}, .parked_at = now},
      {.lane = 4, .row = {.number = 20, .order = 3}, .parked_at = now},
      {.lane = 3, .row = {.number = 19, .order = 1}, .parked_at = now}};
  const LaneChanges changes = SortByLane({.refused = refused, .waiting = waiting}, found);
  ASSERT_EQ(changes.size(), 2U);
  const LaneChange& lane = changes.at(3);
  EXPECT_THAT(NumbersOf(lane.refused), ElementsAre(19, 35));
  ASSERT_EQ(lane.notes.size(), 2U);
  EXPECT_EQ(lane.notes[0].reason, "NOT_FOUND: no topic");
  EXPECT_EQ(lane.notes[1].reason, "INVALID_ARGUMENT: too large");
  EXPECT_EQ(lane.notes[0].parked_at, now);
  EXPECT_EQ(lane.refused[0].order, 1U);
  EXPECT_THAT(NumbersOf(lane.waiting), ElementsAre(67));
  EXPECT_THAT(NumbersOf(changes.at(4).waiting), ElementsAre(20));
  EXPECT_THAT(changes.at(4).refused, IsEmpty());
}

}  // namespace
}  // namespace once::stores
