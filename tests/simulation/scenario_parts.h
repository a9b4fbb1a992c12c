// What the scenarios of the exhaustive search are put together from.
// Thread-safety: all are functions of their parameters.
#pragma once

#include <string>
#include <vector>

#include "once/testing/simulation.h"
#include "tests/simulation/scenarios.h"

namespace once::testing {

// Budgets, each named by what it lets happen in one execution at most.
using Budgets = std::vector<Budget>;
const Budgets& OneOfEach();
const Budgets& OneOfEitherKind();
const Budgets& TwoInAll();
const Budgets& ThreeInAll();

// All the same, over two workers; a store that never loses what it has committed.
Scenario ThreeMessages(std::string name, int partitions);

// A store that loses its tail is noticed by an idle audit: the execution must go on for long
// enough.
Scenario WithStoreLoss(Scenario scenario);

Scenario OneByOne(Scenario scenario);

Scenario Cooperative(Scenario scenario);

// Plain handlers over a server that keeps what is synced. A process that sleeps does so for longer
// than its lease: wherever it sleeps, in the middle of any claim word included, the lease ends in
// virtual time and another process takes over. Nothing else in a store ends: ids are kept for ever.
Scenario Plain(Scenario scenario);

// The scenarios of claim_scenarios.cc.
void AddPlainCases(std::vector<ExhaustiveCase>& cases);
void AddQueueCases(std::vector<ExhaustiveCase>& cases);
// Those of sending_scenarios.cc.
void AddSendingCases(std::vector<ExhaustiveCase>& cases);
// Those of producing_scenarios.cc.
void AddProducingCases(std::vector<ExhaustiveCase>& cases);

}  // namespace once::testing
