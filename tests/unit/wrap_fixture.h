// What the tests of Wrap share: a call's argument, executors without real time, and a store whose
// claims can lose their answers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "once/memory/store.h"
#include "once/wrap.h"
#include "tests/unit/manual_executor.h"

namespace once {

// What the wrapped functions of these tests are called with.
struct Charge {
  std::string id;
  std::string amount = "10.00";
};

// A clock that stands still, pauses that take no time, and tasks that never get to run.
class FrozenExecutor : public ManualExecutor {
 public:
  std::unique_ptr<Task> Spawn(std::string_view, std::function<void()>) override {
    return std::make_unique<Task>();
  }
};

// Everything that a test does not care about.
inline WrapOptions<Charge> ChargeOptions(std::shared_ptr<DedupStore> store,
                                         std::shared_ptr<Executor> executor) {
  return {.store = std::move(store),
          .scope = "charges",
          .id = [](const Charge& charge) { return charge.id; },
          .fingerprint = [](const Charge& charge) { return Fingerprint::Of(charge.amount); },
          .log = NoLog(),
          .executor = std::move(executor),
          .random = std::make_shared<MiddleRandom>()};
}

// The value of what must be OK.
template <typename T>
T Must(absl::StatusOr<T> value) {
  EXPECT_TRUE(value.ok()) << value.status();
  return *std::move(value);
}

MATCHER_P(IsAnswer, verdict, "is the answer \"" + std::string(ToString(verdict)) + "\"") {
  if (!arg.ok()) {
    *result_listener << "which is the error " << arg.status();
    return false;
  }
  *result_listener << "which is \"" << std::string(ToString(arg->verdict)) << "\" " << arg->status;
  return arg->verdict == verdict;
}

MATCHER_P(IsError, code, "is an error of code " + absl::StatusCodeToString(code)) {
  if (arg.ok()) {
    *result_listener << "which is \"" << std::string(ToString(arg->verdict)) << "\"";
    return false;
  }
  *result_listener << "which is " << arg.status();
  return arg.status().code() == code;
}

}  // namespace once
