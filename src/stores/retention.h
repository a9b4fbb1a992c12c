// When an id is old enough to be forgotten: by the log's own time, which stands still while nothing
// is consumed, so that an outage of any length forgets nothing. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/operations.h"
#include "once/position.h"

namespace once::stores {

inline constexpr absl::Duration kRetentionMin = absl::Seconds(1);
inline constexpr absl::Duration kRetentionMax = absl::Hours(100 * 365 * 24);

// kInvalidArgument unless it is infinite or within the bounds. `store_name` is for the message.
absl::Status CheckRetention(std::string_view store_name, absl::Duration retention);

// What was settled at an earlier log time than this is forgotten: the lowest log time of all
// partitions, of every group, less `retention`. nullopt: nothing is. That is so, too, as long as
// the log time of one partition is not known: nobody can tell what it still brings.
std::optional<std::int64_t> ExpiryLimit(std::span<const StoredPosition> positions,
                                        absl::Duration retention);

// How far apart the log times in one file of ids may be: it is forgotten as a whole, so a fourth of
// the retention is how much longer than that an id may be kept.
std::int64_t MergeSpan(absl::Duration retention);

// The log time of what one transaction settles: the greatest of the partitions of which something
// was applied, kUnknownLogTime (id_log.h) where one of these is not known, or there is none.
std::int64_t LogTimeOf(std::span<const PositionUpdate> updates);

}  // namespace once::stores
