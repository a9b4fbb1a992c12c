// The numbers of a batch's messages: staged with it, and adopted once it is committed.
#include <cstddef>
#include <vector>

#include "src/batch_transaction.h"
#include "src/judge_losses.h"

namespace once {

absl::Status BatchTransaction::StageNumbers(StoreTransaction& transaction,
                                            const std::vector<PositionUpdate>& updates) {
  std::vector<OwnedNote> notes;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    const WorkPartition& partition = order_.partitions[i];
    if (partition.sequences == nullptr) continue;
    const absl::Status staged = partition.sequences->Stage(
        context_.keeps_numbers ? &transaction : nullptr,
        {.position_before = partition.lock.expected.position,
         .position_after = updates[i].position,
         .log_time_ms = LogTimeOf(updates[i].last_applied, context_.executor.Now()),
         .is_gap_lost = partition.is_gap_lost},
        notes);
    if (!staged.ok()) return staged;
  }
  return PutNotes(transaction, notes);
}

void BatchTransaction::AdoptNumbers(const std::vector<PositionUpdate>& updates) {
  for (std::size_t i = 0; i < updates.size(); ++i) {
    WorkPartition& partition = order_.partitions[i];
    if (partition.sequences == nullptr) continue;
    partition.tracked =
        AdoptStaged(*partition.sequences, updates[i].position, order_.losses, order_.unstamped);
    if (updates[i].last_applied)
      partition.tracked.log_time_ms = updates[i].last_applied->log_time_ms;
  }
}

}  // namespace once
