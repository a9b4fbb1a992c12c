// Exactly one effect per order, whatever they were read from.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/benchmark/workload.h"

namespace once::benchmark {

class EffectsCheck {
 public:
  explicit EffectsCheck(std::int64_t messages)
      : messages_(messages), is_done_(static_cast<std::size_t>(messages), false) {}

  // What is wrong with it; empty: nothing.
  std::string Add(std::string_view id, std::int64_t order) {
    const bool is_known = order >= 0 && order < messages_ && !IsDuplicate(order);
    if (!is_known || IdOf(order) != id) {
      return "an effect of order " + std::to_string(order) + ", which was never sent so";
    }
    if (is_done_[static_cast<std::size_t>(order)]) {
      return "a second effect of order " + std::to_string(order);
    }
    is_done_[static_cast<std::size_t>(order)] = true;
    ++done_;
    return "";
  }

  // What is missing; empty: nothing.
  std::string Finish() const {
    const std::int64_t expected = CountOrders(messages_);
    if (done_ == expected) return "";
    return std::to_string(expected - done_) + " of " + std::to_string(expected) +
           " orders have no effect";
  }

 private:
  const std::int64_t messages_;
  std::vector<bool> is_done_;
  std::int64_t done_ = 0;
};

}  // namespace once::benchmark
