// What a handler does in PostgreSQL: statements inside the transaction of its message, which become
// durable with the message's id and position, or not at all.
//
//   once::postgres::Connection connection(transaction);
//   auto rows = connection.Query("SELECT balance FROM accounts WHERE id = $1", {account});
//   if (!rows.ok()) return rows.status();
//   … rows->Int(0, 0) …
//
// One statement a call; values go as parameters, never into the text. A whole batch of rows goes in
// one statement as arrays: "INSERT INTO t SELECT * FROM unnest($1::bigint[], $2::text[])".
// What would end the transaction (COMMIT, ROLLBACK, …) is refused and changes nothing.
// Thread-safety: that of the transaction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/transaction.h"

namespace once::postgres {

// A bytea; a string_view is text.
struct Bytes {
  std::string_view bytes;
};

// A parameter: null, or a value that lives until the call returns. Text takes the type that the
// statement wants at its place: dates, numerics and json go as text.
using Value = std::variant<std::nullptr_t, bool, std::int64_t, double, std::string_view, Bytes,
                           std::span<const std::int64_t>, std::span<const std::string>,
                           std::span<const Bytes>>;

// What a query has found. Cells are numbered from 0.
class ResultRows {
 public:
  std::size_t size() const;
  std::size_t columns() const;

  bool IsNull(std::size_t row, std::size_t column) const;
  // As PostgreSQL writes the value; valid as long as this object. Empty for null.
  std::string_view Text(std::size_t row, std::size_t column) const;
  // Of a bytea column.
  absl::StatusOr<std::string> Bytes(std::size_t row, std::size_t column) const;
  // kOutOfRange: the text is no integer.
  absl::StatusOr<std::int64_t> Int(std::size_t row, std::size_t column) const;

 private:
  friend class Connection;
  struct Cells;
  explicit ResultRows(std::shared_ptr<const Cells> cells) : cells_(std::move(cells)) {}

  std::shared_ptr<const Cells> cells_;
};

// Valid until the handler returns; every call fails with kFailedPrecondition after that. After a
// statement that failed the transaction takes no others: a handler that gets an error must return
// it.
class Connection {
 public:
  // Every call answers kInvalidArgument when the transaction is another store's.
  explicit Connection(Transaction& transaction);

  // kAlreadyExists: a unique key; kFailedPrecondition: another constraint, or a function said so;
  // kInvalidArgument: the statement or a value is wrong; kDeadlineExceeded: it took longer than
  // statement_timeout; kAborted: a deadlock, the engine tries again; kUnavailable: a lock was not
  // to be had, or the server is away.
  absl::StatusOr<ResultRows> Query(std::string_view sql, const std::vector<Value>& values = {});
  // The number of rows that were inserted, updated or deleted.
  absl::StatusOr<std::int64_t> Execute(std::string_view sql, const std::vector<Value>& values = {});

  class Access;  // the transaction's side, which knows when it is over

 private:
  std::shared_ptr<Access> access_;  // null: another store's
};

}  // namespace once::postgres
