// Vocabulary that the suites of stores share. Private to src/testing.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/time/time.h"
#include "once/outbox.h"
#include "once/transaction.h"

#define SKIP_UNLESS_EMPTY(reason) \
  if (!(reason).empty()) GTEST_SKIP() << (reason)

// A check as a class of its own over `bench`: a test of `suite`, and a value in the list that
// `list` keeps.
// NOLINTBEGIN(bugprone-macro-parentheses): names of classes have none.
#define STORE_CHECK(suite, bench, list, check_name)                          \
  class check_name final : public bench {                                    \
   public:                                                                   \
    using bench::bench;                                                      \
    static void Run(const StoreUnderTest& store) {                           \
      check_name check(store);                                               \
      if (check.CanRun()) check.Check();                                     \
    }                                                                        \
    void Check() override;                                                   \
  };                                                                         \
  const bool is_##check_name##_listed = list(#check_name, &check_name::Run); \
  TEST_P(suite, check_name) { check_name::Run(GetParam()); }                 \
  void check_name::Check()
// NOLINTEND(bugprone-macro-parentheses)

namespace once::testing {

// So that a linker that takes one suite out of an archive takes all their files.
bool LinkClaimSuite();
bool LinkHalfMessageSuite();
bool LinkOperationsSuite();
bool LinkOutgoingSuite();
bool LinkOutgoingParkingSuite();

inline constexpr IdRecord kCompletedRecord = {.state = IdState::kCompleted};

// The values of `rows`, in their order; "(null)" where there is none.
std::vector<std::string> Values(const std::vector<PendingRow>& rows);

// One record in every state, and with every field at its limits.
std::vector<IdRecord> RecordsOfEveryKind();

}  // namespace once::testing
