// Seams that pass every call on: whoever wants to watch, delay or spoil one call derives from them
// and overrides that one. Thread-safety: that of what they forward to.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "once/dedup_store.h"
#include "once/publisher.h"
#include "once/record_client.h"
#include "once/source.h"

namespace once::testing {

class ForwardingRecordClient : public RecordClient {
 public:
  explicit ForwardingRecordClient(std::unique_ptr<RecordClient> inner) : inner_(std::move(inner)) {}

  absl::StatusOr<std::int32_t> CountPartitions(const std::string& topic,
                                               absl::Time deadline) override {
    return inner_->CountPartitions(topic, deadline);
  }
  absl::Status TrySend(const OutgoingRecord& record) override { return inner_->TrySend(record); }
  void Poll(absl::Time deadline, const Listener& listener) override {
    inner_->Poll(deadline, listener);
  }
  void Wake() override { inner_->Wake(); }
  void Purge() override { inner_->Purge(); }
  std::size_t CountInside() const override { return inner_->CountInside(); }
  absl::Status status() const override { return inner_->status(); }

 private:
  std::unique_ptr<RecordClient> inner_;
};

class ForwardingTransaction : public StoreTransaction {
 public:
  explicit ForwardingTransaction(std::unique_ptr<StoreTransaction> inner)
      : inner_(std::move(inner)) {}

  StoreTransaction& inner() { return *inner_; }

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override {
    return inner_->FindIds(keys, records);
  }
  absl::Status PutIds(std::span<const IdWrite> writes) override { return inner_->PutIds(writes); }
  absl::Status FindNotes(std::span<const std::string_view> keys,
                         std::span<std::string> values) override {
    return inner_->FindNotes(keys, values);
  }
  absl::Status PutNotes(std::span<const Note> notes) override { return inner_->PutNotes(notes); }
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override {
    return inner_->PutOutgoing(rows);
  }
  absl::Status Publish(const OutgoingMessage& message) override { return inner_->Publish(message); }
  absl::Status SetSavepoint() override { return inner_->SetSavepoint(); }
  absl::Status RollbackToSavepoint() override { return inner_->RollbackToSavepoint(); }
  absl::Status CheckOpen() override { return inner_->CheckOpen(); }
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override {
    return inner_->SetPositions(updates);
  }
  absl::Status Commit(Durability wanted) override { return inner_->Commit(wanted); }
  void Rollback() override { inner_->Rollback(); }

 protected:
  std::unique_ptr<StoreTransaction> inner_;
};

// The store's own transaction behind any number of forwarding ones: what an adapter's typed access
// function (sqlite::Connection) must be given.
inline Transaction& Innermost(Transaction& transaction) {
  Transaction* innermost = &transaction;
  while (auto* forwarding = dynamic_cast<ForwardingTransaction*>(innermost)) {
    innermost = &forwarding->inner();
  }
  return *innermost;
}

class ForwardingStore : public DedupStore, public TransactionalStore {
 public:
  explicit ForwardingStore(std::shared_ptr<DedupStore> inner) : inner_(std::move(inner)) {}

  StoreTraits traits() const override { return inner_->traits(); }
  TransactionalStore* transactions() override {
    return inner_->transactions() == nullptr ? nullptr : this;
  }
  ClaimStore* claims() override { return inner_->claims(); }
  StoreOperations* operations() override { return inner_->operations(); }

  // REQUIRES in all of these: the inner store has transactions().
  bool syncs_beside() const override { return inner_->transactions()->syncs_beside(); }
  absl::Status Sync() override { return inner().Sync(); }
  Outbox& outbox() override { return inner().outbox(); }
  OutgoingLog* outgoing() override { return inner().outgoing(); }
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

class ForwardingOutgoingLog : public OutgoingLog {
 public:
  explicit ForwardingOutgoingLog(OutgoingLog& inner) : inner_(inner) {}
  std::string producer_id() const override { return inner_.producer_id(); }
  absl::StatusOr<std::vector<int>> HoldLanes() override { return inner_.HoldLanes(); }
  void GiveUpLanes(std::span<const int> lanes) override { inner_.GiveUpLanes(lanes); }
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override {
    return inner_.FindUnfinished(lane);
  }
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override {
    return inner_.FindUnplaced(lane, bound);
  }
  absl::Status Advance(const OutgoingProgress& progress) override {
    return inner_.Advance(progress);
  }
  absl::StatusOr<std::vector<StreamProgress>> ListStreams() override {
    return inner_.ListStreams();
  }
  absl::StatusOr<std::vector<OwedVoid>> ListOwed() override { return inner_.ListOwed(); }
  absl::StatusOr<bool> IsEpochInUse(std::uint64_t epoch) override {
    return inner_.IsEpochInUse(epoch);
  }
  absl::Status CloseEpoch(std::uint64_t epoch) override { return inner_.CloseEpoch(epoch); }
  absl::StatusOr<OutgoingCounts> Count() override { return inner_.Count(); }
  absl::StatusOr<std::vector<ParkedRow>> ListParked(std::int64_t after,
                                                    std::size_t rows_max) override {
    return inner_.ListParked(after, rows_max);
  }
  absl::Status Unpark(std::int64_t number) override { return inner_.Unpark(number); }
  absl::Status Discard(std::int64_t number) override { return inner_.Discard(number); }

 protected:
  OutgoingLog& inner_;
};

class ForwardingClaims : public ClaimStore {
 public:
  explicit ForwardingClaims(ClaimStore& inner) : inner_(inner) {}
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

// A store whose claims are `C`, constructed from the inner store's.
template <typename C>
class ClaimsOf : public ForwardingStore {
 public:
  explicit ClaimsOf(const std::shared_ptr<DedupStore>& inner)
      : ForwardingStore(inner), claims_(*inner->claims()) {}
  ClaimStore* claims() override { return &claims_; }

 private:
  C claims_;
};

class ForwardingSource : public LogSource {
 public:
  explicit ForwardingSource(std::unique_ptr<LogSource> inner) : inner_(std::move(inner)) {}
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
  absl::StatusOr<bool> IsCompacted(std::string_view topic) override {
    return inner_->IsCompacted(topic);
  }
  absl::StatusOr<absl::Duration> ReadRetention(std::string_view topic) override {
    return inner_->ReadRetention(topic);
  }
  std::optional<std::int64_t> Lag(const TopicPartition& partition) override {
    return inner_->Lag(partition);
  }

 protected:
  std::unique_ptr<LogSource> inner_;
};

class ForwardingPublisher : public Publisher {
 public:
  explicit ForwardingPublisher(std::shared_ptr<Publisher> inner) : inner_(std::move(inner)) {}
  void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
               std::span<absl::Status> outcomes) override {
    inner_->Publish(messages, deadline, outcomes);
  }

 protected:
  std::shared_ptr<Publisher> inner_;
};

}  // namespace once::testing
