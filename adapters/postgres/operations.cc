// Positions, letters and ids for operators.
#include "adapters/postgres/operations.h"

#include <algorithm>
#include <cstdint>

#include "adapters/postgres/id_rows.h"
#include "adapters/postgres/letter_rows.h"
#include "adapters/postgres/position_rows.h"
#include "src/stores/notes.h"

namespace once::postgres {

absl::StatusOr<PostgresOperations::Answer> PostgresOperations::Ask(const Statement& statement,
                                                                   Params params) {
  auto session = database_->Acquire(statement.operation);
  if (!session.ok()) return session.status();
  (*session)->Queue(statement, std::move(params));
  (*session)->Queue(database_->statements().read_clock);
  auto results = (*session)->Run(database_->options().answer_timeout);
  if (!results.ok()) return results.status();
  return Answer{.found = std::move(results->front()),
                .clock = database_->ClockAt(results->back().Int(0, 0))};
}

absl::StatusOr<std::vector<StoredPosition>> PostgresOperations::ListPositions() {
  const auto answer = Ask(database_->statements().list_positions, {});
  if (!answer.ok()) return answer.status();
  std::vector<StoredPosition> positions;
  for (int row = 0; row < answer->found.rows(); ++row) {
    absl::StatusOr<StoredPosition> position = PositionAt(answer->found, row);
    if (!position.ok()) return position.status();
    positions.push_back(*std::move(position));
  }
  // The server's order is that of unsigned bytes; the contract's is that of the keys.
  std::sort(positions.begin(), positions.end(),
            [](const StoredPosition& a, const StoredPosition& b) { return a.key < b.key; });
  return positions;
}

absl::StatusOr<std::vector<StoredFailure>> PostgresOperations::FindFailures(
    const FailureQuery& query) {
  Params params;
  params.Int8(query.after);
  if (query.id) {
    params.Bytes(*query.id);
  } else {
    params.Null();
  }
  if (query.scope) {
    params.Int8(ScopeNumber(*query.scope));
  } else {
    params.Null();
  }
  params.Int8(static_cast<std::int64_t>(std::min<std::size_t>(query.letters_max, 1'000'000)));
  const auto answer = Ask(database_->statements().find_failures, std::move(params));
  if (!answer.ok()) return answer.status();
  std::vector<StoredFailure> failures;
  for (int row = 0; row < answer->found.rows(); ++row) {
    absl::StatusOr<stores::KeptLetter> letter = LetterAt(answer->found, row, answer->clock);
    if (!letter.ok()) return letter.status();
    failures.push_back(std::move(letter->failure));
  }
  return failures;
}

absl::StatusOr<std::vector<StoredNote>> PostgresOperations::ListNotes(const NoteQuery& query) {
  const stores::NoteStart start = stores::StartOf(query);
  const std::string end = stores::BehindPrefix(query.prefix);
  Params params;
  params.Bytes(start.key).Bytes(start.is_behind ? start.key : std::string());
  if (end.empty()) {
    params.Null();
  } else {
    params.Bytes(end);
  }
  params.Int8(static_cast<std::int64_t>(std::min<std::size_t>(query.notes_max, 1'000'000)));
  const auto answer = Ask(database_->statements().list_notes, std::move(params));
  if (!answer.ok()) return answer.status();
  std::vector<StoredNote> notes;
  for (int row = 0; row < answer->found.rows(); ++row) {
    notes.push_back({.key = std::string(answer->found.Bytes(row, 0)),
                     .value = std::string(answer->found.Bytes(row, 1))});
  }
  return notes;
}

absl::StatusOr<std::vector<StoreOperations::FoundId>> PostgresOperations::FindId(
    const std::string& id) {
  const auto answer = Ask(database_->statements().find_everywhere, std::move(Params().Bytes(id)));
  if (!answer.ok()) return answer.status();
  std::vector<FoundId> found;
  for (int row = 0; row < answer->found.rows(); ++row) {
    const absl::StatusOr<stores::IdRows> rows = IdRowsAt(answer->found, row, 1);
    if (!rows.ok()) return rows.status();
    const IdRecord seen = stores::VisibleRecord(*rows, answer->clock);
    if (seen.state == IdState::kAbsent) continue;
    found.push_back({.scope = std::string(answer->found.Bytes(row, 0)), .record = seen});
  }
  return found;
}

}  // namespace once::postgres
