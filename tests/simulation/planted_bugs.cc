// The wrappers that hold the bugs, and the table of where each must show.
#include "tests/simulation/planted_bugs.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <utility>

#include "src/test_hooks.h"
#include "tests/simulation/scenarios.h"
#include "tests/simulation/wrapped_seams.h"

namespace once::testing {
namespace {

// -- Bugs of Begin: who may write the row --

// Expects whatever is there where `is_accepted` says that the difference does not matter.
class LenientStore : public WrappedStore {
 public:
  using WrappedStore::WrappedStore;
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    absl::StatusOr<BeginResult> result = inner().Begin(locks);
    while (result.ok() && result->transaction == nullptr) {
      std::vector<PositionLock> lenient(locks.begin(), locks.end());
      for (const BeginResult::Mismatch& mismatch : result->mismatches) {
        const bool is_accepted = mismatch.actual.has_value() &&
                                 IsAccepted(locks[mismatch.lock].expected, *mismatch.actual);
        if (!is_accepted) return result;
        lenient[mismatch.lock].expected = *mismatch.actual;
      }
      result = inner().Begin(lenient);
    }
    return result;
  }

 private:
  virtual bool IsAccepted(const PositionStamp& expected, const PositionStamp& actual) const = 0;
};

// The upsert of the KafkaConsumer javadoc recipe.
class BlindStore : public LenientStore {
 public:
  using LenientStore::LenientStore;

 private:
  bool IsAccepted(const PositionStamp&, const PositionStamp&) const override { return true; }
};

// offset <= stored is refused, all else is fine: blind to a store that went back.
class MonotoneStore : public LenientStore {
 public:
  using LenientStore::LenientStore;

 private:
  bool IsAccepted(const PositionStamp& expected, const PositionStamp& actual) const override {
    return actual.position <= expected.position;
  }
};

// Reads the row without writing its tag into it.
class UnfencedStore : public WrappedStore {
 public:
  using WrappedStore::WrappedStore;
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    std::vector<PartitionKey> keys;
    for (const TakeRequest& request : requests) keys.push_back(request.key);
    const auto stamps = inner().ReadPositions(keys);
    if (!stamps.ok()) return stamps.status();
    std::vector<TakenPosition> taken;
    for (const std::optional<PositionStamp>& stamp : *stamps) {
      if (!stamp.has_value()) return inner().Take(requests);
      taken.push_back({.previous = stamp, .current = *stamp});
    }
    return taken;
  }
};

// -- Bugs of Commit: what its answer means --

class UnknownIsOk : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status Commit(Durability wanted) override {
    const absl::Status status = inner_->Commit(wanted);
    return status.code() == absl::StatusCode::kUnknown ? absl::OkStatus() : status;
  }
};

class UnknownIsFailure : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status Commit(Durability wanted) override {
    const absl::Status status = inner_->Commit(wanted);
    if (status.code() != absl::StatusCode::kUnknown) return status;
    return absl::UnavailableError("taken for a failure");
  }
};

class FailureIsOk : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status Commit(Durability wanted) override {
    const absl::Status status = inner_->Commit(wanted);
    return status.code() == absl::StatusCode::kUnavailable ? absl::OkStatus() : status;
  }
};

// Both together, as in consumers that upsert and retry on any error.
class BlindUnknownIsFailure : public BlindStore {
 public:
  using BlindStore::BlindStore;
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    absl::StatusOr<BeginResult> result = BlindStore::Begin(locks);
    if (result.ok() && result->transaction != nullptr) {
      result->transaction = std::make_unique<UnknownIsFailure>(std::move(result->transaction));
    }
    return result;
  }
};

// -- Bugs of ids, effects and letters --

class EffectsForgotten : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  void Append(EffectRow) override {}
};

class SavepointIgnored : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status RollbackToSavepoint() override { return absl::OkStatus(); }
};

// Watermill's and Redpanda's deduplicators: an id that is there has been handled.
class PresentIsCompleted : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override {
    const absl::Status status = inner_->FindIds(keys, records);
    for (IdRecord& record : records) {
      if (record.state == IdState::kRetrying) record.state = IdState::kCompleted;
    }
    return status;
  }
};

class LettersForgotten : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status PutOutgoing(std::span<const OutboxRow>) override { return absl::OkStatus(); }
};

class ConflictsUnseen : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override {
    const absl::Status status = inner_->FindIds(keys, records);
    for (IdRecord& record : records) record.fingerprint = {};
    return status;
  }
};

// The highest offset of the batch instead of the first unsettled one.
class HighestPosition : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override {
    std::vector<PositionUpdate> highest(updates.begin(), updates.end());
    for (PositionUpdate& update : highest)
      update.position = std::max<std::int64_t>(update.position, 3);
    return inner_->SetPositions(highest);
  }
};

// -- Bugs of the source --

// Loses the first message of every batch that has more than one.
class SkippingSource : public WrappedSource {
 public:
  using WrappedSource::WrappedSource;
  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    absl::StatusOr<Batch> polled = inner_->Poll(options, listener);
    if (!polled.ok() || polled->size() < 2) return polled;
    const auto whole = std::make_shared<Batch>(*std::move(polled));
    std::vector<Message> rest;
    for (std::size_t i = 1; i < whole->size(); ++i) {
      rest.push_back(std::move(whole->messages()[i]));
    }
    return Batch(std::move(rest), whole);
  }
};

// Automatic commit: what was delivered is acknowledged.
class EagerCommitSource : public WrappedSource {
 public:
  using WrappedSource::WrappedSource;
  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    absl::StatusOr<Batch> batch = inner_->Poll(options, listener);
    if (!batch.ok()) return batch;
    for (const Message& message : batch->messages()) {
      const PartitionOffset next{
          .partition = {.topic = std::string(message.topic()), .partition = message.partition()},
          .offset = message.offset() + 1};
      (void)inner_->Commit(std::span(&next, 1), CommitMode::kHint);
    }
    return batch;
  }
};

// Begins every partition where the broker says, whatever the store says.
class BrokerIsAuthority : public WrappedSource {
 public:
  using WrappedSource::WrappedSource;
  absl::Status Start(std::span<const PartitionOffset> positions) override {
    std::vector<PartitionOffset> starts(positions.begin(), positions.end());
    for (PartitionOffset& start : starts) {
      const auto bounds = inner_->Describe(std::span(&start.partition, 1));
      if (bounds.ok() && bounds->front().committed) start.offset = *bounds->front().committed;
    }
    return inner_->Start(starts);
  }
};

}  // namespace

std::vector<Check> ProtocolChecks() {
  return {Check::kReadAfterUnknown, Check::kExpectedStamp, Check::kFencedEffect,
          Check::kHandledAgain,     Check::kMisuse,        Check::kBegun};
}

const PlantedBug* FindBug(std::string_view name) {
  const std::vector<PlantedBug>& all = AllPlantedBugs();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [name](const PlantedBug& bug) { return bug.name == name; });
  return found == all.end() ? nullptr : &*found;
}

bool Plant(const PlantedBug& bug, Scenario& scenario) {
  scenario.planted_bug = bug.name;
  if (bug.plant != nullptr) bug.plant(scenario);
  return !bug.is_in_engine || test_hooks::PlantBug(bug.name);
}

SearchResult HuntBug(const PlantedBug& bug, Judged judged) {
  const bool is_by_state = judged == Judged::kByStateAlone;
  const bool is_elsewhere = is_by_state && !bug.state_scenario.empty();
  absl::StatusOr<Scenario> scenario =
      FindScenario(is_elsewhere ? bug.state_scenario : bug.scenario);
  if (!scenario.ok()) return {.is_complete = false};
  if (is_by_state) scenario->ignored = ProtocolChecks();
  if (!Plant(bug, *scenario)) return {.is_complete = false};
  SearchResult result = SearchExhaustively(*scenario, is_elsewhere ? bug.state_budget : bug.budget);
  test_hooks::PlantBug("");
  return result;
}

PlantedBug InEngine(std::string name, std::string what, std::string scenario, Budget budget,
                    Check caught_by) {
  return {.name = std::move(name),
          .what = std::move(what),
          .scenario = scenario,
          .budget = budget,
          .caught_by = caught_by,
          .state_scenario = scenario,
          .state_budget = budget,
          .state_caught_by = caught_by,
          .is_in_engine = true};
}

void PrintTo(const PlantedBug& bug, std::ostream* out) { *out << bug.name; }

const std::vector<PlantedBug>& PlantedBugs() {
  constexpr Budget kNone = {};
  constexpr Budget kOne = {.faults = 1};
  constexpr Budget kOnePreemption = {.preemptions = 1};
  static const std::vector<PlantedBug>* const bugs = new std::vector<PlantedBug>{
      {"blind-upsert", "a position row is overwritten whoever wrote it", PlantStore<BlindStore>,
       "one-partition", kOne, Check::kExpectedStamp,  //
       "one-partition-store-loss", kOne, Check::kOneOutcome},
      {"monotone-check", "a row that went back is accepted", PlantStore<MonotoneStore>,
       "one-partition-store-loss", kOne, Check::kExpectedStamp,  //
       "one-partition-store-loss", kOne, Check::kOneOutcome},
      {"unfenced-read", "the row is read without writing a tag", PlantStore<UnfencedStore>,
       "one-partition", kOne, Check::kReadAfterUnknown, ""},
      {"unknown-is-ok", "a lost answer to a commit is taken for success",
       PlantTransaction<UnknownIsOk>,                //
       "one-partition", kOne, Check::kAcknowledged,  //
       "one-partition", kOne, Check::kAcknowledged},
      {"unknown-is-failure", "a lost answer to a commit is taken for failure",
       PlantTransaction<UnknownIsFailure>,  //
       "one-partition", kOne, Check::kReadAfterUnknown, ""},
      {"blind-unknown-is-failure", "the same over a blind upsert",
       PlantStore<BlindUnknownIsFailure>,                //
       "one-partition", kOne, Check::kReadAfterUnknown,  //
       "one-partition-store-loss", kOne, Check::kOneOutcome},
      {"failure-is-ok", "a failed commit is taken for success", PlantTransaction<FailureIsOk>,
       "one-partition", kOne, Check::kAcknowledged,  //
       "one-partition", kOne, Check::kAcknowledged},
      {"effects-forgotten", "ids are committed without their effects",
       PlantTransaction<EffectsForgotten>,      //
       "one-partition", kNone, Check::kAtomic,  //
       "one-partition", kNone, Check::kAtomic},
      {"savepoint-ignored", "what a failing handler wrote is kept",
       PlantTransaction<SavepointIgnored>,  //
       "letters", kNone, Check::kAtomic,    //
       "letters", kNone, Check::kAtomic},
      {"ids-never-found", "no duplicate check", PlantTransaction<IdsNeverFound>,  //
       "copies", kNone, Check::kHandledAgain,                                     //
       "copies", kNone, Check::kOneEffect},
      {"ids-not-locked", "two transactions look an id up before either has written it",
       [](Scenario& scenario) { scenario.locks_found_ids = false; },  //
       "copies", kOnePreemption, Check::kOneEffect,                   //
       "copies", kOnePreemption, Check::kOneEffect},
      {"present-is-completed", "an id that waits for a retry counts as done",
       PlantTransaction<PresentIsCompleted>,  //
       "letters", kNone, Check::kOneOutcome,  //
       "letters", kNone, Check::kOneOutcome},
      {"letters-forgotten", "a dead letter is not written", PlantTransaction<LettersForgotten>,
       "letters", kNone, Check::kAtomic,  //
       "letters", kNone, Check::kAtomic},
      {"conflicts-unseen", "another value under one id counts as a duplicate",
       PlantTransaction<ConflictsUnseen>,      //
       "conflict", kNone, Check::kOneOutcome,  //
       "conflict", kNone, Check::kOneOutcome},
      {"highest-position", "the position passes a message that waits for a retry",
       PlantTransaction<HighestPosition>,     //
       "letters", kNone, Check::kOneOutcome,  //
       "letters", kNone, Check::kOneOutcome},
      {"skipping-source", "a message is not delivered", PlantSource<SkippingSource>,  //
       "one-partition", kNone, Check::kOneOutcome,                                    //
       "one-partition", kNone, Check::kOneOutcome},
      {"eager-commit", "delivered messages are acknowledged at once",
       PlantSource<EagerCommitSource>,                //
       "one-partition", kNone, Check::kAcknowledged,  //
       "one-partition", kNone, Check::kAcknowledged},
      {"broker-is-authority", "consumers begin where the broker says",
       PlantSource<BrokerIsAuthority>,                     //
       "one-partition-store-loss", kOne, Check::kDrained,  //
       "one-partition-store-loss", kOne, Check::kDrained},
  };
  return *bugs;
}

const std::vector<PlantedBug>& AllPlantedBugs() {
  static const std::vector<PlantedBug>* const all = [] {
    auto* bugs = new std::vector<PlantedBug>(PlantedBugs());
    for (const auto* more :
         {&PlantedClaimBugs(), &PlantedRowBugs(), &PlantedQueueBugs(), &PlantedEngineBugs(),
          &PlantedSendingBugs(), &PlantedProducingBugs()}) {
      bugs->insert(bugs->end(), more->begin(), more->end());
    }
    return bugs;
  }();
  return *all;
}

}  // namespace once::testing
