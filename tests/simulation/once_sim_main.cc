// once_sim searches for executions that break a promise of the engine. It prints one JSON object on
// standard output, progress and witnesses on standard error, and exits with 1 on a violation.
//
//   once_sim --exhaustive                      every schedule of the small scenarios
//   once_sim --exhaustive --scenario letters   one of them
//   once_sim --seeds 10000 [--seed 1]          so many seeds, from that one on: even ones in
//                                              liveness mode, odd ones in safety mode
//   once_sim --seeds 10000 --mode safety       all of them in one mode
//   once_sim --scenario NAME --replay CHOICES  one execution, with its history
//   once_sim --scenario NAME --bug BUG --replay CHOICES   the same, with a planted bug
//   once_sim --planted-bugs                    every planted bug must be caught; with --bug BUG,
//                                              that one, and how to replay it is told
//
// An exhaustive run of all scenarios that never hits a possible crash point exits with 1 as well.
// --points adds a table: how often each was hit. --threads makes every fibre a thread:
// slow, and the same executions.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
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
  FiberKind fibers = FiberKind::kStack;
  std::optional<Mode> mode;  // nullopt: both
  std::int64_t seeds = 0;
  std::uint64_t seed = 1;
  std::string replay;
  std::string scenario;
  std::string bug;
};

struct Totals {
  std::int64_t executions = 0;
  std::int64_t violations = 0;
  double seconds = 0;  // of all searches together
  PointCounts points;
  std::vector<std::string> details;  // JSON objects
};

constexpr std::string_view kUsage =
    "usage: once_sim [--exhaustive] [--seeds N] [--seed S] [--mode safety|liveness|both]\n"
    "                [--scenario NAME] [--bug BUG] [--replay CHOICES] [--planted-bugs]\n"
    "                [--threads] [--points] [--json]\n";

// False for another word.
bool ParseMode(const std::string& word, std::optional<Mode>& mode) {
  mode = std::nullopt;
  if (word == "safety") mode = Mode::kSafety;
  if (word == "liveness") mode = Mode::kLiveness;
  return mode.has_value() || word == "both";
}

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
    } else if (word == "--threads") {
      arguments.fibers = FiberKind::kThread;
    } else if (word == "--mode" && has_value) {
      if (!ParseMode(words[++i], arguments.mode)) return std::nullopt;
    } else if (word == "--seeds" && has_value) {
      arguments.seeds = std::strtoll(words[++i].c_str(), nullptr, 10);
    } else if (word == "--seed" && has_value) {
      arguments.seed = std::strtoull(words[++i].c_str(), nullptr, 10);
      if (arguments.seeds == 0) arguments.seeds = 1;
    } else if (word == "--replay" && has_value) {
      arguments.replay = words[++i];
    } else if (word == "--scenario" && has_value) {
      arguments.scenario = words[++i];
    } else if (word == "--bug" && has_value) {
      arguments.bug = words[++i];
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
  totals.points.Add(result.points);
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

// One search of the exhaustive run; no two have anything in common.
struct Search {
  Scenario scenario;
  Budget budget;
};

std::vector<Search> ExhaustiveSearches(const Arguments& arguments) {
  std::vector<Search> searches;
  for (ExhaustiveCase& one : ExhaustiveCases()) {
    one.scenario.fibers = arguments.fibers;
    if (!arguments.scenario.empty() && one.scenario.name != arguments.scenario) continue;
    for (const Budget& budget : one.budgets) searches.push_back({one.scenario, budget});
  }
  return searches;
}

// On every core there is.
bool RunExhaustive(const Arguments& arguments, Totals& totals) {
  const std::vector<Search> searches = ExhaustiveSearches(arguments);
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  const auto work = [&] {
    for (std::size_t i = next++; i < searches.size(); i = next++) {
      const SearchResult result = SearchExhaustively(searches[i].scenario, searches[i].budget);
      const std::lock_guard lock(mutex);
      Add(result, searches[i].scenario.name, Show(searches[i].budget), totals);
    }
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) threads.emplace_back(work);
  work();
  threads.clear();
  if (searches.empty()) std::cerr << FindScenario(arguments.scenario).status().ToString() << "\n";
  return !searches.empty();
}

bool RunReplay(const Arguments& arguments, Totals& totals) {
  const absl::StatusOr<ChoiceList> list = ParseChoices(arguments.replay);
  absl::StatusOr<Scenario> scenario = FindScenario(arguments.scenario);
  if (!list.ok() || !scenario.ok()) {
    std::cerr << list.status().ToString() << "\n" << scenario.status().ToString() << "\n";
    return false;
  }
  scenario->fibers = arguments.fibers;
  const PlantedBug* const bug = FindBug(arguments.bug);
  const bool is_planted = bug != nullptr && Plant(*bug, *scenario);
  if (!arguments.bug.empty() && !is_planted) {
    std::cerr << "no such bug in this build: " << arguments.bug << "\n";
    return false;
  }
  ReplayOracle oracle(*list);
  const Witness witness{.scenario = scenario->name,
                        .planted_bug = arguments.bug,
                        .report = RunOnce(*scenario, oracle, true)};
  ++totals.executions;
  for (const Point& hit : witness.report.hits) totals.points.Add(hit);
  std::cerr << "trace hash " << absl::StrCat(absl::Hex(witness.report.trace_hash)) << "\n";
  if (witness.report.violation.has_value()) ++totals.violations;
  std::cerr << Describe(witness);
  return true;
}

void RunSeeds(const Arguments& arguments, Totals& totals) {
  const auto make_case = [&arguments](std::uint64_t seed) {
    SeededCase seeded = arguments.mode ? CaseOfSeed(seed, *arguments.mode) : CaseOfSeed(seed);
    seeded.scenario.fibers = arguments.fibers;
    return seeded;
  };
  const SearchResult result = SearchSeeds(arguments.seed, arguments.seeds, make_case);
  const std::string mode =
      arguments.mode ? std::string(ToString(*arguments.mode)) : "liveness and safety by turns";
  Add(result, "seeds", absl::StrCat("from ", arguments.seed, ", ", mode), totals);
}

void PrintPoints(const Totals& totals) {
  for (const Point& point : AllPoints(FaultSet::All())) {
    const std::int64_t hits = totals.points.Of(point);
    std::cerr << std::setw(12) << hits << "  " << ToString(point)
              << (hits == 0 ? "  NEVER HIT" : "") << "\n";
  }
}

// One line per bug on standard error, one object on standard output; false when one got away.
bool RunHunt(const std::string& only) {
  if (!test_hooks::AreCompiledIn()) {
    std::cerr << "this build has no switches in its engine: configure with -DONCE_TEST_HOOKS=ON, "
                 "as the preset `dev` does\n";
    return false;
  }
  std::size_t caught = 0;
  std::vector<std::string> bugs;
  for (const PlantedBug& bug : AllPlantedBugs()) {
    if (!only.empty() && bug.name != only) continue;
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
    if (!only.empty() && is_caught) std::cerr << Describe(*result.witness);
  }
  std::cout << "{\"planted\":" << bugs.size() << ",\"caught\":" << caught << ",\"bugs\":["
            << absl::StrJoin(bugs, ",") << "]}" << std::endl;
  return caught == bugs.size() && !bugs.empty();
}

void Print(const Totals& totals, bool is_listing_points) {
  const std::vector<Point> menu = AllPoints(FaultSet::All());
  const auto hit = std::count_if(menu.begin(), menu.end(), [&totals](const Point& point) {
    return totals.points.Of(point) > 0;
  });
  std::cout << "{\"executions\":" << totals.executions << ",\"violations\":" << totals.violations
            << ",\"seconds\":" << totals.seconds << ",\"points_hit\":" << hit
            << ",\"points_total\":" << menu.size() << ",\"searches\":["
            << absl::StrJoin(totals.details, ",") << "]}" << std::endl;
  if (is_listing_points) PrintPoints(totals);
}

// False when an exhaustive run of everything left out a point that the menu has.
bool IsComplete(const Arguments& arguments, const Totals& totals) {
  if (!arguments.is_exhaustive || !arguments.scenario.empty()) return true;
  bool is_complete = true;
  for (const Point& point : AllPoints(FaultSet::All())) {
    if (totals.points.Of(point) > 0) continue;
    std::cerr << "NEVER HIT: " << ToString(point) << "\n";
    is_complete = false;
  }
  return is_complete;
}

int Main(const std::vector<std::string>& words) {
  const std::optional<Arguments> arguments = Parse(words);
  if (arguments.has_value() && arguments->is_hunting) return RunHunt(arguments->bug) ? 0 : 1;
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
    if (arguments->seeds > 0) RunSeeds(*arguments, totals);
  }
  if (!is_usable) return 2;
  Print(totals, arguments->is_listing_points);
  return totals.violations == 0 && IsComplete(*arguments, totals) ? 0 : 1;
}

}  // namespace
}  // namespace once::testing

int main(int argc, char** argv) { return once::testing::Main({argv + 1, argv + argc}); }
