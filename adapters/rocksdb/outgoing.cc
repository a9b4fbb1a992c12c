// Rows by number, read from behind the cursor: what was deleted before it is never walked over.
#include "adapters/rocksdb/outgoing.h"

#include <optional>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/row_codec.h"
#include "adapters/rocksdb/rows.h"
#include "adapters/rocksdb/status.h"
#include "src/stores/outgoing_codec.h"

namespace once::rocksdb {
namespace {

OutgoingRow Damaged(std::int64_t number) {
  return {.number = number, .damage = DamagedRow(absl::StrCat("outgoing message ", number))};
}

void ReadRow(std::int64_t number, std::string_view bytes, OutgoingRow& into) {
  if (!stores::DecodeOutgoingRow(number, bytes, into).ok()) into = Damaged(number);
}

OutgoingRow RowOf(std::int64_t number, std::string_view bytes) {
  OutgoingRow row;
  ReadRow(number, bytes, row);
  return row;
}

absl::Status WriteFact(Batch& batch, const stores::OutgoingFact& fact) {
  const std::string key = Key(kOutgoingFactTable, fact.key);
  return fact.value ? batch.Put(kRowsFamily, key, *fact.value) : batch.Delete(kRowsFamily, key);
}

absl::Status Drop(Batch& batch, const stores::OutgoingChange::Range& range) {
  for (std::int64_t number = range.first; number <= range.last; ++number) {
    absl::Status gone = batch.Delete(kRowsFamily, SequenceKey(kOutgoingTable, number));
    if (!gone.ok()) return gone;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<OutgoingRow>> RocksOutgoing::FindRows(std::int64_t after,
                                                                 const stores::RowBound& bound) {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  if (bound.rows_max == 0) return std::vector<OutgoingRow>();
  std::vector<OutgoingRow> rows;
  if (bound.spent != nullptr) rows.swap(*bound.spent);
  std::size_t count = 0;
  std::size_t bytes = 0;
  absl::Status damage;
  const auto visit = [&](std::string_view key, std::string_view value) {
    const auto number = SequenceOf(key);
    damage.Update(number.status());
    if (!number.ok()) return false;
    if (count == rows.size()) rows.emplace_back();
    ReadRow(*number, value, rows[count]);
    bytes += SizeBytes(rows[count].message);
    if (count > 0 && bytes > bound.bytes_max) return false;
    return ++count < bound.rows_max;
  };
  damage.Update(reading.view().Scan(kRowsFamily, SequenceKey(kOutgoingTable, after + 1),
                                    EndOfPrefix(std::string(1, kOutgoingTable)), visit));
  if (!damage.ok()) return damage;
  rows.resize(count);
  return rows;
}

absl::StatusOr<std::vector<OutgoingRow>> RocksOutgoing::ReadRows(
    std::span<const std::int64_t> numbers) {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  const View view = reading.view();
  std::vector<OutgoingRow> rows;
  for (const std::int64_t number : numbers) {
    const auto bytes = view.Get(kRowsFamily, SequenceKey(kOutgoingTable, number));
    if (!bytes.ok()) return bytes.status();
    rows.push_back(*bytes ? RowOf(number, **bytes) : Damaged(number));
  }
  return rows;
}

absl::StatusOr<std::int64_t> RocksOutgoing::FindLast() { return database_->last_outgoing(); }

absl::StatusOr<std::uint64_t> RocksOutgoing::MeasureBytes() {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  std::uint64_t bytes = 0;
  const auto visit = [&](std::string_view, std::string_view value) {
    bytes += value.size();
    return true;
  };
  const std::string table(1, kOutgoingTable);
  const absl::Status read = reading.view().Scan(kRowsFamily, table, EndOfPrefix(table), visit);
  if (!read.ok()) return read;
  return bytes;
}

absl::StatusOr<std::vector<stores::OutgoingFact>> RocksOutgoing::ReadFacts() {
  if (!database_->CheckWritable().ok()) {
    // What has become of a failed write is decided when the folder is opened anew, and not before.
    if (absl::Status begun = database_->Begin("read outgoing messages"); !begun.ok()) return begun;
    database_->Leave();
  }
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  std::vector<stores::OutgoingFact> facts;
  const auto visit = [&](std::string_view key, std::string_view value) {
    facts.push_back({.key = std::string(key.substr(1)), .value = std::string(value)});
    return true;
  };
  const std::string table(1, kOutgoingFactTable);
  const absl::Status read = reading.view().Scan(kRowsFamily, table, EndOfPrefix(table), visit);
  if (!read.ok()) return read;
  return facts;
}

absl::Status RocksOutgoing::Write(const stores::OutgoingChange& change) {
  return rocksdb::Write(*database_, "relay outgoing messages", Durability::kMachine,
                        [&](RocksRows& rows) -> absl::Status {
                          for (const stores::OutgoingFact& fact : change.facts) {
                            if (absl::Status put = WriteFact(rows.batch(), fact); !put.ok())
                              return put;
                          }
                          for (const stores::OutgoingChange::Range& range : change.dropped) {
                            if (absl::Status gone = Drop(rows.batch(), range); !gone.ok())
                              return gone;
                          }
                          if (change.dropped.empty()) return absl::OkStatus();
                          return rows.batch().Put(
                              kRowsFamily, Key(kMetaTable, kLastOutgoing),
                              EncodeNumber(static_cast<std::uint64_t>(database_->last_outgoing())));
                        });
}

}  // namespace once::rocksdb
