// Numbers without rows.
#include "adapters/postgres/number_holes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace once::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

using Hole = NumberHoles::Hole;

NumberHoles Sample() {
  NumberHoles holes;
  holes.Add(5, 9);
  holes.Date(100);
  holes.Add(20, 20);
  holes.Date(200);
  return holes;
}

TEST(NumberHoles, ARowLeavesTheRestOfItsHole) {
  NumberHoles holes = Sample();
  holes.Remove(7);
  EXPECT_THAT(holes.holes(),
              ElementsAre(Pair(5, Hole{6, 100}), Pair(8, Hole{9, 100}), Pair(20, Hole{20, 200})));
  holes.Remove(5);
  holes.Remove(9);
  holes.Remove(20);
  EXPECT_THAT(holes.holes(), ElementsAre(Pair(6, Hole{6, 100}), Pair(8, Hole{8, 100})));
  for (const std::int64_t elsewhere : {1, 4, 7, 9, 21}) holes.Remove(elsewhere);
  EXPECT_EQ(holes.size(), 2u);
  EXPECT_TRUE(holes.Contains(6));
  EXPECT_FALSE(holes.Contains(7));
  EXPECT_FALSE(holes.Contains(0));
}

TEST(NumberHoles, AHoleStaysAsLongAsATransactionFromBeforeItIsOpen) {
  NumberHoles holes = Sample();
  holes.Add(30, 31);
  holes.CloseBefore(99);
  EXPECT_EQ(holes.size(), 3u);
  holes.CloseBefore(100);
  EXPECT_THAT(holes.holes(),
              ElementsAre(Pair(20, Hole{20, 200}), Pair(30, Hole{31, NumberHoles::kUndated})));
  holes.CloseBefore(1'000'000);
  EXPECT_THAT(holes.holes(), ElementsAre(Pair(30, Hole{31, NumberHoles::kUndated})));
}

TEST(NumberHoles, ComeBackWithoutTheirDates) {
  const NumberHoles holes = Sample();
  const auto decoded = NumberHoles::Decode(holes.Encode());
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_THAT(decoded->holes(), ElementsAre(Pair(5, Hole{9, NumberHoles::kUndated}),
                                            Pair(20, Hole{20, NumberHoles::kUndated})));
  EXPECT_THAT(NumberHoles::Decode(NumberHoles().Encode()).value().holes(), IsEmpty());
}

TEST(NumberHoles, OtherBytesAreRefused) {
  const std::string good = Sample().Encode();
  for (std::size_t size = 0; size < good.size(); ++size) {
    if ((size - 1) % 16 == 0) continue;  // fewer holes
    EXPECT_EQ(NumberHoles::Decode(good.substr(0, size)).status().code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
  std::string another_version = good;
  another_version[0] = 2;
  EXPECT_FALSE(NumberHoles::Decode(another_version).ok());
  NumberHoles reversed;
  std::string twice = Sample().Encode();
  twice += twice.substr(1);
  EXPECT_FALSE(NumberHoles::Decode(twice).ok());
}

}  // namespace
}  // namespace once::postgres
