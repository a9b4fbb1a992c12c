// What a transactional batch knows of each of its messages, and the room that every batch needs.
#pragma once

#include <optional>
#include <vector>

#include "once/outcome.h"
#include "once/transaction.h"
#include "src/identify.h"
#include "src/settled_numbers.h"
#include "src/staged_ids.h"
#include "src/work_order.h"

namespace once {

// A message with what was computed from it once per batch, however often the batch is replayed.
struct Candidate {
  WorkPartition* partition = nullptr;
  WorkItem* item = nullptr;
  Identity identity;
  std::optional<SettledNumbers::Number> number;  // where numbers count
  bool is_printed = false;  // its fingerprint was taken; its number may make ours superfluous
  // In the transaction at hand: whether its id was asked for, and the place of what was found.
  bool is_found = false;
  bool is_new = false;  // its number says so: only failed attempts of its own may be recorded
  StagedIds::Number staged = 0;
  // The outcome of an invocation that was rolled back with its neighbours': it is decided upon, not
  // repeated, so that attempts count invocations.
  std::optional<Outcome> failed;

  const Message& message() const { return item->delivery.message(); }
  IdKey key() const { return {.scope = partition->scope, .id = identity.id}; }
};

// Kept from one batch to the next: large allocations are slow, and make the small ones slow that
// the broker client needs for every message. Bounded by the largest batch.
struct SettleBuffers {
  std::vector<Candidate> candidates;
  std::vector<const Message*> messages;
  StagedIds staged;
  std::vector<IdKey> keys;
  std::vector<IdRecord> records;
  std::vector<IdWrite> writes;
};

}  // namespace once
