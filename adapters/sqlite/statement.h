// SQLite's C interface with owners and statuses: Statement is a prepared statement that is used
// again and again, ErrorStatus translates result codes.
// Thread-safety: as the connection they belong to.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace once::sqlite {

// The status for an error of `connection`, read at once, before any other call changes it:
// "sqlite: `operation`: database is locked …". REQUIRES: code is an error.
absl::Status ErrorStatus(sqlite3* connection, int code, std::string_view operation);
// The same for a call of SQLite's file layer, of which no connection knows. `system_error`: errno.
absl::Status FileErrorStatus(int code, int system_error, std::string_view operation);

class Statement {
 public:
  Statement() = default;
  // The connection must outlive it. `operation` names it in errors: "find ids in /x/y.db".
  static absl::StatusOr<Statement> Prepare(sqlite3* connection, std::string_view sql,
                                           std::string operation);
  Statement(Statement&& other) noexcept { *this = std::move(other); }
  Statement& operator=(Statement&& other) noexcept;
  ~Statement() { sqlite3_finalize(statement_); }

  // Parameters and columns count from 1 and from 0, as SQLite does it. Bytes are not copied: they
  // must live until Reset().
  void Bind(int parameter, std::int64_t value);
  void BindBytes(int parameter, std::string_view bytes);
  void BindNull(int parameter);

  // True: a row is there. False: done. After an error or `false` the statement has been reset.
  absl::StatusOr<bool> Step();
  // Step() for statements without rows, then Reset().
  absl::Status Run();
  // Ends reading and lets go of bound bytes. Harmless when there is nothing to end.
  void Reset();

  std::int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }
  // Valid until the next Step() or Reset().
  std::string_view Bytes(int column) const;
  bool IsNull(int column) const;

 private:
  sqlite3_stmt* statement_ = nullptr;
  std::string operation_;
};

// Runs statements that return no rows of interest. For opening and migrating, not for daily work.
absl::Status Execute(sqlite3* connection, const std::string& sql, std::string_view operation);

// The first column of the first row; nullopt when there is no row or it is null.
absl::StatusOr<std::optional<std::string>> QueryText(sqlite3* connection, std::string_view sql,
                                                     std::string_view operation);

}  // namespace once::sqlite
