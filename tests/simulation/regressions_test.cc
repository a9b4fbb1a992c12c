// A guard of replay: the choice string of a planted bug must lead to that bug again, and to nothing
// without it. A string names the choices of one version of the simulator: should the menu or an
// order of calls change, it leads elsewhere, and the test that fails says how to get a new one.
#include <gtest/gtest.h>

#include <string>

#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/scenarios.h"

namespace once::testing {
namespace {

// Two transactions look the same id up before either has written it.
constexpr std::string_view kBug = "ids-not-locked";
constexpr std::string_view kScenario = "copies";
constexpr std::string_view kChoices = "f0p1/14.1";

Report ReplayRegression(bool has_bug) {
  Scenario scenario = *FindScenario(kScenario);
  EXPECT_TRUE(!has_bug || Plant(*FindBug(kBug), scenario));
  const absl::StatusOr<ChoiceList> list = ParseChoices(kChoices);
  EXPECT_TRUE(list.ok()) << list.status();
  ReplayOracle oracle(*list);
  return RunOnce(scenario, oracle);
}

TEST(Regressions, AStringStillLeadsToTheViolationThatItWasPrintedFor) {
  const Report report = ReplayRegression(true);
  ASSERT_TRUE(report.violation.has_value())
      << "the string leads elsewhere now; take the one that this prints: ./dev sim --planted-bugs "
         "--bug "
      << kBug;
  EXPECT_EQ(ToString(report.violation->check), ToString(Check::kOneEffect));
}

TEST(Regressions, TheSameChoicesBreakNothingWithoutTheBug) {
  const Report report = ReplayRegression(false);
  EXPECT_FALSE(report.violation.has_value()) << report.violation->what;
  // It went through the same deviations: the engine was tried, not spared.
  EXPECT_EQ(report.preemptions, 1);
}

}  // namespace
}  // namespace once::testing
