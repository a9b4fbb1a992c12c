// A MortalExecutor is the executor of a simulated process whose clock goes on when the process is
// dead. Thread-safety: none; see fiber_executor.h.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "once/executor.h"
#include "once/testing/fiber_executor.h"

namespace once::testing {

// The clock of a process that stands still once it is dead would keep its loops going for ever.
class MortalExecutor final : public Executor {
 public:
  explicit MortalExecutor(std::shared_ptr<Process> process) : process_(std::move(process)) {}
  absl::Time Now() override {
    if (process_->is_dead()) beyond_ += kGhostStep;
    return process_->Now() + beyond_;
  }
  std::unique_ptr<Event> NewEvent() override { return process_->NewEvent(); }
  std::unique_ptr<Task> Spawn(std::string_view name, std::function<void()> body) override {
    return process_->Spawn(name, std::move(body));
  }

 private:
  // Whatever a ghost waits for is over soon.
  static constexpr absl::Duration kGhostStep = absl::Seconds(1);

  const std::shared_ptr<Process> process_;
  absl::Duration beyond_;
};

}  // namespace once::testing
