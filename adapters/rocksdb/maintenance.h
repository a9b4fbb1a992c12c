// What operators ask of a RocksDB folder as a whole.
// Thread-safety: safe for concurrent use.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/rocksdb/database.h"
#include "once/maintenance.h"

namespace once::rocksdb {

class RocksMaintenance final : public StoreMaintenance {
 public:
  explicit RocksMaintenance(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  // RocksDB's own counts: keys are its estimate.
  absl::StatusOr<std::vector<StoreFigure>> ReadFigures() override;
  // The checksum of every block of every table, users' column families too, and every letter and
  // id of ours decoded. Cannot be interrupted among the checksums.
  absl::StatusOr<std::vector<std::string>> Verify(const std::stop_token& stop) override;
  absl::Status Compact(const std::stop_token& stop) override;
  // A checkpoint: tables are linked, not copied, where `path` is on the same file system.
  absl::Status Backup(const std::string& path, const std::stop_token& stop) override;

 private:
  const std::shared_ptr<Database> database_;
};

}  // namespace once::rocksdb
