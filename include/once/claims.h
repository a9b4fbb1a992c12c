// The claim protocol: for handlers whose effect no transaction covers. A claim says "I work on this
// id now"; its fence makes every later word of a former owner void; its lease, on the store's
// clock, says when somebody else may take over.
//
//   absent → claimed → completed | retrying | dying → dead | uncertain
//   dead → retrying only through a redrive; discarded by an operator
//
// Every call is repeatable: the caller supplies the fence, so a TryClaim after an unknown outcome
// meets its own claim. Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/message_id.h"

namespace once {

// Compared for equality only. `incarnation` is drawn when the store is opened, `counter` counts
// the claims made through that opening.
struct Fence {
  std::uint64_t incarnation = 0;
  std::uint64_t counter = 0;

  friend bool operator==(const Fence&, const Fence&) = default;
};

struct ClaimRequest {
  IdKey key;
  Fingerprint fingerprint;
  Fence fence;
};

enum class ClaimVerdict : std::uint8_t {
  kFresh,       // nobody ran it before: invoke the handler
  kTakeover,    // a former owner's lease ended after it had begun: it may have run
  kDuplicate,   // completed: acknowledge
  kInProgress,  // another owner holds it until ClaimResult::until
  kConflict,    // another fingerprint under this id: never handle
  kNotBefore,   // retrying: not before ClaimResult::until
  kDead,        // its dead letter is durable, or it was discarded: acknowledge, count
  kUncertain,   // may have run; waits for an operator: acknowledge, count
  kPublish,     // dying: take over the dead letter only, never the handler
};

struct ClaimResult {
  ClaimVerdict verdict = ClaimVerdict::kFresh;
  int attempt = 1;                                    // of the invocation this claim permits
  absl::Time first_failed_at = absl::InfinitePast();  // for RetryPolicy::max_elapsed
  absl::Time until = absl::InfinitePast();            // kInProgress, kNotBefore; the store's clock
};

// A held claim, as the owner names it in every later call.
struct Claim {
  IdKey key;
  Fence fence;
};

// A claim whose handler failed; every message has a backoff of its own.
struct FailedClaim {
  Claim claim;
  absl::Duration delay;
};

// Each call answers one status per claim in `outcomes`: OK, or kAborted when the fence no longer
// matches (lease lost: acknowledge nothing, emit nothing). The returned status speaks of the whole
// call, by the seam contract of executor.h.
// REQUIRES everywhere: outcomes.size() == claims.size(); claims were returned by TryClaim().
class ClaimStore {
 public:
  virtual ~ClaimStore() = default;

  // REQUIRES: results.size() == requests.size(); keys are distinct.
  virtual absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                                std::span<ClaimResult> results) = 0;
  // Recorded before the handler is invoked; only begun claims raise `attempt` when they are lost.
  virtual absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) = 0;
  virtual absl::Status Renew(std::span<const Claim> claims, absl::Duration lease,
                             std::span<absl::Status> outcomes) = 0;
  virtual absl::Status Complete(std::span<const Claim> claims,
                                std::span<absl::Status> outcomes) = 0;
  // The handler failed: the record stays as `retrying`, not before now + delay.
  virtual absl::Status Fail(std::span<const FailedClaim> claims,
                            std::span<absl::Status> outcomes) = 0;
  // The handler may have run and must not run again: `uncertain`, until an operator resolves it.
  virtual absl::Status Park(std::span<const Claim> claims, std::span<absl::Status> outcomes) = 0;
  // Before its dead letter is published …
  virtual absl::Status Dying(std::span<const Claim> claims, std::span<absl::Status> outcomes) = 0;
  // … and after the broker has acknowledged it.
  virtual absl::Status Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) = 0;
  // Gives back claims whose handler never began.
  virtual absl::Status Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) = 0;
};

}  // namespace once
