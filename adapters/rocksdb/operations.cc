// Positions, letters and ids for operators.
#include "adapters/rocksdb/operations.h"

#include <cstdint>
#include <utility>

#include "adapters/rocksdb/outbox_rows.h"
#include "adapters/rocksdb/row_codec.h"
#include "src/stores/notes.h"

namespace once::rocksdb {
namespace {

// Letters are looked at so many at a time, since most may be of messages that have completed since.
constexpr std::size_t kLettersAtATime = 1000;

bool IsWanted(const StoredFailure& failure, const IdRecord& record, const FailureQuery& query) {
  return (!query.id || failure.id == *query.id) &&
         (!query.scope || failure.scope == *query.scope) && record.state != IdState::kCompleted &&
         record.state != IdState::kDiscarded;
}

}  // namespace

absl::StatusOr<stores::IdRows> RocksOperations::FindRows(const IdKey& key) const {
  return database_->ReadIds(
      [&](const stores::IdLog& ids) { return stores::FindCommittedRows(ids, key); });
}

absl::StatusOr<std::vector<StoredPosition>> RocksOperations::ListPositions() {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  return rocksdb::ListPositions(reading.view());
}

absl::StatusOr<std::vector<StoredFailure>> RocksOperations::FindFailures(
    const FailureQuery& query) {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  const View view = reading.view();
  std::vector<StoredFailure> failures;
  std::int64_t after = query.after;
  while (failures.size() < query.letters_max) {
    const auto numbers = FindSequences(view, kKeptTable, after, kLettersAtATime);
    if (!numbers.ok()) return numbers.status();
    if (numbers->empty()) break;
    after = numbers->back();
    for (const std::int64_t number : *numbers) {
      if (failures.size() == query.letters_max) break;
      const absl::StatusOr<OutboxEntry> entry = FindEntry(view, number);
      if (!entry.ok()) return entry.status();
      absl::StatusOr<stores::KeptLetter> letter =
          LetterOf(view, database_->clock(), number, *entry,
                   [this](const IdKey& key) { return FindRows(key); });
      if (!letter.ok()) return letter.status();
      if (IsWanted(letter->failure, letter->rows.record, query)) {
        failures.push_back(std::move(letter->failure));
      }
    }
  }
  return failures;
}

absl::StatusOr<std::vector<StoredNote>> RocksOperations::ListNotes(const NoteQuery& query) {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  const stores::NoteStart start = stores::StartOf(query);
  std::vector<StoredNote> notes;
  if (query.notes_max == 0) return notes;
  const std::string first = Key(kNoteTable, start.key);
  const absl::Status scanned = reading.view().Scan(
      kRowsFamily, first, stores::BehindPrefix(Key(kNoteTable, query.prefix)),
      [&](std::string_view key, std::string_view value) {
        if (start.is_behind && key == first) return true;
        notes.push_back({.key = std::string(key.substr(1)), .value = std::string(value)});
        return notes.size() < query.notes_max;
      });
  if (!scanned.ok()) return scanned;
  return notes;
}

absl::StatusOr<std::vector<StoreOperations::FoundId>> RocksOperations::FindId(
    const std::string& id) {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  const std::vector<std::string> scopes =
      database_->ReadIds([](const stores::IdLog& ids) { return ids.ListScopes(); });
  const stores::LeaseClock clock = database_->clock();
  std::vector<FoundId> found;
  for (const std::string& scope : scopes) {
    const auto rows = FindRows({.scope = scope, .id = id});
    if (!rows.ok()) return rows.status();
    const IdRecord seen = stores::VisibleRecord(*rows, clock);
    if (seen.state != IdState::kAbsent) found.push_back({.scope = scope, .record = seen});
  }
  return found;
}

}  // namespace once::rocksdb
