// Pending rows as SQL.
#include "adapters/sqlite/outbox.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/rows.h"
#include "once/abseil.h"
#include "src/stores/outbox_codec.h"

namespace once::sqlite {

absl::StatusOr<std::vector<PendingRow>> SqliteOutbox::FindPending(std::size_t rows_max) {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  Statement& find = reading.statements().find_pending;
  find.Bind(1, static_cast<std::int64_t>(std::min<std::size_t>(rows_max, 1'000'000)));
  std::vector<PendingRow> rows;
  absl::StatusOr<bool> has_row = find.Step();
  for (; has_row.ok() && *has_row; has_row = find.Step()) {
    absl::StatusOr<OutgoingMessage> message = stores::DecodeMessage(find.Bytes(1));
    if (!message.ok()) {
      const std::int64_t sequence = find.Int(0);
      find.Reset();
      return absl::DataLossError(absl::StrCat("sqlite: outbox row ", sequence, " in ",
                                              database_->path(), " is damaged; restore a backup"));
    }
    rows.push_back({.sequence = find.Int(0), .message = *std::move(message)});
  }
  if (!has_row.ok()) return has_row.status();
  return rows;
}

absl::StatusOr<std::size_t> SqliteOutbox::CountPending() {
  Database::ReadScope reading(*database_);
  if (absl::Status unmoved = reading.Check(); !unmoved.ok()) return unmoved;
  Statement& count = reading.statements().count_pending;
  const absl::StatusOr<bool> has_row = count.Step();
  if (!has_row.ok()) return has_row.status();
  const auto rows = static_cast<std::size_t>(count.Int(0));
  count.Reset();
  return rows;
}

absl::Status SqliteOutbox::MarkPublished(std::span<const std::int64_t> sequences) {
  if (sequences.empty()) return absl::OkStatus();
  return Write(*database_, "mark outbox rows", Durability::kMachine,
               [&](SqliteRows&) -> absl::Status {
                 Statement& mark = database_->statements().mark_published;
                 for (const std::int64_t sequence : sequences) {
                   mark.Bind(1, sequence);
                   if (absl::Status marked = mark.Run(); !marked.ok()) return marked;
                 }
                 return absl::OkStatus();
               });
}

absl::Status SqliteOutbox::Park(std::int64_t sequence, const absl::Status& reason) {
  return Write(*database_, "park outbox row", Durability::kMachine,
               [&](SqliteRows&) -> absl::Status {
                 const std::string text = reason.ToString();
                 Statement& park = database_->statements().park;
                 park.Bind(1, sequence);
                 park.BindBytes(2, text);
                 return park.Run();
               });
}

}  // namespace once::sqlite
