// The simulator is worth what it catches: every planted bug, in the scenario that names it.
#include "tests/simulation/planted_bugs.h"

#include <gtest/gtest.h>

#include <iostream>
#include <set>

#include "src/test_hooks.h"

namespace once::testing {
namespace {

class PlantedBugTest : public ::testing::TestWithParam<PlantedBug> {
 protected:
  void SetUp() override {
    if (GetParam().is_in_engine && !test_hooks::AreCompiledIn()) {
      GTEST_SKIP() << "this build has no switches in its engine (ONCE_TEST_HOOKS)";
    }
  }
};

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
  ExpectCaught(bug, HuntBug(bug, Judged::kByAllRules), bug.caught_by, "all rules");
}

TEST_P(PlantedBugTest, IsCaughtByStateAloneOrMasked) {
  const PlantedBug& bug = GetParam();
  const SearchResult result = HuntBug(bug, Judged::kByStateAlone);
  if (!bug.state_scenario.empty()) {
    ExpectCaught(bug, result, bug.state_caught_by, "state alone");
    return;
  }
  EXPECT_TRUE(result.is_complete);
  EXPECT_FALSE(result.witness.has_value()) << "no longer masked:\n" << Describe(*result.witness);
}

INSTANTIATE_TEST_SUITE_P(Simulator, PlantedBugTest, ::testing::ValuesIn(AllPlantedBugs()),
                         [](const ::testing::TestParamInfo<PlantedBug>& one) {
                           std::string name = one.param.name;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(PlantedBugs, EverySwitchOfTheEngineIsInTheTable) {
  std::set<std::string> listed;
  for (const PlantedBug& bug : AllPlantedBugs()) {
    if (bug.is_in_engine) listed.insert(bug.name);
  }
  for (const std::string& name : test_hooks::EngineBugs()) {
    EXPECT_TRUE(listed.contains(name)) << name;
  }
}

}  // namespace
}  // namespace once::testing
