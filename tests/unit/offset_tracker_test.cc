// OffsetTracker against an oracle so simple that it is right by inspection.
#include "once/offset_tracker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

namespace once {
namespace {

// The set of delivered, unsettled offsets; the watermark is its smallest, or the next offset.
class Oracle {
 public:
  explicit Oracle(std::int64_t position) : next_(position) {}
  bool Deliver(std::int64_t offset) {
    if (offset < next_) return false;
    open_.insert(offset);
    next_ = offset + 1;
    return true;
  }
  bool Settle(std::int64_t offset) { return open_.erase(offset) == 1; }
  // The newest delivery is forgotten.
  void Truncate(std::int64_t offset) {
    open_.erase(offset);
    next_ = offset;
  }
  std::int64_t watermark() const { return open_.empty() ? next_ : *open_.begin(); }
  std::int64_t next() const { return next_; }
  std::size_t unsettled() const { return open_.size(); }

 private:
  std::set<std::int64_t> open_;
  std::int64_t next_;
};

TEST(OffsetTracker, BeginsAtItsPosition) {
  const OffsetTracker tracker(7);
  EXPECT_EQ(tracker.watermark(), 7);
  EXPECT_EQ(tracker.next(), 7);
  EXPECT_EQ(tracker.unsettled(), 0U);
}

TEST(OffsetTracker, HolesInTheLogBelongToNobody) {
  OffsetTracker tracker(10);
  for (const std::int64_t offset : {10, 11, 14}) EXPECT_TRUE(tracker.Deliver(offset));
  EXPECT_TRUE(tracker.Settle(11));
  EXPECT_EQ(tracker.watermark(), 10);
  EXPECT_TRUE(tracker.Settle(10));
  EXPECT_EQ(tracker.watermark(), 14);
  EXPECT_TRUE(tracker.Settle(14));
  EXPECT_EQ(tracker.watermark(), 15);
}

TEST(OffsetTracker, AnOffsetDeliveredBeforeIsRefused) {
  OffsetTracker tracker(0);
  EXPECT_TRUE(tracker.Deliver(5));
  EXPECT_FALSE(tracker.Deliver(5));
  EXPECT_FALSE(tracker.Deliver(3));
  EXPECT_EQ(tracker.unsettled(), 1U);
  EXPECT_EQ(tracker.watermark(), 5);
}

TEST(OffsetTracker, OnlyAnUnsettledDeliveryCanBeSettled) {
  OffsetTracker tracker(0);
  EXPECT_FALSE(tracker.Settle(0));
  tracker.Deliver(0);
  tracker.Deliver(2);
  EXPECT_FALSE(tracker.Settle(1));
  EXPECT_TRUE(tracker.Settle(2));
  EXPECT_FALSE(tracker.Settle(2));
  EXPECT_EQ(tracker.watermark(), 0);
}

TEST(OffsetTracker, WhatIsTruncatedIsDeliveredAgain) {
  OffsetTracker tracker(10);
  for (const std::int64_t offset : {10, 11, 14, 15}) tracker.Deliver(offset);
  tracker.Settle(10);
  tracker.Truncate(14);
  EXPECT_EQ(tracker.next(), 14);
  EXPECT_EQ(tracker.watermark(), 11);
  EXPECT_EQ(tracker.unsettled(), 1U);
  EXPECT_TRUE(tracker.Deliver(14));
  tracker.Settle(11);
  EXPECT_EQ(tracker.watermark(), 14);
}

TEST(OffsetTracker, AfterTruncatingEverythingTheWatermarkIsWhereItWasCut) {
  OffsetTracker tracker(10);
  for (const std::int64_t offset : {10, 11}) tracker.Deliver(offset);
  tracker.Settle(10);
  tracker.Truncate(11);
  EXPECT_EQ(tracker.watermark(), 11);
  EXPECT_EQ(tracker.next(), 11);
  EXPECT_EQ(tracker.unsettled(), 0U);
}

TEST(OffsetTracker, TruncatingBehindAHoleDoesNotMoveTheWatermark) {
  OffsetTracker tracker(10);
  tracker.Deliver(14);
  tracker.Truncate(14);
  EXPECT_LE(tracker.watermark(), 14);
  EXPECT_EQ(tracker.next(), 14);
  EXPECT_TRUE(tracker.Deliver(14));
}

TEST(OffsetTracker, AgreesWithTheOracleOverAMillionRandomCompletions) {
  constexpr int kCompletions = 1'000'000;
  std::mt19937 random(4711);
  OffsetTracker tracker(1000);
  Oracle oracle(1000);
  std::vector<std::int64_t> open;
  std::int64_t last_watermark = tracker.watermark();
  for (int settled = 0; settled < kCompletions;) {
    // The newest delivery may be dropped as long as it is unsettled, to be delivered again.
    if (!open.empty() && random() % 64 == 0) {
      const auto newest = std::max_element(open.begin(), open.end());
      if (*newest + 1 == tracker.next()) {
        tracker.Truncate(*newest);
        oracle.Truncate(*newest);
        open.erase(newest);
      }
    }
    const bool is_delivery = open.empty() || (open.size() < 500 && random() % 2 == 0);
    if (is_delivery) {
      // Mostly the next offset, sometimes behind a hole, sometimes one that was delivered before.
      const std::int64_t hole = random() % 8 == 0 ? static_cast<std::int64_t>(random() % 100) : 0;
      const std::int64_t back = random() % 50 == 0 ? static_cast<std::int64_t>(random() % 20) : 0;
      const std::int64_t offset = tracker.next() + hole - back;
      const bool is_new = oracle.Deliver(offset);
      ASSERT_EQ(tracker.Deliver(offset), is_new);
      if (is_new) open.push_back(offset);
    } else {
      std::swap(open[random() % open.size()], open.back());
      ASSERT_TRUE(oracle.Settle(open.back()));
      ASSERT_TRUE(tracker.Settle(open.back()));
      open.pop_back();
      ++settled;
    }
    ASSERT_EQ(tracker.watermark(), oracle.watermark());
    ASSERT_EQ(tracker.next(), oracle.next());
    ASSERT_EQ(tracker.unsettled(), oracle.unsettled());
    ASSERT_GE(tracker.watermark(), last_watermark) << "the watermark regressed";
    last_watermark = tracker.watermark();
  }
}

TEST(OffsetTracker, WorksAtTheEndsOfTheRange) {
  constexpr std::int64_t kHigh = (std::int64_t{1} << 62) - 2;
  OffsetTracker tracker(0);
  EXPECT_TRUE(tracker.Deliver(kHigh));
  EXPECT_TRUE(tracker.Settle(kHigh));
  EXPECT_EQ(tracker.watermark(), kHigh + 1);
}

}  // namespace
}  // namespace once
