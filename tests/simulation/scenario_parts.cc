// Three messages, and one thing more with each function.
#include "tests/simulation/scenario_parts.h"

#include <string>
#include <utility>

namespace once::testing {
namespace {

constexpr FaultSet kStoreLoss = {Fault::kLoseOneCommit, Fault::kLoseTwoCommits};

}  // namespace

const Budgets& OneOfEach() {
  static const auto* const budgets = new Budgets{{.faults = 1, .preemptions = 1}};
  return *budgets;
}
const Budgets& OneOfEitherKind() {
  static const auto* const budgets = new Budgets{{.faults = 1}, {.preemptions = 1}};
  return *budgets;
}
const Budgets& TwoInAll() {
  static const auto* const budgets = new Budgets{{.faults = 1, .preemptions = 1}, {.faults = 2}};
  return *budgets;
}
const Budgets& ThreeInAll() {
  static const auto* const budgets =
      new Budgets{{.faults = 1, .preemptions = 2}, {.faults = 2, .preemptions = 1}};
  return *budgets;
}

Scenario ThreeMessages(std::string name, int partitions) {
  Scenario scenario;
  scenario.name = std::move(name);
  scenario.partitions = partitions;
  scenario.faults = FaultSet::All().Without(kStoreLoss);
  scenario.times.idle_audit = absl::ZeroDuration();
  for (int i = 0; i < 3; ++i) {
    scenario.messages.push_back(
        {.partition = i % partitions, .id = std::string(1, static_cast<char>('a' + i))});
  }
  return scenario;
}

Scenario WithStoreLoss(Scenario scenario) {
  scenario.faults = FaultSet::All();
  scenario.times.idle_audit = absl::Milliseconds(150);
  scenario.idle_rounds = 3;
  return scenario;
}

Scenario OneByOne(Scenario scenario) {
  scenario.messages_per_poll = 1;
  return scenario;
}

Scenario Cooperative(Scenario scenario) {
  scenario.protocol = RebalanceProtocol::kCooperative;
  return scenario;
}

Scenario Plain(Scenario scenario) {
  scenario.name = "plain-" + scenario.name;
  scenario.handler = HandlerKind::kPlain;
  scenario.store_loss = StoreLoss::kUnsynced;
  scenario.stall = absl::Milliseconds(1500);
  return scenario;
}

}  // namespace once::testing
