// Outcome is a handler's verdict on one message. A plain absl::Status converts: OK is done, other
// codes are classified by the RetryPolicy. The named forms say more:
//
//   return once::RetryAfter(absl::Seconds(30));        // the downstream asked for it
//   return once::Reject("no such account");            // dead letter now, no further attempt
//   return once::Skip("test order");                   // settled on record, no effect
//   return once::Pause("ledger is closed");            // an outage: stop this partition
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/abseil.h"

namespace once {

enum class OutcomeKind : std::uint8_t {
  kStatus,      // OK = done; otherwise the policy classifies the code
  kRetry,       // retry with the policy's backoff, whatever the code
  kRetryAfter,  // retry, not before `delay`
  kReject,      // dead-letter now
  kSkip,        // settle without effect, recorded as discarded
  kPause,       // stop the partition until it is assigned anew; nothing is settled
};

class [[nodiscard]] Outcome {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): handlers return statuses.
  Outcome(absl::Status status) : status_(std::move(status)) {}
  Outcome(OutcomeKind kind, absl::Status reason, absl::Duration delay = absl::ZeroDuration())
      : kind_(kind), delay_(delay), status_(std::move(reason)) {}

  bool is_done() const { return kind_ == OutcomeKind::kStatus && status_.ok(); }
  OutcomeKind kind() const { return kind_; }
  // The reason; OK only when is_done().
  const absl::Status& status() const { return status_; }
  absl::Duration delay() const { return delay_; }

 private:
  OutcomeKind kind_ = OutcomeKind::kStatus;
  absl::Duration delay_;
  absl::Status status_;
};

inline Outcome Done() { return absl::OkStatus(); }
inline Outcome Retry(std::string_view reason) {
  return {OutcomeKind::kRetry, absl::UnavailableError(ToAbsl(reason))};
}
inline Outcome RetryAfter(absl::Duration delay, std::string_view reason = "retry later") {
  return {OutcomeKind::kRetryAfter, absl::UnavailableError(ToAbsl(reason)), delay};
}
inline Outcome Reject(std::string_view reason) {
  return {OutcomeKind::kReject, absl::InvalidArgumentError(ToAbsl(reason))};
}
inline Outcome Skip(std::string_view reason) {
  return {OutcomeKind::kSkip, absl::CancelledError(ToAbsl(reason))};
}
inline Outcome Pause(std::string_view reason) {
  return {OutcomeKind::kPause, absl::UnavailableError(ToAbsl(reason))};
}

}  // namespace once
