// What is known of ids, inside one transaction: records and claims in the log of ids, results
// beside it, as few have any.
// Thread-safety: as the transaction.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/rocksdb/batch.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/view.h"
#include "once/message_id.h"
#include "src/stores/id_table.h"

namespace once::rocksdb {

class IdTable : public stores::IdTable {
 public:
  // REQUIRES: both outlive it; it is used in the database's turn only.
  IdTable(Database& database, Batch& batch)
      : stores::IdTable(database.ids()), database_(database), batch_(batch) {}

  absl::Status PutResult(const IdKey& key, std::string_view result);
  absl::StatusOr<std::string> FindResult(const IdKey& key);
  // False only while no id has a claim or a result.
  bool has_claims() const { return stores::IdTable::has_claims() || database_.has_results(); }

 private:
  Database& database_;
  Batch& batch_;
};

}  // namespace once::rocksdb
