// A Stopwatch measures from the first Start() on; further ones do nothing.
// Thread-safety: none.
#pragma once

#include <chrono>
#include <optional>

namespace once::benchmark {

class Stopwatch {
 public:
  void Start() {
    if (!start_) start_ = Clock::now();
  }
  // Zero before Start().
  double seconds() const {
    return start_ ? std::chrono::duration<double>(Clock::now() - *start_).count() : 0;
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::optional<Clock::time_point> start_;
};

}  // namespace once::benchmark
