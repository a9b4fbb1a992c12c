// Rows ascend within their lanes, since those of one order are parked by their numbers.
#include "src/stores/lane_change.h"

#include <algorithm>

namespace once::stores {

std::vector<std::int64_t> FindLeaving(const OutgoingProgress& progress) {
  std::vector<std::int64_t> numbers(progress.waiting.begin(), progress.waiting.end());
  for (const RefusedRow& row : progress.refused) numbers.push_back(row.number);
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

LaneChanges SortByLane(const OutgoingProgress& progress, std::vector<LeavingRow> leaving) {
  LaneChanges changes;
  for (const OutgoingProgress::Finished& finished : progress.finished) {
    changes[finished.lane].finished.push_back(finished.round);
  }
  for (OutgoingRound& round : progress.placed) changes[round.lane].placed.push_back(&round);
  std::map<std::int64_t, const absl::Status*> reasons;
  for (const RefusedRow& row : progress.refused) reasons[row.number] = &row.reason;
  std::sort(leaving.begin(), leaving.end(),
            [](const LeavingRow& a, const LeavingRow& b) { return a.row.number < b.row.number; });
  for (const LeavingRow& left : leaving) {
    LaneChange& change = changes[left.lane];
    const auto reason = reasons.find(left.row.number);
    if (reason == reasons.end()) {
      change.waiting.push_back(left.row);
      continue;
    }
    change.refused.push_back(left.row);
    change.notes.push_back({.parked_at = left.parked_at, .reason = reason->second->ToString()});
  }
  return changes;
}

}  // namespace once::stores
