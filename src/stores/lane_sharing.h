// A log of outgoing messages whose lanes relays of several processes share is one of these too. Who
// holds more lanes than his share lets the others have them, once nothing of them is on its way.
// Thread-safety: that of the log.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <set>
#include <vector>

namespace once::stores {

class LaneSharing {
 public:
  virtual ~LaneSharing() = default;

  // Of the lanes that the last HoldLanes() has told those that are beyond the share: nothing new of
  // them is to be placed, and GiveUpLanes() is to be called soon.
  virtual std::vector<int> FindSurplus() = 0;
};

// Of the lanes that are held those beyond the share.
inline std::vector<int> SurplusOf(const std::set<int>& lanes, std::size_t share) {
  const auto beyond = static_cast<std::ptrdiff_t>(lanes.size() - std::min(lanes.size(), share));
  return {lanes.begin(), std::next(lanes.begin(), beyond)};
}

}  // namespace once::stores
