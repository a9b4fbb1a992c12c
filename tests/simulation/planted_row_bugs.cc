// Position rows that forget what was invoked or which record was last applied, and groups that do
// not look at whose offsets they find.
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/wrapped_seams.h"

namespace once::testing {
namespace {

class ReachNotRaised : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override {
    std::vector<PositionUpdate> blind(updates.begin(), updates.end());
    for (PositionUpdate& update : blind) update.reach = update.position;
    return inner_->SetPositions(blind);
  }
};

// A message that has used up its attempts looks as if one were left.
class ExhaustedGoesOn : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override {
    const absl::Status status = inner_->FindIds(keys, records);
    for (IdRecord& record : records) {
      if (record.state == IdState::kRetrying) record.attempt = std::min(record.attempt, 1);
    }
    return status;
  }
};

class AttemptCommittedTwice : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status PutIds(std::span<const IdWrite> writes) override {
    std::vector<IdWrite> twice(writes.begin(), writes.end());
    for (IdWrite& write : twice) {
      if (write.record.state == IdState::kRetrying) ++write.record.attempt;
    }
    return inner_->PutIds(twice);
  }
};

// What Take() says is changed on its way.
class ChangedTake : public WrappedStore {
 public:
  using WrappedStore::WrappedStore;
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    absl::StatusOr<std::vector<TakenPosition>> taken = inner().Take(requests);
    if (!taken.ok()) return taken;
    for (TakenPosition& row : *taken) Change(row);
    return taken;
  }

 private:
  virtual void Change(TakenPosition& row) const = 0;
};

// Only the first message after an unclean end runs singly.
class SinglesEndEarly : public ChangedTake {
 public:
  using ChangedTake::ChangedTake;

 private:
  void Change(TakenPosition& row) const override {
    row.reach = std::min(row.reach, row.current.position + 1);
  }
};

class LastRecordForgotten : public ChangedTake {
 public:
  using ChangedTake::ChangedTake;

 private:
  void Change(TakenPosition& row) const override { row.last_applied.reset(); }
};

// Whose offsets they are is not read …
class MetadataIgnored : public WrappedSource {
 public:
  using WrappedSource::WrappedSource;
  absl::StatusOr<std::vector<PartitionBounds>> Describe(
      std::span<const TopicPartition> partitions) override {
    auto bounds = inner_->Describe(partitions);
    if (!bounds.ok()) return bounds;
    for (PartitionBounds& one : *bounds) one.committed_metadata.clear();
    return bounds;
  }
};

// … or not said.
class MetadataNotWritten : public WrappedSource {
 public:
  using WrappedSource::WrappedSource;
  absl::Status Commit(std::span<const PartitionOffset> positions, CommitMode mode) override {
    std::vector<PartitionOffset> anonymous(positions.begin(), positions.end());
    for (PartitionOffset& position : anonymous) position.metadata.clear();
    return inner_->Commit(anonymous, mode);
  }
};

}  // namespace

const std::vector<PlantedBug>& PlantedRowBugs() {
  constexpr Budget kNone = {};
  static const std::vector<PlantedBug>* const bugs = new std::vector<PlantedBug>{
      {"reach-not-raised", "nobody knows that a handler may have run",
       PlantTransaction<ReachNotRaised>,   //
       "poison", kNone, Check::kAttempts,  //
       "poison", kNone, Check::kAttempts},
      {"singles-end-early", "after an unclean end only one message runs singly",
       PlantStore<SinglesEndEarly>,             //
       "late-poison", kNone, Check::kAttempts,  //
       "late-poison", kNone, Check::kAttempts},
      {"exhausted-goes-on", "a message without attempts left is invoked again",
       PlantTransaction<ExhaustedGoesOn>,  //
       "poison", kNone, Check::kAttempts,  //
       "poison", kNone, Check::kAttempts},
      {"attempt-committed-twice", "one invocation is charged twice",
       PlantTransaction<AttemptCommittedTwice>,  //
       "letters", kNone, Check::kAttempts,       //
       "letters", kNone, Check::kAttempts},
      {"last-record-forgotten", "a recreated topic is taken for the one before",
       PlantStore<LastRecordForgotten>,       //
       "recreated", kNone, Check::kIdentity,  //
       "recreated", kNone, Check::kIdentity},
      {"metadata-ignored", "offsets of another store are taken for one's own",
       PlantSource<MetadataIgnored>,              //
       "foreign-store", kNone, Check::kIdentity,  //
       "foreign-store", kNone, Check::kIdentity},
      {"metadata-not-written", "nobody can tell whose offsets they are",
       PlantSource<MetadataNotWritten>,           //
       "foreign-store", kNone, Check::kIdentity,  //
       "foreign-store", kNone, Check::kIdentity},
  };
  return *bugs;
}

}  // namespace once::testing
