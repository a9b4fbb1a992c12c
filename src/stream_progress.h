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
  void Declare(std::uint64_t number) { Settle(number, kVoid); }

  // The mark that is true now. nullopt: nothing is acknowledged up to any number.
  std::optional<StreamMark> mark() const { return mark_; }
  // Every number up to here is settled.
  std::uint64_t settled() const { return settled_; }

 private:
  static constexpr std::int64_t kVoid = -2;
  static constexpr std::int64_t kNowhere = -1;

  void Settle(std::uint64_t number, std::int64_t offset);
  void Advance(std::int64_t offset);

  std::uint64_t settled_ = 0;
  // Of those up to settled_: bounds of their offsets, and whether the greatest may be beyond.
  std::optional<std::int64_t> first_offset_;
  std::int64_t last_offset_ = -1;
  bool is_end_known_ = true;
  std::map<std::uint64_t, std::int64_t> ahead_;  // settled beyond a gap
  std::optional<StreamMark> mark_;
};

}  // namespace once
