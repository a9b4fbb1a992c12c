// How far a stream has come.
#include "src/stream_progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <vector>

namespace once {
namespace {

TEST(StreamProgress, NothingIsMarkedBeforeTheFirstAcknowledgement) {
  StreamProgress progress;
  EXPECT_FALSE(progress.mark().has_value());
  progress.Declare(1);
  EXPECT_FALSE(progress.mark().has_value()) << "a void has no offset";
  progress.Acknowledge(2, 5);
  EXPECT_EQ(progress.mark(), (StreamMark{.last = 2, .last_offset = 5, .first_offset = 5}));
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

// Against the definition, over random orders of what becomes of ten numbers.
TEST(StreamProgress, EveryOrderOfEventsGivesAMarkThatIsTrue) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::uint64_t> order(10);
    std::iota(order.begin(), order.end(), 1);
    std::shuffle(order.begin(), order.end(), random);
    std::map<std::uint64_t, std::int64_t> settled;  // -1: void
    StreamProgress progress;
    for (const std::uint64_t number : order) {
      const std::int64_t offset =
          random() % 4 == 0 ? -1 : static_cast<std::int64_t>(100 + random() % 50);
      settled[number] = offset;
      if (offset < 0) {
        progress.Declare(number);
      } else {
        progress.Acknowledge(number, offset);
      }
      std::optional<StreamMark> expected;
      std::int64_t first = -1;
      std::int64_t last = -1;
      for (std::uint64_t at = 1; settled.contains(at); ++at) {
        const std::int64_t place = settled.at(at);
        if (place >= 0) {
          first = first < 0 ? place : std::min(first, place);
          last = std::max(last, place);
        }
        if (last < 0) continue;
        expected = StreamMark{.last = at, .last_offset = last, .first_offset = first};
      }
      ASSERT_EQ(progress.mark(), expected);
    }
  }
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
