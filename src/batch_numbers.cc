// The numbers of a batch's messages: staged with it, and adopted once it is committed.
#include <cstddef>
#include <vector>

#include "src/batch_transaction.h"
#include "src/judge_losses.h"
#include "src/test_hooks.h"

namespace once {

absl::Status BatchTransaction::LoadNumbers(StoreTransaction& transaction) {
  for (const WorkPartition& partition : order_.partitions) {
    if (partition.numbers == nullptr || !partition.numbers->is_needed()) continue;
    const absl::Status loaded = partition.numbers->Load(transaction, partition.log_end);
    if (!loaded.ok()) return loaded;
  }
  return absl::OkStatus();
}

// A failed attempt is counted by id. That one was made is known of what failed in this batch, it
// may be recorded of the message at the position, and after an unclean end of those behind it.
bool BatchTransaction::IsIdNeeded(const Candidate& candidate, bool is_careful) const {
  if (!candidate.number) return true;
  const WorkPartition& partition = *candidate.partition;
  switch (partition.numbers->Ask(*candidate.number, candidate.message().offset())) {
    case Standing::kSettled:
      return false;
    case Standing::kUnclear:
      return true;
    case Standing::kNew:
      break;
  }
  const bool is_first = candidate.item == &partition.items.front() &&
                        !ONCE_PLANTED_BUG("attempts-behind-numbers-forgotten");
  return is_careful || is_first || candidate.failed || order_.is_single || partition.is_suspect;
}

bool BatchTransaction::IsSettledByNumber(const Candidate& candidate) const {
  return candidate.number &&
         candidate.partition->numbers->Ask(*candidate.number, candidate.message().offset()) ==
             Standing::kSettled;
}

// What has become of the message, as far as its number tells of it.
void BatchTransaction::SettleNumber(const Candidate& candidate) {
  SettledNumbers& numbers = *candidate.partition->numbers;
  if (candidate.item->verdict != Verdict::kUnsettled) {
    (void)numbers.Settle(*candidate.number);
    if (!candidate.is_found) ++by_sequence_;
  } else if (candidate.is_found && staged_.Find(candidate.staged).state != IdState::kAbsent) {
    if (ONCE_PLANTED_BUG("retry-settles-number")) (void)numbers.Settle(*candidate.number);
    if (!ONCE_PLANTED_BUG("attempts-behind-numbers-forgotten")) numbers.Meet(*candidate.number);
  }
}

absl::Status BatchTransaction::StageNumbers(StoreTransaction& transaction,
                                            const std::vector<PositionUpdate>& updates) {
  std::vector<OwnedNote> notes;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    const WorkPartition& partition = order_.partitions[i];
    if (partition.numbers != nullptr) partition.numbers->Stage(notes);
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
    if (partition.numbers != nullptr) partition.numbers->Adopt();
    if (partition.sequences == nullptr) continue;
    partition.tracked =
        AdoptStaged(*partition.sequences, updates[i].position, order_.losses, order_.unstamped);
    if (updates[i].last_applied)
      partition.tracked.log_time_ms = updates[i].last_applied->log_time_ms;
  }
}

}  // namespace once
