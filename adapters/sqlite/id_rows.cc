// Records and claims as rows. Parameters 1 and 2 of every statement on an id are its key.
#include "adapters/sqlite/id_rows.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::sqlite {
namespace {

constexpr auto kMicrosFuture = std::numeric_limits<std::int64_t>::max();

// In front of what is asked for: scope and id.
constexpr int kKeyColumns = 2;

absl::Time TimeAt(const Statement& statement, int column) {
  if (statement.IsNull(column)) return absl::InfinitePast();
  const std::int64_t micros = statement.Int(column);
  return micros == kMicrosFuture ? absl::InfiniteFuture() : absl::FromUnixMicros(micros);
}

Fingerprint FingerprintAt(const Statement& row, int column) {
  return {.high = static_cast<std::uint64_t>(row.Int(column)),
          .low = static_cast<std::uint64_t>(row.Int(column + 1))};
}

// What is not bound is null, and a null integer reads as 0.
void BindFingerprint(Statement& statement, int parameter, const Fingerprint& fingerprint) {
  if (!fingerprint.is_set()) return;
  statement.Bind(parameter, static_cast<std::int64_t>(fingerprint.high));
  statement.Bind(parameter + 1, static_cast<std::int64_t>(fingerprint.low));
}

absl::Status Damaged(std::string_view table, std::string_view what, std::int64_t value) {
  return absl::DataLossError(absl::StrCat("sqlite: ", ToAbsl(table), " has a row with the unknown ",
                                          ToAbsl(what), " ", value, "; restore a backup"));
}

// In a tree whose order is damaged a search for one key may end at the row of another, and SQLite
// does not look again.
absl::Status OutOfOrder(std::string_view table) {
  return absl::DataLossError(absl::StrCat("sqlite: ", ToAbsl(table),
                                          " is out of order: looking for one row found another; "
                                          "restore a backup"));
}

}  // namespace

void BindTime(Statement& statement, int parameter, absl::Time time) {
  if (time == absl::InfinitePast()) {
    statement.BindNull(parameter);
  } else {
    // Saturates, so that InfiniteFuture() becomes kMicrosFuture.
    statement.Bind(parameter, absl::ToUnixMicros(time));
  }
}

absl::StatusOr<IdRecord> RecordAt(const Statement& row, int column) {
  IdRecord record;
  if (row.IsNull(column)) return record;
  const std::int64_t state = row.Int(column);
  if (state < static_cast<std::int64_t>(IdState::kCompleted) ||
      state > static_cast<std::int64_t>(IdState::kDying)) {
    return Damaged("once_ids", "state", state);
  }
  record.state = static_cast<IdState>(state);
  record.fingerprint = FingerprintAt(row, column + 1);
  record.attempt = static_cast<int>(row.Int(column + 3));
  record.first_failed_at = TimeAt(row, column + 4);
  record.not_before = TimeAt(row, column + 5);
  return record;
}

absl::StatusOr<std::optional<ClaimRow>> ClaimAt(const Statement& row, int column) {
  if (row.IsNull(column + 3)) return std::nullopt;  // is_begun, which every row has
  ClaimRow claim;
  if (!row.IsNull(column)) {
    claim.fence = Fence{.incarnation = static_cast<std::uint64_t>(row.Int(column)),
                        .counter = static_cast<std::uint64_t>(row.Int(column + 1))};
  }
  claim.lease_end = TimeAt(row, column + 2);
  claim.is_begun = row.Int(column + 3) != 0;
  claim.may_have_run = row.Int(column + 4) != 0;
  if (!row.IsNull(column + 5)) {
    const std::int64_t disposition = row.Int(column + 5);
    if (disposition < 0 || disposition > static_cast<std::int64_t>(Disposition::kManual)) {
      return Damaged("once_claims", "disposition", disposition);
    }
    claim.disposition = static_cast<Disposition>(disposition);
  }
  claim.fingerprint = FingerprintAt(row, column + 6);
  return claim;
}

absl::StatusOr<std::optional<std::int64_t>> IdTable::FindScope(std::string_view name) {
  if (last_scope_ && last_scope_->name == name) return last_scope_->number;
  std::optional<std::int64_t> number;
  const auto& known = database_.known_scopes();
  if (const auto found = known.find(ToAbsl(name)); found != known.end()) {
    number = found->second;
  } else if (const auto added = new_scopes_.find(ToAbsl(name)); added != new_scopes_.end()) {
    number = added->second;
  } else {
    Statement& find = database_.statements().find_scope;
    find.BindBytes(1, name);
    const absl::StatusOr<bool> has_row = find.Step();
    if (!has_row.ok()) return has_row.status();
    if (*has_row) {
      number = find.Int(0);
      const bool is_meant = find.Bytes(1) == name;
      find.Reset();
      if (!is_meant) return OutOfOrder("once_scopes");
      // Not known yet: the row may be this transaction's own, from before a savepoint.
      new_scopes_.emplace(std::string(name), *number);
    }
  }
  last_scope_ = ScopeNumber{.name = std::string(name), .number = number};
  return number;
}

absl::StatusOr<std::int64_t> IdTable::InternScope(std::string_view name) {
  const auto found = FindScope(name);
  if (!found.ok()) return found.status();
  if (*found) return **found;
  Statement& add = database_.statements().add_scope;
  add.BindBytes(1, name);
  if (absl::Status added = add.Run(); !added.ok()) return added;
  const std::int64_t number = sqlite3_last_insert_rowid(database_.writer());
  new_scopes_.emplace(std::string(name), number);
  last_scope_ = ScopeNumber{.name = std::string(name), .number = number};
  return number;
}

void IdTable::ForgetNewScopes() {
  new_scopes_.clear();
  last_scope_.reset();
}

absl::StatusOr<bool> IdTable::BindKey(Statement& statement, const IdKey& key) {
  const auto scope = FindScope(key.scope);
  if (!scope.ok()) return scope.status();
  if (!*scope) return false;
  statement.Bind(1, **scope);
  statement.BindBytes(2, key.id);
  return true;
}

absl::StatusOr<bool> IdTable::StepTo(Statement& find, const IdKey& key, std::string_view table) {
  const absl::StatusOr<bool> is_known = BindKey(find, key);
  if (!is_known.ok() || !*is_known) return is_known;
  const absl::StatusOr<bool> has_row = find.Step();
  if (!has_row.ok() || !*has_row) return has_row;
  if (find.Int(0) == last_scope_->number && find.Bytes(1) == key.id) return true;
  find.Reset();
  return OutOfOrder(table);
}

absl::StatusOr<IdRows> IdTable::Find(const IdKey& key) {
  IdRows rows;
  WriterStatements& statements = database_.statements();
  absl::StatusOr<bool> has_row = StepTo(statements.find_id, key, "once_ids");
  if (!has_row.ok()) return has_row.status();
  if (*has_row) {
    absl::StatusOr<IdRecord> record = RecordAt(statements.find_id, kKeyColumns);
    statements.find_id.Reset();
    if (!record.ok()) return record.status();
    rows.record = *record;
  }
  if (!database_.has_claims()) return rows;
  has_row = StepTo(statements.find_claim, key, "once_claims");
  if (!has_row.ok()) return has_row.status();
  if (*has_row) {
    absl::StatusOr<std::optional<ClaimRow>> claim = ClaimAt(statements.find_claim, kKeyColumns);
    statements.find_claim.Reset();
    if (!claim.ok()) return claim.status();
    rows.claim = *std::move(claim);
  }
  const bool is_dying = rows.claim && rows.claim->disposition;
  if (is_dying && rows.record.state != IdState::kDying) {
    return absl::DataLossError(absl::StrCat("sqlite: once_claims has a dying claim whose id is ",
                                            ToAbsl(ToString(rows.record.state)),
                                            "; restore a backup"));
  }
  return rows;
}

absl::Status IdTable::PutRecord(const IdKey& key, const IdRecord& record) {
  const auto scope = InternScope(key.scope);
  if (!scope.ok()) return scope.status();
  WriterStatements& statements = database_.statements();
  Statement& put = record.state == IdState::kAbsent ? statements.forget_id : statements.put_id;
  put.Bind(1, *scope);
  put.BindBytes(2, key.id);
  if (record.state == IdState::kAbsent) return put.Run();
  put.Bind(3, static_cast<std::int64_t>(record.state));
  BindFingerprint(put, 4, record.fingerprint);
  if (record.attempt != 0) put.Bind(6, record.attempt);
  BindTime(put, 7, record.first_failed_at);
  BindTime(put, 8, record.not_before);
  return put.Run();
}

absl::Status IdTable::PutClaim(const IdKey& key, const std::optional<ClaimRow>& claim) {
  const auto scope = InternScope(key.scope);
  if (!scope.ok()) return scope.status();
  WriterStatements& statements = database_.statements();
  const bool says_nothing = !claim || stores::SaysNothing(*claim);
  Statement& put = says_nothing ? statements.drop_claim : statements.put_claim;
  put.Bind(1, *scope);
  put.BindBytes(2, key.id);
  if (says_nothing) return put.Run();
  database_.NoteClaims();
  if (claim->fence) {
    put.Bind(3, static_cast<std::int64_t>(claim->fence->incarnation));
    put.Bind(4, static_cast<std::int64_t>(claim->fence->counter));
  }
  BindTime(put, 5, claim->lease_end);
  put.Bind(6, claim->is_begun ? 1 : 0);
  put.Bind(7, claim->may_have_run ? 1 : 0);
  if (claim->disposition) put.Bind(8, static_cast<std::int64_t>(*claim->disposition));
  BindFingerprint(put, 9, claim->fingerprint);
  return put.Run();
}

absl::Status IdTable::PutResult(const IdKey& key, std::string_view result) {
  const auto scope = InternScope(key.scope);
  if (!scope.ok()) return scope.status();
  WriterStatements& statements = database_.statements();
  Statement& put = result.empty() ? statements.drop_result : statements.put_result;
  put.Bind(1, *scope);
  put.BindBytes(2, key.id);
  if (!result.empty()) put.BindBytes(3, result);
  return put.Run();
}

absl::StatusOr<std::string> IdTable::FindResult(const IdKey& key) {
  Statement& find = database_.statements().find_result;
  const absl::StatusOr<bool> has_row = StepTo(find, key, "once_results");
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::string();
  std::string result(find.Bytes(kKeyColumns));
  find.Reset();
  return result;
}

}  // namespace once::sqlite
