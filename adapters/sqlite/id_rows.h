// What belongs to ids inside one transaction: records and claims in the log of ids, results beside
// it, as few have any, and the numbers of scopes, by which results and letters name them.
// Thread-safety: as the connection of the transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/sqlite/database.h"
#include "src/stores/id_table.h"

namespace once::sqlite {

class IdTable : public stores::IdTable {
 public:
  // REQUIRES: `database` outlives it; at each call a transaction is open and the store is at work.
  explicit IdTable(Database& database)
      : stores::IdTable(database.ids().log()), database_(database) {}

  absl::Status PutResult(const IdKey& key, std::string_view result);  // empty: none
  absl::StatusOr<std::string> FindResult(const IdKey& key);
  // False only while no id has a claim or a result.
  bool has_claims() const { return stores::IdTable::has_claims() || database_.has_results(); }

  // nullopt: nothing of the store names that scope by its number yet.
  absl::StatusOr<std::optional<std::int64_t>> FindScope(std::string_view name);
  absl::StatusOr<std::int64_t> InternScope(std::string_view name);

  void RollbackToSavepoint();
  // The database's once the transaction is committed.
  ScopeNumbers TakeNewScopes() { return std::move(new_scopes_); }

 private:
  struct ScopeNumber {
    std::string name;
    std::optional<std::int64_t> number;
  };

  Database& database_;
  ScopeNumbers new_scopes_;
  std::optional<ScopeNumber> last_scope_;
};

}  // namespace once::sqlite
