// StreamTable: what it keeps, what it forgets, and what it costs.
#include "src/stream_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <malloc.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace once {
namespace {

StreamState SeenUntil(std::uint64_t high) {
  StreamState state;
  std::vector<StreamFinding> findings;
  state.Expect(high, 0, 10, findings);
  state.Void(1, high, 10, findings);
  return state;
}

StreamState WithAGap(std::uint64_t at) {
  StreamState state;
  std::vector<StreamFinding> findings;
  (void)state.Receive(at + 1, 7, 10, findings);
  return state;
}

std::size_t BytesInUse() { return mallinfo2().uordblks; }

TEST(StreamTable, AStreamIsFoundAsItWasPut) {
  StreamTable table(100);
  table.Put("a", SeenUntil(5));
  table.Put("b", WithAGap(9));

  EXPECT_EQ(table.Find("a"), SeenUntil(5));
  EXPECT_EQ(table.Find("b"), WithAGap(9));
  EXPECT_EQ(table.Find("c"), std::nullopt);
}

TEST(StreamTable, WhatIsPutAgainReplacesWhatWas) {
  StreamTable table(100);
  table.Put("a", WithAGap(9));
  table.Put("a", SeenUntil(12));
  table.Put("b", WithAGap(3));

  EXPECT_EQ(table.Find("a"), SeenUntil(12));
  EXPECT_EQ(table.Find("b"), WithAGap(3));
}

TEST(StreamTable, StreamsInUseOutliveThoseThatAreNot) {
  StreamTable table(100);
  table.Put("used", SeenUntil(5));
  table.Put("unused", SeenUntil(6));
  for (int i = 0; i < 1000; ++i) {
    table.Put(absl::StrCat("other-", i), SeenUntil(1));
    ASSERT_EQ(table.Find("used"), SeenUntil(5)) << i;
    ASSERT_LE(table.size(), 100U);
  }

  EXPECT_EQ(table.Find("unused"), std::nullopt);
  EXPECT_TRUE(table.has_forgotten());
}

TEST(StreamTable, APackedStreamNamesItsProducerAndEpoch) {
  const ProducerEpoch by{.producer = "shop-1", .epoch = 0x18c5f0a2b3d4e5f6};
  const std::string packed = PackStream(by);

  EXPECT_EQ(UnpackStream(packed), by);
  EXPECT_EQ(UnpackStream("short"), std::nullopt);
}

TEST(StreamTable, ASteadyStreamTakesAtMost64Bytes) {
  constexpr std::size_t kStreams = 100'000;
  const std::size_t before = BytesInUse();
  StreamTable table(2 * kStreams);
  for (std::size_t i = 0; i < kStreams; ++i) {
    table.Put(PackStream({.producer = absl::StrCat("shop-", i), .epoch = i}), SeenUntil(i + 1));
  }
  const std::size_t bytes = BytesInUse() - before;

  RecordProperty("bytes_per_stream_times_ten", static_cast<int>(bytes * 10 / kStreams));
  EXPECT_LE(bytes, 64 * kStreams);
}

TEST(StreamTable, ManyProducersStayBelowTheBoundInMemory) {
  const std::size_t before = BytesInUse();
  StreamTable table(LossOptions().streams_max);
  for (std::uint64_t i = 0; i < 10'000'000; ++i) {
    table.Put(
        PackStream({.producer = absl::StrCat(absl::Hex(i * 0x9E3779B97F4A7C15U)), .epoch = i}),
        SeenUntil(1));
  }

  EXPECT_LE(table.size(), LossOptions().streams_max);
  EXPECT_LE(BytesInUse() - before, std::size_t{16} << 20);
}

}  // namespace
}  // namespace once
