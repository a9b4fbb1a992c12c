// ManualExecutor: an Executor whose clock moves only when a test says so and whose events never
// block, so that Step() runs a whole consumer on one thread without waiting for anything.
//
//   ManualExecutor executor;
//   executor.Advance(absl::Seconds(1));
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "once/executor.h"

namespace once {

class ManualExecutor : public Executor {
 public:
  absl::Time Now() override { return now_; }
  void Advance(absl::Duration duration) { now_ += duration; }

  std::unique_ptr<Event> NewEvent() override { return std::make_unique<StickyFlag>(); }

  // Nothing runs concurrently here: Step() needs no task, and a test that spawns one is wrong.
  std::unique_ptr<Task> Spawn(std::string_view name, std::function<void()>) override {
    ADD_FAILURE() << "spawned " << name;
    return std::make_unique<Task>();
  }

 private:
  class StickyFlag : public Event {
   public:
    void Set() override { is_set_ = true; }
    bool WaitUntil(absl::Time) override { return std::exchange(is_set_, false); }

   private:
    bool is_set_ = false;
  };

  // A round number that is a whole millisecond and far from the epoch.
  absl::Time now_ = absl::FromUnixSeconds(1'700'000'000);
};

// 0.5 as a jitter position, so that every backoff is exactly its nominal length; writer tags differ
// from one another all the same.
class MiddleRandom : public Random {
 public:
  std::uint64_t Next() override { return (std::uint64_t{1} << 63) + ++calls_; }

 private:
  std::uint64_t calls_ = 0;
};

}  // namespace once
