// Sets of numbers, and what lies between them.
#include "tests/campaign/loss_truth.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace once::campaign {

std::set<LostRange> FindLost(const std::map<StreamId, StreamTruth>& streams) {
  std::set<LostRange> lost;
  for (const auto& [stream, truth] : streams) {
    std::set<std::uint64_t> there;
    std::set_union(truth.arrived.begin(), truth.arrived.end(), truth.given_up.begin(),
                   truth.given_up.end(), std::inserter(there, there.end()));
    std::uint64_t end = truth.marked;
    if (!there.empty()) end = std::max(end, *there.rbegin());
    std::uint64_t next = 1;
    for (const std::uint64_t number : there) {
      if (number > next) lost.insert({.stream = stream, .first = next, .last = number - 1});
      next = number + 1;
    }
    if (next <= end) lost.insert({.stream = stream, .first = next, .last = end});
  }
  return lost;
}

LossJudgement JudgeLosses(const std::set<LostRange>& lost, const std::set<LostRange>& reported) {
  LossJudgement judgement{.injected = static_cast<std::int64_t>(lost.size())};
  for (const LostRange& range : lost) judgement.missed += reported.contains(range) ? 0 : 1;
  for (const LostRange& range : reported) judgement.false_alarms += lost.contains(range) ? 0 : 1;
  return judgement;
}

std::string Describe(const LostRange& range) {
  return absl::StrCat(range.first, " to ", range.last, " of partition ", range.stream.partition,
                      ", ", range.stream.producer, "/",
                      absl::Hex(range.stream.epoch, absl::kZeroPad16));
}

}  // namespace once::campaign
