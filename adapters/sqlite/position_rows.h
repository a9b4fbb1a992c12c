// The rows of once_positions: reading, taking, moving and replacing them, inside a transaction.
// Thread-safety: as the connection of the statements.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/sqlite/database.h"
#include "once/operations.h"
#include "once/position.h"

namespace once::sqlite {

// The row that `find_position` finds; it is reset afterwards. kDataLoss: it is another's.
absl::StatusOr<std::optional<StoredPosition>> FindPosition(Statement& find_position,
                                                           const PartitionKey& key);

// The row under the cursor of `find_position` or `list_positions`. kDataLoss: a directive that
// nobody wrote.
absl::StatusOr<StoredPosition> PositionAt(const Statement& row);

// All of them, in key order; `list` is reset afterwards.
absl::StatusOr<std::vector<StoredPosition>> ListPositions(Statement& list);

// REQUIRES for all below: a transaction of `database` is open, and the store is at work.
absl::StatusOr<TakenPosition> TakePosition(Database& database, const TakeRequest& request);

// `locked` is what Begin has compared. kAborted: the row changed under its lock.
absl::Status SetPosition(Database& database, const PositionUpdate& update,
                         const PositionStamp& locked);

// Inserts or replaces.
absl::Status PutPosition(Database& database, const StoredPosition& row);

}  // namespace once::sqlite
