// once_sim searches for executions that break a promise of the engine. It prints one JSON object on
// standard output, progress and witnesses on standard error, and exits with 1 on a violation.
//
//   once_sim --exhaustive                      every schedule of the small scenarios
//   once_sim --exhaustive --scenario letters   one of them
//   once_sim --seeds 10000 [--seed 1]          so many seeds, from that one on
//   once_sim --scenario NAME --replay CHOICES  one execution, with its history
//   once_sim --planted-bugs                    every planted bug must be caught
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "once/abseil.h"
#include "once/testing/simulation.h"
#include "src/test_hooks.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/scenarios.h"

namespace once::testing {
namespace {

struct Arguments {
  bool is_exhaustive = false;
  bool is_json = false;
  bool is_listing_points = false;
  bool is_hunting = false;
  std::int64_t seeds = 0;
  std::uint64_t seed = 1;
  std::string replay;
  std::string scenario;
};

struct Totals {
  std::int64_t executions = 0;
  std::int64_t violations = 0;
  double seconds = 0;
  PointSet points;
  std::vector<std::string> details;  // JSON objects
};

constexpr std::string_view kUsage =
    "usage: once_sim [--exhaustive] [--seeds N] [--seed S] [--scenario NAME] [--replay CHOICES]\n"
    "                [--planted-bugs] [--points] [--json]\n";

std::optional<Arguments> Parse(const std::vector<std::string>& words) {
  Arguments arguments;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool has_value = i + 1 < words.size();
    if (word == "--exhaustive") {
      arguments.is_exhaustive = true;
    } else if (word == "--json") {
      arguments.is_json = true;
    } else if (word == "--planted-bugs") {
      arguments.is_hunting = true;
    } else if (word == "--points") {
      arguments.is_listing_points = true;
    } else if (word == "--seeds" && has_value) {
      arguments.seeds = std::strtoll(words[++i].c_str(), nullptr, 10);
    } else if (word == "--seed" && has_value) {
      arguments.seed = std::strtoull(words[++i].c_str(), nullptr, 10);
      if (arguments.seeds == 0) arguments.seeds = 1;
    } else if (word == "--replay" && has_value) {
      arguments.replay = words[++i];
    } else if (word == "--scenario" && has_value) {
      arguments.scenario = words[++i];
    } else {
      return std::nullopt;
    }
  }
  return arguments;
}

std::string Show(const Budget& budget) {
  return absl::StrCat("faults <= ", budget.faults, ", preemptions <= ", budget.preemptions);
}

void Add(const SearchResult& result, const std::string& name, const std::string& bounds,
         Totals& totals) {
  totals.executions += result.executions;
  totals.seconds += result.seconds;
  totals.points |= result.points;
  const bool is_bad = result.witness.has_value() || !result.is_deterministic;
  if (is_bad) ++totals.violations;
  totals.details.push_back(absl::StrCat(
      "{\"scenario\":\"", name, "\",\"bounds\":\"", bounds, "\",\"executions\":", result.executions,
      ",\"seconds\":", result.seconds, ",\"complete\":", result.is_complete ? "true" : "false",
      ",\"violations\":", is_bad ? 1 : 0, ",\"hash\":\"", absl::Hex(result.hash), "\"}"));
  std::cerr << name << " (" << bounds << "): " << result.executions << " executions, "
            << result.seconds << " s" << (is_bad ? ", VIOLATION" : "") << "\n";
  if (!result.is_deterministic) {
    std::cerr << "NOT DETERMINISTIC: an execution depends on something else than its choices\n";
  }
  if (result.witness.has_value()) std::cerr << Describe(*result.witness);
}

bool RunExhaustive(const Arguments& arguments, Totals& totals) {
  bool is_found = false;
  for (const ExhaustiveCase& one : ExhaustiveCases()) {
    if (!arguments.scenario.empty() && one.scenario.name != arguments.scenario) continue;
    is_found = true;
    for (const Budget& budget : one.budgets) {
      const SearchResult result = SearchExhaustively(one.scenario, budget);
      Add(result, one.scenario.name, Show(budget), totals);
      if (result.witness.has_value()) break;
    }
  }
  if (!is_found) std::cerr << FindScenario(arguments.scenario).status().ToString() << "\n";
  return is_found;
}

bool RunReplay(const Arguments& arguments, Totals& totals) {
  const absl::StatusOr<ChoiceList> list = ParseChoices(arguments.replay);
  const absl::StatusOr<Scenario> scenario = FindScenario(arguments.scenario);
  if (!list.ok() || !scenario.ok()) {
    std::cerr << list.status().ToString() << "\n" << scenario.status().ToString() << "\n";
    return false;
  }
  ReplayOracle oracle(*list);
  Witness witness{.scenario = scenario->name, .report = RunOnce(*scenario, oracle, true)};
  ++totals.executions;
  totals.points = witness.report.points;
  std::cerr << "trace hash " << absl::StrCat(absl::Hex(witness.report.trace_hash)) << "\n";
  if (witness.report.violation.has_value()) {
    ++totals.violations;
  } else {
    witness.report.violation = Violation{.what = "none: all of the history follows"};
  }
  std::cerr << Describe(witness);
  return true;
}

// One line per bug on standard error, one object on standard output; false when one got away.
bool RunHunt() {
  if (!test_hooks::AreCompiledIn()) {
    std::cerr << "this build has no switches in its engine: configure with -DONCE_TEST_HOOKS=ON, "
                 "as the preset `dev` does\n";
    return false;
  }
  std::size_t caught = 0;
  std::vector<std::string> bugs;
  for (const PlantedBug& bug : AllPlantedBugs()) {
    const SearchResult result = HuntBug(bug, Judged::kByAllRules);
    const bool is_caught = result.witness.has_value();
    caught += is_caught ? 1 : 0;
    const std::string_view rule =
        is_caught ? ToString(result.witness->report.violation->check) : "nothing";
    bugs.push_back(absl::StrCat("{\"bug\":\"", bug.name, "\",\"scenario\":\"", bug.scenario,
                                "\",\"bounds\":\"", Show(bug.budget), "\",\"caught_by\":\"",
                                ToAbsl(rule), "\",\"executions\":", result.executions, "}"));
    std::cerr << (is_caught ? "caught   " : "NOT CAUGHT ") << bug.name << " (" << bug.what
              << "): by " << rule << " in " << bug.scenario << " after " << result.executions
              << " executions\n";
  }
  std::cout << "{\"planted\":" << bugs.size() << ",\"caught\":" << caught << ",\"bugs\":["
            << absl::StrJoin(bugs, ",") << "]}" << std::endl;
  return caught == bugs.size();
}

void Print(const Totals& totals, bool is_listing_points) {
  const PointSet menu = AllPoints(FaultSet::All());
  const PointSet hit = totals.points & menu;
  std::cout << "{\"executions\":" << totals.executions << ",\"violations\":" << totals.violations
            << ",\"seconds\":" << totals.seconds << ",\"points_hit\":" << hit.count()
            << ",\"points_total\":" << menu.count() << ",\"searches\":["
            << absl::StrJoin(totals.details, ",") << "]}" << std::endl;
  if (!is_listing_points) return;
  for (const std::string& name : PointNames(menu & ~hit)) std::cerr << "not hit: " << name << "\n";
}

int Main(const std::vector<std::string>& words) {
  const std::optional<Arguments> arguments = Parse(words);
  if (arguments.has_value() && arguments->is_hunting) return RunHunt() ? 0 : 1;
  const bool has_work =
      arguments.has_value() &&
      (arguments->is_exhaustive || arguments->seeds > 0 || !arguments->replay.empty());
  if (!has_work) {
    std::cerr << kUsage;
    return 2;
  }
  Totals totals;
  bool is_usable = true;
  if (!arguments->replay.empty()) {
    is_usable = RunReplay(*arguments, totals);
  } else {
    if (arguments->is_exhaustive) is_usable = RunExhaustive(*arguments, totals);
    if (arguments->seeds > 0) {
      const SearchResult result = SearchSeeds(arguments->seed, arguments->seeds);
      Add(result, "seeds", absl::StrCat("from ", arguments->seed), totals);
    }
  }
  if (!is_usable) return 2;
  Print(totals, arguments->is_listing_points);
  return totals.violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace once::testing

int main(int argc, char** argv) { return once::testing::Main({argv + 1, argv + argc}); }
