// Outbox rows by sequence, and what is kept of them.
#include "src/memory/outbox_table.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

namespace once::memory {

void OutboxTable::Append(OutboxRow row) {
  const bool is_new = origins_.insert(row.origin).second;
  assert(is_new);
  const std::int64_t sequence = ++last_sequence_;
  if (IsLetter(row)) Supersede(row, sequence);
  pending_.insert(sequence);
  rows_.emplace(sequence, Row{.row = std::move(row)});
}

void OutboxTable::KeepLetter(const OutboxRow& letter) {
  if (!origins_.insert(letter.origin).second) return;
  const std::int64_t number = ++last_sequence_;
  Supersede(letter, number);
  rows_.emplace(number, Row{.row = letter});
}

void OutboxTable::Supersede(const OutboxRow& row, std::int64_t number) {
  if (row.id.empty()) return;
  const auto [newest, is_first] =
      newest_letters_.try_emplace(EncodeIdKey({.scope = row.scope, .id = row.id}), number);
  if (is_first) return;
  const std::int64_t former = std::exchange(newest->second, number);
  rows_.at(former).is_void = true;
  EraseIfUseless(former);
}

void OutboxTable::EraseIfUseless(std::int64_t sequence) {
  const auto row = rows_.find(sequence);
  const bool is_wanted = IsLetter(row->second.row) && !row->second.is_void;
  if (!is_wanted && !pending_.contains(sequence)) rows_.erase(row);
}

std::vector<PendingRow> OutboxTable::FindPending(std::size_t rows_max) const {
  std::vector<PendingRow> rows;
  for (const std::int64_t sequence : pending_) {
    if (rows.size() == rows_max) break;
    rows.push_back({.sequence = sequence, .message = rows_.at(sequence).row.message});
  }
  return rows;
}

void OutboxTable::MarkPublished(std::int64_t sequence) {
  if (pending_.erase(sequence) == 0) return;
  rows_.at(sequence).is_published = true;
  EraseIfUseless(sequence);
}

void OutboxTable::Park(std::int64_t sequence, const absl::Status& reason) {
  if (pending_.erase(sequence) == 0) return;
  rows_.at(sequence).parked_reason = reason.ToString();
}

std::vector<std::int64_t> OutboxTable::LetterNumbers() const {
  std::vector<std::int64_t> numbers;
  for (const auto& [number, row] : rows_) {
    if (IsLetter(row.row) && !row.is_void) numbers.push_back(number);
  }
  return numbers;
}

const OutboxTable::Row* OutboxTable::FindLetter(std::int64_t number) const {
  const auto row = rows_.find(number);
  if (row == rows_.end() || !IsLetter(row->second.row) || row->second.is_void) return nullptr;
  return &row->second;
}

std::optional<std::int64_t> OutboxTable::FindLetterOf(const IdKey& key) const {
  const auto newest = newest_letters_.find(EncodeIdKey(key));
  return newest == newest_letters_.end() ? std::nullopt : std::optional(newest->second);
}

void OutboxTable::DropLetter(std::int64_t number) {
  Row& row = rows_.at(number);
  row.is_void = true;
  if (!row.row.id.empty()) {
    newest_letters_.erase(EncodeIdKey({.scope = row.row.scope, .id = row.row.id}));
  }
  EraseIfUseless(number);
}

void OutboxTable::AppendRedrive(std::int64_t number, OutboxRow row) {
  const OutboxRow& letter = rows_.at(number).row;
  OutboxOrigin origin = letter.origin;
  origin.ordinal = std::numeric_limits<std::int32_t>::min();
  // The letter's own origin, with ordinal zero, is there at least.
  origin.ordinal = origins_.lower_bound(origin)->ordinal - 1;
  ++redrives_[EncodeIdKey({.scope = letter.scope, .id = letter.id})];
  row.origin = std::move(origin);
  Append(std::move(row));
}

int OutboxTable::CountRedrives(const IdKey& key) const {
  const auto count = redrives_.find(EncodeIdKey(key));
  return count == redrives_.end() ? 0 : count->second;
}

}  // namespace once::memory
