// What the polling thread hands to the transaction worker, and gets back with the results filled
// in. An order owns all it refers to, so a partition may be revoked while the worker still has it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/consumer.h"
#include "once/dedup_store.h"
#include "once/loss.h"
#include "once/position.h"
#include "src/cancellation.h"
#include "src/delivery.h"
#include "src/sequence_tracker.h"
#include "src/settled_numbers.h"
#include "src/verdict.h"

namespace once {

struct WorkItem {
  Delivery delivery;
  Verdict verdict = Verdict::kUnsettled;
};

// An attempt that was committed before the handler was invoked, so that a process that dies in it
// has counted it.
struct RecordedAttempt {
  std::int64_t offset = 0;
  int attempt = 0;
};

// What the polling thread knows of a partition's SequenceTracker.
struct TrackedPartition {
  std::int64_t log_time_ms = -1;  // after its last message; -1: unknown
  bool is_waiting = false;        // has_waiting() or has_judgeable()
  std::uint64_t missing = 0;
  bool has_dropped = false;   // records of the side topic, which are to be read again …
  bool has_side_room = true;  // … and that makes sense
};

// One partition's share of a batch: consecutive messages, in order.
struct WorkPartition {
  PositionLock lock;
  std::string scope;
  std::uint64_t assignment = 0;
  std::vector<WorkItem> items;
  std::optional<AppliedRecord> last_applied;  // the row's
  // The row's reach. Raised, with the revision in `lock`, before a handler is invoked beyond it.
  std::int64_t reach = 0;
  bool is_narrowed = false;     // the reach becomes the batch's end, also if that lowers it
  std::int64_t next_reach = 0;  // what the batch's own commit makes of it, at least
  // Of this process and without a verdict yet; a batch with is_single records a new one.
  std::optional<RecordedAttempt> attempt;
  // Of a batch that is to follow another one: where this partition is in that one. What the row
  // then is only that one's end tells.
  std::optional<std::size_t> place_before;
  // Null: nobody looks for losses. The worker's while it has the order.
  std::shared_ptr<SequenceTracker> sequences;
  bool is_gap_lost = false;                 // TrackedStep
  std::shared_ptr<SettledNumbers> numbers;  // as `sequences`; null without a row
  bool is_suspect = false;                  // of some of its ids there may be a record

  // Results. `committed` is what the row became, or would have become when the end is kUnknown.
  bool is_committed = false;
  PositionStamp committed;
  absl::Time not_before = absl::InfinitePast();  // its first unsettled message waits until then
  absl::Status stop = absl::OkStatus();          // why it must not go on
  TrackedPartition tracked;
};

enum class BatchEnd : std::uint8_t {
  kPending,  // not run yet
  kNothing,  // nothing to settle: rolled back, no error
  kCommitted,
  kMismatch,      // rows differ from what was expected: `mismatches`
  kUnknown,       // the commit may have happened: take the rows to learn it
  kMarkUnknown,   // the same of a commit before the first invocation; nothing was invoked
  kStoreTrouble,  // rolled back; `error` says why; replay after a backoff
  kDoomed,        // rolled back: the assignment ended while a handler ran
};

struct BatchOrder {
  std::vector<WorkPartition> partitions;
  bool is_single = false;    // one message, whose attempt is recorded before the handler is invoked
  bool is_prepared = false;  // it was made ready while another one ran
  BatchEnd end = BatchEnd::kPending;
  std::vector<BeginResult::Mismatch> mismatches;
  absl::Status error;
  std::uint64_t retries = 0;      // failed attempts that will be followed by another
  std::uint64_t rollbacks = 0;    // transactions rolled back on the way
  std::uint64_t letters = 0;      // outbox rows committed
  bool is_unsynced = false;       // committed, and a SyncOrder is still to follow
  ConsumerStats claims;           // plain handlers: what claims met on the way
  bool is_cut_short = false;      // plain handlers: time ran out before all messages had their turn
  std::vector<LossEvent> losses;  // what the transaction has made known
  std::uint64_t unstamped = 0;
  std::uint64_t by_sequence = 0;  // messages settled of which no id was asked for
};

struct TakeOrder {
  std::vector<TakeRequest> requests;
  std::vector<std::uint64_t> assignments;  // one per request
  absl::StatusOr<std::vector<TakenPosition>> result = absl::UnknownError("not run");
};

// Writes position rows and nothing else.
struct RowsOrder {
  std::vector<PositionLock> locks;
  std::vector<PositionUpdate> updates;     // one per lock
  std::vector<std::uint64_t> assignments;  // one per lock
  // Only says that no handler was cut off, which need not survive the machine.
  bool is_clean_end = false;

  // Results. Locks of `mismatches` were left out; `end` says what became of the others.
  std::vector<BeginResult::Mismatch> mismatches;
  absl::Status end = absl::UnknownError("not run");
};

struct AuditOrder {
  std::vector<PositionLock> locks;
  std::vector<std::uint64_t> assignments;  // one per lock
  absl::StatusOr<std::vector<std::optional<PositionStamp>>> result = absl::UnknownError("not run");
};

// Has the disk keep what batches have committed, beside the next one.
struct SyncOrder {
  struct Row {
    TopicPartition partition;
    PositionStamp committed;
  };
  std::vector<Row> rows;  // as far as they were committed when the order was given

  absl::Status end = absl::UnknownError("not run");
};

// Looks for numbers that have been missing for too long, and obeys the side topic.
struct LossOrder {
  struct Item {
    PositionLock lock;  // of a row that notes were committed of: as it is then
    std::uint64_t assignment = 0;
    std::int64_t reach = 0;
    std::optional<AppliedRecord> last_applied;
    std::shared_ptr<SequenceTracker> sequences;
    bool is_gap_lost = false;
    bool is_rowless = false;
    std::int64_t log_time_ms = 0;
    std::int64_t seen_until_ms = 0;
    std::vector<SideRecord> side_records;  // afterwards those for which there was no room yet
    bool is_read_anew = false;  // these and those that follow are from the side topic's beginning

    TrackedPartition tracked;  // result
  };
  std::vector<Item> items;

  // Results. Items of `mismatches` were left out; `end` says what became of the others.
  std::vector<BeginResult::Mismatch> mismatches;
  std::vector<LossEvent> losses;
  std::uint64_t unstamped = 0;
  absl::Status end = absl::UnknownError("not run");
};

// Exactly one of the six is set.
//
// Thread-safety: the worker's from Submit() or Follow() until it is collected or taken back. Of a
// running batch the polling thread may read what neither changes then: which partitions and how
// many items it has, keys, assignments, is_single; and use the atomics and the cancellation.
struct WorkOrder {
  // Gives the order this batch. Before it is submitted.
  void Set(BatchOrder order) {
    foreseen_reaches = std::vector<std::atomic<std::int64_t>>(order.partitions.size());
    batch = std::move(order);
  }

  std::optional<BatchOrder> batch;
  std::optional<TakeOrder> take;
  std::optional<AuditOrder> audit;
  std::optional<RowsOrder> rows;
  std::optional<SyncOrder> sync;
  std::optional<LossOrder> loss;
  // Set by the polling thread while the worker runs. `finish_early`: begin no further message,
  // commit what is done. `doomed`: commit nothing.
  std::atomic<bool> finish_early = false;
  std::atomic<bool> doomed = false;
  // One per partition of a batch, and also set while it runs: how far the next batch will go.
  std::vector<std::atomic<std::int64_t>> foreseen_reaches;
  Cancellation cancellation;  // of the handler that runs
};

}  // namespace once
