// Parameters 1 to 4 of every statement here are the key.
#include "adapters/sqlite/position_rows.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/position_rules.h"

namespace once::sqlite {
namespace {

void BindPartition(Statement& statement, const PartitionKey& key) {
  statement.BindBytes(1, key.cluster);
  statement.BindBytes(2, key.group);
  statement.BindBytes(3, key.partition.topic);
  statement.Bind(4, key.partition.partition);
}

absl::StatusOr<std::string> FindOtherCluster(Database& database, const PartitionKey& key) {
  Statement& find = database.statements().find_other_cluster;
  BindPartition(find, key);
  const absl::StatusOr<bool> has_row = find.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::string();
  std::string cluster(find.Bytes(0));
  find.Reset();
  return cluster;
}

}  // namespace

absl::StatusOr<std::optional<StoredPosition>> FindPosition(Statement& find_position,
                                                           const PartitionKey& key) {
  BindPartition(find_position, key);
  const absl::StatusOr<bool> has_row = find_position.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::nullopt;
  absl::StatusOr<StoredPosition> position = PositionAt(find_position);
  find_position.Reset();
  if (!position.ok()) return position.status();
  // In a tree whose order is damaged a search may end at the row of another, unnoticed by SQLite.
  if (position->key != key) {
    return absl::DataLossError(absl::StrCat(
        "sqlite: once_positions is out of order: looking for ", ToString(key.partition), " found ",
        ToString(position->key.partition), "; restore a backup"));
  }
  return *std::move(position);
}

absl::StatusOr<StoredPosition> PositionAt(const Statement& row) {
  StoredPosition position{
      .key = {.cluster = std::string(row.Bytes(0)),
              .group = std::string(row.Bytes(1)),
              .partition = {std::string(row.Bytes(2)), static_cast<std::int32_t>(row.Int(3))}},
      .stamp = {.position = row.Int(4),
                .revision = row.Int(5),
                .writer = static_cast<std::uint64_t>(row.Int(6))},
      .reach = row.Int(7)};
  if (!row.IsNull(8)) {
    position.last_applied =
        AppliedRecord{.offset = row.Int(8),
                      .timestamp_ms = row.Int(9),
                      .fingerprint = {.high = static_cast<std::uint64_t>(row.Int(10)),
                                      .low = static_cast<std::uint64_t>(row.Int(11))},
                      .log_time_ms = row.IsNull(13) ? -1 : row.Int(13)};
  }
  const std::int64_t directive = row.Int(12);  // null reads as 0
  if (directive < 0 || directive > static_cast<std::int64_t>(PositionDirective::kLatest)) {
    return absl::DataLossError(
        absl::StrCat("sqlite: once_positions has a row with the unknown directive ", directive,
                     "; restore a backup"));
  }
  position.directive = static_cast<PositionDirective>(directive);
  return position;
}

absl::StatusOr<TakenPosition> TakePosition(Database& database, const TakeRequest& request) {
  WriterStatements& statements = database.statements();
  const auto found = FindPosition(statements.find_position, request.key);
  if (!found.ok()) return found.status();
  absl::StatusOr<std::string> other_cluster = std::string();
  if (!*found) other_cluster = FindOtherCluster(database, request.key);
  if (!other_cluster.ok()) return other_cluster.status();
  TakenPosition taken = stores::AnswerTake(request, *found, *std::move(other_cluster));
  if (!taken.exists) return taken;
  Statement& write = *found ? statements.take_position : statements.add_position;
  BindPartition(write, request.key);
  write.Bind(5, *found ? taken.current.revision : request.start);
  write.Bind(6, static_cast<std::int64_t>(request.writer));
  if (absl::Status written = write.Run(); !written.ok()) return written;
  return taken;
}

absl::Status SetPosition(Database& database, const PositionUpdate& update,
                         const PositionStamp& locked) {
  Statement& set = database.statements().set_position;
  BindPartition(set, update.key);
  set.Bind(5, update.position);
  set.Bind(6, static_cast<std::int64_t>(locked.writer));
  set.Bind(7, locked.revision);
  set.Bind(8, update.reach);
  if (update.last_applied) {
    set.Bind(9, update.last_applied->offset);
    set.Bind(10, update.last_applied->timestamp_ms);
    set.Bind(11, static_cast<std::int64_t>(update.last_applied->fingerprint.high));
    set.Bind(12, static_cast<std::int64_t>(update.last_applied->fingerprint.low));
    set.Bind(13, update.last_applied->log_time_ms);
  }
  if (absl::Status status = set.Run(); !status.ok()) return status;
  if (sqlite3_changes(database.writer()) == 1) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("sqlite: set position of ", ToString(update.key.partition),
                                         " in ", database.path(),
                                         ": the row changed under its lock"));
}

absl::Status PutPosition(Database& database, const StoredPosition& row) {
  Statement& write = database.statements().put_position;
  BindPartition(write, row.key);
  write.Bind(5, row.stamp.position);
  write.Bind(6, row.stamp.revision);
  write.Bind(7, static_cast<std::int64_t>(row.stamp.writer));
  write.Bind(8, row.reach);
  if (row.last_applied) {
    write.Bind(9, row.last_applied->offset);
    write.Bind(10, row.last_applied->timestamp_ms);
    write.Bind(11, static_cast<std::int64_t>(row.last_applied->fingerprint.high));
    write.Bind(12, static_cast<std::int64_t>(row.last_applied->fingerprint.low));
    write.Bind(14, row.last_applied->log_time_ms);
  }
  if (row.directive != PositionDirective::kNone) {
    write.Bind(13, static_cast<std::int64_t>(row.directive));
  }
  return write.Run();
}

}  // namespace once::sqlite
