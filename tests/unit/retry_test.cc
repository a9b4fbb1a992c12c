// Retry decisions and backoff, as tables.
#include "once/retry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace once {
namespace {

using ::testing::HasSubstr;

constexpr Backoff kPlain = {.initial = absl::Seconds(1), .multiplier = 2.0, .jitter = 0};
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

FailedAttempt AtAttempt(int attempt) {
  return {.attempt = attempt, .first_failed_at = kNow, .now = kNow, .random = 0.5};
}

struct DecideCase {
  std::string name;
  Outcome outcome;
  int attempt = 1;
  RetryAction action;
  absl::Duration delay = absl::ZeroDuration();
  Disposition disposition = Disposition::kRejected;
};

class DecideTable : public ::testing::TestWithParam<DecideCase> {};

TEST_P(DecideTable, SaysWhatBecomesOfTheMessage) {
  const RetryPolicy policy = {.max_attempts = 3, .backoff = kPlain};
  const RetryDecision decision = Decide(policy, GetParam().outcome, AtAttempt(GetParam().attempt));
  EXPECT_EQ(decision.action, GetParam().action);
  if (decision.action == RetryAction::kRetry) {
    EXPECT_EQ(decision.delay, GetParam().delay);
  }
  if (decision.action == RetryAction::kDeadLetter) {
    EXPECT_EQ(decision.disposition, GetParam().disposition);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Outcomes, DecideTable,
    ::testing::Values(
        DecideCase{"Done", Done(), 1, RetryAction::kDone},
        DecideCase{"DoneAtTheLastAttempt", Done(), 3, RetryAction::kDone},
        DecideCase{"TransientStatus", absl::UnavailableError("x"), 1, RetryAction::kRetry,
                   absl::Seconds(1)},
        DecideCase{"SecondTransientStatus", absl::UnavailableError("x"), 2, RetryAction::kRetry,
                   absl::Seconds(2)},
        DecideCase{"LastTransientStatus", absl::UnavailableError("x"), 3, RetryAction::kDeadLetter,
                   absl::ZeroDuration(), Disposition::kRetriesExhausted},
        DecideCase{"BeyondTheLast", absl::UnavailableError("x"), 4, RetryAction::kDeadLetter,
                   absl::ZeroDuration(), Disposition::kRetriesExhausted},
        DecideCase{"PermanentStatus", absl::NotFoundError("x"), 1, RetryAction::kDeadLetter,
                   absl::ZeroDuration(), Disposition::kRejected},
        DecideCase{"RetryWhateverTheCode", Outcome(OutcomeKind::kRetry, absl::NotFoundError("x")),
                   1, RetryAction::kRetry, absl::Seconds(1)},
        DecideCase{"RetryAfter", RetryAfter(absl::Minutes(7)), 1, RetryAction::kRetry,
                   absl::Minutes(7)},
        DecideCase{"RetryAfterNegative", RetryAfter(-absl::Minutes(7)), 1, RetryAction::kRetry,
                   absl::ZeroDuration()},
        DecideCase{"RetryAfterAtTheLast", RetryAfter(absl::Minutes(7)), 3, RetryAction::kDeadLetter,
                   absl::ZeroDuration(), Disposition::kRetriesExhausted},
        DecideCase{"Reject", Reject("x"), 1, RetryAction::kDeadLetter, absl::ZeroDuration(),
                   Disposition::kRejected},
        DecideCase{"Skip", Skip("x"), 1, RetryAction::kSkip},
        DecideCase{"Pause", Pause("x"), 3, RetryAction::kPause}),
    [](const auto& tested) { return tested.param.name; });

TEST(Decide, MaxElapsedIsMeasuredToTheNextAttempt) {
  RetryPolicy policy = {.max_attempts = 99, .backoff = kPlain, .max_elapsed = absl::Seconds(10)};
  FailedAttempt failed = AtAttempt(1);
  failed.now = kNow + absl::Seconds(9);  // and the next attempt one second later
  EXPECT_EQ(Decide(policy, Retry("x"), failed).action, RetryAction::kRetry);
  failed.now += absl::Nanoseconds(1);
  EXPECT_EQ(Decide(policy, Retry("x"), failed).disposition, Disposition::kRetriesExhausted);
}

TEST(Decide, GivingUpMayMeanToDiscard) {
  const RetryPolicy policy = {.max_attempts = 2, .backoff = kPlain, .give_up = GiveUp::kDiscard};
  EXPECT_EQ(Decide(policy, Retry("x"), AtAttempt(1)).action, RetryAction::kRetry);
  EXPECT_EQ(Decide(policy, Retry("x"), AtAttempt(2)).action, RetryAction::kSkip);
  EXPECT_EQ(Decide(policy, Reject("x"), AtAttempt(1)).action, RetryAction::kSkip);
  EXPECT_EQ(Decide(policy, absl::NotFoundError("x"), AtAttempt(1)).action, RetryAction::kSkip);
}

TEST(Decide, TheUsersClassificationReplacesOurs) {
  RetryPolicy policy = {.backoff = kPlain};
  policy.classify = [](const absl::Status& status) {
    return status.code() == absl::StatusCode::kNotFound ? FailureClass::kTransient
                                                        : FailureClass::kPermanent;
  };
  EXPECT_EQ(Decide(policy, absl::NotFoundError("x"), AtAttempt(1)).action, RetryAction::kRetry);
  EXPECT_EQ(Decide(policy, absl::UnavailableError("x"), AtAttempt(1)).action,
            RetryAction::kDeadLetter);
}

TEST(ClassifyStatus, IsAsDocumentedForEveryCode) {
  const std::vector<absl::StatusCode> transient = {absl::StatusCode::kUnavailable,
                                                   absl::StatusCode::kDeadlineExceeded,
                                                   absl::StatusCode::kResourceExhausted,
                                                   absl::StatusCode::kAborted,
                                                   absl::StatusCode::kCancelled,
                                                   absl::StatusCode::kInternal,
                                                   absl::StatusCode::kUnknown};
  for (int number = 1; number <= 16; ++number) {
    const auto code = static_cast<absl::StatusCode>(number);
    const bool is_transient =
        std::find(transient.begin(), transient.end(), code) != transient.end();
    EXPECT_EQ(ClassifyStatus(absl::Status(code, "x")),
              is_transient ? FailureClass::kTransient : FailureClass::kPermanent)
        << code;
  }
}

TEST(BackoffDelay, GrowsByTheMultiplierUpToTheMaximum) {
  const Backoff backoff = {
      .initial = absl::Seconds(1), .multiplier = 3, .max = absl::Seconds(20), .jitter = 0};
  EXPECT_EQ(BackoffDelay(backoff, 1, 0.5), absl::Seconds(1));
  EXPECT_EQ(BackoffDelay(backoff, 2, 0.5), absl::Seconds(3));
  EXPECT_EQ(BackoffDelay(backoff, 3, 0.5), absl::Seconds(9));
  EXPECT_EQ(BackoffDelay(backoff, 4, 0.5), absl::Seconds(20));
}

TEST(BackoffDelay, TheJitterSpreadsItBothWays) {
  const Backoff backoff = {.initial = absl::Seconds(10), .multiplier = 1, .jitter = 0.2};
  EXPECT_EQ(BackoffDelay(backoff, 1, 0.0), absl::Seconds(8));
  EXPECT_EQ(BackoffDelay(backoff, 1, 0.5), absl::Seconds(10));
  EXPECT_LT(BackoffDelay(backoff, 1, 0.999999), absl::Seconds(12));
  EXPECT_GT(BackoffDelay(backoff, 1, 0.999999), absl::Seconds(11.99));
}

TEST(BackoffDelay, IsNeverNegativeOrBeyondMaximumPlusJitterHoweverManyAttempts) {
  const Backoff backoff = {.initial = absl::Seconds(1), .multiplier = 2, .jitter = 1};
  for (const int attempt :
       {1, 2, 10, 62, 63, 64, 1000, 1024, 1025, 1'000'000'000, std::numeric_limits<int>::max()}) {
    for (const double random : {0.0, 0.25, 0.5, 0.75, 0.999999}) {
      const absl::Duration delay = BackoffDelay(backoff, attempt, random);
      EXPECT_GE(delay, absl::ZeroDuration()) << attempt;
      EXPECT_LE(delay, 2 * backoff.max) << attempt;
    }
  }
}

TEST(BackoffDelay, AnAttemptBelowOneCountsAsTheFirst) {
  EXPECT_EQ(BackoffDelay(kPlain, 0, 0.5), absl::Seconds(1));
  EXPECT_EQ(BackoffDelay(kPlain, -5, 0.5), absl::Seconds(1));
}

TEST(BackoffDelay, WithoutAnInitialWaitThereIsNeverOne) {
  const Backoff backoff = {.initial = absl::ZeroDuration(), .multiplier = 2};
  EXPECT_EQ(BackoffDelay(backoff, 1, 0.5), absl::ZeroDuration());
  EXPECT_EQ(BackoffDelay(backoff, 100, 0.5), absl::ZeroDuration());
  EXPECT_EQ(BackoffDelay(backoff, 5000, 0.5), absl::ZeroDuration());
}

struct PolicyCase {
  std::string field;
  RetryPolicy policy;
};

TEST(ValidateRetryPolicy, NamesTheFieldThatIsWrong) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<PolicyCase> cases = {
      {"retry.max_attempts", {.max_attempts = 0}},
      {"retry.max_attempts", {.max_attempts = -1}},
      {"retry.backoff.multiplier", {.backoff = {.multiplier = 0.99}}},
      {"retry.backoff.multiplier", {.backoff = {.multiplier = nan}}},
      {"retry.backoff.jitter", {.backoff = {.jitter = -0.1}}},
      {"retry.backoff.jitter", {.backoff = {.jitter = 1.1}}},
      {"retry.backoff.jitter", {.backoff = {.jitter = nan}}},
      {"retry.backoff.initial", {.backoff = {.initial = -absl::Seconds(1)}}},
      {"retry.backoff.max", {.backoff = {.max = -absl::Seconds(1)}}},
      {"retry.backoff.max", {.backoff = {.initial = absl::Seconds(2), .max = absl::Seconds(1)}}},
      {"retry.max_elapsed", {.max_elapsed = -absl::Seconds(1)}},
      {"retry.classify", {.classify = nullptr}},
  };
  for (const PolicyCase& bad : cases) {
    const absl::Status status = ValidateRetryPolicy(bad.policy);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.field;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.field));
  }
}

TEST(ValidateRetryPolicy, AcceptsTheDefaultsAndTheEdges) {
  EXPECT_TRUE(ValidateRetryPolicy({}).ok());
  EXPECT_TRUE(ValidateRetryPolicy({.max_attempts = 1,
                                   .backoff = {.initial = absl::ZeroDuration(),
                                               .multiplier = 1,
                                               .max = absl::ZeroDuration(),
                                               .jitter = 1},
                                   .max_elapsed = absl::ZeroDuration()})
                  .ok());
}

}  // namespace
}  // namespace once
