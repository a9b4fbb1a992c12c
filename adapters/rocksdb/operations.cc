// Positions, letters and ids for operators.
#include "adapters/rocksdb/operations.h"

#include <cstdint>
#include <utility>

#include "adapters/rocksdb/outbox_rows.h"
#include "adapters/rocksdb/row_codec.h"

namespace once::rocksdb {
namespace {

// Letters are looked at so many at a time, since most may be of messages that have completed since.
constexpr std::size_t kLettersAtATime = 1000;

bool IsWanted(const StoredFailure& failure, const IdRecord& record, const FailureQuery& query) {
  return (!query.id || failure.id == *query.id) &&
         (!query.scope || failure.scope == *query.scope) && record.state != IdState::kCompleted &&
         record.state != IdState::kDiscarded;
}

// Every scope that has ids, by name.
absl::StatusOr<std::vector<std::pair<std::string, std::uint32_t>>> ListScopes(const View& view) {
  std::vector<std::pair<std::string, std::uint32_t>> scopes;
  absl::Status damage;
  const auto visit = [&](std::string_view key, std::string_view value) {
    const auto number = DecodeNumber(value);
    damage.Update(number.status());
    if (!number.ok()) return false;
    scopes.emplace_back(std::string(key.substr(1)), static_cast<std::uint32_t>(*number));
    return true;
  };
  const std::string table(1, kScopeTable);
  damage.Update(view.Scan(kRowsFamily, table, EndOfPrefix(table), visit));
  if (!damage.ok()) return damage;
  return scopes;
}

}  // namespace

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
      absl::StatusOr<stores::KeptLetter> letter = LetterOf(view, *database_, number, *entry);
      if (!letter.ok()) return letter.status();
      if (IsWanted(letter->failure, letter->rows.record, query)) {
        failures.push_back(std::move(letter->failure));
      }
    }
  }
  return failures;
}

absl::StatusOr<std::vector<StoreOperations::FoundId>> RocksOperations::FindId(
    const std::string& id) {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  const View view = reading.view();
  const auto scopes = ListScopes(view);
  if (!scopes.ok()) return scopes.status();
  const stores::LeaseClock clock = database_->clock();
  std::vector<FoundId> found;
  for (const auto& [name, number] : *scopes) {
    const auto rows = FindRows(view, IdKeyBytes(number, id), database_->has_claims());
    if (!rows.ok()) return rows.status();
    const IdRecord seen = stores::VisibleRecord(*rows, clock);
    if (seen.state != IdState::kAbsent) found.push_back({.scope = name, .record = seen});
  }
  return found;
}

}  // namespace once::rocksdb
