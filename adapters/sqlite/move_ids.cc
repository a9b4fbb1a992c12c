// A log over the same tables, filled as a store fills it and sealed whenever that is due.
#include "adapters/sqlite/move_ids.h"

#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/sqlite/connection_ids.h"
#include "adapters/sqlite/leaving_bytes.h"
#include "adapters/sqlite/statement.h"
#include "once/abseil.h"
#include "src/stores/claim_codec.h"
#include "src/stores/id_log/id_log.h"

namespace once::sqlite {
namespace {

// About what a store has in memory of ids while it moves them: a segment, several of which are
// sealed at a time. The runs are merged when the store is at work.
constexpr std::size_t kIdsPerSegment = 8192;
constexpr std::uint64_t kSealBytes = std::uint64_t{16} << 20;
constexpr std::size_t kRecentBytes = std::size_t{1} << 20;
constexpr std::size_t kStepBytes = std::size_t{1} << 20;
constexpr std::size_t kDroppedAtATime = 4096;

constexpr auto kMicrosFuture = std::numeric_limits<std::int64_t>::max();

// Ids, then claims of ids that have no row. Columns: scope, id, 6 of a record, 8 of a claim.
constexpr const char* kSelectIds =
    "SELECT s.name, i.id, i.state, i.fingerprint_high, i.fingerprint_low, i.attempt, "
    "i.first_failed_at, i.not_before, c.fence_incarnation, c.fence_counter, c.lease_end, "
    "c.is_begun, c.may_have_run, c.disposition, c.fingerprint_high, c.fingerprint_low "
    "FROM main.once_ids i LEFT JOIN main.once_scopes s ON s.scope = i.scope "
    "LEFT JOIN main.once_claims c ON c.scope = i.scope AND c.id = i.id "
    "UNION ALL "
    "SELECT s.name, c.id, NULL, NULL, NULL, NULL, NULL, NULL, c.fence_incarnation, "
    "c.fence_counter, c.lease_end, c.is_begun, c.may_have_run, c.disposition, c.fingerprint_high, "
    "c.fingerprint_low FROM main.once_claims c LEFT JOIN main.once_scopes s ON s.scope = c.scope "
    "WHERE NOT EXISTS(SELECT 1 FROM main.once_ids i WHERE i.scope = c.scope AND i.id = c.id)";
constexpr int kRecordColumn = 2;
constexpr int kClaimColumn = 8;

absl::Time TimeAt(const Statement& statement, int column) {
  if (statement.IsNull(column)) return absl::InfinitePast();
  const std::int64_t micros = statement.Int(column);
  return micros == kMicrosFuture ? absl::InfiniteFuture() : absl::FromUnixMicros(micros);
}

Fingerprint FingerprintAt(const Statement& row, int column) {
  return {.high = static_cast<std::uint64_t>(row.Int(column)),
          .low = static_cast<std::uint64_t>(row.Int(column + 1))};
}

absl::Status Damaged(std::string_view table, std::string_view what, std::int64_t value) {
  return absl::DataLossError(absl::StrCat("sqlite: ", ToAbsl(table), " has a row with the unknown ",
                                          ToAbsl(what), " ", value, "; restore a backup"));
}

absl::StatusOr<IdRecord> RecordAt(const Statement& row, int column) {
  IdRecord record;
  if (row.IsNull(column)) return record;
  const std::int64_t state = row.Int(column);
  if (state < static_cast<std::int64_t>(IdState::kCompleted) ||
      state > static_cast<std::int64_t>(IdState::kDying)) {
    return Damaged("once_ids", "state", state);
  }
  record.state = static_cast<IdState>(state);
  record.fingerprint = FingerprintAt(row, column + 1);
  record.attempt = static_cast<int>(row.Int(column + 3));
  record.first_failed_at = TimeAt(row, column + 4);
  record.not_before = TimeAt(row, column + 5);
  return record;
}

absl::StatusOr<std::optional<stores::ClaimRow>> ClaimAt(const Statement& row, int column) {
  if (row.IsNull(column + 3)) return std::nullopt;  // is_begun, which every row has
  stores::ClaimRow claim;
  if (!row.IsNull(column)) {
    claim.fence = Fence{.incarnation = static_cast<std::uint64_t>(row.Int(column)),
                        .counter = static_cast<std::uint64_t>(row.Int(column + 1))};
  }
  claim.lease_end = TimeAt(row, column + 2);
  claim.is_begun = row.Int(column + 3) != 0;
  claim.may_have_run = row.Int(column + 4) != 0;
  if (!row.IsNull(column + 5)) {
    const std::int64_t disposition = row.Int(column + 5);
    if (disposition < 0 || disposition > static_cast<std::int64_t>(Disposition::kManual)) {
      return Damaged("once_claims", "disposition", disposition);
    }
    claim.disposition = static_cast<Disposition>(disposition);
  }
  claim.fingerprint = FingerprintAt(row, column + 6);
  return claim;
}

class Move {
 public:
  Move(sqlite3* connection, const std::string& path)
      : connection_(connection), path_(path), operation_(absl::StrCat("move the ids of ", path)) {}

  absl::Status Run() {
    if (absl::Status opened = Open(); !opened.ok()) return opened;
    auto rows = Statement::Prepare(connection_, kSelectIds, operation_);
    if (!rows.ok()) return rows.status();
    absl::StatusOr<bool> has_row = rows->Step();
    for (; has_row.ok() && *has_row; has_row = rows->Step()) {
      absl::Status moved = MoveRow(*rows);
      if (moved.ok() && changes_.size() >= kIdsPerSegment) moved = EndSegment();
      if (!moved.ok()) return moved;
    }
    return has_row.ok() ? EndSegment() : has_row.status();
  }

 private:
  absl::Status Open() {
    if (absl::Status prepared = storage_.Prepare(connection_, path_); !prepared.ok()) {
      return prepared;
    }
    const auto page_bytes = FindRunPageBytes(connection_, path_);
    if (!page_bytes.ok()) return page_bytes.status();
    auto log = stores::IdLog::Open(storage_, {.recent = {.bytes_max = kRecentBytes},
                                              .reload_bytes = 0,
                                              .page_bytes = *page_bytes,
                                              .seal_bytes = kSealBytes});
    if (!log.ok()) return log.status();
    log_ = *std::move(log);
    return absl::OkStatus();
  }

  absl::Status MoveRow(const Statement& row) {
    const absl::StatusOr<IdRecord> record = RecordAt(row, kRecordColumn);
    if (!record.ok()) return record.status();
    const auto claim = ClaimAt(row, kClaimColumn);
    if (!claim.ok()) return claim.status();
    const IdKey key{.scope = row.Bytes(0), .id = row.Bytes(1)};
    if (row.IsNull(0) || !ValidateMessageId(key.id).ok()) {
      return absl::DataLossError(
          absl::StrCat("sqlite: ", operation_,
                       ": once_ids has a row without a scope, or without an id; restore "
                       "a backup"));
    }
    return log_->Stage({.key = key, .record = *record}, *claim ? stores::EncodeClaim(**claim) : "",
                       changes_);
  }

  absl::Status EndSegment() {
    // When they were applied, by the log's time, no row tells.
    if (absl::Status written = log_->WriteSegment(changes_, stores::kUnknownLogTime);
        !written.ok()) {
      return written;
    }
    log_->Committed(std::exchange(changes_, {}));
    return log_->stats().unsealed_bytes < kSealBytes ? absl::OkStatus() : Seal();
  }

  absl::Status Seal() {
    std::unique_ptr<stores::Compaction> sealing = log_->StartCompaction();
    while (!sealing->is_over()) {
      if (absl::Status stepped = sealing->Step(kStepBytes); !stepped.ok()) return stepped;
    }
    if (absl::Status sealed = log_->FinishCompaction(std::move(sealing)); !sealed.ok()) {
      return sealed;
    }
    absl::StatusOr<bool> is_done = false;
    while (is_done.ok() && !*is_done) is_done = log_->DropSome(kDroppedAtATime);
    return is_done.status();
  }

  sqlite3* const connection_;
  const std::string& path_;
  const std::string operation_;
  ConnectionIds storage_;
  std::unique_ptr<stores::IdLog> log_;
  stores::IdChanges changes_;
};

}  // namespace

absl::Status MoveIds(sqlite3* connection, const std::string& path) {
  // The move's statements must be gone before the tables are.
  if (absl::Status moved = Move(connection, path).Run(); !moved.ok()) return moved;
  const LeavingBytes leaving(connection);
  return Execute(connection, "DROP TABLE main.once_ids; DROP TABLE main.once_claims",
                 absl::StrCat("drop the former rows of ids of ", path));
}

}  // namespace once::sqlite
