// Comparisons of log times.
#include "src/stores/retention.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/id_log/id_log.h"

namespace once::stores {
namespace {

// nullopt: not known.
std::optional<std::int64_t> KnownLogTime(const std::optional<AppliedRecord>& applied) {
  if (!applied || applied->log_time_ms < 0) return std::nullopt;
  return applied->log_time_ms;
}

}  // namespace

absl::Status CheckRetention(std::string_view store_name, absl::Duration retention) {
  if (retention == absl::InfiniteDuration()) return absl::OkStatus();
  if (retention >= kRetentionMin && retention <= kRetentionMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      ToAbsl(store_name), ": StoreOptions::retention is ", absl::FormatDuration(retention),
      "; it must be from a second to a hundred years, or infinite"));
}

std::optional<std::int64_t> ExpiryLimit(std::span<const StoredPosition> positions,
                                        absl::Duration retention) {
  if (retention == absl::InfiniteDuration() || positions.empty()) return std::nullopt;
  std::int64_t lowest = kUnknownLogTime;
  for (const StoredPosition& position : positions) {
    const auto log_time = KnownLogTime(position.last_applied);
    if (!log_time) return std::nullopt;
    lowest = std::min(lowest, *log_time);
  }
  return lowest - absl::ToInt64Milliseconds(retention);
}

std::int64_t MergeSpan(absl::Duration retention) {
  if (retention == absl::InfiniteDuration()) return MergeLimits{}.span_max_ms;
  return absl::ToInt64Milliseconds(retention / 4);
}

std::int64_t LogTimeOf(std::span<const PositionUpdate> updates) {
  std::optional<std::int64_t> greatest;
  for (const PositionUpdate& update : updates) {
    if (!update.last_applied) continue;
    const std::int64_t log_time = KnownLogTime(update.last_applied).value_or(kUnknownLogTime);
    greatest = std::max(greatest.value_or(log_time), log_time);
  }
  return greatest.value_or(kUnknownLogTime);
}

}  // namespace once::stores
