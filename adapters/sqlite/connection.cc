// Opening and closing.
#include "adapters/sqlite/connection.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/statement.h"

namespace once::sqlite {

int BusyMilliseconds(absl::Duration timeout) {
  return static_cast<int>(
      absl::ToInt64Milliseconds(std::clamp(timeout, absl::ZeroDuration(), absl::Hours(24))));
}

absl::StatusOr<ConnectionHandle> Connect(const std::string& path, bool may_create,
                                         absl::Duration busy_timeout) {
  sqlite3* raw = nullptr;
  // One thread at a time uses a connection, so SQLite's own mutex per connection is left out.
  const int code = sqlite3_open_v2(
      path.c_str(), &raw,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (may_create ? SQLITE_OPEN_CREATE : 0), nullptr);
  ConnectionHandle connection(raw);
  if (code != SQLITE_OK) return ErrorStatus(raw, code, absl::StrCat("open ", path));
  if (sqlite3_db_readonly(raw, "main") == 1) {
    return absl::PermissionDeniedError(
        absl::StrCat("sqlite: open ", path,
                     ": it can only be read; the process must be able to "
                     "write to the file and its folder"));
  }
  sqlite3_busy_timeout(raw, BusyMilliseconds(busy_timeout));
  return connection;
}

void ConnectionCloser::operator()(sqlite3* connection) const {
  // Statements that are not ours may still refer to it; SQLite then frees it after the last one.
  sqlite3_close_v2(connection);
}

}  // namespace once::sqlite
