// What the polling thread hands to the transaction worker, and gets back with the results filled
// in. An order owns all it refers to, so a partition may be revoked while the worker still has it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/consumer.h"
#include "once/dedup_store.h"
#include "once/position.h"
#include "src/cancellation.h"
#include "src/delivery.h"
#include "src/verdict.h"

namespace once {

struct WorkItem {
  Delivery delivery;
  Verdict verdict = Verdict::kUnsettled;
};

// One partition's share of a batch: consecutive messages, in order.
struct WorkPartition {
  PositionLock lock;
  std::string scope;
  std::uint64_t assignment = 0;
  std::vector<WorkItem> items;

  // Results. `committed` is what the row became, or would have become when the end is kUnknown.
  bool is_committed = false;
  PositionStamp committed;
  absl::Time not_before = absl::InfinitePast();  // its first unsettled message waits until then
  absl::Status stop = absl::OkStatus();          // why it must not go on
};

enum class BatchEnd : std::uint8_t {
  kPending,  // not run yet
  kNothing,  // nothing to settle: rolled back, no error
  kCommitted,
  kMismatch,      // rows differ from what was expected: `mismatches`
  kUnknown,       // the commit may have happened: take the rows to learn it
  kStoreTrouble,  // rolled back; `error` says why; replay after a backoff
  kDoomed,        // rolled back: the assignment ended while a handler ran
};

struct BatchOrder {
  std::vector<WorkPartition> partitions;
  BatchEnd end = BatchEnd::kPending;
  std::vector<BeginResult::Mismatch> mismatches;
  absl::Status error;
  std::uint64_t retries = 0;    // failed attempts that will be followed by another
  std::uint64_t rollbacks = 0;  // transactions rolled back on the way
  std::uint64_t letters = 0;    // outbox rows committed
  ConsumerStats claims;         // plain handlers: what claims met on the way
  bool is_cut_short = false;    // plain handlers: time ran out before all messages had their turn
};

struct TakeOrder {
  std::vector<TakeRequest> requests;
  std::vector<std::uint64_t> assignments;  // one per request
  absl::StatusOr<std::vector<TakenPosition>> result = absl::UnknownError("not run");
};

struct AuditOrder {
  std::vector<PositionLock> locks;
  std::vector<std::uint64_t> assignments;  // one per lock
  absl::StatusOr<std::vector<std::optional<PositionStamp>>> result = absl::UnknownError("not run");
};

// Exactly one of the three is set.
struct WorkOrder {
  std::optional<BatchOrder> batch;
  std::optional<TakeOrder> take;
  std::optional<AuditOrder> audit;
  // Set by the polling thread while the worker runs. `finish_early`: begin no further message,
  // commit what is done. `doomed`: commit nothing.
  std::atomic<bool> finish_early = false;
  std::atomic<bool> doomed = false;
  Cancellation cancellation;  // of the handler that runs
};

}  // namespace once
