// The switches of a test build: points are armed and passed, bugs planted one at a time.
#include "src/test_hooks.h"

#include <signal.h>

#include <cstdlib>

#include <gtest/gtest.h>

namespace once {
namespace {

TEST(TestHooks, OnlyABugThatTheEngineHasCanBePlanted) {
  EXPECT_FALSE(test_hooks::PlantBug("no such bug"));
  EXPECT_TRUE(test_hooks::PlantBug(""));
}

TEST(TestHooks, TheArmedPointEndsTheProcessWhenItIsPassedForTheNthTime) {
  // A process of its own, in which no point was passed before.
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("ONCE_KILL_AT", "test.point:2", 1);
        test_hooks::PassKillPoint("test.other");
        test_hooks::PassKillPoint("test.point");
        fputs("passed once\n", stderr);
        test_hooks::PassKillPoint("test.point");
      },
      ::testing::KilledBySignal(SIGKILL), "passed once");
}

}  // namespace
}  // namespace once
