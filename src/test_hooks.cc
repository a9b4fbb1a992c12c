// Which point is armed, and which bug is planted: read once from the environment, as a test's child
// gets it. An engine that is not a test build never asks.
#include "src/test_hooks.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <span>

// The ends of the two sections; null in a program without any name in them.
// NOLINTBEGIN(bugprone-reserved-identifier): the linker chooses these names.
extern "C" {
extern const char* const __start_once_kill_points[] __attribute__((weak));
extern const char* const __stop_once_kill_points[] __attribute__((weak));
extern const char* const __start_once_engine_bugs[] __attribute__((weak));
extern const char* const __stop_once_engine_bugs[] __attribute__((weak));
}
// NOLINTEND(bugprone-reserved-identifier)

namespace once::test_hooks {
namespace {

// The n-th time the point is passed.
struct Armed {
  std::string name;
  std::int64_t count = 0;
};

Armed ReadArmed() {
  const char* text = std::getenv("ONCE_KILL_AT");  // style: seam - test builds only
  if (text == nullptr) return {};
  const std::string_view armed = text;
  const std::size_t colon = armed.rfind(':');
  if (colon == std::string_view::npos) return {.name = std::string(armed), .count = 1};
  return {.name = std::string(armed.substr(0, colon)),
          .count = std::strtoll(text + colon + 1, nullptr, 10)};
}

std::string_view ReadBug() {
  const char* text = std::getenv("ONCE_BUG");  // style: seam - test builds only
  return text == nullptr ? std::string_view() : std::string_view(text);
}

std::string& PlantedBug() {
  static std::string* const bug = new std::string(ReadBug());
  return *bug;
}

std::vector<std::string> Names(const char* const* begin, const char* const* end) {
  std::vector<std::string> names;
  if (begin != nullptr) names.assign(begin, end);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace

bool AreCompiledIn() {
#ifdef ONCE_TEST_HOOKS
  return true;
#else
  return false;
#endif
}

std::vector<std::string> KillPoints() {
  return Names(__start_once_kill_points, __stop_once_kill_points);
}

std::vector<std::string> EngineBugs() {
  return Names(__start_once_engine_bugs, __stop_once_engine_bugs);
}

bool PlantBug(std::string_view name) {
  const std::vector<std::string> bugs = EngineBugs();
  if (!name.empty() && std::find(bugs.begin(), bugs.end(), name) == bugs.end()) return false;
  PlantedBug() = name;
  return true;
}

void PassKillPoint(const char* name) {
  static const Armed* const armed = new Armed(ReadArmed());
  static std::atomic<std::int64_t> passed = 0;
  if (armed->name != name || ++passed != armed->count) return;
  raise(SIGKILL);
}

bool IsPlanted(const char* name) {
  const std::string& bug = PlantedBug();
  return !bug.empty() && bug == name;
}

}  // namespace once::test_hooks
