// The simulator, driven by bytes: as a choice string, which must be refused or replayed, and as
// answers to the oracle's questions, so that the search for new code is a search for schedules.
// A violation of the engine ends the program with its witness.
#include <algorithm>

#include "absl/status/statusor.h"
#include "once/testing/oracle.h"
#include "once/testing/simulation.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/simulation/scenarios.h"

namespace once::testing {
namespace {

// The first byte of an input: what it is.
constexpr char kChoiceString = 'f';  // as every choice string begins
constexpr std::size_t kSeedsMax = 1 << 16;
// Budgets of the small scenarios; those of seeds have their own, up to 24 and 59.
constexpr Budget kBudgetMax = {.faults = 4, .preemptions = 8};

// Answers from pairs of bytes: so many zeros, then an answer. 255 means more zeros.
class FuzzedOracle : public Oracle {
 public:
  FuzzedOracle(FuzzInput input, Budget budget) : Oracle(budget), input_(input) { Draw(); }

 protected:
  int Pick(std::string_view /*tag*/, int choices, Cost /*cost*/) override {
    if (zeros_ > 0 || answer_ == 0) {
      --zeros_;
      return 0;
    }
    const int answer = answer_ % choices;
    Draw();
    return answer;
  }

 private:
  static constexpr int kMore = 255;

  void Draw() {
    zeros_ = 0;
    answer_ = 0;
    while (!input_.is_empty() && answer_ == 0) {
      const int zeros = input_.Take<std::uint8_t>();
      zeros_ += zeros;
      if (zeros != kMore) answer_ = 1 + input_.Take<std::uint8_t>() % 63;
    }
  }

  FuzzInput input_;
  int zeros_ = 0;
  int answer_ = 0;  // 0: the input is used up
};

[[noreturn]] void Fail(const Scenario& scenario, const Report& report) {
  const absl::StatusOr<ChoiceList> list = ParseChoices(report.choices);
  Require(list.ok(), "the choices of an execution are a choice string");
  ReplayOracle replay(*list);
  Witness witness{.scenario = scenario.name, .report = RunOnce(scenario, replay, true)};
  if (!witness.report.violation) witness.report.violation = report.violation;
  std::fprintf(stderr, "%s", Describe(witness).c_str());
  std::abort();
}

// Plays it, and then again by its own choices.
void Play(const Scenario& scenario, Oracle& oracle) {
  const Report report = RunOnce(scenario, oracle);
  if (report.violation) Fail(scenario, report);
  const absl::StatusOr<ChoiceList> list = ParseChoices(report.choices);
  Require(list.ok(), "the choices of an execution are a choice string");
  ReplayOracle replay(*list);
  const Report again = RunOnce(scenario, replay);
  Require(again.trace_hash == report.trace_hash && again.choices == report.choices,
          "the same choices give the same execution");
}

const std::vector<ExhaustiveCase>& SmallCases() {
  static const auto* const cases = new std::vector<ExhaustiveCase>(ExhaustiveCases());
  return *cases;
}

void CheckChoiceString(std::string_view text) {
  const absl::StatusOr<ChoiceList> list = ParseChoices(text);
  if (!list.ok()) return;
  ReplayOracle oracle(*list);
  Play(SmallCases()[text.size() % SmallCases().size()].scenario, oracle);
}

void CheckAnswers(FuzzInput input) {
  const bool is_small = input.TakeBool();
  const std::size_t number = input.TakeBelow(kSeedsMax);
  if (!is_small) {
    const SeededCase seeded = CaseOfSeed(number);
    FuzzedOracle oracle(input, seeded.budget);
    return Play(seeded.scenario, oracle);
  }
  const std::size_t faults = number % static_cast<std::size_t>(kBudgetMax.faults + 1);
  FuzzedOracle oracle(input,
                      {.faults = static_cast<int>(faults), .preemptions = kBudgetMax.preemptions});
  Play(SmallCases()[number % SmallCases().size()].scenario, oracle);
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds = {"f2p1/12.3/45.1",    "f0p0",  "f1p1/0.1/999998.1",
                                    "f0p0/999999.1/1.1", "f-1p1", "f99999999999p0"};
  for (std::uint32_t number = 0; number < 64; ++number) {
    SeedWriter seed;
    seed.Put(static_cast<std::uint8_t>(number % 2)).Put(number * 977);
    SplitMix random(number);
    for (int pairs = 0; pairs < 12; ++pairs) {
      seed.Put(static_cast<std::uint8_t>(random.Below(60)));
      seed.Put(static_cast<std::uint8_t>(random.Below(8)));
    }
    seeds.push_back(seed.seed());
  }
  return seeds;
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  if (!input.is_empty() && input.rest().front() == once::testing::kChoiceString) {
    once::testing::CheckChoiceString(input.rest());
  } else {
    once::testing::CheckAnswers(input);
  }
  return 0;
}
