// Cancellation connects whoever wants a handler to give up with the handler that runs: one stop
// token per invocation, and the time since when it runs.
//
// Thread-safety: Begin() and End() from the worker, the rest from any thread.
#pragma once

#include <mutex>
#include <optional>
#include <stop_token>

#include "absl/time/time.h"

namespace once {

class Cancellation {
 public:
  // An invocation begins. The token is valid until the next Begin().
  const std::stop_token& Begin(absl::Time now) {
    const std::lock_guard lock(mutex_);
    // A source of its own: what was meant for the former invocation does not concern this one,
    // unless all are meant.
    if (!is_final_) source_ = std::stop_source();
    token_ = source_.get_token();
    running_since_ = now;
    return token_;
  }
  void End() {
    const std::lock_guard lock(mutex_);
    running_since_.reset();
  }

  // Of the invocation that runs, for others who may want to stop it.
  std::stop_source source() const {
    const std::lock_guard lock(mutex_);
    return source_;
  }

  // Stops the invocation that runs, and all that follow.
  void CancelAll() {
    std::stop_source source = Close();
    source.request_stop();
  }

  // Stops the invocation that runs if it began before `limit`. True when it does so for the first
  // time.
  bool CancelIfRunningSince(absl::Time limit) {
    std::stop_source source(std::nostopstate);
    {
      const std::lock_guard lock(mutex_);
      if (!running_since_ || *running_since_ > limit || source_.stop_requested()) return false;
      source = source_;
    }
    return source.request_stop();
  }

 private:
  std::stop_source Close() {
    const std::lock_guard lock(mutex_);
    is_final_ = true;
    return source_;
  }

  mutable std::mutex mutex_;
  std::stop_source source_;
  std::stop_token token_;
  std::optional<absl::Time> running_since_;
  bool is_final_ = false;
};

}  // namespace once
