// What operators ask of a database file as a whole. Everything but the compaction reads through a
// connection of its own, so that neither consumers nor operators wait for it.
// Thread-safety: safe for concurrent use.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/sqlite/database.h"
#include "once/maintenance.h"

namespace once::sqlite {

class SqliteMaintenance final : public StoreMaintenance {
 public:
  explicit SqliteMaintenance(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  absl::StatusOr<std::vector<StoreFigure>> ReadFigures() override;
  // SQLite's integrity_check over every table, users' too, and every row of ours that is decoded.
  absl::StatusOr<std::vector<std::string>> Verify(const std::stop_token& stop) override;
  // VACUUM, which needs as much room again while it runs, and keeps all writers waiting.
  absl::Status Compact(const std::stop_token& stop) override;
  // All tables of the file, as of one commit.
  absl::Status Backup(const std::string& path, const std::stop_token& stop) override;

 private:
  const std::shared_ptr<Database> database_;
};

}  // namespace once::sqlite
