// StreamProgress is how far one stream of numbered records has come: every number up to a point was
// acknowledged, or is declared void. Pure; memory grows with the gaps, not with the numbers.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "once/sequence.h"

namespace once {

class StreamProgress {
 public:
  // The record with this number is stored at `offset`; negative: nobody knows where.
  void Acknowledge(std::uint64_t number, std::int64_t offset);
  // It is said that it may be missing.
  void Declare(std::uint64_t number);

  // The mark that is true now. nullopt: nothing is acknowledged up to any number.
  const std::optional<StreamMark>& mark() const { return mark_; }

 private:
  // Settled numbers without a gap between them, and the offsets of those that are records.
  struct Run {
    std::uint64_t last = 0;
    std::int64_t first_offset = -1;  // the least that is known; -1: none is
    std::int64_t last_offset = -1;   // the greatest
    bool begins_anywhere = false;    // before the first known offset lies one that is not
    bool ends_anywhere = false;      // likewise behind the last

    bool has_records() const { return last_offset >= 0 || ends_anywhere; }
  };

  void Settle(std::uint64_t number, const Run& one);
  // Of the first run.
  void Show();
  static void Append(Run& front, const Run& back);

  std::map<std::uint64_t, Run> runs_;  // by first number; never adjacent
  std::optional<StreamMark> mark_;
};

}  // namespace once
