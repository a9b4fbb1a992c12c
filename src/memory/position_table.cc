// Position rows: comparing, taking over, and an operator's orders.
#include "src/memory/position_table.h"

namespace once::memory {

std::vector<BeginResult::Mismatch> PositionTable::Compare(
    std::span<const PositionLock> locks) const {
  std::vector<BeginResult::Mismatch> mismatches;
  for (std::size_t i = 0; i < locks.size(); ++i) {
    const auto row = rows_.find(locks[i].key);
    if (row == rows_.end()) {
      mismatches.push_back({.lock = i, .actual = std::nullopt});
    } else if (row->second.stamp != locks[i].expected) {
      mismatches.push_back({.lock = i, .actual = row->second.stamp});
    }
  }
  return mismatches;
}

TakenPosition PositionTable::Take(const TakeRequest& request) {
  TakenPosition taken;
  auto row = rows_.find(request.key);
  if (row == rows_.end()) {
    taken.other_cluster = FindOtherCluster(request.key);
    taken.exists = request.may_create;
    if (!request.may_create) return taken;
    const PositionRow created = {
        .stamp = {.position = request.start, .revision = 1, .writer = request.writer},
        .reach = request.start};
    row = rows_.emplace(request.key, created).first;
  } else {
    taken.previous = row->second.stamp;
    ++row->second.stamp.revision;
    row->second.stamp.writer = request.writer;
  }
  taken.current = row->second.stamp;
  taken.reach = row->second.reach;
  taken.last_applied = row->second.last_applied;
  taken.directive = row->second.directive;
  return taken;
}

std::string PositionTable::FindOtherCluster(const PartitionKey& key) const {
  for (const auto& [other, row] : rows_) {
    if (other.cluster != key.cluster && other.group == key.group &&
        other.partition == key.partition) {
      return other.cluster;
    }
  }
  return "";
}

void PositionTable::Order(const PositionOrder& order) {
  PositionRow& row = rows_[order.key];
  ++row.stamp.revision;
  row.stamp.writer = order.writer;
  row.directive = order.directive;
  if (order.directive != PositionDirective::kSet) return;
  // Neither the record behind the former position nor its unclean end says anything of this one.
  row.stamp.position = order.position;
  row.reach = order.position;
  row.last_applied.reset();
}

std::vector<std::optional<PositionStamp>> PositionTable::Read(
    std::span<const PartitionKey> keys) const {
  std::vector<std::optional<PositionStamp>> stamps;
  for (const PartitionKey& key : keys) {
    const auto row = rows_.find(key);
    stamps.push_back(row == rows_.end() ? std::nullopt : std::optional(row->second.stamp));
  }
  return stamps;
}

std::vector<StoredPosition> PositionTable::List() const {
  std::vector<StoredPosition> positions;
  for (const auto& [key, row] : rows_) {
    positions.push_back({.key = key,
                         .stamp = row.stamp,
                         .reach = row.reach,
                         .last_applied = row.last_applied,
                         .directive = row.directive});
  }
  return positions;
}

}  // namespace once::memory
