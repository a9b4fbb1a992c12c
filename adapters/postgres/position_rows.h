// Position rows as parameters and results. Pure functions.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "adapters/postgres/params.h"
#include "adapters/postgres/result.h"
#include "once/operations.h"
#include "once/position.h"

namespace once::postgres {

// Parameters 1 to 4 of the statements on partitions.
Params KeyParams(std::span<const PartitionKey> keys);

// All parameters of put_positions.
Params PositionParams(std::span<const StoredPosition> rows);

// Of a row whose first cell is the number, from 1, of its key among the parameters, or 0 …
std::size_t KeyIndex(const Result& result, int row);
// … and whose others are kPositionCells.
absl::StatusOr<StoredPosition> PositionAt(const Result& result, int row);

}  // namespace once::postgres
