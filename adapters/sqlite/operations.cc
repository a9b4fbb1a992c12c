// Positions, letters and ids for operators.
#include "adapters/sqlite/operations.h"

#include <algorithm>
#include <cstdint>

#include "adapters/sqlite/letter_rows.h"
#include "adapters/sqlite/position_rows.h"

namespace once::sqlite {
absl::StatusOr<std::vector<StoredPosition>> SqliteOperations::ListPositions() {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  Statement& list = reading.statements().list_positions;
  std::vector<StoredPosition> positions;
  absl::StatusOr<bool> has_row = list.Step();
  for (; has_row.ok() && *has_row; has_row = list.Step()) {
    absl::StatusOr<StoredPosition> position = PositionAt(list);
    if (!position.ok()) {
      list.Reset();
      return position.status();
    }
    positions.push_back(*std::move(position));
  }
  if (!has_row.ok()) return has_row.status();
  // SQLite's order is that of unsigned bytes; the contract's is that of the keys.
  std::sort(positions.begin(), positions.end(),
            [](const StoredPosition& a, const StoredPosition& b) { return a.key < b.key; });
  return positions;
}

absl::StatusOr<std::vector<StoredFailure>> SqliteOperations::FindFailures(
    const FailureQuery& query) {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  const LeaseClock clock = database_->clock();
  Statement& find = reading.statements().find_failures;
  find.Bind(1, query.after);
  if (query.id) find.BindBytes(2, *query.id);
  if (query.scope) find.BindBytes(3, *query.scope);
  find.Bind(4, static_cast<std::int64_t>(std::min<std::size_t>(query.letters_max, 1'000'000)));
  std::vector<StoredFailure> failures;
  absl::StatusOr<bool> has_row = find.Step();
  for (; has_row.ok() && *has_row; has_row = find.Step()) {
    absl::StatusOr<KeptLetter> letter = LetterAt(find, clock);
    if (!letter.ok()) {
      find.Reset();
      return letter.status();
    }
    failures.push_back(std::move(letter->failure));
  }
  if (!has_row.ok()) return has_row.status();
  return failures;
}

absl::StatusOr<std::vector<StoreOperations::FoundId>> SqliteOperations::FindId(
    const std::string& id) {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  const LeaseClock clock = database_->clock();
  Statement& find = reading.statements().find_everywhere;
  find.BindBytes(1, id);
  std::vector<FoundId> found;
  absl::Status damage;
  absl::StatusOr<bool> has_row = find.Step();
  for (; damage.ok() && has_row.ok() && *has_row; has_row = find.Step()) {
    const absl::StatusOr<IdRecord> record = RecordAt(find, 1);
    const auto claim = ClaimAt(find, 1 + kRecordColumns);
    damage.Update(record.status());
    damage.Update(claim.status());
    if (!damage.ok()) break;
    const IdRecord seen = stores::VisibleRecord({.record = *record, .claim = *claim}, clock);
    if (seen.state == IdState::kAbsent) continue;
    found.push_back({.scope = std::string(find.Bytes(0)), .record = seen});
  }
  find.Reset();
  if (!damage.ok()) return damage;
  if (!has_row.ok()) return has_row.status();
  return found;
}

}  // namespace once::sqlite
