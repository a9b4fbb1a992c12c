// The scenarios that are searched exhaustively, each small enough to be played in every way.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "once/testing/simulation.h"

namespace once::testing {

struct ExhaustiveCase {
  Scenario scenario;
  std::vector<Budget> budgets;  // in this order, so that the first witness has the fewest faults
};

void PrintTo(const ExhaustiveCase& one, std::ostream* out);

// Three messages, two workers, one and two partitions: every fault of the menu, at most two of
// them.
std::vector<ExhaustiveCase> ExhaustiveCases();

// Scenarios that are played under many seeds instead.
std::vector<Scenario> RandomCases();

// A case of the two by name, or "liveness-<n>" and "safety-<n>", the case of that seed.
absl::StatusOr<Scenario> FindScenario(std::string_view name);

}  // namespace once::testing
