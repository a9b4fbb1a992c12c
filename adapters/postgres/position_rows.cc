// Columns in the order of statements.cc.
#include "adapters/postgres/position_rows.h"

#include <bit>

#include "absl/strings/str_cat.h"

namespace once::postgres {

Params KeyParams(std::span<const PartitionKey> keys) {
  Column clusters(Column::Type::kBytes);
  Column groups(Column::Type::kBytes);
  Column topics(Column::Type::kBytes);
  Column partitions(Column::Type::kInt4);
  for (const PartitionKey& key : keys) {
    clusters.AddBytes(key.cluster);
    groups.AddBytes(key.group);
    topics.AddBytes(key.partition.topic);
    partitions.Add(key.partition.partition);
  }
  Params params;
  params.Array(clusters).Array(groups).Array(topics).Array(partitions);
  return params;
}

Params PositionParams(std::span<const StoredPosition> rows) {
  std::vector<PartitionKey> keys;
  Column positions(Column::Type::kInt8);
  Column revisions(Column::Type::kInt8);
  Column writers(Column::Type::kInt8);
  Column reaches(Column::Type::kInt8);
  Column offsets(Column::Type::kInt8);
  Column timestamps(Column::Type::kInt8);
  Column highs(Column::Type::kInt8);
  Column lows(Column::Type::kInt8);
  Column directives(Column::Type::kInt2);
  Column log_times(Column::Type::kInt8);
  for (const StoredPosition& row : rows) {
    keys.push_back(row.key);
    positions.Add(row.stamp.position);
    revisions.Add(row.stamp.revision);
    writers.AddUnsigned(row.stamp.writer);
    reaches.Add(row.reach);
    if (row.last_applied) {
      offsets.Add(row.last_applied->offset);
      timestamps.Add(row.last_applied->timestamp_ms);
      highs.AddUnsigned(row.last_applied->fingerprint.high);
      lows.AddUnsigned(row.last_applied->fingerprint.low);
      log_times.Add(row.last_applied->log_time_ms);
    } else {
      for (Column* column : {&offsets, &timestamps, &highs, &lows, &log_times}) {
        column->AddNull();
      }
    }
    if (row.directive == PositionDirective::kNone) {
      directives.AddNull();
    } else {
      directives.Add(static_cast<std::int64_t>(row.directive));
    }
  }
  Params params = KeyParams(keys);
  for (const Column* column : {&positions, &revisions, &writers, &reaches, &offsets, &timestamps,
                               &highs, &lows, &directives, &log_times}) {
    params.Array(*column);
  }
  return params;
}

std::size_t KeyIndex(const Result& result, int row) {
  return static_cast<std::size_t>(result.Int(row, 0)) - 1;
}

absl::StatusOr<StoredPosition> PositionAt(const Result& result, int row) {
  StoredPosition position{.key = {.cluster = std::string(result.Bytes(row, 1)),
                                  .group = std::string(result.Bytes(row, 2)),
                                  .partition = {std::string(result.Bytes(row, 3)),
                                                static_cast<std::int32_t>(result.Int(row, 4))}},
                          .stamp = {.position = result.Int(row, 5),
                                    .revision = result.Int(row, 6),
                                    .writer = result.Unsigned(row, 7)},
                          .reach = result.Int(row, 8)};
  if (!result.IsNull(row, 9)) {
    position.last_applied =
        AppliedRecord{.offset = result.Int(row, 9),
                      .timestamp_ms = result.Int(row, 10),
                      .fingerprint = result.Print(row, 11),
                      .log_time_ms = result.IsNull(row, 14) ? -1 : result.Int(row, 14)};
  }
  const std::int64_t directive = result.Int(row, 13);  // null reads as 0
  if (directive < 0 || directive > static_cast<std::int64_t>(PositionDirective::kLatest)) {
    return absl::DataLossError(
        absl::StrCat("postgres: table positions has a row with the unknown directive ", directive,
                     "; restore a backup"));
  }
  position.directive = static_cast<PositionDirective>(directive);
  return position;
}

}  // namespace once::postgres
