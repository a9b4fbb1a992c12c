// Incidents about duplicates, retries and letters. docs/incidents.md lists all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "once/consumer.h"
#include "once/log.h"
#include "once/memory/store.h"
#include "once/testing/crash_test.h"
#include "once/testing/fake_log.h"
#include "src/testing/simulated_random.h"
#include "tests/simulation/incident.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/wrapped_seams.h"

namespace once::testing {
namespace {

// NServiceBus#4993 (https://github.com/Particular/NServiceBus/issues/4993): a message to be handled
// later came back under the id of the original, which was on record: it was dropped as a duplicate.
TEST(Incidents, NServiceBus4993ARetryIsNoDuplicateOfItsOwnFirstAttempt) {
  ExpectGuarded({.world = World("letters", {Fault::kCrashBefore, Fault::kRebalance}),
                 .guard_removed_by = "present-is-completed",
                 .breaks = Check::kOneOutcome});
}

TEST(Incidents, NServiceBus4993NorIsItUnderAClaim) {
  ExpectGuarded({.world = World("plain-letters", {Fault::kCrashBefore, Fault::kRebalance}),
                 .guard_removed_by = "failed-claim-is-duplicate",
                 .breaks = Check::kAcknowledged});
}

// MassTransit#3791 (https://github.com/MassTransit/MassTransit/issues/3791): what a consumer had
// published through its outbox was published again when the message was delivered again.
template <typename Store>
CrashReport SendTheSameThreeTimes() {
  const auto store = std::make_shared<std::shared_ptr<DedupStore>>();
  return RunEveryCrash(
      {.open_store = [store](const CrashWorld&) { return *store; },
       .reset =
           [store](const CrashWorld& world) {
             *store = std::make_shared<Store>(memory::OpenStore({.now = world.now}));
             return absl::OkStatus();
           },
       .messages = std::vector<CrashMessage>(3, {.id = "a", .value = "1"}),
       .handler = [](const Message&, Transaction&) { return Reject("no such account"); },
       .check =
           [](const CrashWorld& world) {
             // A letter may be there twice after a lost answer, but only the one.
             for (const OutgoingMessage& letter : world.letters) {
               if (letter == world.letters.front()) continue;
               return absl::InternalError("a second letter of the same id");
             }
             return absl::OkStatus();
           },
       .messages_per_poll = 1});
}

TEST(Incidents, MassTransit3791ADuplicateSendsNothingAgain) {
  const CrashReport guarded = SendTheSameThreeTimes<WrappedStore>();
  EXPECT_TRUE(guarded.ok()) << guarded;
  const CrashReport unguarded = SendTheSameThreeTimes<StoreOf<IdsNeverFound>>();
  ASSERT_TRUE(unguarded.witness.has_value()) << "without the guard it holds as well";
  EXPECT_EQ(unguarded.witness->verdict, CrashVerdict::kWrongState) << unguarded;
}

// How often two groups together handle one message, over one table of ids.
int HandledByTwoGroups(const std::optional<std::string>& scope) {
  const std::shared_ptr<DedupStore> store = memory::OpenStore();
  int handled = 0;
  for (const char* group : {"billing", "shipping"}) {
    ReplayOracle oracle({});
    FiberScheduler scheduler(oracle);
    SeamGate gate(scheduler, {});
    FakeLog log(gate, {.group = group}, nullptr);
    log.Append(0, {.value = "tea", .headers = {{.name = "id", .value = "a"}}});
    const std::shared_ptr<Process> process = scheduler.NewProcess(group);
    auto consumer = Consumer::Create({.source = log.Connect(process),
                                      .store = store,
                                      .id = StandardIdHeaders(),
                                      .scope = scope,
                                      .log = NoLog(),
                                      .executor = process,
                                      .random = std::make_shared<SimulatedRandom>(1)},
                                     [&handled](const Message&, Transaction&) {
                                       ++handled;
                                       return absl::OkStatus();
                                     });
    EXPECT_TRUE(consumer.ok()) << consumer.status();
    for (int round = 0; consumer.ok() && round < 5; ++round) {
      EXPECT_TRUE((*consumer)->Step().ok());
    }
  }
  return handled;
}

// NServiceBus.NHibernate#117 (https://github.com/Particular/NServiceBus.NHibernate/issues/117): two
// endpoints kept their ids in one table without saying whose; an event that one had handled never
// reached the other.
TEST(Incidents, NHibernate117EverySubscriberHasIdsOfItsOwnInASharedTable) {
  EXPECT_EQ(HandledByTwoGroups(std::nullopt), 2);
  // One scope for both is the incident, and a choice here.
  EXPECT_EQ(HandledByTwoGroups("events"), 1);
}

// An inbox that inserts first and looks at nothing: one id that is there fails the whole batch.
class InsertOnly : public IdsNeverFound {
 public:
  using IdsNeverFound::IdsNeverFound;
  absl::Status PutIds(std::span<const IdWrite> writes) override {
    std::vector<IdKey> keys;
    for (const IdWrite& write : writes) keys.push_back(write.key);
    std::vector<IdRecord> present(keys.size());
    if (absl::Status found = inner_->FindIds(keys, present); !found.ok()) return found;
    for (const IdRecord& record : present) {
      if (record.state == IdState::kCompleted) return absl::AlreadyExistsError("unique key");
    }
    return inner_->PutIds(writes);
  }
};

// wolverine#2639 (https://github.com/JasperFx/wolverine/issues/2639): one duplicate made the insert
// of the whole batch fail; the listener took that for an outage of the store, paused, and met the
// same batch again, for ever.
TEST(Incidents, Wolverine2639OneDuplicateDoesNotFreezeItsPartition) {
  Scenario world = World("copies", {});
  world.messages_per_poll = 1;
  world.messages[1].id = "b";
  world.ignored = ProtocolChecks();
  ExpectGuarded({.world = world,
                 .budget = {},
                 .remove_guard = PlantTransaction<InsertOnly>,
                 .breaks = Check::kDrained});
}

// One key that says "somebody has it", and nothing for "it is done".
class DoneIsInProgress : public OtherVerdict {
 public:
  using OtherVerdict::OtherVerdict;

 private:
  void Change(ClaimResult& result) const override {
    if (result.verdict != ClaimVerdict::kDuplicate) return;
    result = {.verdict = ClaimVerdict::kInProgress, .wait = absl::Hours(7 * 24)};
  }
};

// spinnaker/echo PR 327 (https://github.com/spinnaker/echo/pull/327): a key in Redis said both "in
// progress" and "done", for seven days; a copy of a handled message was refused and redelivered
// until then.
TEST(Incidents, Echo327ACopyOfAHandledMessageIsAcknowledged) {
  Scenario world = World("plain-copies", {Fault::kCrashBefore});
  world.messages.push_back({.partition = 1, .id = "b"});
  ExpectGuarded(
      {.world = world, .remove_guard = PlantClaims<DoneIsInProgress>, .breaks = Check::kDrained});
}

// The other way round, as deduplicators with one key do it: who is at work counts as done, and what
// it does not finish is lost.
TEST(Incidents, Echo327AndACopyOfAMessageAtWorkIsNot) {
  ExpectGuarded({.world = World("plain-one-partition", {Fault::kCrashBefore}),
                 .guard_removed_by = "in-progress-is-duplicate",
                 .breaks = Check::kAcknowledged});
}

// A broker whose refusals look as if they would pass.
class RefusalLooksTransient : public Publisher {
 public:
  explicit RefusalLooksTransient(std::shared_ptr<Publisher> inner) : inner_(std::move(inner)) {}
  void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
               std::span<absl::Status> outcomes) override {
    inner_->Publish(messages, deadline, outcomes);
    for (absl::Status& outcome : outcomes) {
      if (absl::IsInvalidArgument(outcome)) outcome = absl::UnavailableError("try again");
    }
  }

 private:
  std::shared_ptr<Publisher> inner_;
};

// spring-kafka PR 1923 (https://github.com/spring-projects/spring-kafka/pull/1923): a record whose
// failure no retry could help was published to its own dead-letter topic again and again.
TEST(Incidents, SpringKafka1923ALetterThatNobodyTakesIsPutAside) {
  ExpectGuarded({.world = World("graceful-stop", {}),
                 .budget = {},
                 .remove_guard =
                     [](Scenario& scenario) {
                       scenario.wrap_publisher =
                           [](std::shared_ptr<Publisher> inner) -> std::shared_ptr<Publisher> {
                         return std::make_shared<RefusalLooksTransient>(std::move(inner));
                       };
                     },
                 .breaks = Check::kDrained});
}

}  // namespace
}  // namespace once::testing
