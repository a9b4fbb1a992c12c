// Positions, letters and ids for operators.
#include "adapters/sqlite/operations.h"

#include <cstdint>

#include "adapters/sqlite/letter_rows.h"
#include "adapters/sqlite/position_rows.h"
#include "src/stores/notes.h"

namespace once::sqlite {
namespace {

// What has completed or is discarded since needs nobody.
bool IsFailure(const IdRecord& record) {
  return record.state != IdState::kCompleted && record.state != IdState::kDiscarded;
}

}  // namespace

absl::StatusOr<std::vector<StoredPosition>> SqliteOperations::ListPositions() {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  return sqlite::ListPositions(reading.statements().list_positions);
}

absl::StatusOr<stores::IdRows> SqliteOperations::FindRows(const IdKey& key) const {
  return database_->ids().Read(
      [&](const stores::IdLog& ids) { return stores::FindCommittedRows(ids, key); });
}

absl::StatusOr<std::vector<StoredFailure>> SqliteOperations::FindFailures(
    const FailureQuery& query) {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  const stores::LeaseClock clock = database_->clock();
  Statement& find = reading.statements().find_failures;
  find.Bind(1, query.after);
  if (query.id) find.BindBytes(2, *query.id);
  if (query.scope) find.BindBytes(3, *query.scope);
  std::vector<StoredFailure> failures;
  absl::Status damage;
  absl::StatusOr<bool> has_row = true;
  while (damage.ok() && failures.size() < query.letters_max) {
    has_row = find.Step();
    if (!has_row.ok() || !*has_row) break;
    absl::StatusOr<KeptLetter> letter =
        LetterAt(find, clock, [this](const IdKey& key) { return FindRows(key); });
    damage = letter.status();
    if (letter.ok() && IsFailure(letter->rows.record)) {
      failures.push_back(std::move(letter->failure));
    }
  }
  find.Reset();
  if (!damage.ok()) return damage;
  if (!has_row.ok()) return has_row.status();
  return failures;
}

absl::StatusOr<std::vector<StoredNote>> SqliteOperations::ListNotes(const NoteQuery& query) {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  const stores::NoteStart start = stores::StartOf(query);
  const std::string end = stores::BehindPrefix(query.prefix);
  Statement& list = reading.statements().list_notes;
  list.BindBytes(1, start.key);
  list.BindBytes(2, start.is_behind ? std::string_view(start.key) : std::string_view());
  if (end.empty()) {
    list.BindNull(3);
  } else {
    list.BindBytes(3, end);
  }
  list.Bind(4, static_cast<std::int64_t>(std::min<std::size_t>(query.notes_max, 1'000'000)));
  std::vector<StoredNote> notes;
  absl::StatusOr<bool> has_row = list.Step();
  for (; has_row.ok() && *has_row; has_row = list.Step()) {
    notes.push_back({.key = std::string(list.Bytes(0)), .value = std::string(list.Bytes(1))});
  }
  if (!has_row.ok()) return has_row.status();
  return notes;
}

absl::StatusOr<std::vector<StoreOperations::FoundId>> SqliteOperations::FindId(
    const std::string& id) {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  const std::vector<std::string> scopes =
      database_->ids().Read([](const stores::IdLog& ids) { return ids.ListScopes(); });
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

}  // namespace once::sqlite
