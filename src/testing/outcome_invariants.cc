// What became of each message of the log, read from a state of the store: one outcome each, in the
// order of the log, and nothing left at the end.
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "once/sequence.h"
#include "once/testing/invariants.h"
#include "src/settled_numbers.h"
#include "src/testing/header_text.h"

namespace once::testing {

bool InvariantChecker::HasLetter(const StoreState& state, const std::string& id) {
  return std::any_of(state.outbox.begin(), state.outbox.end(), [&id](const OutboxEntry& entry) {
    return HeaderText(entry.row.message.headers, "id") == id;
  });
}

bool InvariantChecker::IsCompleted(const StoreState& state, const std::string& id) const {
  const auto it = state.ids.find(KeyOf(id));
  const bool is_recorded = it != state.ids.end() && it->second.record.state == IdState::kCompleted;
  return is_recorded || IsSettledByNumber(state, id);
}

bool InvariantChecker::IsSettledByNumber(const StoreState& state, const std::string& id) const {
  const auto find = [&state](const std::string& key) {
    const auto note = state.notes.find(key);
    return note == state.notes.end() ? std::string() : note->second;
  };
  for (int partition = 0; partition < log_->options().partitions; ++partition) {
    const PartitionKey key = log_->KeyOf(partition);
    for (std::int64_t offset = 0; offset < log_->end(partition); ++offset) {
      const LogRecord* const record = log_->FindEver(partition, offset);
      if (record == nullptr || IdOf(*record) != id) continue;
      const std::string text = HeaderText(record->headers, kSequenceHeader);
      const std::optional<SequenceStamp> stamp = DecodeStamp(text, key.partition.topic, partition);
      if (stamp && IsNumberSettled(key, *stamp, find)) return true;
    }
  }
  return false;
}

std::string InvariantChecker::OutcomeOf(const StoreState& state, int partition,
                                        std::int64_t offset) const {
  if (is_plain()) return claims_.OutcomeOf(state, partition, offset);
  const LogRecord* record = log_->FindEver(partition, offset);
  if (record == nullptr) return "hole";
  const std::string id = IdOf(*record);
  std::string outcome;
  for (const EffectRow& effect : state.effects) {
    const bool is_same =
        effect.id == id && effect.scope == options_.scope && effect.value == record->value;
    if (is_same) outcome += outcome.empty() ? "effect" : "+effect";
  }
  const PartitionKey key = log_->KeyOf(partition);
  bool has_letter = false;
  for (const OutboxEntry& entry : state.outbox) {
    if (entry.row.origin.key != key || entry.row.origin.offset != offset) continue;
    outcome += outcome.empty() ? "letter" : "+letter";
    has_letter = true;
  }
  const auto it = state.ids.find(KeyOf(id));
  if (it == state.ids.end() || has_letter) return outcome;
  if (options_.has_queue && QueueInvariants::IsConflict(state, it->first, *record)) {
    return outcome + (outcome.empty() ? "conflict" : "+conflict");
  }
  if (it->second.record.state == IdState::kDiscarded) outcome += outcome.empty() ? "skip" : "+skip";
  // A copy of a dead message needs no letter of its own.
  const bool is_dead = it->second.record.state == IdState::kDead;
  if (is_dead && (options_.has_queue || HasLetter(state, id))) {
    outcome += outcome.empty() ? "dead" : "+dead";
  }
  return outcome;
}

void InvariantChecker::CheckOutcome(const StoreState& state, int partition, std::int64_t offset,
                                    bool is_due) {
  if (offset < first_[static_cast<std::size_t>(partition)]) return;
  const std::string outcome = OutcomeOf(state, partition, offset);
  if (outcome.empty() && (!is_due || log_->Find(partition, offset) == nullptr)) return;
  if (!outcome.empty() && !absl::StrContains(outcome, '+')) return;
  const LogRecord* record = log_->Find(partition, offset);
  const std::string id = record == nullptr ? "" : IdOf(*record);
  Fail(Check::kOneOutcome,
       absl::StrCat(id, " at offset ", offset, " of partition ", partition,
                    outcome.empty() ? " is lost: the position has passed it and nothing of it is "
                                      "in the store"
                                    : " has several outcomes: ",
                    outcome),
       partition, id);
}

// The effects of a transaction are in the order of offsets, and its positions pass all of them.
void InvariantChecker::CheckOrder(const StoreChange& change, const StoreState& state) {
  if (is_plain() || options_.has_queue) return;
  std::map<int, std::int64_t> last;
  for (const EffectRow& effect : change.effects) {
    const int partition = effect.partition.partition;
    const auto before = last.find(partition);
    const auto row = state.positions.find(log_->KeyOf(partition));
    const bool is_later = before == last.end() || effect.offset > before->second;
    const bool is_passed =
        row != state.positions.end() && effect.offset < row->second.stamp.position;
    last[partition] = effect.offset;
    if (is_later && is_passed) continue;
    Fail(Check::kOrder,
         absl::StrCat(effect.id, " at offset ", effect.offset, " of partition ", partition,
                      " has its effect before a message that comes before it"),
         partition, effect.id);
  }
}

bool InvariantChecker::IsDrained(const StoreState& state) const {
  if (options_.has_queue) return queue_.IsDrained();
  if (is_plain()) return claims_.IsDrained(state);
  for (int partition = 0; partition < log_->options().partitions; ++partition) {
    const auto it = state.positions.find(log_->KeyOf(partition));
    const std::int64_t position = it == state.positions.end() ? 0 : it->second.stamp.position;
    // Holes at the end belong to nobody.
    for (std::int64_t offset = position; offset < log_->end(partition); ++offset) {
      if (log_->Find(partition, offset) != nullptr) return false;
    }
  }
  return std::all_of(state.outbox.begin(), state.outbox.end(), [](const OutboxEntry& entry) {
    return entry.is_published || entry.is_parked;
  });
}

std::optional<int> InvariantChecker::FindUnacknowledged() const {
  const int partitions = options_.has_queue ? 0 : log_->options().partitions;
  for (int partition = 0; partition < partitions; ++partition) {
    for (std::int64_t offset = log_->committed(partition).value_or(0);
         offset < log_->end(partition); ++offset) {
      if (log_->Find(partition, offset) != nullptr) return partition;
    }
  }
  return std::nullopt;
}

void InvariantChecker::CheckEnd(const StoreState& state, bool is_drained) {
  if (is_plain()) return claims_.CheckEnd(state, is_drained);
  for (int partition = 0; partition < log_->options().partitions; ++partition) {
    for (std::int64_t offset = 0; offset < log_->end(partition); ++offset) {
      CheckOutcome(state, partition, offset, is_drained);
    }
  }
}

}  // namespace once::testing
