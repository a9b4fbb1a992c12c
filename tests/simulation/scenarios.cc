// Three messages in every shape that matters.
#include "tests/simulation/scenarios.h"

#include <algorithm>
#include <cstdlib>
#include <ostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "tests/simulation/scenario_parts.h"

namespace once::testing {
namespace {

// Handlers that are called once for a whole batch.
void AddBatchHandlerCases(std::vector<ExhaustiveCase>& cases) {
  Scenario copies = ThreeMessages("batch-handler", 1);
  copies.has_batch_handler = true;
  copies.messages[2] = copies.messages[0];
  cases.push_back({copies, TwoInAll()});

  // One is named, and one call ends without naming anybody.
  Scenario failures = ThreeMessages("batch-handler-failures", 2);
  failures.has_batch_handler = true;
  failures.messages.push_back({.partition = 1, .id = "d"});
  failures.messages[0].handling = Handling::kThrow;
  failures.messages[1].handling = Handling::kFailFirst;
  failures.messages[1].failures = 1;
  failures.messages[2].handling = Handling::kReject;
  cases.push_back({failures, OneOfEach()});
}

// Messages of an outbox, with the original's number in every copy.
void AddNumberedCases(std::vector<ExhaustiveCase>& cases) {
  Scenario copies = ThreeMessages("numbers", 1);
  copies.numbers_messages = true;
  copies.goes_by_numbers = true;
  copies.messages[2].handling = Handling::kFailFirst;
  copies.messages[2].failures = 1;
  // Behind what was in the log when the row was taken.
  copies.messages[1].delay = absl::Milliseconds(700);
  copies.messages[2].delay = absl::Milliseconds(700);
  copies.messages.push_back(copies.messages[0]);
  copies.messages.push_back(copies.messages[2]);
  cases.push_back({copies, TwoInAll()});

  Scenario letters = OneByOne(ThreeMessages("numbers-and-letters", 2));
  letters.numbers_messages = true;
  letters.goes_by_numbers = true;
  letters.messages[0].handling = Handling::kReject;
  letters.messages[2].handling = Handling::kFailAlways;
  letters.messages.push_back(letters.messages[0]);
  cases.push_back({letters, OneOfEach()});
}

// Full batches: each is made ready while the one before it runs.
void AddCasesOfBatchesInARow(std::vector<ExhaustiveCase>& cases) {
  Scenario one = ThreeMessages("one-after-the-other", 1);
  one.limits.batch_messages_max = 1;
  one.has_free_order = false;  // of the tasks that Run() has there are too many orders
  one.drives = {Drive::kRun};
  cases.push_back({one, TwoInAll()});

  // What fails, waits or is given up is followed by nothing.
  Scenario failing = ThreeMessages("failures-in-a-row", 2);
  failing.limits.batch_messages_max = 1;
  failing.has_free_order = false;
  failing.drives = {Drive::kRun};
  failing.messages.push_back({.partition = 1, .id = "d"});
  failing.messages[0].handling = Handling::kFailFirst;
  failing.messages[0].failures = 1;
  failing.messages[1].handling = Handling::kReject;
  cases.push_back({failing, OneOfEach()});

  // Both partitions in every batch, over a store whose syncs are late and may fail.
  Scenario pairs = WithStoreLoss(ThreeMessages("pairs-in-a-row", 2));
  pairs.limits.batch_messages_max = 2;
  pairs.store_loss = StoreLoss::kUnsynced;
  pairs.syncs_beside = true;
  pairs.has_free_order = false;
  pairs.workers = 1;
  pairs.drives = {Drive::kRun};
  pairs.messages.push_back({.partition = 1, .id = "d"});
  cases.push_back({pairs, TwoInAll()});
}

// Batches that are synced beside the next one, over a store that loses what is not.
void AddCasesThatSyncLater(std::vector<ExhaustiveCase>& cases) {
  Scenario two = WithStoreLoss(OneByOne(ThreeMessages("synced-later", 2)));
  two.store_loss = StoreLoss::kUnsynced;
  two.syncs_beside = true;
  two.has_free_order = false;  // of the tasks that Run() has there are too many orders
  two.drives = {Drive::kRun};
  two.messages[0].handling = Handling::kReject;
  cases.push_back({two, TwoInAll()});

  // It leaves before the audit could tell what a sync that failed has not kept.
  Scenario alone = WithStoreLoss(ThreeMessages("synced-later-alone", 1));
  alone.times.idle_audit = absl::Milliseconds(400);
  alone.idle_rounds = 6;
  alone.store_loss = StoreLoss::kUnsynced;
  alone.syncs_beside = true;
  alone.has_free_order = false;
  alone.workers = 1;
  alone.drives = {Drive::kRun};
  alone.stop_after = {4};
  cases.push_back({alone, TwoInAll()});
}

// Transactional handlers that kill their process.
void AddDeadlyCases(std::vector<ExhaustiveCase>& cases) {
  Scenario poison = ThreeMessages("poison", 1);
  poison.workers = 1;
  poison.messages[1].handling = Handling::kDieAlways;
  // One more charge than its own failures, and it would be dead.
  poison.messages[2].handling = Handling::kFailFirst;
  poison.messages[2].failures = 2;
  cases.push_back({poison, OneOfEach()});

  Scenario late = ThreeMessages("late-poison", 1);
  late.workers = 1;
  late.messages[2].handling = Handling::kDieAlways;
  cases.push_back({late, OneOfEach()});

  Scenario dying = ThreeMessages("dying-once", 2);
  dying.messages[0].handling = Handling::kDieFirst;
  dying.messages[0].failures = 1;
  cases.push_back({dying, OneOfEach()});

  // Each message needs its own reach; and the first of all is the one that kills.
  Scenario single = OneByOne(ThreeMessages("poison-one-by-one", 1));
  single.workers = 1;
  single.messages[0].handling = Handling::kDieAlways;
  cases.push_back({single, OneOfEach()});

  // What is not synced may be lost with the machine: the reach, and attempts.
  Scenario loss = WithStoreLoss(ThreeMessages("poison-store-loss", 1));
  loss.store_loss = StoreLoss::kUnsynced;
  loss.workers = 1;
  loss.messages[1].handling = Handling::kDieAlways;
  cases.push_back({loss, OneOfEach()});
}

// Worlds in which the log or the store is another one after everything was handled.
Scenario TwoActs(std::string name, Act act) {
  Scenario scenario = ThreeMessages(std::move(name), 1);
  act.faults = scenario.faults;
  scenario.faults = {};
  scenario.sequel = {std::move(act)};
  return scenario;
}

void AddIdentityCases(std::vector<ExhaustiveCase>& cases) {
  const ScenarioMessage x = {.id = "x"};
  const ScenarioMessage y = {.id = "y"};
  const ScenarioMessage z = {.id = "z"};
  cases.push_back(
      {TwoActs("recreated",
               {.turn = Turn::kRecreateTopic, .messages = {x, y, z}, .is_refused = true}),
       OneOfEach()});
  cases.push_back({TwoActs("recreated-shorter",
                           {.turn = Turn::kRecreateTopic, .messages = {x}, .is_refused = true}),
                   OneOfEach()});
  cases.push_back(
      {TwoActs("truncated",
               {.turn = Turn::kTruncate, .kept = 2, .messages = {x, y}, .is_refused = true}),
       OneOfEach()});
  cases.push_back(
      {TwoActs("foreign-store", {.turn = Turn::kNewStore, .messages = {x}, .is_refused = true}),
       OneOfEach()});
  Scenario adopted = TwoActs("foreign-store-adopted", {.turn = Turn::kNewStore, .messages = {x}});
  adopted.foreign_store = ForeignStore::kAdopt;
  cases.push_back({adopted, OneOfEach()});
  cases.push_back(
      {TwoActs("offsets-reset", {.turn = Turn::kResetOffsets, .messages = {x}}), OneOfEach()});
  const Act deleted = {.turn = Turn::kDeleteUnread, .kept = 5, .messages = {x, y, z}};
  Act refused = deleted;
  refused.is_refused = true;
  Scenario retention = TwoActs("retention", deleted);
  retention.out_of_range = OutOfRange::kEarliest;
  cases.push_back({retention, OneOfEach()});
  cases.push_back({Plain(retention), OneOfEach()});
  cases.push_back({TwoActs("retention-stop", refused), OneOfEach()});

  // Under a consumer at work: what a waiting partition dropped is gone when it is fetched again,
  // and so is what was handled when the store loses it.
  Scenario behind = WithStoreLoss(ThreeMessages("retention-behind", 1));
  behind.messages_per_poll = 1;
  behind.limits.inflight_messages_max = 2;
  behind.limits.batch_messages_max = 2;
  behind.out_of_range = OutOfRange::kEarliest;
  behind.messages.push_back({.id = "d"});
  for (std::size_t i = 1; i < behind.messages.size(); ++i) {
    behind.messages[i].delay = absl::Seconds(2);
  }
  behind.messages[0].lifetime = absl::Seconds(1);
  behind.messages[1].handling = Handling::kFailFirst;
  behind.messages[1].failures = 1;
  behind.messages[2].lifetime = absl::Milliseconds(10);
  behind.has_free_order = false;  // the time before they come is long
  cases.push_back({behind, TwoInAll()});
  cases.push_back({Plain(behind), TwoInAll()});
  cases.push_back({TwoActs("same-again", {.messages = {x}}), OneOfEach()});
}

}  // namespace

// Three fibres per worker: too many ways to go on to play them all.
std::vector<Scenario> RandomCases() {
  std::vector<Scenario> cases;
  // Copies in two partitions while the handler takes longer than the lease, which is renewed.
  Scenario slow = Plain(ThreeMessages("slow", 2));
  slow.drives = {Drive::kRun, Drive::kRun};
  slow.messages = {{.partition = 0, .id = "a", .duration = absl::Milliseconds(2500)},
                   {.partition = 1, .id = "a", .duration = absl::Milliseconds(2500)}};
  cases.push_back(slow);

  // The same while leases end by a clock that runs faster than the workers', or slower.
  Scenario fast = slow;
  fast.name = "plain-store-fast";
  fast.store_clock = {.ahead = absl::Seconds(-7), .rate = 2.5};
  cases.push_back(fast);
  Scenario lagging = slow;
  lagging.name = "plain-store-slow";
  lagging.store_clock = {.ahead = absl::Seconds(7), .rate = 0.5};
  cases.push_back(lagging);

  // One worker leaves and comes back while the other is at work on messages that take their time.
  Scenario draining = ThreeMessages("draining", 2);
  draining.drives = {Drive::kRun, Drive::kRun};
  draining.stop_after = {0, 3};
  draining.messages.clear();
  for (int i = 0; i < 8; ++i) {
    draining.messages.push_back(
        {.partition = i % 2, .id = absl::StrCat("m", i), .duration = absl::Milliseconds(90)});
  }
  cases.push_back(draining);
  return cases;
}

void PrintTo(const ExhaustiveCase& one, std::ostream* out) { *out << one.scenario.name; }

std::vector<ExhaustiveCase> ExhaustiveCases() {
  std::vector<ExhaustiveCase> cases;
  cases.push_back({ThreeMessages("one-partition", 1), ThreeInAll()});
  cases.push_back({OneByOne(ThreeMessages("one-partition-one-by-one", 1)), TwoInAll()});
  cases.push_back(
      {WithStoreLoss(OneByOne(ThreeMessages("one-partition-store-loss", 1))), TwoInAll()});
  cases.push_back({ThreeMessages("two-partitions", 2), ThreeInAll()});
  AddCasesOfBatchesInARow(cases);
  AddCasesThatSyncLater(cases);
  cases.push_back({Cooperative(ThreeMessages("two-partitions-cooperative", 2)), TwoInAll()});
  cases.push_back({WithStoreLoss(ThreeMessages("two-partitions-store-loss", 2)), TwoInAll()});

  // One id three times: in one partition, and in two.
  Scenario copies = ThreeMessages("copies", 2);
  for (ScenarioMessage& message : copies.messages) message.id = "a";
  cases.push_back({copies, TwoInAll()});

  Scenario letters = ThreeMessages("letters", 1);
  letters.messages[0].handling = Handling::kReject;
  letters.messages[1].handling = Handling::kFailFirst;
  letters.messages[1].failures = 1;
  cases.push_back({letters, TwoInAll()});

  // Two letters of one key.
  Scenario keyed = ThreeMessages("letters-of-a-key", 1);
  keyed.messages[0].handling = Handling::kReject;
  keyed.messages[1].id = "a";
  keyed.messages[1].value = "another value";
  cases.push_back({keyed, OneOfEach()});

  // Attempts that run out, whoever makes them.
  Scenario failing = ThreeMessages("failing", 1);
  failing.messages[1].handling = Handling::kFailAlways;
  failing.retry.max_attempts = 2;
  cases.push_back({failing, OneOfEach()});

  Scenario conflict = OneByOne(ThreeMessages("conflict", 2));
  conflict.messages[2].id = "a";
  conflict.messages[2].value = "another value";
  conflict.messages[1].handling = Handling::kSkip;
  cases.push_back({conflict, TwoInAll()});

  // The broker hears of what is handled, also when nobody leaves.
  Scenario offsets = OneByOne(ThreeMessages("offsets", 2));
  offsets.awaits_offsets = true;  // for more than a minute: too long to play every order
  offsets.has_free_order = false;
  cases.push_back({offsets, OneOfEitherKind()});

  // One worker leaves and comes back; a letter that no broker takes.
  Scenario leaving = ThreeMessages("graceful-stop", 2);
  leaving.stop_after = {3};
  leaving.messages[1].handling = Handling::kReject;
  leaving.messages[1].is_too_large = true;
  cases.push_back({leaving, TwoInAll()});

  Scenario embedded = ThreeMessages("embedded-store", 2);
  embedded.store_model = StoreModel::kOneTransaction;
  cases.push_back({embedded, TwoInAll()});

  // Every point of the menu, also those that equal others.
  Scenario fine = WithStoreLoss(ThreeMessages("fine", 2));
  fine.grain = Grain::kFine;
  fine.stop_after = {0, 4};
  fine.messages[1].handling = Handling::kReject;
  fine.messages[1].is_too_large = true;
  fine.messages[2].handling = Handling::kFailFirst;
  fine.messages[2].failures = 1;
  cases.push_back({fine, OneOfEach()});

  // The same for two failures in one batch, and a buffer so small that the source is
  // paused.
  Scenario retries = ThreeMessages("fine-retries", 1);
  retries.grain = Grain::kFine;
  retries.limits.inflight_messages_max = 2;
  retries.limits.batch_messages_max = 2;
  retries.messages[0].handling = Handling::kReject;
  retries.messages[1].handling = Handling::kFailFirst;
  retries.messages[1].failures = 1;
  cases.push_back({retries, OneOfEach()});
  AddBatchHandlerCases(cases);
  AddNumberedCases(cases);
  AddDeadlyCases(cases);
  AddIdentityCases(cases);
  AddPlainCases(cases);
  AddQueueCases(cases);
  AddSendingCases(cases);
  AddProducingCases(cases);
  return cases;
}

absl::StatusOr<Scenario> FindScenario(std::string_view name) {
  for (const Mode mode : {Mode::kLiveness, Mode::kSafety}) {
    const std::string prefix = absl::StrCat(ToAbsl(ToString(mode)), "-");
    const std::string number(name.substr(std::min(name.size(), prefix.size())));
    const bool is_seed = name.starts_with(prefix) && !number.empty() &&
                         number.find_first_not_of("0123456789") == std::string::npos;
    if (is_seed) return CaseOfSeed(std::strtoull(number.c_str(), nullptr, 10), mode).scenario;
  }
  std::string known;
  for (ExhaustiveCase& one : ExhaustiveCases()) {
    if (one.scenario.name == name) return std::move(one.scenario);
    absl::StrAppend(&known, " ", one.scenario.name);
  }
  for (Scenario& scenario : RandomCases()) {
    if (scenario.name == name) return std::move(scenario);
    absl::StrAppend(&known, " ", scenario.name);
  }
  return absl::NotFoundError(absl::StrCat("no scenario ", ToAbsl(name), "; there are:", known,
                                          " and liveness-<seed>, safety-<seed>"));
}

}  // namespace once::testing
