// A SideTask does one piece of work at a time beside whoever gives it, who goes on meanwhile and
// looks now and then whether it is done:
//
//   SideTask side(executor, "once-relay-log");
//   side.Start([&] { status = log.Advance(progress); });
//   while (!side.WaitUntil(executor.Now() + a_while)) …something else…;
//   side.End();  // from here on what the work has written may be read
//
// Where the process is dead (simulations) the task is gone, and work is done at once by whoever
// gives it: its calls do nothing there.
// Thread-safety: one owner. Everything that Start() found written the work may read, and everything
// that the work has written may be read after is_done() was true.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/time/time.h"
#include "once/executor.h"

namespace once {

class SideTask {
 public:
  SideTask(Executor& executor, std::string_view name);
  SideTask(const SideTask&) = delete;
  SideTask& operator=(const SideTask&) = delete;
  // Waits for the work that it has.
  ~SideTask();

  // REQUIRES: !is_busy().
  void Start(std::function<void()> work);
  // From Start() to End().
  bool is_busy() const { return state_.load(std::memory_order_acquire) != State::kIdle; }
  bool is_done() const { return state_.load(std::memory_order_acquire) == State::kDone; }
  // Until the work is done, or `deadline`; whether it is.
  bool WaitUntil(absl::Time deadline);
  // REQUIRES: is_done().
  void End();

 private:
  enum class State : std::uint8_t { kIdle, kGiven, kDone };

  void Run();
  void Work();

  std::function<void()> work_;
  std::atomic<State> state_ = State::kIdle;
  std::atomic<bool> is_closing_ = false;
  std::atomic<bool> is_gone_ = false;  // the process is dead
  const std::unique_ptr<Event> given_;
  const std::unique_ptr<Event> done_;
  std::unique_ptr<Task> task_;  // last: it uses all of this
};

}  // namespace once
