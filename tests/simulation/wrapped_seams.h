// Seams that pass everything on, for planted bugs to override one call.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "once/testing/simulation.h"

namespace once::testing {

// A transaction that passes everything on; bugs override one function.
class WrappedTransaction : public StoreTransaction, public EffectWriter {
 public:
  explicit WrappedTransaction(std::unique_ptr<StoreTransaction> inner) : inner_(std::move(inner)) {}

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override {
    return inner_->FindIds(keys, records);
  }
  absl::Status PutIds(std::span<const IdWrite> writes) override { return inner_->PutIds(writes); }
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override {
    return inner_->PutOutgoing(rows);
  }
  absl::Status SetSavepoint() override { return inner_->SetSavepoint(); }
  absl::Status RollbackToSavepoint() override { return inner_->RollbackToSavepoint(); }
  absl::Status CheckOpen() override { return inner_->CheckOpen(); }
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override {
    return inner_->SetPositions(updates);
  }
  absl::Status Commit(Durability wanted) override { return inner_->Commit(wanted); }
  void Rollback() override { inner_->Rollback(); }
  void Append(EffectRow row) override { Effects(*inner_)->Append(std::move(row)); }
  IdRecord Peek(const IdKey& key) const override { return Effects(*inner_)->Peek(key); }
  bool is_open() const override { return Effects(*inner_)->is_open(); }

 protected:
  std::unique_ptr<StoreTransaction> inner_;
};

// A store that passes everything on.
class WrappedStore : public DedupStore, public TransactionalStore {
 public:
  explicit WrappedStore(std::shared_ptr<DedupStore> inner) : inner_(std::move(inner)) {}

  const StoreTraits& traits() const override { return inner_->traits(); }
  TransactionalStore* transactions() override { return this; }
  Outbox& outbox() override { return inner().outbox(); }
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    return inner().Begin(locks);
  }
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    return inner().Take(requests);
  }
  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) override {
    return inner().ReadPositions(keys);
  }

 protected:
  TransactionalStore& inner() { return *inner_->transactions(); }

 private:
  std::shared_ptr<DedupStore> inner_;
};

// A store whose transactions are all `T`.
template <typename T>
class StoreOf : public WrappedStore {
 public:
  using WrappedStore::WrappedStore;
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    absl::StatusOr<BeginResult> result = inner().Begin(locks);
    if (result.ok() && result->transaction != nullptr) {
      result->transaction = std::make_unique<T>(std::move(result->transaction));
    }
    return result;
  }
};

template <typename S>
void PlantStore(Scenario& scenario) {
  scenario.wrap_store = [](std::shared_ptr<DedupStore> inner) -> std::shared_ptr<DedupStore> {
    return std::make_shared<S>(std::move(inner));
  };
}

template <typename T>
void PlantTransaction(Scenario& scenario) {
  PlantStore<StoreOf<T>>(scenario);
}

// Claims that pass everything on.
class WrappedClaims : public ClaimStore {
 public:
  explicit WrappedClaims(ClaimStore& inner) : inner_(inner) {}
  Fence NewFence() override { return inner_.NewFence(); }
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    return inner_.TryClaim(requests, lease, results);
  }
  absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return inner_.Begun(claims, outcomes);
  }
  absl::Status Renew(std::span<const Claim> claims, absl::Duration lease,
                     std::span<absl::Status> outcomes) override {
    return inner_.Renew(claims, lease, outcomes);
  }
  absl::Status Complete(std::span<const CompletedClaim> claims,
                        std::span<absl::Status> outcomes) override {
    return inner_.Complete(claims, outcomes);
  }
  absl::Status Fail(std::span<const FailedClaim> claims,
                    std::span<absl::Status> outcomes) override {
    return inner_.Fail(claims, outcomes);
  }
  absl::Status Dying(std::span<const DyingClaim> claims,
                     std::span<absl::Status> outcomes) override {
    return inner_.Dying(claims, outcomes);
  }
  absl::Status Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return inner_.Kill(claims, outcomes);
  }
  absl::Status Discard(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return inner_.Discard(claims, outcomes);
  }
  absl::Status Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return inner_.Release(claims, outcomes);
  }
  absl::Status Sync() override { return inner_.Sync(); }

 protected:
  ClaimStore& inner_;
};

// A store whose claims are `C`.
template <typename C>
class ClaimsOf : public DedupStore {
 public:
  explicit ClaimsOf(std::shared_ptr<DedupStore> inner)
      : inner_(std::move(inner)), claims_(*inner_->claims()) {}
  const StoreTraits& traits() const override { return inner_->traits(); }
  TransactionalStore* transactions() override { return inner_->transactions(); }
  ClaimStore* claims() override { return &claims_; }

 private:
  std::shared_ptr<DedupStore> inner_;
  C claims_;
};

template <typename C>
void PlantClaims(Scenario& scenario) {
  PlantStore<ClaimsOf<C>>(scenario);
}

class WrappedSource : public LogSource {
 public:
  explicit WrappedSource(std::unique_ptr<LogSource> inner) : inner_(std::move(inner)) {}
  const SourceTraits& traits() const override { return inner_->traits(); }
  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    return inner_->Poll(options, listener);
  }
  void Wake() override { inner_->Wake(); }
  absl::Status Close(absl::Time deadline, SourceListener& listener) override {
    return inner_->Close(deadline, listener);
  }
  absl::StatusOr<std::vector<PartitionBounds>> Describe(
      std::span<const TopicPartition> partitions) override {
    return inner_->Describe(partitions);
  }
  absl::Status Start(std::span<const PartitionOffset> positions) override {
    return inner_->Start(positions);
  }
  absl::Status Pause(std::span<const TopicPartition> partitions) override {
    return inner_->Pause(partitions);
  }
  absl::Status Commit(std::span<const PartitionOffset> positions, CommitMode mode) override {
    return inner_->Commit(positions, mode);
  }
  std::optional<std::int64_t> Lag(const TopicPartition& partition) override {
    return inner_->Lag(partition);
  }

 protected:
  std::unique_ptr<LogSource> inner_;
};

template <typename S>
void PlantSource(Scenario& scenario) {
  scenario.wrap_source = [](std::unique_ptr<LogSource> inner) -> std::unique_ptr<LogSource> {
    return std::make_unique<S>(std::move(inner));
  };
}

}  // namespace once::testing
