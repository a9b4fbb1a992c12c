// One call of the store as a transaction of its own.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "adapters/sqlite/database.h"
#include "adapters/sqlite/id_rows.h"

namespace once::sqlite {

// `work(IdTable&)` between Begin and a commit as durable as `wanted`; rolled back unless it returns
// OK. Busy: kUnavailable after busy_timeout.
template <typename Work>
absl::Status Write(Database& database, std::string_view operation, Durability wanted, Work work) {
  if (absl::Status begun = database.Begin(operation); !begun.ok()) return begun;
  IdTable ids(database);
  absl::Status worked;
  {
    const Guard::StoreScope scope(database.guard());
    worked = work(ids);
  }
  if (worked.ok()) {
    return database.Commit({.wanted = wanted, .new_scopes = ids.TakeNewScopes()});
  }
  database.Rollback();
  return worked;
}

}  // namespace once::sqlite
