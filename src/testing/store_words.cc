// Vocabulary that the suites of stores share.
#include "src/testing/store_words.h"

#include <limits>

namespace once::testing {

std::vector<std::string> Values(const std::vector<PendingRow>& rows) {
  std::vector<std::string> values;
  for (const PendingRow& row : rows) values.push_back(row.message.value.value_or("(null)"));
  return values;
}

std::vector<IdRecord> RecordsOfEveryKind() {
  constexpr auto kMaxInt = std::numeric_limits<int>::max();
  constexpr auto kMax64 = std::numeric_limits<std::uint64_t>::max();
  // Times keep at least microseconds: what PostgreSQL has.
  const absl::Time time = absl::FromUnixMicros(1'700'000'000'123'456);
  std::vector<IdRecord> records;
  for (const IdState state :
       {IdState::kCompleted, IdState::kRetrying, IdState::kDead, IdState::kDiscarded,
        IdState::kUncertain, IdState::kClaimed, IdState::kDying}) {
    records.push_back({.state = state});
    records.push_back({.state = state,
                       .fingerprint = {kMax64, 1},
                       .attempt = kMaxInt,
                       .first_failed_at = time,
                       .not_before = time + absl::Microseconds(1)});
  }
  records.push_back({.state = IdState::kRetrying, .fingerprint = {0, kMax64}});
  records.push_back({.state = IdState::kRetrying, .fingerprint = {1ULL << 63, 0}});
  records.push_back({.state = IdState::kRetrying, .first_failed_at = absl::UnixEpoch()});
  records.push_back({.state = IdState::kRetrying, .not_before = absl::UnixEpoch()});
  records.push_back({.state = IdState::kRetrying, .not_before = absl::InfiniteFuture()});
  records.push_back(
      {.state = IdState::kRetrying, .first_failed_at = absl::UnixEpoch() - absl::Microseconds(1)});
  return records;
}

}  // namespace once::testing
