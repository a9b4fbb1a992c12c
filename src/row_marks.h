// What is written about invocations before they happen, so that a process that dies in one has left
// a trace: how far handlers may have been invoked (a row's reach), and for a message that runs
// singly its attempt. Such commits need to survive the process, not the machine.
//
// Called by the worker, from one thread at a time.
#pragma once

#include "absl/time/time.h"
#include "src/work_order.h"

namespace once {

// The only message of a batch with BatchOrder::is_single, as the batch identified it.
struct SingleMessage {
  IdKey key;  // an empty id: it has none, and is not invoked
  Fingerprint fingerprint;
  std::optional<SettledNumbers::Number> number;  // one that is settled is not invoked either
  std::int64_t offset = 0;
};

// `record` without the attempt that was recorded for the invocation at hand: what it was before.
IdRecord WithoutRecorded(const IdRecord& record, const std::optional<RecordedAttempt>& recorded,
                         std::int64_t offset);

// Commits what must be known before the batch's handlers run, if anything. Then the locks expect
// what the rows became. `single` is null unless the batch has is_single.
//
// kPending: go on, the batch may run. Otherwise how the batch ends: kMismatch (with
// order.mismatches), kMarkUnknown or kStoreTrouble (with order.error).
BatchEnd MarkInvocations(TransactionalStore& store, BatchOrder& order, const SingleMessage* single,
                         int max_attempts, absl::Time now);

// Runs the order; rows that are not as expected are left out.
void WriteRows(TransactionalStore& store, RowsOrder& order);

}  // namespace once
