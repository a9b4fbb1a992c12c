// How the worker moves SequenceTrackers on: the steps that batches share, and JudgeLosses, which
// runs a LossOrder. Called from one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/loss.h"
#include "src/sequence_tracker.h"
#include "src/work_order.h"

namespace once {

// The partition's tracker begins with the stamps of all that the batch has in hand: also what waits
// in it has arrived. REQUIRES: it has one.
void ReadNumbers(WorkPartition& partition);

// In milliseconds since the Unix epoch: the row's, or `now` where the records have no time.
std::int64_t LogTimeOf(const std::optional<AppliedRecord>& last_applied, absl::Time now);

// What was staged is so.
TrackedPartition AdoptStaged(SequenceTracker& sequences, std::int64_t position,
                             std::vector<LossEvent>& losses, std::uint64_t& unstamped);

// A batch of a plain handler has been settled as far as it goes. REQUIRES: every partition has a
// tracker, or none.
void AdoptUnkept(BatchOrder& order, absl::Time now);

// One transaction over all items, or none with a null store, which keeps no numbers.
void JudgeLosses(TransactionalStore* store, LossOrder& order);

}  // namespace once
