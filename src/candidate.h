// What a transactional batch knows of each of its messages, and the room that every batch needs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "once/outcome.h"
#include "once/transaction.h"
#include "src/staged_ids.h"
#include "src/work_order.h"

namespace once {

// A message with what was computed from it once per batch, however often the batch is replayed.
struct Candidate {
  WorkPartition* partition = nullptr;
  WorkItem* item = nullptr;
  std::string scratch;  // holds the id when it is not a view into the message
  std::string_view id;  // empty when there is none, or when it is invalid
  Fingerprint fingerprint;
  absl::Status id_error;  // kNotFound: no id; kInvalidArgument: not a valid one
  // The outcome of an invocation that was rolled back with its neighbours': it is decided upon, not
  // repeated, so that attempts count invocations.
  std::optional<Outcome> failed;
};

// Kept from one batch to the next: large allocations are slow, and make the small ones slow that
// the broker client needs for every message. Bounded by the largest batch.
struct SettleBuffers {
  std::vector<Candidate> candidates;
  StagedIds staged;
  std::vector<IdKey> keys;
  std::vector<IdRecord> records;
  std::vector<IdWrite> writes;
};

}  // namespace once
