// The client side of a FakeStore: one transaction, and one process's connection.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "once/testing/fake_store.h"
#include "src/stores/single_lane_log.h"
#include "src/testing/fake_outgoing.h"
#include "src/testing/serial_log.h"

namespace once::testing {

// What a caller is told; see executor.h.
inline absl::Status StoreDead() { return absl::CancelledError("fake store: the process is dead"); }
inline absl::Status StoreFailed() { return absl::UnavailableError("fake store: failure"); }
inline absl::Status StoreUnknown() { return absl::UnknownError("fake store: the answer was lost"); }
inline absl::Status StoreFull() {
  return absl::ResourceExhaustedError("fake store: no space; goes on once there is space again");
}
inline absl::Status StoreSessionLost() {
  return absl::UnavailableError("fake store: the server has ended the session");
}

class FakeTransaction : public StoreTransaction, public EffectWriter {
 public:
  FakeTransaction(FakeStore& store, std::shared_ptr<Process> process, FakeStore::TransactionId id,
                  std::span<const PositionLock> locks)
      : store_(store), process_(std::move(process)), id_(id), locks_(locks.begin(), locks.end()) {
    store_.open_.push_back(this);
  }
  ~FakeTransaction() override {
    if (is_open_) End(absl::OkStatus());
  }

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override;
  absl::Status PutIds(std::span<const IdWrite> writes) override;
  absl::Status FindNotes(std::span<const std::string_view> keys,
                         std::span<std::string> values) override;
  absl::Status PutNotes(std::span<const Note> notes) override;
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override;
  absl::Status Publish(const OutgoingMessage& message) override;
  absl::Status SetSavepoint() override;
  absl::Status RollbackToSavepoint() override;
  absl::Status CheckOpen() override;
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override;
  absl::Status Commit(Durability wanted) override;
  void Rollback() override;

  using EffectWriter::Append;
  void Append(EffectRow row) override;
  IdRecord Peek(const IdKey& key) const override;

  const Process& process() const { return *process_; }
  FakeStore::TransactionId id() const { return id_; }
  bool is_open() const override { return is_open_; }
  // Nothing of it exists any more; every later call answers `why`.
  void End(absl::Status why);

 private:
  struct Savepoint {
    std::size_t ids = 0;
    std::size_t effects = 0;
    std::size_t outgoing = 0;
    std::size_t notes = 0;
    std::size_t positions = 0;
    std::size_t sent = 0;
  };

  // OK when the call may go on. Everything but Commit and Rollback begins with it.
  absl::Status Enter(Seam seam);
  // The same for what needs space.
  absl::Status EnterWrite(Seam seam);
  absl::Status Fail(absl::Status status);
  FakeStore::Waiter AsWaiter() { return {*process_, id_, this}; }

  FakeStore& store_;
  std::shared_ptr<Process> process_;
  FakeStore::TransactionId id_;
  std::vector<PositionLock> locks_;
  StoreChange change_;
  std::optional<Savepoint> savepoint_;
  bool is_open_ = true;
  bool has_failed_ = false;
  absl::Status ended_;
};

// One process's connection: everything that a store offers in one object.
class FakeConnection : public DedupStore,
                       public TransactionalStore,
                       public ClaimStore,
                       public Outbox {
 public:
  // REQUIRES: the store has counted this connection.
  FakeConnection(FakeStore& store, std::shared_ptr<Process> process);

  StoreTraits traits() const override { return traits_; }
  TransactionalStore* transactions() override { return this; }
  ClaimStore* claims() override { return this; }
  bool syncs_beside() const override { return store_.options_.syncs_beside; }
  Outbox& outbox() override { return *this; }
  OutgoingLog* outgoing() override { return serial_ ? &*serial_ : nullptr; }

  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override;
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override;
  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) override;
  absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) override;
  absl::StatusOr<std::size_t> CountPending() override;
  absl::Status MarkPublished(std::span<const std::int64_t> sequences) override;
  absl::Status Park(std::int64_t sequence, const absl::Status& reason) override;

  // fake_claims.cc
  Fence NewFence() override;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override;
  absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Renew(std::span<const Claim> claims, absl::Duration lease,
                     std::span<absl::Status> outcomes) override;
  absl::Status Complete(std::span<const CompletedClaim> claims,
                        std::span<absl::Status> outcomes) override;
  absl::Status Fail(std::span<const FailedClaim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Dying(std::span<const DyingClaim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Discard(std::span<const Claim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Sync() override;

 private:
  friend class FakeOutgoing;

  // The common part of calls that only read. OK when the call may go on.
  absl::Status EnterRead(Seam seam);
  // A transaction of one change: what MarkPublished and Park are.
  absl::Status Change(Seam seam, const StoreChange& change);
  // Applies, launches or drops a change as the fault says; what the caller is told.
  absl::Status Finish(Fault fault, FakeStore::TransactionId id, const StoreChange& change);
  absl::Status LockRows(const FakeStore::Waiter& waiter, std::vector<const PartitionKey*> keys);
  TakenPosition TakeOne(const TakeRequest& request, StoreChange& change) const;

  // One claim call: locks the ids, lets `step` change the entry of each, and ends as the gate says.
  struct Step {
    std::size_t index;
    absl::Time now;
    IdEntry& entry;
  };
  using StepFunction = std::function<void(const Step& step)>;
  absl::Status ChangeIds(Seam seam, std::span<const Claim> claims, const StepFunction& step);
  // The same under a compare-and-set on the fence; `step` runs for claims that are still held in
  // one of `states`.
  absl::Status ChangeHeld(Seam seam, std::span<const Claim> claims,
                          std::span<absl::Status> outcomes, std::initializer_list<IdState> states,
                          const StepFunction& step);
  ClaimResult ClaimOne(const ClaimRequest& request, absl::Duration lease, const Step& step) const;
  void Misuse(Seam seam, std::string_view what);

  FakeStore& store_;
  std::shared_ptr<Process> process_;
  StoreTraits traits_;
  std::uint64_t incarnation_ = 0;
  std::uint64_t fences_ = 0;
  std::uint64_t losses_ = 0;                    // of the store, that Sync() has told
  std::map<std::uint64_t, std::string> asked_;  // keys by the counter of the fence
  FakeOutgoing outgoing_rows_{*this};
  std::optional<stores::SingleLaneLog> outgoing_;
  std::optional<SerialLog> serial_;
};

}  // namespace once::testing
