// The drivers: many executions of a scenario, and the first violation made small.
#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/testing/simulation.h"

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
  result.points |= report.points;
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
  Witness witness{.scenario = scenario.name, .report = Replay(scenario, list, true)};
  // Never say "nothing was wrong" about a violation that was seen.
  if (!witness.report.violation.has_value()) {
    witness.report.violation = report.violation;
    witness.report.violation->what += " (NOT REPRODUCED by its own choices: not deterministic)";
    witness.report.choices = report.choices;
  }
  return witness;
}

void DrawMessages(SplitMix& random, Scenario& scenario) {
  const int messages = 1 + random.Below(10);
  for (int i = 0; i < messages; ++i) {
    ScenarioMessage& message = scenario.messages.emplace_back();
    message.partition = random.Below(scenario.partitions);
    message.id = absl::StrCat("m", i);
    if (random.OneIn(4)) {
      static constexpr Handling kOther[] = {Handling::kFailFirst, Handling::kFailAlways,
                                            Handling::kThrow, Handling::kReject, Handling::kSkip};
      message.handling = kOther[random.Below(5)];
      message.failures = message.handling == Handling::kFailFirst ? 1 + random.Below(2) : 0;
    }
    if (random.OneIn(20)) message.id.clear();
    message.is_too_large = message.handling == Handling::kReject && random.OneIn(3);
    if (random.OneIn(3)) message.delay = absl::Milliseconds(random.Below(2000));
    if (i == 0 || !random.OneIn(4)) continue;
    // A producer that sent twice: the same message again, here or in another partition.
    const ScenarioMessage original = scenario.messages[static_cast<std::size_t>(random.Below(i))];
    message = original;
    if (random.OneIn(2)) message.partition = random.Below(scenario.partitions);
    if (!random.OneIn(6)) continue;
    message.value = "another value";
    message.handling = Handling::kDone;
  }
}

// Handlers that kill their process: all copies of a message alike.
void DrawDeaths(SplitMix& random, Scenario& scenario) {
  for (ScenarioMessage& message : scenario.messages) {
    const bool is_plain_done = message.handling == Handling::kDone && message.value.empty();
    if (!is_plain_done || message.id.empty() || !random.OneIn(12)) continue;
    const Handling handling = random.OneIn(3) ? Handling::kDieAlways : Handling::kDieFirst;
    const int failures = 1 + random.Below(3);
    for (ScenarioMessage& copy : scenario.messages) {
      if (copy.id != message.id || !copy.value.empty()) continue;
      copy.handling = handling;
      copy.failures = failures;
    }
  }
}

// Half of the cases have a plain handler, whose claims need settings of their own.
void DrawProtocol(SplitMix& random, Scenario& scenario) {
  scenario.store_loss = random.OneIn(2) ? StoreLoss::kTail : StoreLoss::kUnsynced;
  if (random.OneIn(2)) return;
  scenario.handler = HandlerKind::kPlain;
  static constexpr LostClaim kPolicies[] = {LostClaim::kRerun, LostClaim::kPark,
                                            LostClaim::kReconcile};
  scenario.claims.on_lost = kPolicies[random.Below(3)];
  scenario.stall = absl::Milliseconds(random.OneIn(2) ? 300 : 1500);
  scenario.has_one_owner = scenario.workers == 1 && random.OneIn(2);
  const bool is_renewed = std::all_of(scenario.drives.begin(), scenario.drives.end(),
                                      [](Drive drive) { return drive == Drive::kRun; });
  for (ScenarioMessage& message : scenario.messages) {
    // A letter that no broker takes stops its partition here, for good.
    message.is_too_large = false;
    // Step() renews nothing: its handlers must be quicker than the lease.
    const absl::Duration longest = scenario.claims.lease / 4;
    if (!is_renewed) message.duration = std::min(message.duration, longest);
  }
}

void DrawSettings(SplitMix& random, Scenario& scenario) {
  const auto draw_size = [&random](int max) {
    return static_cast<std::size_t>(1 + random.Below(max));
  };
  for (int i = 0; i < scenario.workers; ++i) {
    scenario.drives.push_back(random.OneIn(2) ? Drive::kRun : Drive::kStep);
    scenario.stop_after.push_back(random.OneIn(3) ? 1 + random.Below(10) : 0);
  }
  if (random.OneIn(3)) {
    // Handlers slower than a batch, a revocation or a stop may be.
    for (ScenarioMessage& message : scenario.messages) {
      if (random.OneIn(3)) message.duration = absl::Milliseconds(50 + random.Below(2500));
    }
    scenario.times.revoke_budget = absl::Milliseconds(100 + random.Below(2000));
    scenario.times.stop_deadline = absl::Milliseconds(100 + random.Below(2000));
    scenario.times.pause_after = absl::Milliseconds(50 + random.Below(1000));
  }
  scenario.protocol = random.OneIn(2) ? RebalanceProtocol::kEager : RebalanceProtocol::kCooperative;
  scenario.store_model = random.OneIn(3) ? StoreModel::kOneTransaction : StoreModel::kRowLocks;
  scenario.messages_per_poll = random.OneIn(2) ? 1000 : draw_size(4);
  scenario.has_partial_polls = random.OneIn(3);
  scenario.has_holes = random.OneIn(5);
  ConsumerLimits& limits = scenario.limits;
  limits.batch_messages_max = random.OneIn(2) ? 1000 : draw_size(4);
  if (random.OneIn(4)) limits.inflight_messages_max = limits.batch_messages_max + draw_size(3) - 1;
  if (random.OneIn(5)) limits.outbox_rows_max = draw_size(3);
  scenario.restart_after = absl::Milliseconds(random.OneIn(2) ? 0 : random.Below(1000));
  scenario.grain = Grain::kFine;
  scenario.times.idle_audit = absl::Milliseconds(500);
  scenario.idle_rounds = 12;  // more than one audit
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
  const Violation& violation = *report.violation;
  std::string text =
      absl::StrCat("VIOLATION of ", ToAbsl(ToString(violation.check)), ": ", violation.what, "\n");
  if (witness.seed.has_value()) absl::StrAppend(&text, "seed:     ", *witness.seed, "\n");
  absl::StrAppend(&text, "scenario: ", witness.scenario, "\nchoices:  ", report.choices,
                  "\nreplay:   once_sim --scenario ", witness.scenario, " --replay ",
                  report.choices, "\n", report.faults, " faults, ", report.preemptions,
                  " preemptions, ", report.restarts, " restarts, ", report.calls,
                  " seam calls, virtual time ", absl::FormatDuration(report.virtual_time), "\n");
  for (const std::string& outcome : report.outcomes) absl::StrAppend(&text, "  ", outcome, "\n");
  text += "history of the message:\n";
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

SeededCase CaseOfSeed(std::uint64_t seed) {
  // Another stream than the oracle's, which is seeded with the seed itself.
  SplitMix random(seed ^ 0xA5A5A5A55A5A5A5Au);
  SeededCase seeded;
  Scenario& scenario = seeded.scenario;
  scenario.name = absl::StrCat("seed-", seed);
  scenario.partitions = 1 + random.Below(3);
  scenario.workers = 1 + random.Below(3);
  DrawMessages(random, scenario);
  DrawSettings(random, scenario);
  DrawProtocol(random, scenario);
  DrawDeaths(random, scenario);
  for (std::size_t fault = 1; fault < kFaultCount; ++fault) {
    if (random.OneIn(3)) scenario.faults = scenario.faults.Without({static_cast<Fault>(fault)});
  }
  seeded.budget = {.faults = random.Below(25), .preemptions = random.Below(60)};
  static constexpr int kRates[] = {2, 10, 40, 150};
  seeded.rates = {.fault = kRates[random.Below(4)], .preemption = kRates[random.Below(4)]};
  return seeded;
}

}  // namespace once::testing
