// OffsetTracker: a deque of delivered offsets, cut at its settled front.
#include "once/offset_tracker.h"

#include <algorithm>
#include <cassert>

namespace once {

bool OffsetTracker::Deliver(std::int64_t offset) {
  if (offset < next_) return false;
  if (entries_.empty()) watermark_ = offset;
  entries_.push_back({.offset = offset, .settled = false});
  next_ = offset + 1;
  ++unsettled_;
  return true;
}

bool OffsetTracker::Settle(std::int64_t offset) {
  // Mostly they settle in order.
  if (!entries_.empty() && entries_.front().offset == offset) {
    entries_.pop_front();
  } else {
    const auto entry = std::lower_bound(
        entries_.begin(), entries_.end(), offset,
        [](const Entry& candidate, std::int64_t wanted) { return candidate.offset < wanted; });
    if (entry == entries_.end() || entry->offset != offset || entry->settled) return false;
    entry->settled = true;
  }
  --unsettled_;
  while (!entries_.empty() && entries_.front().settled) entries_.pop_front();
  watermark_ = entries_.empty() ? next_ : entries_.front().offset;
  return true;
}

void OffsetTracker::Truncate(std::int64_t offset) {
  while (!entries_.empty() && entries_.back().offset >= offset) {
    assert(!entries_.back().settled);
    entries_.pop_back();
    --unsettled_;
  }
  next_ = std::min(next_, offset);
  if (entries_.empty()) watermark_ = std::min(watermark_, next_);
}

}  // namespace once
