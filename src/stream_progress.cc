// The contiguous front of what is settled, and the mark it allows.
#include "src/stream_progress.h"

#include <algorithm>

namespace once {

void StreamProgress::Acknowledge(std::uint64_t number, std::int64_t offset) {
  Settle(number, offset < 0 ? kNowhere : offset);
}

void StreamProgress::Settle(std::uint64_t number, std::int64_t offset) {
  if (number <= settled_) return;
  if (number != settled_ + 1) {
    ahead_.emplace(number, offset);
    return;
  }
  Advance(offset);
  for (auto next = ahead_.begin(); next != ahead_.end() && next->first == settled_ + 1;
       next = ahead_.erase(next)) {
    Advance(next->second);
  }
}

void StreamProgress::Advance(std::int64_t offset) {
  ++settled_;
  if (offset == kNowhere) {
    // It is stored in front of the next one, wherever that is; a first one may be anywhere.
    if (!first_offset_) first_offset_ = 0;
    is_end_known_ = false;
  } else if (offset != kVoid) {
    first_offset_ = std::min(first_offset_.value_or(offset), offset);
    last_offset_ = std::max(last_offset_, offset);
    is_end_known_ = true;
  }
  if (last_offset_ < 0 || !is_end_known_) return;
  mark_ = StreamMark{
      .last = settled_, .last_offset = last_offset_, .first_offset = *first_offset_};
}

}  // namespace once
