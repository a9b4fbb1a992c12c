// The engine under the simulator: small enough for every build. once_sim searches much further.
#include "once/testing/simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/scenarios.h"

namespace once::testing {
namespace {

// A sanitizer makes an execution ten times slower: it plays fewer of the same.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

class ExhaustiveTest : public ::testing::TestWithParam<ExhaustiveCase> {};

TEST_P(ExhaustiveTest, NoScheduleWithOneFaultBreaksARule) {
  const SearchResult result =
      SearchExhaustively(GetParam().scenario, {.faults = 1, .preemptions = 0});
  EXPECT_FALSE(result.witness.has_value()) << Describe(*result.witness);
  EXPECT_TRUE(result.is_complete);
  EXPECT_TRUE(result.is_deterministic);
  EXPECT_GT(result.executions, 50);
}

TEST_P(ExhaustiveTest, NoScheduleWithOnePreemptionBreaksARule) {
  const SearchResult result =
      SearchExhaustively(GetParam().scenario, {.faults = 0, .preemptions = 1});
  EXPECT_FALSE(result.witness.has_value()) << Describe(*result.witness);
  EXPECT_TRUE(result.is_complete && result.is_deterministic);
}

INSTANTIATE_TEST_SUITE_P(Engine, ExhaustiveTest, ::testing::ValuesIn(ExhaustiveCases()),
                         [](const ::testing::TestParamInfo<ExhaustiveCase>& one) {
                           std::string name = one.param.scenario.name;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// The real engine with transactions, whatever the seed draws.
SeededCase TransactionalCase(std::uint64_t seed, Mode mode) {
  SeededCase seeded = CaseOfSeed(seed, mode);
  seeded.scenario.handler = HandlerKind::kTransactional;
  seeded.scenario.has_queue = false;
  seeded.scenario.make_subject = MakeConsumer;
  return seeded;
}

void PlantBlindUpsert(Scenario& scenario) {
  for (const PlantedBug& bug : AllPlantedBugs()) {
    if (bug.name == "blind-upsert") bug.plant(scenario);
  }
}

class ModeTest : public ::testing::TestWithParam<Mode> {};

TEST_P(ModeTest, ThousandsOfSeedsBreakNoRule) {
  const SearchResult result =
      SearchSeeds(1, 10'000, [](std::uint64_t seed) { return CaseOfSeed(seed, GetParam()); });
  EXPECT_FALSE(result.witness.has_value()) << Describe(*result.witness);
  EXPECT_EQ(result.executions, 10'000);
}

TEST_P(ModeTest, ABugIsCaught) {
  const auto make_case = [](std::uint64_t seed) {
    SeededCase seeded = TransactionalCase(seed, GetParam());
    PlantBlindUpsert(seeded.scenario);
    return seeded;
  };
  EXPECT_TRUE(SearchSeeds(1, 5000, make_case, {.is_shortened = false}).witness.has_value());
}

INSTANTIATE_TEST_SUITE_P(Engine, ModeTest, ::testing::Values(Mode::kLiveness, Mode::kSafety),
                         [](const ::testing::TestParamInfo<Mode>& one) {
                           return std::string(ToString(one.param));
                         });

TEST(Simulation, SafetyModeGoesOnWithFaultsUntilItIsCutOff) {
  int faults_most = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const SeededCase seeded = CaseOfSeed(seed, Mode::kSafety);
    SeededOracle oracle(seed, seeded.budget, seeded.rates);
    const Report report = RunOnce(seeded.scenario, oracle);
    faults_most = std::max(faults_most, report.faults);
    // What was under way when it was cut off still ends.
    EXPECT_LT(report.virtual_time, seeded.scenario.safety_time + absl::Minutes(1));
  }
  EXPECT_GT(faults_most, 100);
}

TEST(Simulation, AFullStoreIsWaitedOutWithoutARestartOrALoss) {
  for (const char* name : {"one-partition", "embedded-store", "letters", "plain-one-partition",
                           "plain-embedded-store", "plain-letters", "queue", "plain-queue"}) {
    Scenario scenario = *FindScenario(name);
    scenario.faults = {Fault::kNoSpace};
    const SearchResult result = SearchExhaustively(scenario, {.faults = kIsSanitized ? 1 : 2});
    EXPECT_FALSE(result.witness.has_value()) << Describe(*result.witness);
    EXPECT_GT(result.executions, kIsSanitized ? 2 : 20) << name;
  }
}

// A process sleeps for longer than its lease there, and somebody else takes over meanwhile.
TEST(Simulation, LeasesEndInTheMiddleOfEveryClaimWord) {
  const Scenario of_log = *FindScenario("plain-fine");
  ASSERT_GT(of_log.stall, of_log.claims.lease);
  PointCounts points = SearchExhaustively(of_log, {.faults = 1}).points;
  Scenario of_queue = *FindScenario("plain-queue-fine");
  ASSERT_GT(of_queue.stall, of_queue.claims.lease);
  // A claim is given back only after something else has failed.
  of_queue.faults = {Fault::kFailure, Fault::kStall};
  points.Add(SearchExhaustively(of_queue, {.faults = 2}).points);
  for (const Seam word : {Seam::kTryClaim, Seam::kBegun, Seam::kRenew, Seam::kComplete, Seam::kFail,
                          Seam::kDying, Seam::kKill, Seam::kDiscard, Seam::kRelease, Seam::kSync}) {
    EXPECT_GT(points.Of({.seam = word, .fault = Fault::kStall}), 0) << ToString(word);
  }
}

// What the first life had recorded of `a`, the second one claims anew.
TEST(Simulation, AStoreInMemoryKnowsNothingInTheNextLife) {
  ReplayOracle oracle(*ParseChoices("f0p0"));
  const Report report = RunOnce(*FindScenario("plain-memory-store"), oracle, true);
  const auto count = [&report](std::string_view who, std::string_view what) {
    return std::count_if(
        report.history.begin(), report.history.end(), [&](const HistoryLine& line) {
          return line.who == who && line.id == "a" && line.what.find(what) != std::string::npos;
        });
  };
  EXPECT_EQ(count("worker-0.1", "dying with 1 → OK"), 1);
  EXPECT_EQ(count("worker-0.2", "→ fresh, attempt 1"), 1);
  EXPECT_EQ(count("worker-0.2", "publishes the dead letter"), 1);
  EXPECT_FALSE(report.violation.has_value()) << report.violation->what;
}

TEST(Simulation, ALateRenewalIsOnlySeenByAStoreWhoseClockIsFast) {
  for (const char* name : {"plain-slow", "plain-store-slow", "plain-store-fast"}) {
    Scenario scenario = *FindScenario(name);
    ASSERT_TRUE(Plant(*FindBug("renewed-half-as-often"), scenario));
    const SearchResult result = SearchExhaustively(scenario, {}, {.executions_max = 100});
    EXPECT_EQ(result.witness.has_value(), scenario.store_clock.rate > 1) << name;
  }
}

TEST(Simulation, AReplayThatBreaksNothingSaysSo) {
  ReplayOracle oracle(*ParseChoices("f0p0"));
  const Scenario scenario = *FindScenario("one-partition");
  const std::string text =
      Describe({.scenario = scenario.name, .report = RunOnce(scenario, oracle, true)});
  EXPECT_TRUE(text.starts_with("no violation\n")) << text;
}

// Nothing may hang on how fibres are made: not an exception, not an order, not a hidden state of
// the thread.
TEST(Simulation, ThreadsWithABatonPlayTheSameExecutionsAsFibres) {
  std::map<std::string, int> kinds;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    SeededCase seeded = CaseOfSeed(seed);
    SeededOracle oracle(seed, seeded.budget, seeded.rates);
    const Report fibres = RunOnce(seeded.scenario, oracle);
    seeded.scenario.fibers = FiberKind::kThread;
    SeededOracle same(seed, seeded.budget, seeded.rates);
    const Report threads = RunOnce(seeded.scenario, same);
    EXPECT_EQ(threads.trace_hash, fibres.trace_hash) << seeded.scenario.name;
    EXPECT_EQ(threads.choices, fibres.choices);
    EXPECT_EQ(threads.calls, fibres.calls);
    const bool is_plain = seeded.scenario.handler == HandlerKind::kPlain;
    const bool is_run = seeded.scenario.drives.front() == Drive::kRun;
    ++kinds[absl::StrCat(is_plain ? "plain " : "transactional ", is_run ? "run" : "step")];
  }
  EXPECT_EQ(kinds.size(), 4);
  for (const auto& [kind, count] : kinds) EXPECT_GT(count, 10) << kind;
}

TEST(Simulation, WhatIsTooLargeToBePlayedInEveryWayIsPlayedInManyWays) {
  for (const Scenario& scenario : RandomCases()) {
    const SearchResult result = SearchRandomly(scenario, {.faults = 2, .preemptions = 10},
                                               {.fault = 40, .preemption = 100}, 1, 1000);
    EXPECT_FALSE(result.witness.has_value()) << Describe(*result.witness);
  }
}

TEST(Simulation, TheSameSeedGivesTheSameTrace) {
  const SearchResult first = SearchSeeds(100, 200);
  const SearchResult second = SearchSeeds(100, 200);
  EXPECT_EQ(first.hash, second.hash);
  EXPECT_EQ(first.calls, second.calls);
  EXPECT_NE(first.hash, SearchSeeds(101, 200).hash);
}

TEST(Simulation, TheChoiceStringOfASeedReplaysIt) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const SeededCase seeded = CaseOfSeed(seed);
    SeededOracle oracle(seed, seeded.budget, seeded.rates);
    const Report report = RunOnce(seeded.scenario, oracle);
    const absl::StatusOr<ChoiceList> list = ParseChoices(report.choices);
    ASSERT_TRUE(list.ok()) << list.status();
    ReplayOracle replay(*list);
    // Recording a history changes nothing.
    const Report again = RunOnce(seeded.scenario, replay, true);
    EXPECT_EQ(again.trace_hash, report.trace_hash) << report.choices;
    EXPECT_EQ(again.calls, report.calls);
  }
}

TEST(Simulation, SeedsReachEveryPointOfTheMenu) {
  const SearchResult result = SearchSeeds(1, kIsSanitized ? 2'000 : 40'000);
  EXPECT_FALSE(result.witness.has_value()) << Describe(*result.witness);
  if (kIsSanitized) GTEST_SKIP() << "too few seeds to reach every point";
  for (const Point& point : AllPoints(FaultSet::All())) {
    EXPECT_GT(result.points.Of(point), 0) << ToString(point);
  }
}

// The contract of PendingRow::sequence: a store that lost its tail and gives the sequence of a lost
// letter to another one has that one marked, and it is never published.
TEST(Simulation, AStoreThatUsesALostSequenceAgainIsCaught) {
  if (kIsSanitized) GTEST_SKIP() << "thousands of seeds, and no others than the tests before it";
  const auto make_case = [](std::uint64_t seed) {
    SeededCase seeded = TransactionalCase(seed, Mode::kLiveness);
    seeded.scenario.store_loss = StoreLoss::kTail;
    seeded.scenario.syncs_beside = false;  // letters are synced by their own commits anyway
    seeded.scenario.reuses_sequences = true;
    seeded.scenario.sending.reset();
    seeded.scenario.producing.reset();
    seeded.scenario.faults = {Fault::kStall, Fault::kExpel, Fault::kRebalance,
                              Fault::kLoseOneCommit, Fault::kLoseTwoCommits};
    for (ScenarioMessage& message : seeded.scenario.messages) {
      if (!message.id.empty() && message.value.empty()) message.handling = Handling::kReject;
    }
    return seeded;
  };
  // About one seed in 60 000 has a relay that reads a row right before it is lost.
  const SearchResult result = SearchSeeds(150'001, 200'000, make_case, {.is_shortened = false});
  ASSERT_TRUE(result.witness.has_value());
  EXPECT_EQ(result.witness->report.violation->check, Check::kPublished)
      << Describe(*result.witness);
}

TEST(Simulation, AWitnessTellsHowToReplayIt) {
  Scenario scenario = *FindScenario("one-partition");
  // A subject that does nothing never drains.
  class Idle : public Subject {
   public:
    absl::StatusOr<bool> Step() override { return false; }
    absl::Status Run(std::stop_token) override { return absl::OkStatus(); }
    absl::Status Stop() override { return absl::OkStatus(); }
    std::string Complaint() const override { return "too lazy"; }
  };
  scenario.make_subject = [](SubjectParts) -> absl::StatusOr<std::unique_ptr<Subject>> {
    return std::make_unique<Idle>();
  };
  const SearchResult result = SearchExhaustively(scenario, {.faults = 1});
  ASSERT_TRUE(result.witness.has_value());
  const std::string text = Describe(*result.witness);
  EXPECT_NE(text.find("VIOLATION of drained"), std::string::npos) << text;
  EXPECT_NE(text.find("./dev sim --scenario one-partition --replay f1p0"), std::string::npos)
      << text;
  EXPECT_NE(text.find("\ncommit:   "), std::string::npos) << text;
  EXPECT_NE(text.find("too lazy"), std::string::npos) << text;
}

}  // namespace
}  // namespace once::testing
