// Waiting rows in the order of their numbers.
#include "adapters/rocksdb/outbox.h"

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/rows.h"
#include "adapters/rocksdb/status.h"
#include "src/stores/outbox_codec.h"

namespace once::rocksdb {

absl::StatusOr<std::vector<PendingRow>> RocksOutbox::FindPending(std::size_t rows_max) {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  const View view = reading.view();
  const auto sequences = FindSequences(view, kWaitingTable, first_waiting_ - 1, rows_max);
  if (!sequences.ok()) return sequences.status();
  if (!sequences->empty()) first_waiting_ = sequences->front();
  std::vector<PendingRow> rows;
  for (const std::int64_t sequence : *sequences) {
    const absl::StatusOr<OutboxEntry> entry = FindEntry(view, sequence);
    if (!entry.ok()) return entry.status();
    absl::StatusOr<OutgoingMessage> message = stores::DecodeMessage(entry->payload.value_or(""));
    if (!message.ok()) return DamagedRow(absl::StrCat("outbox row ", sequence));
    rows.push_back({.sequence = sequence, .message = *std::move(message)});
  }
  return rows;
}

absl::StatusOr<std::size_t> RocksOutbox::CountPending() {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  const auto sequences = FindSequences(reading.view(), kWaitingTable, first_waiting_ - 1,
                                       std::numeric_limits<std::size_t>::max());
  if (!sequences.ok()) return sequences.status();
  return sequences->size();
}

absl::Status RocksOutbox::MarkPublished(std::span<const std::int64_t> sequences) {
  if (sequences.empty()) return absl::OkStatus();
  return Write(*database_, "mark outbox rows", Durability::kMachine,
               [&](RocksRows& rows) -> absl::Status {
                 for (const std::int64_t sequence : sequences) {
                   absl::Status marked = rows.outbox().MarkPublished(sequence);
                   if (!marked.ok()) return marked;
                 }
                 return absl::OkStatus();
               });
}

absl::Status RocksOutbox::Park(std::int64_t sequence, const absl::Status& reason) {
  return Write(*database_, "park outbox row", Durability::kMachine,
               [&](RocksRows& rows) { return rows.outbox().Park(sequence, reason.ToString()); });
}

}  // namespace once::rocksdb
