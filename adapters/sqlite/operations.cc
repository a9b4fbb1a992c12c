// Positions, letters and ids for operators.
#include "adapters/sqlite/operations.h"

#include <cstdint>

#include "adapters/sqlite/letter_rows.h"
#include "adapters/sqlite/position_rows.h"

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
