// Plays the world of an incident with its guard, and without it.
#include "tests/simulation/incident.h"

#include <gtest/gtest.h>

#include "src/test_hooks.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/scenarios.h"

namespace once::testing {
Scenario World(std::string_view name, FaultSet faults) {
  absl::StatusOr<Scenario> scenario = FindScenario(name);
  EXPECT_TRUE(scenario.ok()) << scenario.status();
  Scenario world = scenario.ok() ? *std::move(scenario) : Scenario{};
  world.faults = faults;
  return world;
}

void ExpectGuarded(const Incident& incident) {
  const SearchResult guarded = SearchExhaustively(incident.world, incident.budget);
  EXPECT_FALSE(guarded.witness.has_value()) << Describe(*guarded.witness);
  EXPECT_TRUE(guarded.is_complete && guarded.is_deterministic);

  Scenario unguarded = incident.world;
  // Whatever is overtaken shows first; an incident is about what comes of it.
  if (incident.breaks != Check::kOrder) unguarded.ignored.push_back(Check::kOrder);
  if (incident.remove_guard) incident.remove_guard(unguarded);
  if (!incident.guard_removed_by.empty()) {
    const PlantedBug* const bug = FindBug(incident.guard_removed_by);
    ASSERT_NE(bug, nullptr) << incident.guard_removed_by;
    if (bug->is_in_engine && !test_hooks::AreCompiledIn()) {
      GTEST_SKIP() << "the guard holds; this build has no switch to take it away";
    }
    ASSERT_TRUE(Plant(*bug, unguarded));
  }
  const SearchResult broken = SearchExhaustively(unguarded, incident.budget);
  test_hooks::PlantBug("");
  ASSERT_TRUE(broken.witness.has_value())
      << "without the guard it holds as well, after " << broken.executions << " executions";
  EXPECT_EQ(ToString(broken.witness->report.violation->check), ToString(incident.breaks))
      << Describe(*broken.witness);
}

}  // namespace once::testing
