// Bugs of the sending side and of the detector of losses: in the store that holds the outgoing
// messages, in the relay, and in what a consumer makes of stamps, marks and voids.
#include <utility>
#include <vector>

#include "tests/simulation/planted_bugs.h"

namespace once::testing {
namespace {

PlantedBug InStore(std::string name, std::string what, std::string scenario, Budget budget,
                   Check caught_by, void (*plant)(Scenario& scenario)) {
  PlantedBug bug =
      InEngine(std::move(name), std::move(what), std::move(scenario), budget, caught_by);
  bug.plant = plant;
  bug.is_in_engine = false;
  return bug;
}

}  // namespace

const std::vector<PlantedBug>& PlantedSendingBugs() {
  constexpr Budget kNone = {};
  constexpr Budget kOne = {.faults = 1};
  static const std::vector<PlantedBug>* const bugs = new std::vector<PlantedBug>{
      // The store.
      InStore("uncommitted-is-sent", "the relay sees rows of transactions that are open", "sending",
              kNone, Check::kPublished,
              [](Scenario& scenario) { scenario.sending->sends_at_once = true; }),
      InStore("undone-is-sent", "a savepoint keeps the messages that were published behind it",
              "sending", kNone, Check::kPublished,
              [](Scenario& scenario) { scenario.sending->keeps_undone_messages = true; }),
      InStore("late-row-is-skipped",
              "rows are read by ids that are given before the commit: one that is committed "
              "late lies behind the place that was reached",
              "sending-two-writers", kNone, Check::kDrained,
              [](Scenario& scenario) { scenario.sending->numbers_at_once = true; }),
      InEngine("parked-is-overtaken", "a message does not wait for a parked one of its key",
               "sending-parked", kNone, Check::kPublished),
      InEngine("every-key-waits", "a message waits for ever for a parked one of another key",
               "sending-parked", kNone, Check::kDrained),
      // The relay.
      InEngine("key-forgotten", "a message is published without its key", "sending", kNone,
               Check::kPublished),
      InEngine("unavailable-is-refused", "a message is parked because no broker has answered",
               "sending", kOne, Check::kDrained),
      InEngine("doubtful-place-is-sent",
               "a round is sent though nobody knows whether it is written down", "sending", kOne,
               Check::kDrained),
      InEngine("report-is-acknowledgement", "a message counts as sent whatever became of it",
               "sending", kOne, Check::kPublished),
      InEngine("refused-is-overtaken", "a message does not wait for a refused one of its key",
               "sending-parked", kNone, Check::kPublished),
      InEngine("epoch-used-again", "a new life counts from 1 again in the epoch of the former one",
               "sending-lives", kNone, Check::kNumbers),
      InEngine("sent-number-void", "a number is declared void whose message is there", "sending",
               kNone, Check::kNumbers),
      InEngine("given-up-number-not-void", "nobody is told of a number that was given up",
               "sending-refused", kNone, Check::kLosses),
      InEngine("owed-void-forgotten", "a void that a former life owed is never declared",
               "sending-refused", kOne, Check::kDrained),
      InEngine("mark-beyond-acknowledged", "a mark tells of what is still on its way",
               "sending-outage", kNone, Check::kLosses),
      InEngine("last-mark-forgotten", "a stream ends without a mark that says where", "sending",
               kNone, Check::kLosses),
      // The detector.
      InEngine("undone-numbers-kept",
               "the numbers of a transaction that was rolled back count as met",
               "sending-to-a-leaving-consumer", kOne, Check::kLosses),
      InEngine("voids-ignored", "a number that was given up is said to be lost", "sending-refused",
               kNone, Check::kLosses),
      InEngine("marks-ignored", "what nothing follows is not missed", "sending-vanished", kNone,
               Check::kLosses),
  };
  return *bugs;
}

}  // namespace once::testing
