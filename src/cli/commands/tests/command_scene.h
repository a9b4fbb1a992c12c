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

namespace once::cli {

class CommandScene : public ::testing::Test {
 protected:
  CommandContext Context() {
    return {.operations = operations_,
            .random = *random_,
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
  bool is_running_ = false;
  bool is_confirmed_ = true;
  std::vector<std::string> questions_;
};

}  // namespace once::cli
