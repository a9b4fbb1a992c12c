// One insert for a message, one range for a round of them.
#include "adapters/sqlite/outgoing.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/rows.h"
#include "once/abseil.h"
#include "src/stores/outgoing_codec.h"

namespace once::sqlite {
namespace {

// More than any caller asks for.
constexpr std::size_t kRowsMax = 1'000'000;

absl::Status WriteFact(WriterStatements& statements, const stores::OutgoingFact& fact) {
  if (!fact.value) {
    statements.forget_outgoing_fact.BindBytes(1, fact.key);
    return statements.forget_outgoing_fact.Run();
  }
  statements.put_outgoing_fact.BindBytes(1, fact.key);
  statements.put_outgoing_fact.BindBytes(2, *fact.value);
  return statements.put_outgoing_fact.Run();
}

}  // namespace

absl::Status PublishRow(Database& database, const OutgoingMessage& message) {
  const std::string row = stores::EncodeOutgoingRow(message, database.clock().now);
  Statement& publish = database.statements().publish;
  publish.BindBytes(1, row);
  return publish.Run();
}

OutgoingRow SqliteOutgoing::Damaged(std::int64_t number, std::string_view how) const {
  return {.number = number,
          .damage = absl::DataLossError(absl::StrCat("sqlite: outgoing message ", number, " in ",
                                                     database_->path(), " is ", ToAbsl(how),
                                                     "; restore a backup, or give it up"))};
}

OutgoingRow SqliteOutgoing::RowAt(const Statement& row) const {
  OutgoingRow at;
  ReadRowAt(row, at);
  return at;
}

void SqliteOutgoing::ReadRowAt(const Statement& row, OutgoingRow& into) const {
  const std::int64_t number = row.Int(0);
  if (!stores::DecodeOutgoingRow(number, row.Bytes(1), into).ok())
    into = Damaged(number, "damaged");
}

absl::StatusOr<std::vector<OutgoingRow>> SqliteOutgoing::FindRows(std::int64_t after,
                                                                  const stores::RowBound& bound) {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  Statement& find = reading.statements().find_outgoing;
  find.Bind(1, after);
  find.Bind(2, static_cast<std::int64_t>(std::min(bound.rows_max, kRowsMax)));
  std::vector<OutgoingRow> rows;
  if (bound.spent != nullptr) rows.swap(*bound.spent);
  std::size_t count = 0;
  std::size_t bytes = 0;
  absl::StatusOr<bool> has_row = find.Step();
  for (; has_row.ok() && *has_row; has_row = find.Step()) {
    if (count == rows.size()) rows.emplace_back();
    ReadRowAt(find, rows[count]);
    bytes += SizeBytes(rows[count].message);
    if (count > 0 && bytes > bound.bytes_max) {
      find.Reset();
      break;
    }
    ++count;
  }
  if (!has_row.ok()) return has_row.status();
  rows.resize(count);
  return rows;
}

absl::StatusOr<std::vector<OutgoingRow>> SqliteOutgoing::ReadRows(
    std::span<const std::int64_t> numbers) {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  Statement& read = reading.statements().read_outgoing;
  std::vector<OutgoingRow> rows;
  for (const std::int64_t number : numbers) {
    read.Bind(1, number);
    const absl::StatusOr<bool> has_row = read.Step();
    if (!has_row.ok()) return has_row.status();
    rows.push_back(*has_row ? RowAt(read) : Damaged(number, "gone"));
    if (*has_row) read.Reset();
  }
  return rows;
}

absl::StatusOr<std::int64_t> SqliteOutgoing::FindLast() {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  Statement& find = reading.statements().last_outgoing;
  const absl::StatusOr<bool> has_row = find.Step();
  if (!has_row.ok()) return has_row.status();
  const std::int64_t last = *has_row ? find.Int(0) : 0;
  find.Reset();
  return last;
}

absl::StatusOr<std::uint64_t> SqliteOutgoing::MeasureBytes() {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  Statement& measure = reading.statements().measure_outgoing;
  const absl::StatusOr<bool> has_row = measure.Step();
  if (!has_row.ok()) return has_row.status();
  const std::int64_t bytes = *has_row ? measure.Int(0) : 0;
  measure.Reset();
  return static_cast<std::uint64_t>(bytes);
}

absl::StatusOr<std::vector<stores::OutgoingFact>> SqliteOutgoing::ReadFacts() {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  Statement& list = reading.statements().list_outgoing_facts;
  std::vector<stores::OutgoingFact> facts;
  absl::StatusOr<bool> has_row = list.Step();
  for (; has_row.ok() && *has_row; has_row = list.Step()) {
    facts.push_back({.key = std::string(list.Bytes(0)), .value = std::string(list.Bytes(1))});
  }
  if (!has_row.ok()) return has_row.status();
  return facts;
}

absl::Status SqliteOutgoing::Write(const stores::OutgoingChange& change) {
  return sqlite::Write(*database_, "relay outgoing messages", Durability::kMachine,
                       [&](SqliteRows&) -> absl::Status {
                         WriterStatements& statements = database_->statements();
                         for (const stores::OutgoingFact& fact : change.facts) {
                           if (absl::Status written = WriteFact(statements, fact); !written.ok())
                             return written;
                         }
                         for (const stores::OutgoingChange::Range& range : change.dropped) {
                           statements.drop_outgoing.Bind(1, range.first);
                           statements.drop_outgoing.Bind(2, range.last);
                           if (absl::Status gone = statements.drop_outgoing.Run(); !gone.ok())
                             return gone;
                         }
                         return absl::OkStatus();
                       });
}

}  // namespace once::sqlite
