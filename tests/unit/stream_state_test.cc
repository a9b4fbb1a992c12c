// StreamState: by example, and against a set of numbers that does the same naively.
#include "src/stream_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::size_t kRangesMax = 100;
constexpr std::uint64_t kNumberMax = std::numeric_limits<std::uint64_t>::max();

class StreamStateTest : public ::testing::Test {
 protected:
  void Receive(std::uint64_t number, std::int64_t seen_ms = 0) {
    (void)state_.Receive(number, seen_ms, kRangesMax, findings_);
  }

  StreamState state_;
  std::vector<StreamFinding> findings_;
};

TEST_F(StreamStateTest, NumbersInOrderLeaveNothingMissing) {
  for (std::uint64_t number = 1; number <= 3; ++number) Receive(number);

  EXPECT_EQ(state_.high(), 3U);
  EXPECT_TRUE(state_.is_steady());
}

TEST_F(StreamStateTest, ANumberThatIsSkippedIsMissingSinceThen) {
  Receive(1);
  Receive(4, 50);

  EXPECT_THAT(state_.missing(), ElementsAre(MissingRange{2, 3, 50, MissingKind::kWaiting}));
  EXPECT_THAT(findings_, IsEmpty());
}

TEST_F(StreamStateTest, ALateNumberIsTakenOutOfTheRange) {
  Receive(5, 50);
  Receive(2);

  EXPECT_THAT(state_.missing(), ElementsAre(MissingRange{1, 1, 50, MissingKind::kWaiting},
                                            MissingRange{3, 4, 50, MissingKind::kWaiting}));
  EXPECT_THAT(findings_, IsEmpty());
}

TEST_F(StreamStateTest, OnlyWhatHasBeenMissingForLongEnoughIsReportedAndOnce) {
  Receive(2, 10);
  Receive(4, 20);
  state_.ReportSeenUntil(15, findings_);
  state_.ReportSeenUntil(15, findings_);

  EXPECT_THAT(findings_, ElementsAre(StreamFinding{LossKind::kSuspected, 1, 1}));
  EXPECT_EQ(state_.CountMissing(), 1U);
}

TEST_F(StreamStateTest, WhatArrivesAfterItWasReportedIsRecovered) {
  Receive(3);
  state_.ReportSeenUntil(0, findings_);
  findings_.clear();
  Receive(1);

  EXPECT_THAT(findings_, ElementsAre(StreamFinding{LossKind::kRecovered, 1, 1}));
  EXPECT_EQ(state_.CountMissing(), 1U);
}

TEST_F(StreamStateTest, AVoidMayBeMissing) {
  Receive(5);
  state_.Void(2, 3, kRangesMax, findings_);
  state_.ReportSeenUntil(0, findings_);

  EXPECT_THAT(findings_, ElementsAre(StreamFinding{LossKind::kSuspected, 1, 1},
                                     StreamFinding{LossKind::kSuspected, 4, 4}));
}

TEST_F(StreamStateTest, AVoidBeyondTheStreamSaysNothingOfWhatLiesBetween) {
  Receive(1);
  state_.Void(5, 6, kRangesMax, findings_);

  EXPECT_EQ(state_.high(), 1U);
  EXPECT_TRUE(state_.is_steady());
}

TEST_F(StreamStateTest, VoidsThatSplitRangesKeepToTheBound) {
  Receive(1000);
  for (std::uint64_t number = 10; number < 900; number += 10) {
    state_.Void(number, number, 5, findings_);
    EXPECT_LE(state_.missing().size(), 5u);
  }
}

TEST_F(StreamStateTest, AMarkShowsALostTail) {
  Receive(1);
  state_.Expect(3, 70, kRangesMax, findings_);

  EXPECT_THAT(state_.missing(), ElementsAre(MissingRange{2, 3, 70, MissingKind::kWaiting}));
}

TEST_F(StreamStateTest, AStreamThatWasMetInTheMiddleMissesNothingBeforeThat) {
  state_ = StreamState(7);
  Receive(7);
  EXPECT_THAT(state_.missing(), IsEmpty());

  state_.BeginAtOne(30, kRangesMax, findings_);
  EXPECT_THAT(state_.missing(), ElementsAre(MissingRange{1, 6, 30, MissingKind::kWaiting}));
}

TEST_F(StreamStateTest, WhatWasSeenBeforeTheBeginningIsNotMissingOnceTheStreamBeginsAtOne) {
  state_ = StreamState(7);
  Receive(7);
  Receive(5);
  state_.BeginAtOne(30, kRangesMax, findings_);
  state_.ReportSeenUntil(30, findings_);

  EXPECT_THAT(findings_, ElementsAre(StreamFinding{LossKind::kSuspected, 1, 4}));
}

TEST_F(StreamStateTest, WhatAnOrderSkippedIsNeverReportedAndMayStillArrive) {
  Receive(1);
  state_.SkipTo(10, 0, kRangesMax);
  Receive(10);
  state_.ReportSeenUntil(1000, findings_);
  EXPECT_THAT(findings_, IsEmpty());

  EXPECT_EQ(state_.Receive(4, 0, kRangesMax, findings_), Arrival::kLate);
}

TEST_F(StreamStateTest, AJumpOfAnySizeIsOneRange) {
  Receive(std::uint64_t{1} << 63);
  Receive(kNumberMax);

  EXPECT_THAT(state_.missing(),
              ElementsAre(MissingRange{1, (std::uint64_t{1} << 63) - 1},
                          MissingRange{(std::uint64_t{1} << 63) + 1, kNumberMax - 1}));
  EXPECT_EQ(StreamState::Decode(state_.EncodeHead(), state_.EncodeLosses()), state_);
}

TEST_F(StreamStateTest, BeyondTheBoundTheOldestRangeIsReportedAndGivenUp) {
  for (std::uint64_t number = 2; number <= 6; number += 2) {
    (void)state_.Receive(number, 0, 2, findings_);
  }

  EXPECT_THAT(findings_, ElementsAre(StreamFinding{LossKind::kSuspected, 1, 1},
                                     StreamFinding{LossKind::kGivenUp, 1, 1}));
  EXPECT_EQ(state_.missing().size(), 2U);
  EXPECT_EQ(state_.given_up(), 1U);
}

TEST_F(StreamStateTest, WhatAnOperatorHasDealtWithIsMissingNoMore) {
  for (std::uint64_t number = 2; number <= 8; number += 2) {
    (void)state_.Receive(number, static_cast<std::int64_t>(number), 3, findings_);
  }
  state_.ReportSeenUntil(6, findings_);
  state_.Forgive(3);

  EXPECT_EQ(state_.CountMissing(), 0U);
  EXPECT_EQ(state_.given_up(), 0U);
  EXPECT_TRUE(state_.is_waiting()) << "what is only waited for is not forgiven";
}

TEST_F(StreamStateTest, BytesThatNobodyWroteAreRefused) {
  EXPECT_FALSE(StreamState::Decode("", "").has_value());
  EXPECT_FALSE(StreamState::Decode("nonsense", "").has_value());
  Receive(3);
  EXPECT_FALSE(StreamState::Decode(state_.EncodeHead(), "").has_value());
  EXPECT_FALSE(StreamState::Decode(state_.EncodeHead() + "x", state_.EncodeLosses()).has_value());
  EXPECT_FALSE(StreamState::Decode(StreamState().EncodeHead(), state_.EncodeLosses()).has_value());
}

// Every number by itself.
class NaiveStream {
 public:
  void Receive(std::uint64_t number, std::int64_t seen_ms) {
    Expect(number - 1, seen_ms);
    high_ = std::max(high_, number);
    missing_.erase(number);
  }
  void Expect(std::uint64_t last, std::int64_t seen_ms) {
    for (; high_ < last; ++high_) missing_[high_ + 1] = {seen_ms, MissingKind::kWaiting};
  }
  void Void(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t number = first; number <= last; ++number) missing_.erase(number);
    if (first <= high_ + 1) high_ = std::max(high_, last);
  }
  void Excuse(std::uint64_t first, std::uint64_t last) {
    for (auto& [number, known] : missing_) {
      if (number >= first && number <= last) known.second = MissingKind::kExcused;
    }
  }
  void Report(std::int64_t until_ms) {
    for (auto& [number, known] : missing_) {
      if (known.second == MissingKind::kWaiting && known.first <= until_ms) {
        known.second = MissingKind::kReported;
      }
    }
  }

  std::uint64_t high_ = 0;
  std::map<std::uint64_t, std::pair<std::int64_t, MissingKind>> missing_;
};

std::map<std::uint64_t, std::pair<std::int64_t, MissingKind>> NumbersOf(const StreamState& state) {
  std::map<std::uint64_t, std::pair<std::int64_t, MissingKind>> numbers;
  for (const MissingRange& range : state.missing()) {
    for (std::uint64_t number = range.first; number <= range.last; ++number) {
      EXPECT_TRUE(numbers.try_emplace(number, range.seen_ms, range.kind).second);
    }
  }
  return numbers;
}

TEST(StreamStateOracle, AnyHistoryAgreesWithASetOfNumbersAndSurvivesItsBytes) {
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    StreamState state;
    NaiveStream naive;
    std::vector<StreamFinding> findings;
    for (int step = 0; step < 120; ++step) {
      const std::uint64_t first = 1 + random() % 60;
      const std::uint64_t last = first + random() % 6;
      switch (random() % 6) {
        case 0:
          state.Void(first, last, kRangesMax, findings);
          naive.Void(first, last);
          break;
        case 1:
          state.Expect(first, step, kRangesMax, findings);
          naive.Expect(first, step);
          break;
        case 2:
          (void)state.Excuse(first, last, kRangesMax);
          naive.Excuse(first, last);
          break;
        case 3:
          state.ReportSeenUntil(step - 20, findings);
          naive.Report(step - 20);
          break;
        default:
          (void)state.Receive(first, step, kRangesMax, findings);
          naive.Receive(first, step);
          break;
      }
      ASSERT_EQ(state.high(), naive.high_) << "seed " << seed << " step " << step;
      ASSERT_EQ(NumbersOf(state), naive.missing_) << "seed " << seed << " step " << step;
      ASSERT_EQ(StreamState::Decode(state.EncodeHead(), state.EncodeLosses()), state);
    }
  }
}

}  // namespace
}  // namespace once
