// The drivers: many executions of a scenario, and the first violation made small.
#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/testing/simulation.h"

// The build says it where it knows it.
#ifndef ONCE_COMMIT
#define ONCE_COMMIT "unknown"
#endif

namespace once::testing {
namespace {

// Real time, for the report only.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

void Count(const Report& report, SearchResult& result) {
  ++result.executions;
  result.calls += report.calls;
  for (const Point& hit : report.hits) result.points.Add(hit);
  result.hash = (result.hash ^ report.trace_hash) * 0x9E3779B97F4A7C15u;
}

Report Replay(const Scenario& scenario, const ChoiceList& list, bool is_recording) {
  ReplayOracle oracle(list);
  return RunOnce(scenario, oracle, is_recording);
}

std::size_t CountDeviations(const std::vector<std::uint8_t>& choices) {
  return static_cast<std::size_t>(
      std::count_if(choices.begin(), choices.end(), [](std::uint8_t c) { return c != 0; }));
}

// Takes out every choice that the violation does not need, as long as that makes it smaller.
// Leaving one out may need the rest at other places, so this is not the minimum; it is short
// enough to read.
ChoiceList Shorten(const Scenario& scenario, ChoiceList list, Check check) {
  constexpr int kRoundsMax = 8;
  for (int round = 0; round < kRoundsMax; ++round) {
    bool is_shorter = false;
    for (std::size_t i = list.choices.size(); i-- > 0;) {
      if (i >= list.choices.size() || list.choices[i] == 0) continue;
      ChoiceList shorter = list;
      shorter.choices[i] = 0;
      ReplayOracle oracle(shorter);
      const Report report = RunOnce(scenario, oracle);
      if (!report.violation.has_value() || report.violation->check != check) continue;
      if (CountDeviations(oracle.choices()) >= CountDeviations(list.choices)) continue;
      list.choices = oracle.choices();
      is_shorter = true;
    }
    if (!is_shorter) break;
  }
  return list;
}

Witness MakeWitness(const Scenario& scenario, const Oracle& oracle, const Report& report,
                    bool is_shortened) {
  ChoiceList list{.budget = oracle.budget(), .choices = oracle.choices()};
  if (is_shortened) list = Shorten(scenario, std::move(list), report.violation->check);
  Witness witness{.scenario = scenario.name,
                  .planted_bug = scenario.planted_bug,
                  .report = Replay(scenario, list, true)};
  // Never say "nothing was wrong" about a violation that was seen.
  if (!witness.report.violation.has_value()) {
    witness.report.violation = report.violation;
    witness.report.violation->what += " (NOT REPRODUCED by its own choices: not deterministic)";
    witness.report.choices = report.choices;
  }
  return witness;
}

}  // namespace

SearchResult SearchExhaustively(const Scenario& scenario, Budget budget, SearchLimits limits) {
  const Stopwatch watch;
  SearchResult result;
  DepthFirstOracle oracle(budget);
  do {
    const Report report = RunOnce(scenario, oracle);
    Count(report, result);
    if (report.violation.has_value()) {
      result.is_complete = false;
      result.witness = MakeWitness(scenario, oracle, report, limits.is_shortened);
      break;
    }
    if (result.executions >= limits.executions_max) {
      result.is_complete = false;
      break;
    }
  } while (oracle.Advance());
  result.is_deterministic = oracle.is_deterministic();
  result.seconds = watch.seconds();
  return result;
}

SearchResult SearchSeeds(std::uint64_t first, std::int64_t count,
                         const std::function<SeededCase(std::uint64_t)>& make_case,
                         SearchLimits limits) {
  const Stopwatch watch;
  SearchResult result;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(i);
    const SeededCase seeded = make_case ? make_case(seed) : CaseOfSeed(seed);
    SeededOracle oracle(seed, seeded.budget, seeded.rates);
    const Report report = RunOnce(seeded.scenario, oracle);
    Count(report, result);
    if (!report.violation.has_value()) continue;
    result.is_complete = false;
    result.witness = MakeWitness(seeded.scenario, oracle, report, limits.is_shortened);
    result.witness->seed = seed;
    break;
  }
  result.seconds = watch.seconds();
  return result;
}

SearchResult SearchRandomly(const Scenario& scenario, Budget budget, DeviationRates rates,
                            std::uint64_t first_seed, std::int64_t count) {
  return SearchSeeds(first_seed, count, [&](std::uint64_t) {
    return SeededCase{.scenario = scenario, .budget = budget, .rates = rates};
  });
}

std::string Describe(const Witness& witness) {
  const Report& report = witness.report;
  const Violation violation = report.violation.value_or(Violation{});
  std::string text = report.violation
                         ? absl::StrCat("VIOLATION of ", ToAbsl(ToString(violation.check)), ": ",
                                        violation.what, "\n")
                         : "no violation\n";
  if (witness.seed.has_value()) absl::StrAppend(&text, "seed:     ", *witness.seed, "\n");
  const std::string bug =
      witness.planted_bug.empty() ? "" : absl::StrCat(" --bug ", witness.planted_bug);
  absl::StrAppend(&text, "commit:   ", ONCE_COMMIT, "\nscenario: ", witness.scenario,
                  "\nchoices:  ", report.choices, "\nreplay:   ./dev sim --scenario ",
                  witness.scenario, bug, " --replay ", report.choices, "\n", report.faults,
                  " faults, ", report.preemptions, " preemptions, ", report.restarts, " restarts, ",
                  report.calls, " seam calls, virtual time ",
                  absl::FormatDuration(report.virtual_time), "\n");
  for (const std::string& outcome : report.outcomes) absl::StrAppend(&text, "  ", outcome, "\n");
  text += report.violation && !violation.id.empty() ? "history of the message:\n" : "history:\n";
  const absl::Time begin = report.history.empty() ? absl::UnixEpoch() : report.history.front().time;
  for (const HistoryLine& line : report.history) {
    const bool is_other_partition =
        violation.partition >= 0 && line.partition >= 0 && line.partition != violation.partition;
    const bool is_other_message =
        !violation.id.empty() && !line.id.empty() && line.id != violation.id;
    const bool is_same_message = !violation.id.empty() && line.id == violation.id;
    if ((is_other_partition && !is_same_message) || is_other_message) continue;
    absl::StrAppend(&text, "  ", absl::FormatDuration(line.time - begin), " ", line.who, ": ");
    if (line.partition >= 0) absl::StrAppend(&text, "[", line.partition, "] ");
    if (!line.id.empty()) absl::StrAppend(&text, line.id, " ");
    absl::StrAppend(&text, line.what, "\n");
  }
  return text;
}

}  // namespace once::testing
