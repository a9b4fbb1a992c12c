// A DedupStore decides who may handle a message now, and remembers what was handled. It never sees
// the message itself. A store offers one or both of two protocols:
//
//   transactions()  id, effect, position and dead letters in one transaction; for handlers that
//                   take a Transaction&. Gives effectively-once.
//   claims()        fenced claims with leases (claims.h); for handlers whose effect lies elsewhere.
//
// Thread-safety: safe for concurrent use. Several consumers of one process may share one open
// store.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/claims.h"
#include "once/maintenance.h"
#include "once/operations.h"
#include "once/outbox.h"
#include "once/outgoing_log.h"
#include "once/position.h"
#include "once/transaction.h"

namespace once {

struct StoreTraits {
  std::string name;  // "sqlite", as it appears in logs and metrics
  Durability durability = Durability::kNothing;
  // Why durability is below kMachine and what to set instead; empty when it is not.
  std::string weakness;
  // True when consumers in several processes may use the same data.
  bool is_shared = false;
  // Drawn when the data was created, kept with it: the same after a restart or from a backup. Empty
  // for a store that keeps nothing. Printable ASCII, at most 64 bytes.
  std::string id = {};
  std::uint64_t open_count = 0;  // how often the data was opened, this time included
  // How long ids are remembered after they were settled; a copy that comes later is handled again.
  // In log time (AppliedRecord::log_time_ms), unless the store says otherwise. Infinite: for ever.
  absl::Duration retention = absl::InfiniteDuration();
};

// Begin either opens a transaction with every row locked and equal to what was expected, or names
// the rows that differ and opens none.
struct BeginResult {
  struct Mismatch {
    std::size_t lock = 0;                 // index into the locks passed to Begin
    std::optional<PositionStamp> actual;  // nullopt: there is no such row
  };

  std::unique_ptr<StoreTransaction> transaction;  // null exactly when mismatches is not empty
  std::vector<Mismatch> mismatches;
};

class TransactionalStore {
 public:
  virtual ~TransactionalStore() = default;

  // Locks the rows in key order and compares. An embedded store has one transaction at a time and
  // waits for it, for a bounded time: kUnavailable after that.
  // REQUIRES: locks name distinct keys.
  virtual absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) = 0;

  // Takes over all rows in one durable transaction; waits out a commit that is still in flight on
  // them. results[i] belongs to requests[i]. After kUnknown, call again with fresh writer tags.
  // REQUIRES: requests name distinct keys.
  virtual absl::StatusOr<std::vector<TakenPosition>> Take(
      std::span<const TakeRequest> requests) = 0;

  // The stored stamps, unlocked, for the idle audit: nullopt where there is no row.
  virtual absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) = 0;

  // Whether Sync() is offered. Then a consumer commits its batches as kProcess, and has one synced
  // while the next one runs.
  virtual bool syncs_beside() const { return false; }
  // OK: every commit that had been answered when it was called survives the machine. Beside open
  // transactions, for which it does not wait, and at the same time as any other call. After an
  // error some of them may be lost: Take() says which, and until it has, or a transaction that
  // began later, no commit as kMachine is OK, also none that was open meanwhile.
  virtual absl::Status Sync() {
    return absl::UnimplementedError("this store syncs with its commits only");
  }

  virtual Outbox& outbox() = 0;

  // Where Transaction::Publish() leaves its messages; null when the store has no such log. Lives as
  // long as the store.
  virtual OutgoingLog* outgoing() { return nullptr; }
};

class DedupStore {
 public:
  virtual ~DedupStore() = default;
  // May be asked at any time. A store that learns that it was switched to another machine, or that
  // it lost what it had acknowledged, answers a lower durability from then on.
  virtual StoreTraits traits() const = 0;
  // Null when the store has no transactions (Redis) …
  virtual TransactionalStore* transactions() { return nullptr; }
  // … or no claims. They live as long as the store.
  virtual ClaimStore* claims() { return nullptr; }
  // What an operator may see and change; null when the store offers nothing of it.
  virtual StoreOperations* operations() { return nullptr; }
  // Likewise what an operator may ask of the store as a whole.
  virtual StoreMaintenance* maintenance() { return nullptr; }
};

}  // namespace once
