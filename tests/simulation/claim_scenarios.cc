// What is claimed instead of committed: plain handlers, and workers at a queue in both forms.
#include <string>
#include <vector>

#include "tests/simulation/scenario_parts.h"

namespace once::testing {
namespace {

// Hand-written workers at a queue, guarded by once::Wrap: with transactions, and ("plain-") with
// claims. A store that keeps what is synced is what they ask for.
Scenario Queue(Scenario scenario) {
  scenario.has_queue = true;
  scenario.make_subject = MakeQueueWorker;
  scenario.store_loss = StoreLoss::kUnsynced;
  scenario.has_free_order = false;
  return scenario;
}

}  // namespace

void AddPlainCases(std::vector<ExhaustiveCase>& cases) {
  cases.push_back({Plain(ThreeMessages("one-partition", 1)), TwoInAll()});
  cases.push_back({Plain(OneByOne(ThreeMessages("one-partition-one-by-one", 1))), OneOfEach()});
  cases.push_back({Plain(ThreeMessages("two-partitions", 2)), TwoInAll()});
  cases.push_back(
      {Plain(Cooperative(ThreeMessages("two-partitions-cooperative", 2))), OneOfEach()});

  Scenario offsets = Plain(OneByOne(ThreeMessages("offsets", 2)));
  offsets.awaits_offsets = true;  // for more than a minute: too long to play every order
  offsets.has_free_order = false;
  cases.push_back({offsets, OneOfEitherKind()});

  Scenario store_loss = Plain(ThreeMessages("store-loss", 1));
  store_loss.faults = FaultSet::All();
  cases.push_back({store_loss, TwoInAll()});

  // A server without transactions over several ids.
  Scenario pipelined = Plain(ThreeMessages("pipelined", 1));
  pipelined.says_claims_in_part = true;
  cases.push_back({pipelined, OneOfEach()});

  // A replica takes over that has not heard the last words, synced ones among them, and the store
  // says so at the next sync. What it had answered before that cannot be taken back: what is lost
  // may be handled once more, and nothing else.
  Scenario failover = pipelined;
  failover.name = "plain-failover";
  failover.faults = FaultSet::All();
  failover.store_loss = StoreLoss::kTail;
  cases.push_back({failover, TwoInAll()});

  // Every point of the menu, also those that equal others; the claim words with a lease that ends
  // in their middle, as wherever a process sleeps here.
  Scenario fine = Plain(ThreeMessages("fine", 2));
  fine.grain = Grain::kFine;
  fine.faults = FaultSet::All();
  fine.stop_after = {0, 4};
  fine.messages[0].handling = Handling::kReject;
  fine.messages[1].handling = Handling::kSkip;
  fine.messages[2].handling = Handling::kFailFirst;
  fine.messages[2].failures = 1;
  cases.push_back({fine, OneOfEach()});

  Scenario copies = Plain(ThreeMessages("copies", 2));
  for (ScenarioMessage& message : copies.messages) message.id = "a";
  cases.push_back({copies, TwoInAll()});

  Scenario letters = Plain(ThreeMessages("letters", 1));
  letters.messages[0].handling = Handling::kReject;
  letters.messages[1].handling = Handling::kFailFirst;
  letters.messages[1].failures = 1;
  cases.push_back({letters, TwoInAll()});

  Scenario conflict = Plain(OneByOne(ThreeMessages("conflict", 2)));
  conflict.messages[2].id = "a";
  conflict.messages[2].value = "another value";
  conflict.messages[1].handling = Handling::kSkip;
  cases.push_back({conflict, OneOfEach()});

  // A handler that kills its process, among neighbours; and one that does so once.
  Scenario poison = Plain(ThreeMessages("poison", 1));
  poison.workers = 1;
  poison.messages[1].handling = Handling::kDieAlways;
  cases.push_back({poison, OneOfEach()});
  Scenario dying = Plain(ThreeMessages("dying-once", 2));
  dying.messages[0].handling = Handling::kDieFirst;
  dying.messages[0].failures = 1;
  cases.push_back({dying, OneOfEach()});

  Scenario parked = dying;
  parked.name = "plain-parked";
  parked.claims.on_lost = LostClaim::kPark;
  cases.push_back({parked, OneOfEach()});
  Scenario reconciled = dying;
  reconciled.name = "plain-reconciled";
  reconciled.claims.on_lost = LostClaim::kReconcile;
  cases.push_back({reconciled, OneOfEach()});

  // What is in memory is gone with the process, however it ends.
  Scenario memory = Plain(ThreeMessages("memory-store", 1));
  memory.has_memory_store = true;
  memory.has_one_owner = true;
  memory.workers = 1;
  memory.stop_after = {4};
  memory.messages[0].handling = Handling::kReject;
  memory.messages[1].handling = Handling::kDieFirst;
  memory.messages[1].failures = 1;
  cases.push_back({memory, TwoInAll()});

  Scenario embedded = Plain(ThreeMessages("embedded-store", 1));
  embedded.store_model = StoreModel::kOneTransaction;
  embedded.has_one_owner = true;
  embedded.workers = 1;
  embedded.messages[1].handling = Handling::kDieFirst;
  embedded.messages[1].failures = 2;
  cases.push_back({embedded, TwoInAll()});
}

void AddQueueCases(std::vector<ExhaustiveCase>& cases) {
  Scenario letters = Queue(ThreeMessages("queue-letters", 1));
  letters.messages[0].handling = Handling::kReject;
  letters.messages[1].handling = Handling::kFailFirst;
  letters.messages[1].failures = 1;
  letters.messages[2].handling = Handling::kSkip;

  // A message sent twice, and another value under its id.
  Scenario copies = Queue(ThreeMessages("queue-copies", 1));
  for (ScenarioMessage& message : copies.messages) message.id = "a";
  copies.messages[2].value = "another value";

  Scenario store_loss = Queue(ThreeMessages("queue-store-loss", 1));
  store_loss.faults = FaultSet::All();

  const Scenario three = Queue(ThreeMessages("queue", 1));
  for (const Scenario& scenario : {three, copies, letters}) {
    cases.push_back({scenario, TwoInAll()});
    cases.push_back({Plain(scenario), TwoInAll()});
  }
  cases.push_back({store_loss, OneOfEach()});
  cases.push_back({Plain(store_loss), OneOfEach()});

  // A function that kills its process, and one that is at work for longer than its lease.
  Scenario dying = Plain(Queue(ThreeMessages("queue-dying", 1)));
  dying.messages[0].handling = Handling::kDieFirst;
  dying.messages[0].failures = 1;
  dying.messages[1].duration = absl::Milliseconds(1500);
  cases.push_back({dying, OneOfEach()});

  // Every point of the menu of claims, renewal included. A process that sleeps does so for longer
  // than its lease: at every claim word another one takes over meanwhile.
  Scenario fine = letters;
  fine.name = "queue-fine";
  fine = Plain(fine);
  fine.grain = Grain::kFine;
  fine.faults = FaultSet::All();
  fine.messages[1].duration = absl::Milliseconds(500);
  cases.push_back({fine, TwoInAll()});
}

}  // namespace once::testing
