// Position rows; the others are where they are kept.
#include "adapters/rocksdb/rows.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/row_codec.h"

namespace once::rocksdb {

absl::StatusOr<std::optional<StoredPosition>> FindPosition(const View& view,
                                                           const PartitionKey& key) {
  const auto found = view.Get(kRowsFamily, PositionKey(key));
  if (!found.ok()) return found.status();
  if (!*found) return std::nullopt;
  absl::StatusOr<StoredPosition> position = DecodePosition(**found);
  if (!position.ok()) return position.status();
  if (position->key != key) {
    return absl::DataLossError(
        absl::StrCat("rocksdb: looking for the position of ", ToString(key.partition),
                     " found that of ", ToString(position->key.partition), "; restore a backup"));
  }
  return *std::move(position);
}

absl::StatusOr<std::vector<StoredPosition>> ListPositions(const View& view) {
  std::vector<StoredPosition> positions;
  absl::Status damage;
  const auto visit = [&](std::string_view, std::string_view value) {
    absl::StatusOr<StoredPosition> position = DecodePosition(value);
    damage.Update(position.status());
    if (position.ok()) positions.push_back(*std::move(position));
    return position.ok();
  };
  const std::string table(1, kPositionTable);
  damage.Update(view.Scan(kRowsFamily, table, EndOfPrefix(table), visit));
  if (!damage.ok()) return damage;
  // The order of the encoded keys is that of their lengths first.
  std::sort(positions.begin(), positions.end(),
            [](const StoredPosition& a, const StoredPosition& b) { return a.key < b.key; });
  return positions;
}

absl::Status RocksRows::PutPosition(const StoredPosition& row) {
  return batch_.Put(kRowsFamily, PositionKey(row.key), EncodePosition(row));
}

absl::StatusOr<std::string> RocksRows::FindOtherCluster(const PartitionKey& key) {
  const absl::StatusOr<std::vector<StoredPosition>> all = ListPositions(batch_.view());
  if (!all.ok()) return all.status();
  for (const StoredPosition& row : *all) {
    const bool is_same_partition = row.key.group == key.group && row.key.partition == key.partition;
    if (is_same_partition && row.key.cluster != key.cluster) return row.key.cluster;
  }
  return std::string();
}

}  // namespace once::rocksdb
