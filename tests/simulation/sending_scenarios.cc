// The scenarios in which messages are published by a program, through an outbox.
#include <string>
#include <utility>

#include "tests/simulation/scenario_parts.h"

namespace once::testing {
namespace {

// So many messages, "a" and so on; one consumer.
Scenario Sends(std::string name, int messages, int partitions) {
  Scenario scenario;
  scenario.name = std::move(name);
  scenario.partitions = partitions;
  scenario.workers = 1;
  scenario.has_free_order = false;
  scenario.faults =
      FaultSet::All().Without({Fault::kLoseOneCommit, Fault::kLoseTwoCommits, Fault::kRebalance});
  scenario.times.idle_audit = absl::ZeroDuration();
  for (int i = 0; i < messages; ++i) {
    scenario.messages.push_back({.id = std::string(1, static_cast<char>('a' + i))});
  }
  scenario.sending.emplace();
  return scenario;
}

}  // namespace

void AddSendingCases(std::vector<ExhaustiveCase>& cases) {
  // Two transactions, one that is rolled back, and a message that is undone.
  Scenario sending = Sends("sending", 5, 1);
  sending.sending->transactions = {{.messages = {0, 1}},
                                   {.messages = {2}, .is_rolled_back = true},
                                   {.messages = {3}, .undone = {4}, .is_synced = false}};
  cases.push_back({sending, OneOfEitherKind()});

  // Every point of the menu.
  Scenario fine = sending;
  fine.name = "sending-fine";
  fine.grain = Grain::kFine;
  cases.push_back({fine, {{.faults = 1}}});

  // The second message is too large: its number is given up, and the fourth, of the same key, waits
  // for ever.
  Scenario refused = Sends("sending-refused", 5, 1);
  refused.sending->transactions = {{.messages = {0, 1, 2, 3, 4}}};
  refused.sending->too_large = {1};
  refused.sending->is_refused_late = true;
  refused.sending->round_rows_max = 3;
  cases.push_back({refused, OneOfEitherKind()});

  // The same, said by the client, and another message of the key comes later.
  Scenario parked = Sends("sending-parked", 6, 1);
  parked.sending->transactions = {{.messages = {0, 1, 2, 3}},
                                  {.messages = {4, 5}, .delay = absl::Milliseconds(300)}};
  parked.sending->too_large = {1};
  cases.push_back({parked, OneOfEitherKind()});

  // An operator gives it up, and what waits behind it goes on; or has it tried again.
  Scenario operated = refused;
  operated.name = "sending-given-up";
  operated.sending->operator_after = absl::Milliseconds(150);
  operated.sending->is_given_up = true;
  cases.push_back({operated, OneOfEitherKind()});
  Scenario retried = parked;
  retried.name = "sending-tried-again";
  retried.sending->operator_after = absl::Milliseconds(150);
  cases.push_back({retried, OneOfEitherKind()});

  // What the client of a relay that dies, or breaks, has had on its way arrives late.
  Scenario late = Sends("sending-late", 3, 1);
  late.sending->keys = 1;
  late.sending->transactions = {{.messages = {0, 1}}, {.messages = {2}}};
  late.sending->lands_late = true;
  cases.push_back({late, OneOfEitherKind()});

  // No broker answers while a message waits and a mark is due.
  Scenario outage = Sends("sending-outage", 2, 1);
  outage.sending->transactions = {{.messages = {0}},
                                  {.messages = {1}, .delay = absl::Milliseconds(450)}};
  outage.sending->outage_after = absl::Milliseconds(400);
  outage.sending->outage = absl::Seconds(1);
  cases.push_back({outage, OneOfEitherKind()});

  // Two records vanish behind the broker, the last one of a partition among them.
  Scenario vanished = Sends("sending-vanished", 4, 1);
  vanished.sending->transactions = {{.messages = {0, 1}}, {.messages = {2, 3}}};
  vanished.sending->vanished = {2, 4};
  cases.push_back({vanished, OneOfEitherKind()});

  // Two writers at once, in a store that lets them.
  Scenario writers = Sends("sending-two-writers", 3, 1);
  writers.sending->writers = 2;
  writers.sending->keys = 1;
  writers.sending->store_model = StoreModel::kRowLocks;
  writers.sending->transactions = {
      {.messages = {0}, .writer = 0, .open_for = absl::Milliseconds(150)},
      {.messages = {1}, .writer = 1, .delay = absl::Milliseconds(50)},
      {.messages = {2}, .writer = 1}};
  cases.push_back({writers, OneOfEitherKind()});

  // The program leaves and comes back.
  Scenario lives = Sends("sending-lives", 3, 1);
  lives.sending->stop_after = absl::Milliseconds(200);
  lives.sending->transactions = {{.messages = {0}},
                                 {.messages = {1}, .delay = absl::Milliseconds(600)},
                                 {.messages = {2}, .delay = absl::Milliseconds(650)}};
  cases.push_back({lives, OneOfEitherKind()});

  // The consumer leaves and comes back; then more messages come.
  Scenario leaving = Sends("sending-to-a-leaving-consumer", 3, 1);
  leaving.sending->transactions = {{.messages = {0, 1}},
                                   {.messages = {2}, .delay = absl::Milliseconds(3000)}};
  leaving.messages[1].handling = Handling::kFailFirst;
  leaving.messages[1].failures = 1;
  leaving.stop_after = {4};
  cases.push_back({leaving, OneOfEitherKind()});
}

}  // namespace once::testing
