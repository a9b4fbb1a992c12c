// Consumers on threads of their own that share one open store in this process, as tests of
// rebalances need them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/consumer.h"
#include "once/kafka/source.h"
#include "once/sqlite/store.h"
#include "tests/integration/effects.h"

namespace once::testing {

// Throws what a test cannot go on with.
template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) throw std::runtime_error(value.status().ToString());
  return *std::move(value);
}

inline std::shared_ptr<DedupStore> OpenEffects(const std::string& path) {
  return Must(sqlite::OpenStore({.path = path, .setup = CreateEffects}));
}

// Run() on a thread; the destructor stops it and waits.
class RunningConsumer {
 public:
  template <typename Handler>
  RunningConsumer(ConsumerOptions options, Handler handler)
      : consumer_(Must(Consumer::Create(std::move(options), std::move(handler)))),
        thread_([this](std::stop_token stop) { status_ = consumer_->Run(std::move(stop)); }) {}

  // Asks it to stop, waits, and says how Run() ended.
  absl::Status Stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
    return status_;
  }
  const Consumer& operator*() const { return *consumer_; }
  const Consumer* operator->() const { return consumer_.get(); }

 private:
  std::unique_ptr<Consumer> consumer_;
  absl::Status status_;
  std::jthread thread_;  // last: stopped and joined before the consumer goes
};

// Counts handled messages; a test waits until there are enough.
class Milestone {
 public:
  void Count() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  // False when it has not come to `count` within a minute.
  bool Await(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(1), [&] { return count_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

// Looks at `condition` about once a millisecond, for a minute at most.
template <typename Condition>
bool AwaitCondition(Condition condition) {
  std::mutex mutex;
  std::condition_variable clock;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::unique_lock lock(mutex);
    clock.wait_for(lock, std::chrono::milliseconds(1));
  }
  return true;
}

// Counts the engine's events by action, and keeps the last text of each.
class CountingLog : public LogSink {
 public:
  LogLevel level() const override { return LogLevel::kDebug; }
  void Log(const LogEvent& event) override {
    const std::lock_guard lock(mutex_);
    ++counts_[std::string(event.action)];
    texts_[std::string(event.action)] = event.message;
  }
  // What the last event of this action said; empty without one.
  std::string text(const std::string& action) const {
    const std::lock_guard lock(mutex_);
    const auto found = texts_.find(action);
    return found == texts_.end() ? "" : found->second;
  }
  int count(const std::string& action) const {
    const std::lock_guard lock(mutex_);
    const auto found = counts_.find(action);
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, int> counts_;
  std::map<std::string, std::string> texts_;
};

}  // namespace once::testing
