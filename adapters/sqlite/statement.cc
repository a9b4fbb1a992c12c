// The translation of SQLite's result codes, and owned statements.
#include "adapters/sqlite/statement.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::sqlite {
namespace {

bool IsRefusal(int system_error) {
  return system_error == EACCES || system_error == EPERM || system_error == EROFS;
}

absl::StatusCode CodeOf(int code, int system_error) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:  // lost the race for a WAL lock too often
    case SQLITE_IOERR:
      return absl::StatusCode::kUnavailable;
    case SQLITE_CANTOPEN:
      return IsRefusal(system_error) ? absl::StatusCode::kPermissionDenied
                                     : absl::StatusCode::kUnavailable;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_READONLY:
      return code == SQLITE_READONLY_DBMOVED ? absl::StatusCode::kDataLoss
                                             : absl::StatusCode::kPermissionDenied;
    case SQLITE_PERM:
      return absl::StatusCode::kPermissionDenied;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
      return absl::StatusCode::kInvalidArgument;
    case SQLITE_CONSTRAINT:
      return absl::StatusCode::kFailedPrecondition;
    case SQLITE_ABORT:
    case SQLITE_INTERRUPT:
    case SQLITE_SCHEMA:
      return absl::StatusCode::kAborted;
    default:
      return absl::StatusCode::kInternal;
  }
}

std::string_view WayOut(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
      return "another connection is writing to the file";
    case SQLITE_FULL:
      return "nothing is lost, and it goes on once there is space again";
    case SQLITE_READONLY:
      return "the process must be able to write to the file and its folder";
    case SQLITE_CORRUPT:
      return "restore the file together with its -wal from a backup";
    case SQLITE_NOTADB:
      return "the path names something else, or the file is damaged; restore it from a backup";
    default:
      return "";
  }
}

absl::Status ErrorText(int code, int system_error, std::string_view operation, const char* what) {
  std::string text = absl::StrCat("sqlite: ", ToAbsl(operation), ": ", what);
  if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN) {
    absl::StrAppend(&text, " (extended code ", code);
    if (system_error != 0) absl::StrAppend(&text, ", ", std::strerror(system_error));
    text += ")";
  }
  if (const std::string_view way_out = WayOut(code); !way_out.empty()) {
    absl::StrAppend(&text, "; ", ToAbsl(way_out));
  }
  return absl::Status(CodeOf(code, system_error), text);
}

}  // namespace

absl::Status ErrorStatus(sqlite3* connection, int code, std::string_view operation) {
  // Handlers share the connection and expect plain codes from it, so the rest is asked for here.
  if ((sqlite3_extended_errcode(connection) & 0xff) == (code & 0xff)) {
    code = sqlite3_extended_errcode(connection);
  }
  return ErrorText(code, sqlite3_system_errno(connection), operation, sqlite3_errmsg(connection));
}

absl::Status FileErrorStatus(int code, int system_error, std::string_view operation) {
  return ErrorText(code, system_error, operation, sqlite3_errstr(code));
}

absl::StatusOr<Statement> Statement::Prepare(sqlite3* connection, std::string_view sql,
                                             std::string operation) {
  Statement statement;
  statement.operation_ = std::move(operation);
  const int code = sqlite3_prepare_v3(connection, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement.statement_, nullptr);
  if (code != SQLITE_OK) return ErrorStatus(connection, code, statement.operation_);
  return statement;
}

Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(statement_, other.statement_);
  std::swap(operation_, other.operation_);
  return *this;
}

void Statement::Bind(int parameter, std::int64_t value) {
  sqlite3_bind_int64(statement_, parameter, value);
}

void Statement::BindBytes(int parameter, std::string_view bytes) {
  // A null pointer would bind NULL, and an empty view may have one.
  sqlite3_bind_blob64(statement_, parameter, bytes.data() != nullptr ? bytes.data() : "",
                      bytes.size(), SQLITE_STATIC);
}

void Statement::BindNull(int parameter) { sqlite3_bind_null(statement_, parameter); }

absl::StatusOr<bool> Statement::Step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  absl::Status status;
  if (code != SQLITE_DONE) {
    status = ErrorStatus(sqlite3_db_handle(statement_), code, operation_);
  }
  Reset();
  if (!status.ok()) return status;
  return false;
}

absl::Status Statement::Run() {
  const absl::StatusOr<bool> stepped = Step();
  if (stepped.ok() && *stepped) Reset();
  return stepped.status();
}

void Statement::Reset() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

std::string_view Statement::Bytes(int column) const {
  // In this order: the first call may convert, and the second tells the size of the result.
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  const int size = sqlite3_column_bytes(statement_, column);
  return data == nullptr ? std::string_view()
                         : std::string_view(data, static_cast<std::size_t>(size));
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

absl::Status Execute(sqlite3* connection, const std::string& sql, std::string_view operation) {
  const int code = sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : ErrorStatus(connection, code, operation);
}

absl::StatusOr<std::optional<std::string>> QueryText(sqlite3* connection, std::string_view sql,
                                                     std::string_view operation) {
  absl::StatusOr<Statement> statement = Statement::Prepare(connection, sql, std::string(operation));
  if (!statement.ok()) return statement.status();
  const absl::StatusOr<bool> has_row = statement->Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row || statement->IsNull(0)) return std::nullopt;
  return std::string(statement->Bytes(0));
}

}  // namespace once::sqlite
