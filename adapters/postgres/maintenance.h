// What operators ask of a PostgreSQL store as a whole, by sessions of its own: nothing takes one of
// those that consumers need.
// Thread-safety: safe for concurrent use.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/postgres/database.h"
#include "once/maintenance.h"

namespace once::postgres {

class PostgresMaintenance final : public StoreMaintenance {
 public:
  explicit PostgresMaintenance(std::shared_ptr<Database> database)
      : database_(std::move(database)) {}

  // Ids are the server's own estimates, undated ones as of its last ANALYZE; the rest is counted.
  absl::StatusOr<std::vector<StoreFigure>> ReadFigures() override;
  // Every row of ours decoded, every id found by the indexes once.
  absl::StatusOr<std::vector<std::string>> Verify(const std::stop_token& stop) override;
  // VACUUM (ANALYZE) of the store's tables: keeps nobody waiting, gives room back to the tables.
  absl::Status Compact(const std::stop_token& stop) override;
  // kFailedPrecondition: handlers' tables belong to the copy, which the server's own tools make.
  absl::Status Backup(const std::string& path, const std::stop_token& stop) override;

 private:
  const std::shared_ptr<Database> database_;
};

}  // namespace once::postgres
