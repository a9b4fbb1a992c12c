// RetryPolicy says how often a failed message is tried, Backoff how long it waits in between. Both
// are plain data; the functions below are pure.
//
//   .retry = {.max_attempts = 5, .backoff = {.initial = absl::Seconds(1)}}
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/outcome.h"

namespace once {

// Wait before attempt n+1 = initial × multiplier^(n−1), at most max, then spread by ± jitter.
struct Backoff {
  absl::Duration initial = absl::Seconds(1);
  double multiplier = 2.0;                // >= 1
  absl::Duration max = absl::Minutes(5);  // longest single wait
  double jitter = 0.2;                    // 0 … 1: share of the wait that is random, both ways
};

enum class FailureClass : std::uint8_t { kTransient, kPermanent };

// kUnavailable, kDeadlineExceeded, kResourceExhausted, kAborted, kCancelled, kInternal and kUnknown
// (which is also what an exception becomes) are transient; all other codes are permanent.
FailureClass ClassifyStatus(const absl::Status& status);

// What becomes of a message that was rejected, or is out of attempts.
enum class GiveUp : std::uint8_t {
  kDeadLetter,  // it goes to the dead letters: the default
  // It is skipped on record and counted as discarded. Its content is gone when the broker removes
  // it: only for messages that nobody would ever look for.
  kDiscard
};

struct RetryPolicy {
  int max_attempts = 5;  // handler invocations in all, 1 = never retry
  Backoff backoff;
  // No further attempt begins later than this after the first failure.
  absl::Duration max_elapsed = absl::InfiniteDuration();
  std::function<FailureClass(const absl::Status&)> classify = ClassifyStatus;
  GiveUp give_up = GiveUp::kDeadLetter;
};

// kInvalidArgument, naming the field, unless max_attempts >= 1, multiplier >= 1, 0 <= jitter <= 1
// and all durations are non-negative.
absl::Status ValidateRetryPolicy(const RetryPolicy& policy);

// The wait after `attempt` failed attempts (1-based). `random` in [0, 1) places it in the jitter.
absl::Duration BackoffDelay(const Backoff& backoff, int attempt, double random);

enum class RetryAction : std::uint8_t {
  kDone,
  kRetry,       // after `delay`
  kDeadLetter,  // with `disposition`
  kSkip,        // by the handler's word, or by RetryPolicy::give_up
  kPause,
};

enum class Disposition : std::uint8_t {
  kRejected,
  kRetriesExhausted,
  kConflict,
  kNoId,
  kInvalidId,
  kUncertain,
  kExpired,
  kManual,
};

struct RetryDecision {
  RetryAction action = RetryAction::kDone;
  absl::Duration delay = absl::ZeroDuration();       // kRetry
  Disposition disposition = Disposition::kRejected;  // kDeadLetter
};

struct FailedAttempt {
  int attempt = 1;             // the one that produced the outcome
  absl::Time first_failed_at;  // of this message, this failure included
  absl::Time now;
  double random = 0.5;  // in [0, 1)
};

// What becomes of a message that has failed for good.
RetryDecision GiveUpAs(const RetryPolicy& policy, Disposition disposition);

// What becomes of a message whose handler said `outcome`.
RetryDecision Decide(const RetryPolicy& policy, const Outcome& outcome,
                     const FailedAttempt& failed);

}  // namespace once
