// The HistoryLog hears what one worker's engine logs: lines of the history, and the gaps that it
// tells of. Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "once/log.h"
#include "once/testing/invariants.h"

namespace once::testing {

// Offsets of a partition that are told to be missing: from `first` on, before `end`.
struct ToldGap {
  int partition = -1;
  std::int64_t first = 0;
  std::int64_t end = 0;
};

class HistoryLog : public LogSink {
 public:
  // `misses_nothing`: a message that is said to be lost is a violation.
  HistoryLog(InvariantChecker& checker, std::string who, std::function<void(const ToldGap&)> on_gap,
             bool misses_nothing = true)
      : checker_(checker),
        who_(std::move(who)),
        on_gap_(std::move(on_gap)),
        misses_nothing_(misses_nothing) {}
  LogLevel level() const override;
  void Log(const LogEvent& event) override;

 private:
  InvariantChecker& checker_;
  const std::string who_;
  const std::function<void(const ToldGap&)> on_gap_;
  const bool misses_nothing_;
};

}  // namespace once::testing
