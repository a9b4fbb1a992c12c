// PositionTable: the position rows of an in-memory store. It knows no locks. Private to src/memory.
// Thread-safety: none of its own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "once/dedup_store.h"
#include "once/operations.h"
#include "once/position.h"

namespace once::memory {

struct PositionRow {
  PositionStamp stamp;
  std::int64_t reach = 0;
  std::optional<AppliedRecord> last_applied;
  PositionDirective directive = PositionDirective::kNone;
};

class PositionTable {
 public:
  std::vector<BeginResult::Mismatch> Compare(std::span<const PositionLock> locks) const;
  TakenPosition Take(const TakeRequest& request);
  void Set(const PartitionKey& key, PositionRow row) { rows_[key] = std::move(row); }
  void Order(const PositionOrder& order);

  std::vector<std::optional<PositionStamp>> Read(std::span<const PartitionKey> keys) const;
  std::vector<StoredPosition> List() const;

 private:
  // The cluster of another row of the same group, topic and partition; empty: there is none.
  std::string FindOtherCluster(const PartitionKey& key) const;

  std::map<PartitionKey, PositionRow> rows_;
};

}  // namespace once::memory
