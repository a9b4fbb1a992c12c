// The claim protocol: for handlers whose effect no transaction covers. A claim says "I work on this
// id now"; its fence makes every later word of a former owner void; its lease, on the store's
// clock, says when somebody else may take over. No correctness depends on that clock, only
// concurrency.
//
//   absent → claimed → completed | retrying | dying → dead | uncertain
//   dead → retrying only through a redrive; discarded by an operator
//
// An unknown answer (kUnknown) is met by repeating the call with the same claims: a repeated
// TryClaim meets its own claim, and every other call is a compare-and-set on the fence, so that
// repeating it is harmless. After a repeated call kAborted may also mean that the first one was
// applied: TryClaim with a new fence tells.
//
// What the calls record survives the process. Sync() makes it survive the machine, as far as the
// store's durability goes; acknowledge and publish only after it.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/message_id.h"
#include "once/outbox.h"
#include "once/retry.h"

namespace once {

// Longest result that Complete() keeps with an id, for Wrap() to replay.
inline constexpr std::size_t kClaimResultBytesMax = 16 * 1024;

// Names one claim; compared for equality only. `incarnation` is drawn when the store is opened,
// `counter` counts the claims made through that opening.
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
  kFresh,       // ours, and no invocation of the handler was ever lost: invoke it
  kTakeover,    // ours, and an invocation was begun whose end nobody knows: it may have run
  kDuplicate,   // completed: acknowledge
  kInProgress,  // another owner holds it; ask again after ClaimResult::wait
  kConflict,    // another fingerprint under this id: never handle
  kNotBefore,   // retrying; ask again after ClaimResult::wait
  kDead,        // its dead letter is durable: acknowledge, count
  kDiscarded,   // skipped on record: acknowledge, count
  kUncertain,   // may have run; waits for an operator: acknowledge, count
  kPublish,     // ours and dying: publish its dead letter and Kill(), never the handler
};

struct ClaimResult {
  ClaimVerdict verdict = ClaimVerdict::kFresh;
  int attempt = 1;                                    // of the invocation this claim permits
  absl::Time first_failed_at = absl::InfinitePast();  // for RetryPolicy::max_elapsed
  absl::Duration wait = absl::ZeroDuration();         // kInProgress, kNotBefore
  Disposition disposition = Disposition::kRejected;   // kPublish: what Dying() recorded
  std::string result = {};                            // kDuplicate: what Complete() recorded
};

// A held claim, as the owner names it in every later call.
struct Claim {
  IdKey key;
  Fence fence;
};

// A claim whose handler succeeded.
struct CompletedClaim {
  Claim claim;
  std::string_view result = {};  // at most kClaimResultBytesMax; kept with the id
};

// A claim whose handler failed; every message has a backoff of its own.
struct FailedClaim {
  Claim claim;
  absl::Duration delay = absl::ZeroDuration();        // on the store's clock
  absl::Time first_failed_at = absl::InfinitePast();  // kept when it was known before
  bool is_charged = true;  // false: the invocation says nothing about the message (a pause)
};

// A claim whose message is about to be dead-lettered.
struct DyingClaim {
  Claim claim;
  Disposition disposition = Disposition::kRejected;  // kUncertain: Kill() ends in `uncertain`
  int attempt = 0;                                   // handler invocations so far
  // What will be published. A store with transactions() keeps it for a redrive; null: none.
  const OutboxRow* letter = nullptr;
};

// Each call answers one status per claim in `outcomes`: OK, or kAborted when the fence no longer
// matches (lease lost: acknowledge nothing, emit nothing). The returned status speaks of the whole
// call, by the seam contract of executor.h; `outcomes` mean nothing when it is not OK.
// REQUIRES everywhere: outcomes.size() == claims.size(); claims were asked for by TryClaim(); keys
// are distinct.
class ClaimStore {
 public:
  virtual ~ClaimStore() = default;

  // A fence that no other claim has or had.
  virtual Fence NewFence() = 0;

  // Claims what is free: absent, retrying and due, or held by somebody whose lease has ended. An
  // embedded store that was reopened knows that the former process is dead and waits for no lease
  // of it. A request whose own fence holds the id already gets the same answer again and a new
  // lease. REQUIRES: results.size() == requests.size(); keys are distinct.
  virtual absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                                std::span<ClaimResult> results) = 0;
  // Recorded before the handler is invoked: a begun claim that is lost raises the attempt and makes
  // every later verdict kTakeover; one that never began charges nobody.
  virtual absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) = 0;
  virtual absl::Status Renew(std::span<const Claim> claims, absl::Duration lease,
                             std::span<absl::Status> outcomes) = 0;
  virtual absl::Status Complete(std::span<const CompletedClaim> claims,
                                std::span<absl::Status> outcomes) = 0;
  // The handler failed: the attempt counts, and the record stays as `retrying`, not before
  // now + delay. It never vanishes meanwhile.
  virtual absl::Status Fail(std::span<const FailedClaim> claims,
                            std::span<absl::Status> outcomes) = 0;
  // Before its dead letter is published (then Sync()); whoever takes it over only publishes …
  virtual absl::Status Dying(std::span<const DyingClaim> claims,
                             std::span<absl::Status> outcomes) = 0;
  // … and after the broker has acknowledged it: dead, or uncertain if that was its disposition.
  virtual absl::Status Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) = 0;
  // Settles without effect, on record: discarded.
  virtual absl::Status Discard(std::span<const Claim> claims, std::span<absl::Status> outcomes) = 0;
  // Gives back claims whose handler never began: the record is as before the claim.
  virtual absl::Status Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) = 0;

  // OK: everything that was answered OK before survives what StoreTraits::durability says. A store
  // that lost any of it must not answer OK to the next Sync(), whatever became of the one before:
  // whoever syncs after a failure takes OK to cover what was recorded before that failure too.
  virtual absl::Status Sync() = 0;
};

}  // namespace once
