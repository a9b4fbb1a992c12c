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
    const absl::Status loaded =
        partition.numbers->Load(transaction, partition.lock.expected.position);
    if (!loaded.ok()) return loaded;
  }
  return absl::OkStatus();
}

// A failed attempt is counted by id. That one was made is known of what failed in this batch; after
// an unclean end it may be recorded of any message that was in hand.
bool BatchTransaction::IsIdNeeded(Candidate& candidate, bool is_careful) const {
  candidate.is_new = false;
  if (!candidate.number) return true;
  const WorkPartition& partition = *candidate.partition;
  const Standing standing = partition.numbers->Ask(*candidate.number);
  if (standing == Standing::kSettled) return false;
  candidate.is_new = standing == Standing::kNew;
  return !candidate.is_new || is_careful || candidate.failed || order_.is_single ||
         partition.is_suspect;
}

bool BatchTransaction::IsSettledByNumber(const Candidate& candidate) const {
  return candidate.number &&
         candidate.partition->numbers->Ask(*candidate.number) == Standing::kSettled;
}

// Another message may have the same id: what became of that one says nothing of this one.
bool BatchTransaction::IsOfAnother(const Candidate& candidate, const IdRecord& record) const {
  const bool is_retrying = record.state == IdState::kRetrying &&
                           record.fingerprint.Matches(candidate.identity.fingerprint);
  return candidate.is_new && record.state != IdState::kAbsent && !is_retrying;
}

// What has become of the message, as far as its number tells of it. `was_absent`: as for Settle().
void BatchTransaction::SettleNumber(const Candidate& candidate, bool was_absent) {
  SettledNumbers& numbers = *candidate.partition->numbers;
  if (candidate.item->verdict != Verdict::kUnsettled) {
    (void)numbers.Settle(*candidate.number, was_absent);
    if (!candidate.is_found && candidate.identity.id_error.ok()) ++by_sequence_;
  } else if (candidate.is_found && staged_.Find(candidate.staged).state != IdState::kAbsent) {
    if (ONCE_PLANTED_BUG("retry-settles-number")) (void)numbers.Settle(*candidate.number, false);
    if (!ONCE_PLANTED_BUG("attempts-behind-numbers-forgotten")) numbers.Meet(*candidate.number);
  }
}

absl::Status BatchTransaction::StageNumbers(StoreTransaction& transaction,
                                            const std::vector<PositionUpdate>& updates) {
  std::vector<OwnedNote> notes;
  for (std::size_t i = 0; i < updates.size(); ++i) {
    const WorkPartition& partition = order_.partitions[i];
    if (partition.numbers != nullptr) partition.numbers->Stage(updates[i].position, notes);
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
