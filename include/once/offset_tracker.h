// OffsetTracker turns messages that settle in any order into the contiguous watermark of one
// partition: the first offset that is not settled. It is pure: no clock, no I/O, no lock.
//
//   tracker.Deliver(10); tracker.Deliver(11); tracker.Deliver(14);   // a log may have holes
//   tracker.Settle(11);  tracker.watermark() == 10
//   tracker.Settle(10);  tracker.watermark() == 14    // the hole belongs to nobody
//
// The watermark never regresses and never passes an unsettled message.
// Memory: one entry per delivered message that is not below the watermark; the engine's buffer
// bound bounds it. Thread-safety: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

namespace once {

class OffsetTracker {
 public:
  // Nothing below `position` is outstanding.
  explicit OffsetTracker(std::int64_t position) : watermark_(position), next_(position) {}

  // False, and without effect, for an offset below next(): it was delivered before.
  bool Deliver(std::int64_t offset);

  // False, and without effect, unless the offset is delivered and unsettled.
  bool Settle(std::int64_t offset);

  // Forgets the delivered offsets at and above `offset`: they will be delivered again.
  // REQUIRES: none of them is settled.
  void Truncate(std::int64_t offset);

  // The first unsettled delivered offset; next() when all are settled.
  std::int64_t watermark() const { return watermark_; }
  // One past the highest delivered offset.
  std::int64_t next() const { return next_; }
  // Delivered messages that are not settled.
  std::size_t unsettled() const { return unsettled_; }

 private:
  struct Entry {
    std::int64_t offset;
    bool settled;
  };

  std::deque<Entry> entries_;  // ascending; front is unsettled unless empty
  std::int64_t watermark_;
  std::int64_t next_;
  std::size_t unsettled_ = 0;
};

}  // namespace once
