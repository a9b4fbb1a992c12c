// The conformance tests of what TryClaim answers, state by state, and of how a claim ends.
#include <limits>
#include <string>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/claim_bench.h"

namespace once::testing {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::Le;
using namespace std::string_literals;

void LinkVerdictChecks() {}

namespace {

constexpr Disposition kDispositions[] = {Disposition::kRejected,  Disposition::kRetriesExhausted,
                                         Disposition::kConflict,  Disposition::kNoId,
                                         Disposition::kInvalidId, Disposition::kUncertain,
                                         Disposition::kExpired,   Disposition::kManual};

CLAIM_CHECK(AnAbsentIdIsFreshAndItsFirstAttempt) {
  const Holder holder = Ask("id");
  EXPECT_EQ(holder.result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(holder.result.attempt, 1);
  EXPECT_EQ(holder.result.first_failed_at, absl::InfinitePast());
}

CLAIM_CHECK(AHeldIdIsInProgressForEverybodyElse) {
  Ask("id");
  for (int i = 0; i < 3; ++i) {
    const Holder other = Ask("id");
    EXPECT_EQ(other.result.verdict, ClaimVerdict::kInProgress);
    EXPECT_THAT(other.result.wait, AllOf(Gt(kLongLease / 2), Le(kLongLease)));
  }
}

CLAIM_CHECK(ABegunIdIsInProgressToo) {
  const Holder holder = Ask("id");
  EXPECT_TRUE(Begun(holder).ok());
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kInProgress);
}

CLAIM_CHECK(ACompletedIdIsADuplicate) {
  LeaveCompleted("id");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDuplicate);
}

CLAIM_CHECK(ADuplicateGetsTheResultThatWasRecorded) {
  std::string all_bytes;
  for (int byte = 0; byte < 256; ++byte) all_bytes.push_back(static_cast<char>(byte));
  const std::string results[] = {"", "paid", "\0"s, all_bytes,
                                 std::string(kClaimResultBytesMax, 'r')};
  for (const std::string& result : results) {
    const std::string id = absl::StrCat("id of ", result.size());
    LeaveCompleted(id, result);
    const Holder other = Ask(id);
    EXPECT_EQ(other.result.verdict, ClaimVerdict::kDuplicate);
    EXPECT_TRUE(other.result.result == result) << id;
  }
}

CLAIM_CHECK(ACompletedIdMayNeverHaveBegun) {
  const Holder holder = Ask("id");
  EXPECT_TRUE(Complete(holder).ok());
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDuplicate);
}

// What loses messages elsewhere: a failed claim that counts as seen.
CLAIM_CHECK(AFailedIdIsFreshAgainWithTheNextAttempt) {
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const Holder holder = AskUntilFree("id");
    EXPECT_EQ(holder.result.verdict, ClaimVerdict::kFresh);
    EXPECT_EQ(holder.result.attempt, attempt);
    EXPECT_TRUE(Begun(holder).ok());
    const absl::Status failed = Fail(holder);
    EXPECT_TRUE(failed.ok()) << failed;
  }
  EXPECT_EQ(AskUntilFree("id").result.attempt, 4);
}

CLAIM_CHECK(AnUnchargedFailureCountsNoAttempt) {
  for (int i = 0; i < 3; ++i) {
    const Holder holder = AskUntilFree("id");
    EXPECT_EQ(holder.result.verdict, ClaimVerdict::kFresh);
    EXPECT_EQ(holder.result.attempt, 1);
    EXPECT_EQ(holder.result.first_failed_at, absl::InfinitePast());
    EXPECT_TRUE(Begun(holder).ok());
    const FailedClaim failed{.claim = holder.claim(),
                             .first_failed_at = absl::FromUnixSeconds(1'700'000'000),
                             .is_charged = false};
    absl::Status outcome;
    ASSERT_TRUE(claims().Fail(std::span(&failed, 1), std::span(&outcome, 1)).ok());
    EXPECT_TRUE(outcome.ok()) << outcome;
  }
}

CLAIM_CHECK(TheFirstFailureIsRemembered) {
  const absl::Time first = absl::FromUnixMicros(1'700'000'000'123'456);
  Holder holder = Ask("id");
  EXPECT_TRUE(Fail(holder, absl::ZeroDuration(), first).ok());
  for (int i = 1; i < 3; ++i) {
    holder = AskUntilFree("id");
    EXPECT_EQ(holder.result.first_failed_at, first);
    EXPECT_TRUE(Fail(holder, absl::ZeroDuration(), first + absl::Hours(i)).ok());
  }
  EXPECT_EQ(AskUntilFree("id").result.first_failed_at, first);
}

CLAIM_CHECK(AFirstFailureThatWasNotKnownIsLearntLater) {
  const absl::Time later = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_TRUE(Fail(Ask("id")).ok());
  const Holder second = AskUntilFree("id");
  EXPECT_EQ(second.result.first_failed_at, absl::InfinitePast());
  EXPECT_TRUE(Fail(second, absl::ZeroDuration(), later).ok());
  EXPECT_EQ(AskUntilFree("id").result.first_failed_at, later);
}

CLAIM_CHECK(ARetryingIdIsNotClaimedBeforeItsTime) {
  const Holder holder = Ask("id");
  EXPECT_TRUE(Fail(holder, absl::Hours(1)).ok());
  for (int i = 0; i < 2; ++i) {
    const Holder early = Ask("id");
    EXPECT_EQ(early.result.verdict, ClaimVerdict::kNotBefore);
    EXPECT_THAT(early.result.wait, AllOf(Gt(absl::Minutes(30)), Le(absl::Hours(1))));
  }
}

CLAIM_CHECK(ARetryingIdIsClaimedWhenItsTimeHasCome) {
  const Holder holder = Ask("id");
  EXPECT_TRUE(Fail(holder, ShortLease()).ok());
  PassLease();
  const Holder next = AskUntilFree("id");
  EXPECT_EQ(next.result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(next.result.attempt, 2);
}

CLAIM_CHECK(ADeadIdIsDead) {
  LeaveDead("id");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDead);
}

CLAIM_CHECK(AnUncertainIdIsUncertain) {
  LeaveUncertain("id");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kUncertain);
}

CLAIM_CHECK(ADiscardedIdIsDiscarded) {
  LeaveDiscarded("id");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDiscarded);
}

CLAIM_CHECK(OnlyAnUncertainDispositionEndsUncertain) {
  for (const Disposition disposition : kDispositions) {
    const std::string id = absl::StrCat("id ", static_cast<int>(disposition));
    const Holder holder = Ask(id);
    EXPECT_TRUE(Dying(holder, disposition).ok());
    EXPECT_TRUE(Kill(holder).ok());
    EXPECT_EQ(Ask(id).result.verdict, disposition == Disposition::kUncertain
                                          ? ClaimVerdict::kUncertain
                                          : ClaimVerdict::kDead);
  }
}

CLAIM_CHECK(ADyingIdIsInProgressWhileItsLetterIsPublished) {
  const Holder holder = Ask("id");
  EXPECT_TRUE(Dying(holder).ok());
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kInProgress);
}

// No message is both dead and done.
CLAIM_CHECK(ADyingIdEndsDeadAndNoOtherWay) {
  const Holder holder = Ask("id");
  EXPECT_TRUE(Begun(holder).ok());
  EXPECT_TRUE(Dying(holder).ok());
  EXPECT_FALSE(Begun(holder).ok());
  EXPECT_FALSE(Complete(holder).ok());
  EXPECT_FALSE(Fail(holder).ok());
  EXPECT_FALSE(Discard(holder).ok());
  EXPECT_TRUE(Renew(holder).ok());
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kInProgress);
  const absl::Status killed = Kill(holder);
  EXPECT_TRUE(killed.ok()) << killed;
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDead);
}

CLAIM_CHECK(WhatIsNotDyingIsNotKilled) {
  const Holder holder = Ask("id");
  EXPECT_TRUE(Begun(holder).ok());
  EXPECT_FALSE(Kill(holder).ok());
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kInProgress);
  EXPECT_TRUE(Complete(holder).ok());
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDuplicate);
}

CLAIM_CHECK(AnotherFingerprintIsAConflictWhateverBecameOfTheFirst) {
  LeaveCompleted("completed");
  LeaveRetrying("retrying");
  LeaveDead("dead");
  LeaveUncertain("uncertain");
  LeaveDiscarded("discarded");
  for (const std::string_view id : {"completed", "retrying", "dead", "uncertain", "discarded"}) {
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(Ask(id, kLongLease, kOtherPrint).result.verdict, ClaimVerdict::kConflict) << id;
    }
  }
  // None of it changed what the first one finds.
  EXPECT_EQ(Ask("completed").result.verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask("retrying").result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(Ask("dead").result.verdict, ClaimVerdict::kDead);
}

CLAIM_CHECK(AConflictWaitsForNobody) {
  EXPECT_TRUE(Fail(Ask("id"), absl::Hours(1)).ok());
  EXPECT_EQ(Ask("id", kLongLease, kOtherPrint).result.verdict, ClaimVerdict::kConflict);
}

CLAIM_CHECK(FingerprintsDifferInEitherHalf) {
  LeaveCompleted("id");
  for (const Fingerprint print :
       {Fingerprint{kPrint.high, kPrint.low + 1}, Fingerprint{kPrint.high + 1, kPrint.low},
        Fingerprint{kPrint.low, kPrint.high}}) {
    EXPECT_EQ(Ask("id", kLongLease, print).result.verdict, ClaimVerdict::kConflict);
  }
}

CLAIM_CHECK(AMessageWithoutAFingerprintMatchesEveryOther) {
  LeaveCompleted("id");
  EXPECT_EQ(Ask("id", kLongLease, {}).result.verdict, ClaimVerdict::kDuplicate);
  const Holder unprinted = Ask("unprinted", kLongLease, {});
  EXPECT_TRUE(Complete(unprinted).ok());
  EXPECT_EQ(Ask("unprinted").result.verdict, ClaimVerdict::kDuplicate);
}

CLAIM_CHECK(AReleasedIdIsAsItWasAbsent) {
  EXPECT_TRUE(Release(Ask("id")).ok());
  // Not even its fingerprint stays.
  const Holder next = Ask("id", kLongLease, kOtherPrint);
  EXPECT_EQ(next.result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(next.result.attempt, 1);
}

CLAIM_CHECK(AReleasedIdIsAsItWasRetrying) {
  const absl::Time first = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_TRUE(Fail(Ask("id"), absl::ZeroDuration(), first).ok());
  EXPECT_TRUE(Fail(AskUntilFree("id")).ok());
  for (int i = 0; i < 3; ++i) {
    const Holder holder = AskUntilFree("id");
    EXPECT_EQ(holder.result.verdict, ClaimVerdict::kFresh);
    EXPECT_EQ(holder.result.attempt, 3);
    EXPECT_EQ(holder.result.first_failed_at, first);
    const absl::Status released = Release(holder);
    EXPECT_TRUE(released.ok()) << released;
  }
  EXPECT_EQ(Ask("id", kLongLease, kOtherPrint).result.verdict, ClaimVerdict::kConflict);
}

CLAIM_CHECK(AReleasedDyingIdIsStillToBePublished) {
  const Holder holder = Ask("id");
  EXPECT_TRUE(Dying(holder, Disposition::kExpired, 4).ok());
  EXPECT_TRUE(Release(holder).ok());
  const Holder next = Ask("id");
  EXPECT_EQ(next.result.verdict, ClaimVerdict::kPublish);
  EXPECT_EQ(next.result.disposition, Disposition::kExpired);
  EXPECT_TRUE(Release(next).ok());
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kPublish);
}

CLAIM_CHECK(ReleasingABegunClaimDoesNotMakeItsHandlerUnrun) {
  const Holder holder = Ask("id", ShortLease());
  EXPECT_TRUE(Begun(holder).ok());
  EXPECT_FALSE(Release(holder).ok());
  PassLease();
  const Holder next = AskUntilFree("id");
  EXPECT_EQ(next.result.verdict, ClaimVerdict::kTakeover);
  EXPECT_EQ(next.result.attempt, 2);
}

CLAIM_CHECK(IdsAndScopesAreComparedByTheirBytes) {
  const std::pair<std::string, std::string> keys[] = {
      {"a", "bc"},
      {"ab", "c"},
      {"abc", "c"},
      {"", "abc"},
      {"a\0"s, "bc"},
      {"a", "\0bc"s},
      {"A", "bc"},
      {"bc", "a"},
      {"a", "bc\0"s},
      {"\xff", "bc"},
      {"a", "\xff"},
      {"a", "1"},
      {"a", "01"},
      {"a", "é"},
      {"a", "e\xcc\x81"},
      {"a", " bc"},
      {"a", "bc "},
      {"a", "'"},
      {std::string(300, 's'), "bc"},
      {"a", std::string(kMessageIdBytesMax, 'x')},
      {"a", std::string(kMessageIdBytesMax - 1, 'x')}};
  for (int round = 0; round < 2; ++round) {
    for (const auto& [scope, id] : keys) {
      const ClaimRequest request{
          .key = {.scope = scope, .id = id}, .fingerprint = kPrint, .fence = claims().NewFence()};
      ClaimResult result;
      ASSERT_TRUE(claims().TryClaim({&request, 1}, kLongLease, {&result, 1}).ok());
      EXPECT_EQ(result.verdict, round == 0 ? ClaimVerdict::kFresh : ClaimVerdict::kInProgress)
          << ::testing::PrintToString(scope) << " " << ::testing::PrintToString(id);
    }
  }
}

CLAIM_CHECK(AttemptsAreNotLimitedByTheStore) {
  constexpr int kManyAttempts = std::numeric_limits<std::int16_t>::max() + 10;
  const Holder holder = Ask("id");
  EXPECT_TRUE(Dying(holder, Disposition::kRetriesExhausted, kManyAttempts).ok());
  EXPECT_TRUE(Release(holder).ok());
  EXPECT_EQ(Ask("id").result.attempt, kManyAttempts);
}

}  // namespace
}  // namespace once::testing
