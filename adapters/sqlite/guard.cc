// What a handler may do on the store's connection, and how SQLite's hooks enforce it.
#include "adapters/sqlite/guard.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::sqlite {
namespace {

// Case does not matter to SQLite.
bool IsStoreName(const char* name) {
  return name != nullptr && absl::StartsWithIgnoreCase(name, "once_");
}

// Pragmas that only tell something, or end with the transaction. Everything else may change how
// durable the connection is, or for whom.
bool IsHarmlessPragma(const char* name, const char* argument) {
  static constexpr std::array<std::string_view, 14> kAlways = {
      "table_info",      "table_xinfo",       "table_list",       "index_list",
      "index_info",      "index_xinfo",       "foreign_key_list", "foreign_key_check",
      "database_list",   "collation_list",    "function_list",    "quick_check",
      "integrity_check", "defer_foreign_keys"};
  static constexpr std::array<std::string_view, 10> kToRead = {
      "user_version", "foreign_keys", "schema_version", "application_id", "encoding",
      "page_count",   "page_size",    "freelist_count", "journal_mode",   "synchronous"};
  const auto is_name = [name](std::string_view known) {
    return absl::EqualsIgnoreCase(name, ToAbsl(known));
  };
  return std::any_of(kAlways.begin(), kAlways.end(), is_name) ||
         (argument == nullptr && std::any_of(kToRead.begin(), kToRead.end(), is_name));
}

}  // namespace

Guard* Guard::Attach(sqlite3* connection) {
  auto* guard = new Guard(connection);
  // A function of SQL is what this version of SQLite lets live as long as a connection.
  const int code = sqlite3_create_function_v2(
      connection, "once_guard", 0, SQLITE_UTF8 | SQLITE_DIRECTONLY, guard,
      [](sqlite3_context* context, int, sqlite3_value**) { sqlite3_result_null(context); }, nullptr,
      nullptr, [](void* owned) { delete static_cast<Guard*>(owned); });
  return code == SQLITE_OK ? guard : nullptr;  // SQLite has deleted it on failure
}

void Guard::Install() {
  sqlite3_set_authorizer(connection_, &Guard::Authorize, this);
  sqlite3_commit_hook(connection_, &Guard::OnCommit, this);
  sqlite3_rollback_hook(connection_, &Guard::OnRollback, this);
}

int Guard::Authorize(void* guard, int action, const char* first, const char* second,
                     const char* /*database*/, const char* /*trigger*/) {
  // The store's own statements pass, also when SQLite prepares them again after a schema change.
  if (static_cast<Guard*>(guard)->is_store_at_work_) return SQLITE_OK;
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_FUNCTION:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
      return SQLITE_DENY;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:  // the second name is a column
    case SQLITE_DELETE:
      return IsStoreName(first) ? SQLITE_DENY : SQLITE_OK;
    case SQLITE_PRAGMA:
      return IsHarmlessPragma(first, second) ? SQLITE_OK : SQLITE_DENY;
    default:
      // Schema changes. Where the table's name stands depends on the action; it is one of
      // the two, and so is the name of anything new.
      return IsStoreName(first) || IsStoreName(second) ? SQLITE_DENY : SQLITE_OK;
  }
}

int Guard::OnCommit(void* guard) {
  auto* self = static_cast<Guard*>(guard);
  if (self->is_commit_wanted_) return 0;
  ++self->refused_commits_;
  return 1;  // SQLite rolls back instead
}

void Guard::OnRollback(void* guard) { ++static_cast<Guard*>(guard)->rollbacks_; }

void Guard::NoteBegun() {
  rollbacks_at_begin_ = rollbacks_;
  refused_commits_at_begin_ = refused_commits_;
}

absl::Status Guard::CheckSame() {
  // Putting the hooks in again tells whether they were still there.
  const void* on_commit = sqlite3_commit_hook(connection_, &Guard::OnCommit, this);
  const void* on_rollback = sqlite3_rollback_hook(connection_, &Guard::OnRollback, this);
  if (on_commit != this || on_rollback != this) {
    return absl::FailedPreconditionError(
        "sqlite: the handler replaced the connection's commit or rollback hook, by which the store "
        "knows that the transaction is its own");
  }
  if (sqlite3_get_autocommit(connection_) == 0 && rollbacks_ == rollbacks_at_begin_) {
    return absl::OkStatus();
  }
  const int code = sqlite3_extended_errcode(connection_);
  const std::string cause = absl::StrCat("(last result: ", sqlite3_errstr(code), ")");
  if (refused_commits_ != refused_commits_at_begin_ && rollbacks_ == rollbacks_at_begin_ + 1) {
    return absl::FailedPreconditionError(absl::StrCat(
        "sqlite: the handler tried to commit the transaction, which was rolled back ", cause));
  }
  if ((code & 0xff) == SQLITE_CONSTRAINT && code != SQLITE_CONSTRAINT_COMMITHOOK) {
    return absl::FailedPreconditionError(absl::StrCat(
        "sqlite: the handler ended the transaction, by ON CONFLICT ROLLBACK or RAISE(ROLLBACK) ",
        cause));
  }
  return absl::AbortedError(
      absl::StrCat("sqlite: SQLite rolled the transaction back by itself, as it does when the disk "
                   "is full, on I/O errors and without memory ",
                   cause));
}

}  // namespace once::sqlite
