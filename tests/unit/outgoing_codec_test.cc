// Rounds as bytes: small, and exactly as they were.
#include "src/stores/outgoing_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace once::stores {
namespace {

using ::testing::ElementsAreArray;

OutgoingRound RoundTrip(const OutgoingRound& round) {
  const auto decoded = DecodeRound(EncodeRound(round));
  EXPECT_TRUE(decoded.ok()) << decoded.status();
  return decoded.ok() ? *decoded : OutgoingRound{};
}

TEST(OutgoingCodec, ARoundComesBackAsItWas) {
  const OutgoingRound round{
      .epoch = std::numeric_limits<std::uint64_t>::max(),
      .placements = {{.number = 1, .partition = 0, .sequence = 1},
                     {.number = 2, .partition = 0, .sequence = 1},  // of another topic
                     {.number = 3, .partition = 0, .sequence = 2},
                     {.number = 1000, .partition = 0, .sequence = 2},
                     {.number = std::numeric_limits<std::int64_t>::max(),
                      .partition = std::numeric_limits<std::int32_t>::max(),
                      .sequence = std::numeric_limits<std::uint64_t>::max()}}};
  const OutgoingRound same = RoundTrip(round);
  EXPECT_EQ(same.epoch, round.epoch);
  EXPECT_THAT(same.placements, ElementsAreArray(round.placements));
}

TEST(OutgoingCodec, RandomRoundsComeBackAsTheyWere) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200; ++i) {
    OutgoingRound round{.epoch = random()};
    std::uint64_t next[8] = {1, 1, 1, 50, 50, 7, 7, 7};  // two topics with four partitions each
    std::int64_t number = 0;
    for (std::uint64_t row = random() % 100; row > 0; --row) {
      const std::uint64_t stream = random() % 8;
      number += static_cast<std::int64_t>(1 + (random() % 8 == 0 ? random() % 1000 : 0));
      if (random() % 10 == 0) next[stream] += random() % 5;
      round.placements.push_back({.number = number,
                                  .partition = static_cast<std::int32_t>(stream % 4),
                                  .sequence = next[stream]++});
    }
    EXPECT_THAT(RoundTrip(round).placements, ElementsAreArray(round.placements));
  }
}

TEST(OutgoingCodec, ARowHasNothingOfTheOneWhoseMemoryItUses) {
  const std::vector<OutgoingMessage> messages = {
      {.topic = "orders",
       .partition = 3,
       .key = "k",
       .value = std::string(900, 'v'),
       .headers = {{"a", "1"}, {"b", std::nullopt}, {"c", std::string(200, 'c')}}},
      {.topic = "t", .headers = {{"a", std::nullopt}}},
      {.topic = std::string(100, 't'),
       .key = "",
       .value = "",
       .headers = {{"x", ""}, {"y", "2"}, {"z", "3"}, {"z", "4"}}},
      {.topic = "u", .partition = 0, .value = "v"}};
  OutgoingRow row;
  for (std::size_t i = 0; i < 4 * messages.size(); ++i) {
    const OutgoingMessage& message = messages[(i + i / messages.size()) % messages.size()];
    const absl::Time put_at = absl::FromUnixMicros(static_cast<std::int64_t>(i));
    const std::string bytes = EncodeOutgoingRow(message, put_at);
    row.damage = absl::DataLossError("of before");
    const auto number = static_cast<std::int64_t>(i + 1);
    ASSERT_TRUE(DecodeOutgoingRow(number, bytes, row).ok());
    EXPECT_EQ(row.number, number);
    EXPECT_EQ(row.put_at, put_at);
    EXPECT_TRUE(row.damage.ok());
    EXPECT_EQ(row.message, message);
    EXPECT_FALSE(DecodeOutgoingRow(number, bytes.substr(0, bytes.size() - 1), row).ok());
  }
}

TEST(OutgoingCodec, ARowOfARoundTakesTwoBytes) {
  OutgoingRound round{.epoch = 1};
  for (std::int64_t row = 1; row <= 4000; ++row) {
    round.placements.push_back({.number = row,
                                .partition = static_cast<std::int32_t>(row % 12),
                                .sequence = static_cast<std::uint64_t>(row / 12 + 1)});
  }
  EXPECT_LT(EncodeRound(round).size(), 2 * round.placements.size() + 100);
}

TEST(OutgoingCodec, OtherBytesAreRefused) {
  const std::string round = EncodeRound({.epoch = 1, .placements = {{.number = 1, .sequence = 1}}});
  EXPECT_FALSE(DecodeRound("").ok());
  EXPECT_FALSE(DecodeRound(round + "x").ok());
  EXPECT_FALSE(DecodeRound(round.substr(0, round.size() - 1)).ok());
  EXPECT_FALSE(DecodeOutgoingRow(1, "").ok());
  EXPECT_FALSE(DecodeParked(EncodeParked({}) + "x").ok());
  EXPECT_FALSE(DecodeStream(EncodeStream({}) + "x").ok());
  EXPECT_FALSE(DecodeOwed(EncodeOwed({}) + "x").ok());
}

TEST(OutgoingCodec, ARowComesBackAsItWas) {
  const OutgoingMessage message{.topic = "t", .key = "k", .value = "v", .headers = {{"n", "v"}}};
  const absl::Time put_at = absl::FromUnixMicros(1'700'000'000'000'001);
  const auto row = DecodeOutgoingRow(5, EncodeOutgoingRow(message, put_at));
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->number, 5);
  EXPECT_EQ(row->message, message);
  EXPECT_EQ(row->put_at, put_at);
}

TEST(OutgoingCodec, TopicAndKeyMakeAnOrder) {
  const OutgoingMessage one{.topic = "ab", .key = "c"};
  EXPECT_EQ(OrderOf(one), OrderOf({.topic = "ab", .key = "c", .value = "v"}));
  EXPECT_NE(OrderOf(one), OrderOf({.topic = "a", .key = "bc"}));
  EXPECT_NE(OrderOf(one), OrderOf({.topic = "ab", .key = ""}));
  EXPECT_EQ(OrderOf({.topic = "ab"}), 0u);
  // Kept with rows: it must never change.
  EXPECT_EQ(OrderOf(one), 0xfd61c083ef200867U);
}

}  // namespace
}  // namespace once::stores
