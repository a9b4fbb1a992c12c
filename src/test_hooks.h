// Two switches that only a test build has (ONCE_TEST_HOOKS); elsewhere they are nothing at all.
//
//   ONCE_KILL_POINT("transaction.after_commit");   the process may be made to die here
//   if (ONCE_PLANTED_BUG("reach-not-raised")) …     the engine may be made to be wrong here
//
// A kill point is armed by the environment: ONCE_KILL_AT="transaction.after_commit:3" ends the
// process with SIGKILL when it passes that point for the third time. A planted bug is switched on
// by PlantBug(), or by ONCE_BUG="reach-not-raised". KillPoints() and EngineBugs() list what the
// program has, so that no campaign can forget a new one.
//
// A name is a literal, used in functions that are no templates. Thread-safety: all are safe for
// concurrent use, except that PlantBug() must not race with the code that asks.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace once::test_hooks {

// Whether the library was built with the switches.
bool AreCompiledIn();

// Sorted, each once; empty without the switches.
std::vector<std::string> KillPoints();
std::vector<std::string> EngineBugs();

// Empty: no bug. False when there is none of that name.
bool PlantBug(std::string_view name);

// Called by the macros.
void PassKillPoint(const char* name);
bool IsPlanted(const char* name);

}  // namespace once::test_hooks

#ifdef ONCE_TEST_HOOKS
// The linker gathers the names of a section, which is how they are listed without being passed.
#define ONCE_KILL_POINT(name)                                                                  \
  do {                                                                                         \
    [[gnu::section("once_kill_points"), gnu::used]] static const char* const once_kill_point = \
        name;                                                                                  \
    ::once::test_hooks::PassKillPoint(once_kill_point);                                        \
  } while (false)
#define ONCE_PLANTED_BUG(name)                                                                 \
  ([]() -> bool {                                                                              \
    [[gnu::section("once_engine_bugs"), gnu::used]] static const char* const once_engine_bug = \
        name;                                                                                  \
    return ::once::test_hooks::IsPlanted(once_engine_bug);                                     \
  }())
#else
#define ONCE_KILL_POINT(name) \
  do {                        \
  } while (false)
#define ONCE_PLANTED_BUG(name) false
#endif
