// The scene of a command's test: scripted operations, a person who says yes or no, and what came of
// it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/cli/commands/command_context.h"
#include "src/cli/commands/report.h"
#include "tests/operator/scripted_operations.h"
#include "tests/unit/manual_executor.h"

namespace once::cli {

// A clock that goes on when somebody waits for it, and at once.
class WaitingExecutor final : public ManualExecutor {
 public:
  std::unique_ptr<Event> NewEvent() override { return std::make_unique<Wait>(*this); }

 private:
  class Wait final : public Event {
   public:
    explicit Wait(WaitingExecutor& executor) : executor_(executor) {}
    void Set() override { FAIL() << "a command waits for nothing but the time"; }
    bool WaitUntil(absl::Time deadline) override {
      executor_.Advance(deadline - executor_.Now());
      return false;
    }

   private:
    WaitingExecutor& executor_;
  };
};

class CommandScene : public ::testing::Test {
 protected:
  CommandContext Context() {
    return {.operations = operations_,
            .random = *random_,
            .executor = executor_,
            .store = "/data/billing.db",
            .is_running = is_running_,
            .confirm = [this](std::string_view question) {
              questions_.emplace_back(question);
              return is_confirmed_;
            }};
  }
  static std::string NotesOf(const Report& report) {
    std::string notes;
    for (const std::string& note : report.notes) notes += note + "\n";
    return notes;
  }

  testing::ScriptedOperations operations_;
  std::shared_ptr<Random> random_ = SystemRandom();
  WaitingExecutor executor_;
  bool is_running_ = false;
  bool is_confirmed_ = true;
  std::vector<std::string> questions_;
};

}  // namespace once::cli
