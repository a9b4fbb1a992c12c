// What an OutgoingStorage answers whose rows lie in memory. Pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "once/outgoing_log.h"
#include "src/stores/outgoing_storage.h"

namespace once::stores {

// By their numbers.
using RowMap = std::map<std::int64_t, OutgoingRow>;

// As OutgoingStorage says. `store` names it where a row is gone.
std::vector<OutgoingRow> FindRows(const RowMap& rows, std::int64_t after, const RowBound& bound);
std::vector<OutgoingRow> ReadRows(const RowMap& rows, std::span<const std::int64_t> numbers,
                                  std::string_view store);
std::uint64_t MeasureBytes(const RowMap& rows);

}  // namespace once::stores
