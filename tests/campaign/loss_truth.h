// Which numbered messages never arrived, as somebody knows who has seen both ends: the judge of a
// loss detector.
// Pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace once::campaign {

struct StreamId {
  std::int32_t partition = 0;
  std::string producer;
  std::uint64_t epoch = 0;

  friend auto operator<=>(const StreamId&, const StreamId&) = default;
};

struct StreamTruth {
  std::set<std::uint64_t> arrived;
  std::set<std::uint64_t> given_up;  // declared void
  std::uint64_t marked = 0;          // the greatest number that a mark names
};

struct LostRange {
  StreamId stream;
  std::uint64_t first = 0;
  std::uint64_t last = 0;

  friend auto operator<=>(const LostRange&, const LostRange&) = default;
};

// Everything that a consumer must report: numbers that are neither there nor given up, below one
// that is there or that a mark names. Neighbours are one range.
std::set<LostRange> FindLost(const std::map<StreamId, StreamTruth>& streams);

struct LossJudgement {
  std::int64_t injected = 0;
  std::int64_t missed = 0;        // ranges that are not reported, or otherwise
  std::int64_t false_alarms = 0;  // reported, and not lost like that
};
LossJudgement JudgeLosses(const std::set<LostRange>& lost, const std::set<LostRange>& reported);

// "3 to 7 of partition 1, shop-1/18c5f0a2b3d4e5f6".
std::string Describe(const LostRange& range);

}  // namespace once::campaign
