// Pure retry decisions: classification, backoff, and what becomes of a failed message.
#include "once/retry.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace once {
namespace {

absl::Status BadField(const char* field, const char* rule) {
  return absl::InvalidArgumentError(std::string("retry.") + field + ": " + rule);
}

// Another attempt after `delay`, unless attempts or time have run out.
RetryDecision RetryIn(absl::Duration delay, const RetryPolicy& policy,
                      const FailedAttempt& failed) {
  const bool attempts_left = failed.attempt < policy.max_attempts;
  const bool time_left = failed.now + delay - failed.first_failed_at <= policy.max_elapsed;
  if (!attempts_left || !time_left) return GiveUpAs(policy, Disposition::kRetriesExhausted);
  return {.action = RetryAction::kRetry, .delay = delay};
}

}  // namespace

FailureClass ClassifyStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return FailureClass::kTransient;
    default:
      return FailureClass::kPermanent;
  }
}

absl::Status ValidateRetryPolicy(const RetryPolicy& policy) {
  const Backoff& backoff = policy.backoff;
  if (policy.max_attempts < 1) return BadField("max_attempts", "must be at least 1 (1: no retry)");
  if (!(backoff.multiplier >= 1)) return BadField("backoff.multiplier", "must be at least 1");
  if (!(backoff.jitter >= 0 && backoff.jitter <= 1)) {
    return BadField("backoff.jitter", "must be between 0 and 1");
  }
  if (backoff.initial < absl::ZeroDuration()) {
    return BadField("backoff.initial", "must not be negative");
  }
  if (backoff.max < backoff.initial) {
    return BadField("backoff.max", "must not be below backoff.initial");
  }
  if (policy.max_elapsed < absl::ZeroDuration()) {
    return BadField("max_elapsed", "must not be negative");
  }
  if (!policy.classify) return BadField("classify", "must be callable");
  return absl::OkStatus();
}

absl::Duration BackoffDelay(const Backoff& backoff, int attempt, double random) {
  if (backoff.initial == absl::ZeroDuration()) return absl::ZeroDuration();  // 0 × ∞ below
  const double factor = std::pow(backoff.multiplier, std::max(attempt, 1) - 1);
  const absl::Duration delay =
      std::isfinite(factor) ? std::min(backoff.initial * factor, backoff.max) : backoff.max;
  return delay * (1 + backoff.jitter * (2 * random - 1));
}

RetryDecision GiveUpAs(const RetryPolicy& policy, Disposition disposition) {
  const bool is_discarded = policy.give_up == GiveUp::kDiscard;
  return {.action = is_discarded ? RetryAction::kSkip : RetryAction::kDeadLetter,
          .disposition = disposition};
}

RetryDecision Decide(const RetryPolicy& policy, const Outcome& outcome,
                     const FailedAttempt& failed) {
  const absl::Duration backoff = BackoffDelay(policy.backoff, failed.attempt, failed.random);
  switch (outcome.kind()) {
    case OutcomeKind::kRetry:
      return RetryIn(backoff, policy, failed);
    case OutcomeKind::kRetryAfter:
      return RetryIn(std::max(outcome.delay(), absl::ZeroDuration()), policy, failed);
    case OutcomeKind::kReject:
      return GiveUpAs(policy, Disposition::kRejected);
    case OutcomeKind::kSkip:
      return {.action = RetryAction::kSkip};
    case OutcomeKind::kPause:
      return {.action = RetryAction::kPause};
    case OutcomeKind::kStatus:
      break;
  }
  if (outcome.status().ok()) return {.action = RetryAction::kDone};
  return policy.classify(outcome.status()) == FailureClass::kTransient
             ? RetryIn(backoff, policy, failed)
             : GiveUpAs(policy, Disposition::kRejected);
}

}  // namespace once
