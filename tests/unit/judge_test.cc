// The whole table of Judge().
#include "src/judge.h"

#include <gtest/gtest.h>

#include <string>

namespace once {
namespace {

constexpr int kMaxAttempts = 3;
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
const Fingerprint kOurs = Fingerprint::Of("ours");

struct JudgeCase {
  std::string name;
  IdRecord record;
  Judgement expected;
};

IdRecord RecordIn(IdState state, int attempt = 1, absl::Time not_before = absl::InfinitePast()) {
  return {.state = state, .fingerprint = kOurs, .attempt = attempt, .not_before = not_before};
}

class JudgeTable : public ::testing::TestWithParam<JudgeCase> {};

TEST_P(JudgeTable, SaysWhatAMessageIs) {
  EXPECT_EQ(Judge(GetParam().record, kOurs, kMaxAttempts, kNow), GetParam().expected);
}

TEST_P(JudgeTable, AnotherValueIsAConflictUnlessNothingIsKnown) {
  const Judgement expected =
      GetParam().record.state == IdState::kAbsent ? Judgement::kHandle : Judgement::kConflict;
  EXPECT_EQ(Judge(GetParam().record, Fingerprint::Of("theirs"), kMaxAttempts, kNow), expected);
}

TEST_P(JudgeTable, WithoutAFingerprintOnEitherSideThereIsNoConflict) {
  EXPECT_EQ(Judge(GetParam().record, Fingerprint{}, kMaxAttempts, kNow), GetParam().expected);
  IdRecord bare = GetParam().record;
  bare.fingerprint = {};
  EXPECT_EQ(Judge(bare, kOurs, kMaxAttempts, kNow), GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(
    States, JudgeTable,
    ::testing::Values(
        JudgeCase{"Absent", IdRecord{}, Judgement::kHandle},
        JudgeCase{"Completed", RecordIn(IdState::kCompleted), Judgement::kDuplicate},
        JudgeCase{"Dead", RecordIn(IdState::kDead), Judgement::kSettled},
        JudgeCase{"Discarded", RecordIn(IdState::kDiscarded), Judgement::kSettled},
        JudgeCase{"Uncertain", RecordIn(IdState::kUncertain), Judgement::kSettled},
        JudgeCase{"Claimed", RecordIn(IdState::kClaimed), Judgement::kWait},
        JudgeCase{"Dying", RecordIn(IdState::kDying), Judgement::kWait},
        JudgeCase{"Retrying", RecordIn(IdState::kRetrying), Judgement::kHandle},
        JudgeCase{"RetryingAndDueNow", RecordIn(IdState::kRetrying, 1, kNow), Judgement::kHandle},
        JudgeCase{"RetryingAndNotDue", RecordIn(IdState::kRetrying, 1, kNow + absl::Nanoseconds(1)),
                  Judgement::kWait},
        JudgeCase{"RetryingWithOneAttemptLeft", RecordIn(IdState::kRetrying, kMaxAttempts - 1),
                  Judgement::kHandle},
        JudgeCase{"RetryingWithNoneLeft", RecordIn(IdState::kRetrying, kMaxAttempts),
                  Judgement::kExhausted},
        JudgeCase{"RetryingWithNoneLeftAndNotDue",
                  RecordIn(IdState::kRetrying, kMaxAttempts, kNow + absl::Hours(1)),
                  Judgement::kExhausted},
        JudgeCase{"RetryingBeyondTheMaximum", RecordIn(IdState::kRetrying, kMaxAttempts + 7),
                  Judgement::kExhausted}),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace once
