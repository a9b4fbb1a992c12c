// The engine under the simulator: small enough for every build. once_sim searches much further.
#include "once/testing/simulation.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/simulation/scenarios.h"

namespace once::testing {
namespace {

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

TEST(Simulation, ThousandsOfSeedsBreakNoRule) {
  const SearchResult result = SearchSeeds(1, 3000);
  EXPECT_FALSE(result.witness.has_value()) << Describe(*result.witness);
  EXPECT_EQ(result.executions, 3000);
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
  const SearchResult result = SearchSeeds(1, 40'000);
  EXPECT_FALSE(result.witness.has_value()) << Describe(*result.witness);
  for (const Point& point : AllPoints(FaultSet::All())) {
    EXPECT_GT(result.points.Of(point), 0) << ToString(point);
  }
}

// The contract of PendingRow::sequence: a store that lost its tail and gives the sequence of a lost
// letter to another one has that one marked, and it is never published.
TEST(Simulation, AStoreThatUsesALostSequenceAgainIsCaught) {
  const auto make_case = [](std::uint64_t seed) {
    SeededCase seeded = CaseOfSeed(seed);
    seeded.scenario.handler = HandlerKind::kTransactional;
    seeded.scenario.store_loss = StoreLoss::kTail;
    seeded.scenario.reuses_sequences = true;
    seeded.scenario.faults = {Fault::kStall, Fault::kExpel, Fault::kRebalance,
                              Fault::kLoseOneCommit, Fault::kLoseTwoCommits};
    for (ScenarioMessage& message : seeded.scenario.messages) {
      if (!message.id.empty() && message.value.empty()) message.handling = Handling::kReject;
    }
    return seeded;
  };
  const SearchResult result = SearchSeeds(1, 50'000, make_case, {.is_shortened = false});
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
  EXPECT_NE(text.find("once_sim --scenario one-partition --replay f1p0"), std::string::npos)
      << text;
  EXPECT_NE(text.find("too lazy"), std::string::npos) << text;
}

}  // namespace
}  // namespace once::testing
