// Wrong stores and sources: each breaks one rule of the protocol the way real consumers have broken
// it. The simulator must catch every one of them; that is the test of the simulator.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "once/testing/simulation.h"

namespace once::testing {

struct PlantedBug {
  std::string name;
  std::string what;
  // Puts the bug between the engine and the fakes.
  void (*plant)(Scenario& scenario) = nullptr;
  // Where it shows, and which rule it breaks there first.
  std::string scenario;
  Budget budget;
  Check caught_by = Check::kOneEffect;
  // The same when only what is stored is judged, not the calls. Empty scenario: the strict
  // compare-and-set and the ids together mask it, and only the protocol rules see it.
  std::string state_scenario;
  Budget state_budget = {};
  Check state_caught_by = Check::kOneEffect;
};

void PrintTo(const PlantedBug& bug, std::ostream* out);

const std::vector<PlantedBug>& PlantedBugs();
// Of the claim protocol (planted_claim_bugs.cc) …
const std::vector<PlantedBug>& PlantedClaimBugs();
// … of attempts recorded in advance, of the identity of logs and stores (planted_row_bugs.cc).
const std::vector<PlantedBug>& PlantedRowBugs();
// … and of hand-written workers at a queue, and of full stores (planted_queue_bugs.cc).
const std::vector<PlantedBug>& PlantedQueueBugs();
const std::vector<PlantedBug>& AllPlantedBugs();

// The checks that look at calls rather than at what is stored; without them only the invariants
// that an operator could see in the store remain.
std::vector<Check> ProtocolChecks();

}  // namespace once::testing
