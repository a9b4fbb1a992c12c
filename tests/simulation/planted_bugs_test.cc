// The simulator is worth what it catches: every planted bug, in the scenario that names it.
#include "tests/simulation/planted_bugs.h"

#include <gtest/gtest.h>

#include <iostream>

#include "tests/simulation/scenarios.h"

namespace once::testing {
namespace {

class PlantedBugTest : public ::testing::TestWithParam<PlantedBug> {};

SearchResult Search(const PlantedBug& bug, const std::string& name, Budget budget,
                    std::vector<Check> ignored) {
  absl::StatusOr<Scenario> scenario = FindScenario(name);
  EXPECT_TRUE(scenario.ok()) << scenario.status();
  bug.plant(*scenario);
  scenario->ignored = std::move(ignored);
  return SearchExhaustively(*scenario, budget);
}

void ExpectCaught(const PlantedBug& bug, const SearchResult& result, Check check,
                  std::string_view how) {
  ASSERT_TRUE(result.witness.has_value()) << bug.what << ": " << result.executions << " executions";
  EXPECT_EQ(ToString(result.witness->report.violation->check), ToString(check))
      << Describe(*result.witness);
  std::cout << bug.name << ": caught by " << ToString(check) << " (" << how << ") after "
            << result.executions << " executions\n";
}

TEST_P(PlantedBugTest, IsCaught) {
  const PlantedBug& bug = GetParam();
  ExpectCaught(bug, Search(bug, bug.scenario, bug.budget, {}), bug.caught_by, "all rules");
}

TEST_P(PlantedBugTest, IsCaughtByStateAloneOrMasked) {
  const PlantedBug& bug = GetParam();
  if (bug.state_scenario.empty()) {
    const SearchResult result = Search(bug, bug.scenario, bug.budget, ProtocolChecks());
    EXPECT_FALSE(result.witness.has_value()) << "no longer masked:\n" << Describe(*result.witness);
    return;
  }
  ExpectCaught(bug, Search(bug, bug.state_scenario, bug.state_budget, ProtocolChecks()),
               bug.state_caught_by, "state alone");
}

INSTANTIATE_TEST_SUITE_P(Simulator, PlantedBugTest, ::testing::ValuesIn(AllPlantedBugs()),
                         [](const ::testing::TestParamInfo<PlantedBug>& one) {
                           std::string name = one.param.name;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace once::testing
