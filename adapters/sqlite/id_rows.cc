// Results under the keys of their ids.
#include "adapters/sqlite/id_rows.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::sqlite {
namespace {

// In a tree whose order is damaged a search for one key may end at the row of another, and SQLite
// does not look again.
absl::Status OutOfOrder(std::string_view table) {
  return absl::DataLossError(absl::StrCat("sqlite: ", ToAbsl(table),
                                          " is out of order: looking for one row found another; "
                                          "restore a backup"));
}

}  // namespace

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

void IdTable::RollbackToSavepoint() {
  stores::IdTable::RollbackToSavepoint();
  // Those that were added since are no longer there.
  new_scopes_.clear();
  last_scope_.reset();
}

absl::Status IdTable::PutResult(const IdKey& key, std::string_view result) {
  if (result.empty() && !database_.has_results()) return absl::OkStatus();
  const auto scope = InternScope(key.scope);
  if (!scope.ok()) return scope.status();
  WriterStatements& statements = database_.statements();
  Statement& put = result.empty() ? statements.drop_result : statements.put_result;
  put.Bind(1, *scope);
  put.BindBytes(2, key.id);
  if (result.empty()) return put.Run();
  database_.NoteResults();
  put.BindBytes(3, result);
  return put.Run();
}

absl::StatusOr<std::string> IdTable::FindResult(const IdKey& key) {
  if (!database_.has_results()) return std::string();
  const auto scope = FindScope(key.scope);
  if (!scope.ok()) return scope.status();
  if (!*scope) return std::string();
  Statement& find = database_.statements().find_result;
  find.Bind(1, **scope);
  find.BindBytes(2, key.id);
  const absl::StatusOr<bool> has_row = find.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::string();
  const bool is_meant = find.Int(0) == **scope && find.Bytes(1) == key.id;
  std::string result(find.Bytes(2));
  find.Reset();
  if (!is_meant) return OutOfOrder("once_results");
  return result;
}

}  // namespace once::sqlite
