// An Incident is something that happened to a consumer in production, played on this engine: in the
// world of the incident, with the faults that caused it, no rule may be broken; and with the guard
// taken away that keeps it from happening, one must be, or the world proves nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "once/testing/simulation.h"

namespace once::testing {

struct Incident {
  Scenario world;
  Budget budget = {.faults = 1};
  // Of planted_bugs.h …
  std::string guard_removed_by = {};
  // … or its own.
  std::function<void(Scenario&)> remove_guard = nullptr;
  Check breaks = Check::kOneOutcome;
};

// `name` of scenarios.h, with nothing going wrong but `faults`.
Scenario World(std::string_view name, FaultSet faults);

// Plays both, in every way within the budget.
void ExpectGuarded(const Incident& incident);

}  // namespace once::testing
