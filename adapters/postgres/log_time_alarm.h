// LogTimeAlarm wakes whoever looks after the buckets once the log has come to a certain time, of
// which those tell who commit positions: a backlog of a month is read within an hour.
// Thread-safety: safe for concurrent use; one thread waits.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <limits>
#include <mutex>
#include <stop_token>

#include "absl/time/time.h"

namespace once::postgres {

inline constexpr std::int64_t kNoLogTime = std::numeric_limits<std::int64_t>::max();

class LogTimeAlarm {
 public:
  void Note(std::int64_t log_time_ms) {
    if (log_time_ms < due_ms_.load(std::memory_order_relaxed)) return;
    {
      const std::lock_guard lock(mutex_);
      due_ms_ = kNoLogTime;
    }
    changed_.notify_all();
  }
  // Returns when the log has come to `due_ms`, after `longest`, or when a stop is requested.
  void Wait(const std::stop_token& stop, std::int64_t due_ms, absl::Duration longest) {
    std::unique_lock lock(mutex_);
    due_ms_ = due_ms;
    changed_.wait_for(lock, stop, absl::ToChronoNanoseconds(longest),
                      [&] { return due_ms != kNoLogTime && due_ms_ == kNoLogTime; });
    due_ms_ = kNoLogTime;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::atomic<std::int64_t> due_ms_ = kNoLogTime;  // kNoLogTime: nobody waits for it
};

}  // namespace once::postgres
