// Wrong stores and sources, and wrong engines: each breaks one rule of the protocol the way real
// consumers have broken it. The simulator must catch every one of them; that is the test of the
// simulator.
#pragma once

#include <cstdint>
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
  // Planted by the engine's own switch of the same name (src/test_hooks.h) instead.
  bool is_in_engine = false;
};

// One in the engine that shows in the same place whatever is judged.
PlantedBug InEngine(std::string name, std::string what, std::string scenario, Budget budget,
                    Check caught_by);

void PrintTo(const PlantedBug& bug, std::ostream* out);

const std::vector<PlantedBug>& PlantedBugs();
// Of the claim protocol (planted_claim_bugs.cc) …
const std::vector<PlantedBug>& PlantedClaimBugs();
// … of attempts recorded in advance, of the identity of logs and stores (planted_row_bugs.cc).
const std::vector<PlantedBug>& PlantedRowBugs();
// … of hand-written workers at a queue, and of full stores (planted_queue_bugs.cc) …
const std::vector<PlantedBug>& PlantedQueueBugs();
// … and in the engine itself (planted_engine_bugs.cc); a test build has them.
const std::vector<PlantedBug>& PlantedEngineBugs();
// Those of the sending side and of the detector of losses, in stores, relay and engine
// (planted_sending_bugs.cc).
const std::vector<PlantedBug>& PlantedSendingBugs();
// Those of programs with a producer or a spool (planted_producing_bugs.cc).
const std::vector<PlantedBug>& PlantedProducingBugs();
const std::vector<PlantedBug>& AllPlantedBugs();

// The checks that look at calls rather than at what is stored; without them only the invariants
// that an operator could see in the store remain.
std::vector<Check> ProtocolChecks();

// Null: there is none of that name.
const PlantedBug* FindBug(std::string_view name);
// Puts the bug into the scenario, or switches it on in the engine until test_hooks::PlantBug("").
// False when this build's engine has no such switch.
bool Plant(const PlantedBug& bug, Scenario& scenario);

// Looks for the bug exhaustively where the table says that it shows; under all rules, or under
// what an operator could see in the store alone. Not found: the result has no witness.
enum class Judged : std::uint8_t { kByAllRules, kByStateAlone };
SearchResult HuntBug(const PlantedBug& bug, Judged judged);

}  // namespace once::testing
