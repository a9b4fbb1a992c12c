// Positions, letters and ids for operators.
#include "adapters/sqlite/operations.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "adapters/sqlite/letter_rows.h"
#include "adapters/sqlite/position_rows.h"
#include "adapters/sqlite/write.h"
#include "once/abseil.h"
#include "src/test_hooks.h"

namespace once::sqlite {
namespace {

LeaseClock ClockOf(const Database& database) {
  return {.incarnation = database.incarnation(), .now = database.Now()};
}

std::string Describe(std::string_view operation, std::string_view id) {
  return absl::StrCat("sqlite: ", ToAbsl(operation), " \"", absl::CHexEscape(ToAbsl(id)), "\": ");
}

absl::Status CheckState(const std::string& what, IdState state,
                        std::initializer_list<IdState> permitted) {
  if (std::find(permitted.begin(), permitted.end(), state) != permitted.end()) {
    return absl::OkStatus();
  }
  std::string wanted;
  for (const IdState one : permitted) {
    absl::StrAppend(&wanted, wanted.empty() ? "" : " or ", ToAbsl(ToString(one)));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(what, "the id is ", ToAbsl(ToString(state)), ", not ", wanted));
}

absl::Status NoLetter(std::string_view operation, std::int64_t number) {
  return absl::NotFoundError(absl::StrCat("sqlite: ", ToAbsl(operation), " letter ", number,
                                          ": no such letter is kept; it may have given way to a "
                                          "newer one of its id"));
}

// The id's rows with `record` in them; whoever held it before holds it no more.
absl::Status Overwrite(IdTable& ids, const IdKey& key, const IdRows& former,
                       const IdRecord& record) {
  if (absl::Status put = ids.PutRecord(key, record); !put.ok()) return put;
  if (!former.claim) return absl::OkStatus();
  return ids.PutClaim(key, AfterWriting(*former.claim, record));
}

// An operator's word on one id: from one of the `permitted` states to `state`, and no letter is
// kept any longer.
absl::Status Settle(Database& database, std::string_view operation, const IdKey& key, IdState state,
                    std::initializer_list<IdState> permitted) {
  return Write(database, operation, Durability::kMachine, [&](IdTable& ids) -> absl::Status {
    const absl::StatusOr<IdRows> found = ids.Find(key);
    if (!found.ok()) return found.status();
    const std::string what = Describe(operation, key.id);
    IdRecord record = VisibleRecord(*found, ClockOf(database));
    if (record.state == IdState::kAbsent) {
      return absl::NotFoundError(absl::StrCat(what, "the id is not known under this scope"));
    }
    if (absl::Status check = CheckState(what, record.state, permitted); !check.ok()) return check;
    record.state = state;
    record.not_before = absl::InfinitePast();
    if (absl::Status put = Overwrite(ids, key, *found, record); !put.ok()) return put;
    return VoidLetters(database, ids, key);
  });
}

}  // namespace

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

absl::Status SqliteOperations::OrderPosition(const PositionOrder& order) {
  if (order.directive == PositionDirective::kNone) {
    return absl::InvalidArgumentError("sqlite: order position: it orders nothing");
  }
  if (order.directive == PositionDirective::kSet && order.position < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("sqlite: order position: ", order.position, " is below zero"));
  }
  return Write(*database_, "order position", Durability::kMachine,
               [&](IdTable&) { return sqlite::OrderPosition(*database_, order); });
}

absl::StatusOr<std::vector<StoredFailure>> SqliteOperations::FindFailures(
    const FailureQuery& query) {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  const LeaseClock clock = ClockOf(*database_);
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
  const LeaseClock clock = ClockOf(*database_);
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
    const IdRecord seen = VisibleRecord({.record = *record, .claim = *claim}, clock);
    if (seen.state == IdState::kAbsent) continue;
    found.push_back({.scope = std::string(find.Bytes(0)), .record = seen});
  }
  find.Reset();
  if (!damage.ok()) return damage;
  if (!has_row.ok()) return has_row.status();
  return found;
}

absl::Status SqliteOperations::Redrive(const RedriveRequest& request) {
  return Write(*database_, "redrive", Durability::kMachine, [&](IdTable& ids) -> absl::Status {
    const auto letter = FindLetter(*database_, request.number);
    if (!letter.ok()) return letter.status();
    if (!*letter) return NoLetter("redrive", request.number);
    const StoredFailure& failure = (*letter)->failure;
    const IdKey key{.scope = failure.scope, .id = failure.id};
    absl::Status check = CheckState(Describe("redrive", failure.id), failure.state,
                                    {IdState::kDead, IdState::kUncertain});
    if (!check.ok()) return check;
    const IdRows& former = (*letter)->rows;
    absl::Status put = Overwrite(
        ids, key, former, {.state = IdState::kRetrying, .fingerprint = former.record.fingerprint});
    if (!put.ok()) return put;
    const absl::StatusOr<std::int32_t> ordinal = NextRedrive(*database_, ids, key);
    if (!ordinal.ok()) return ordinal.status();
    OutboxRow row = request.row;
    row.origin = failure.origin;
    row.scope = failure.scope;
    row.id = failure.id;
    // Taken is an ordinal only where the same delivery had another scope once.
    absl::StatusOr<bool> is_new = false;
    for (row.origin.ordinal = *ordinal; is_new.ok() && !*is_new; --row.origin.ordinal) {
      is_new = PutOutboxRow(*database_, ids, row);
    }
    ONCE_KILL_POINT("redrive.written");
    return is_new.status();
  });
}

absl::Status SqliteOperations::Discard(const IdKey& key) {
  return Settle(*database_, "discard", key, IdState::kDiscarded,
                {IdState::kDead, IdState::kUncertain, IdState::kRetrying, IdState::kDying});
}

absl::Status SqliteOperations::Resolve(const IdKey& key) {
  return Settle(*database_, "resolve", key, IdState::kCompleted, {IdState::kUncertain});
}

absl::Status SqliteOperations::DropLetter(std::int64_t number) {
  return Write(*database_, "drop letter", Durability::kMachine, [&](IdTable&) -> absl::Status {
    const auto letter = FindLetter(*database_, number);
    if (!letter.ok()) return letter.status();
    if (!*letter) return NoLetter("drop", number);
    const IdState state = (*letter)->failure.state;
    if (state != IdState::kAbsent) {
      return absl::FailedPreconditionError(
          absl::StrCat(Describe("drop the letter of", (*letter)->failure.id), "the id is ",
                       ToAbsl(ToString(state)), "; discard the id instead"));
    }
    return sqlite::DropLetter(*database_, number);
  });
}

}  // namespace once::sqlite
