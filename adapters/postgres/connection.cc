// The handler's statements: refused where they would end the transaction, sent otherwise.
#include "once/postgres/connection.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <type_traits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "adapters/postgres/transaction.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

// Type numbers that never change (pg_type.dat).
constexpr Oid kInferred = 0;
constexpr Oid kByteaType = 17;
constexpr Oid kByteaArrayType = 1001;
constexpr int kTextFormat = 0;
constexpr int kBinaryFormat = 1;

// Behind blanks, comments and empty statements, as the server's lexer sees them.
std::string_view SkipToWord(std::string_view sql) {
  for (;;) {
    if (sql.starts_with("--")) {
      sql.remove_prefix(std::min(sql.find_first_of("\r\n"), sql.size()));
    } else if (sql.starts_with("/*")) {
      int depth = 0;
      do {
        const bool opens = sql.starts_with("/*");
        const bool closes = sql.starts_with("*/");
        depth += opens ? 1 : closes ? -1 : 0;
        sql.remove_prefix(opens || closes ? 2 : 1);
      } while (depth > 0 && !sql.empty());
    } else if (!sql.empty() &&
               (std::isspace(static_cast<unsigned char>(sql[0])) != 0 || sql[0] == ';')) {
      sql.remove_prefix(1);
    } else {
      return sql;
    }
  }
}

std::string TakeWord(std::string_view& sql) {
  sql = SkipToWord(sql);
  std::string word;
  while (!sql.empty() && std::isalpha(static_cast<unsigned char>(sql[0])) != 0) {
    word.push_back(static_cast<char>(std::toupper(static_cast<unsigned char>(sql[0]))));
    sql.remove_prefix(1);
  }
  return word;
}

// The protocol takes one statement a call, and functions cannot end the transaction they run in: so
// the first word tells. What would change the session for those after us is refused too.
absl::Status CheckStatement(std::string_view sql) {
  std::string_view rest = sql;
  const std::string word = TakeWord(rest);
  constexpr std::string_view kRefused[] = {
      "ABORT",  "BEGIN",   "COMMIT", "COPY",     "DEALLOCATE", "DISCARD",   "END",   "EXECUTE",
      "LISTEN", "PREPARE", "RESET",  "ROLLBACK", "RELEASE",    "SAVEPOINT", "START", "UNLISTEN"};
  bool is_refused = std::find(std::begin(kRefused), std::end(kRefused), word) != std::end(kRefused);
  std::string shown = word;

  if (word == "SET") {
    const std::string scope = TakeWord(rest);
    is_refused = scope != "LOCAL" && scope != "CONSTRAINTS";
    shown = "SET without LOCAL";
  }
  if (!is_refused) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("postgres: ", shown,
                   " is refused inside a handler: the transaction, and the "
                   "session, are the store's"));
}

std::string ArrayText(std::span<const std::int64_t> numbers) {
  std::string text = "{";
  for (const std::int64_t number : numbers) {
    absl::StrAppend(&text, text.size() == 1 ? "" : ",", number);
  }
  return text + "}";
}

std::string ArrayText(std::span<const std::string> texts) {
  std::string array = "{";
  for (const std::string& text : texts) {
    array.append(array.size() == 1 ? "\"" : ",\"");
    for (const char byte : text) {
      if (byte == '"' || byte == '\\') array.push_back('\\');
      array.push_back(byte);
    }
    array.push_back('"');
  }
  return array + "}";
}

// What the values become, in the order of their parameters.
struct Encoder {
  Command& command;
  bool has_zero_byte = false;

  void Add(std::string_view bytes, Oid type, int format) {
    command.params.Bytes(bytes);
    command.types.push_back(type);
    command.formats.push_back(format);
  }
  void AddText(std::string_view text) {
    has_zero_byte = has_zero_byte || text.find('\0') != text.npos;
    Add(text, kInferred, kTextFormat);
  }

  void operator()(std::nullptr_t) {
    command.params.Null();
    command.types.push_back(kInferred);
    command.formats.push_back(kTextFormat);
  }
  void operator()(bool value) { AddText(value ? "true" : "false"); }
  void operator()(std::int64_t value) { AddText(ToStd(absl::AlphaNum(value).Piece())); }
  void operator()(double value) { AddText(absl::StrFormat("%.17g", value)); }
  void operator()(std::string_view text) { AddText(text); }
  void operator()(const Bytes& value) { Add(value.bytes, kByteaType, kBinaryFormat); }
  void operator()(std::span<const std::int64_t> numbers) { AddText(ArrayText(numbers)); }
  void operator()(std::span<const std::string> texts) { AddText(ArrayText(texts)); }
  void operator()(std::span<const Bytes> values) {
    Column column(Column::Type::kBytes);
    for (const Bytes& value : values) column.AddBytes(value.bytes);
    Add(column.Encode(), kByteaArrayType, kBinaryFormat);
  }
};

}  // namespace

struct ResultRows::Cells {
  Result result;
};

std::size_t ResultRows::size() const { return static_cast<std::size_t>(cells_->result.rows()); }
std::size_t ResultRows::columns() const {
  return static_cast<std::size_t>(cells_->result.columns());
}

bool ResultRows::IsNull(std::size_t row, std::size_t column) const {
  return cells_->result.IsNull(static_cast<int>(row), static_cast<int>(column));
}

std::string_view ResultRows::Text(std::size_t row, std::size_t column) const {
  return cells_->result.Bytes(static_cast<int>(row), static_cast<int>(column));
}

absl::StatusOr<std::string> ResultRows::Bytes(std::size_t row, std::size_t column) const {
  const std::string text(Text(row, column));
  std::size_t size = 0;
  unsigned char* const bytes =
      PQunescapeBytea(reinterpret_cast<const unsigned char*>(text.c_str()), &size);
  if (bytes == nullptr) return absl::ResourceExhaustedError("postgres: no memory");
  std::string value(reinterpret_cast<const char*>(bytes), size);
  PQfreemem(bytes);
  return value;
}

absl::StatusOr<std::int64_t> ResultRows::Int(std::size_t row, std::size_t column) const {
  std::int64_t number = 0;
  if (absl::SimpleAtoi(ToAbsl(Text(row, column)), &number)) return number;
  return absl::OutOfRangeError(absl::StrCat("postgres: row ", row, ", column ", column,
                                            " of the result is no 64-bit integer"));
}

absl::StatusOr<Result> Connection::Access::Run(std::string_view sql,
                                               const std::vector<Value>& values) {
  if (session_ == nullptr) {
    return absl::FailedPreconditionError(
        "postgres: the transaction of this connection is over; make a new one in each invocation");
  }
  if (absl::Status check = CheckStatement(sql); !check.ok()) return check;
  Command command{.sql = std::string(sql), .operation = "statement of a handler", .is_text = true};
  Encoder encoder{command};
  for (const Value& value : values) std::visit(encoder, value);
  if (encoder.has_zero_byte || sql.find('\0') != sql.npos) {
    return absl::InvalidArgumentError(
        "postgres: a text has a zero byte, which PostgreSQL cannot hold; give it as Bytes");
  }
  if (!std::exchange(is_handlers_turn_, true)) {
    session_->Queue(database_->statements().wait_as_handler);
    session_->NoteHandler();
  }
  session_->Queue(std::move(command));
  auto results =
      session_->Run(database_->options().statement_timeout + database_->options().answer_timeout);
  if (!results.ok()) return results.status();
  return std::move(results->back());
}

void Connection::Access::EndTurn() {
  if (std::exchange(is_handlers_turn_, false)) {
    session_->Queue(database_->statements().wait_as_store);
  }
}

Connection::Connection(Transaction& transaction) {
  if (auto* ours = dynamic_cast<PostgresTransaction*>(&transaction)) access_ = ours->access();
}

absl::StatusOr<ResultRows> Connection::Query(std::string_view sql,
                                             const std::vector<Value>& values) {
  if (!access_) {
    return absl::InvalidArgumentError("postgres: the transaction is another store's");
  }
  absl::StatusOr<Result> result = access_->Run(sql, values);
  if (!result.ok()) return result.status();
  return ResultRows(
      std::make_shared<const ResultRows::Cells>(ResultRows::Cells{*std::move(result)}));
}

absl::StatusOr<std::int64_t> Connection::Execute(std::string_view sql,
                                                 const std::vector<Value>& values) {
  if (!access_) {
    return absl::InvalidArgumentError("postgres: the transaction is another store's");
  }
  const absl::StatusOr<Result> result = access_->Run(sql, values);
  if (!result.ok()) return result.status();
  std::int64_t changed = 0;
  if (!absl::SimpleAtoi(ToAbsl(result->changed()), &changed)) return 0;
  return changed;
}

}  // namespace once::postgres
