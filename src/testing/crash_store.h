// A CrashStore stands between the engine and a real store, in one simulated process: at every call
// the gate decides whether it fails, its answer is lost, or the process dies. What the engine did
// with the handler's runs is kept in a CrashLedger, which outlives the processes.
// Thread-safety: none, as the simulator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "once/claims.h"
#include "once/dedup_store.h"
#include "once/message.h"
#include "once/outcome.h"
#include "once/testing/fiber_executor.h"
#include "once/testing/seam.h"

namespace once::testing {

// Id and value: copies of a message share an entry, messages in conflict do not.
using MessageName = std::pair<std::string, std::string>;
MessageName NameOf(const Message& message);

// What became of the messages of one execution.
struct CrashLedger {
  std::map<MessageName, int> runs;              // of handlers that succeeded, and were committed
  std::set<MessageName> settled;                // by a handler's skip, or by reconciliation
  std::map<std::string, MessageName> skipped;   // by id: a handler said so, not yet on record
  std::int64_t announced_repeats = 0;           // of plain handlers
  std::vector<MessageName> unannounced;         // ran again without being told so
  std::vector<std::string>* history = nullptr;  // null: not recorded

  void Record(const Process& process, std::string_view what) const;
};

class CrashStore;

// The engine's transaction. The handler gets the store's own: inner().
class CrashTransaction : public StoreTransaction {
 public:
  CrashTransaction(CrashStore& store, std::unique_ptr<StoreTransaction> inner);
  ~CrashTransaction() override;

  Transaction& inner() { return *inner_; }
  // The handler has returned.
  void Note(const Message& message, const Outcome& outcome);
  // The process is dead: the server rolls back.
  void Abandon() { inner_.reset(); }

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override;
  absl::Status PutIds(std::span<const IdWrite> writes) override;
  absl::Status FindNotes(std::span<const std::string_view> keys,
                         std::span<std::string> values) override;
  absl::Status PutNotes(std::span<const once::Note> notes) override;
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override;
  absl::Status Publish(const OutgoingMessage& message) override;
  absl::Status SetSavepoint() override;
  absl::Status RollbackToSavepoint() override;
  absl::Status CheckOpen() override;
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override;
  absl::Status Commit(Durability wanted) override;
  void Rollback() override;

 private:
  struct Run {
    MessageName name;
    bool is_skip = false;
  };

  CrashStore& store_;
  std::unique_ptr<StoreTransaction> inner_;  // null: the process is dead
  std::vector<Run> runs_;
  std::size_t runs_before_savepoint_ = 0;
};

class CrashStore : public DedupStore, public TransactionalStore, public ClaimStore, public Outbox {
 public:
  // The gate and the ledger must outlive the store.
  CrashStore(SeamGate& gate, std::shared_ptr<Process> process, CrashLedger& ledger,
             std::shared_ptr<DedupStore> inner);

  StoreTraits traits() const override { return inner_->traits(); }
  TransactionalStore* transactions() override {
    return inner_->transactions() == nullptr ? nullptr : this;
  }
  ClaimStore* claims() override { return inner_->claims() == nullptr ? nullptr : this; }

  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override;
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override;
  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) override;
  Outbox& outbox() override { return *this; }

  // Whoever dies gives the relay back.
  bool TryAcquireRelay() override { return inner_outbox().TryAcquireRelay(); }
  void ReleaseRelay() override { inner_outbox().ReleaseRelay(); }
  absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) override;
  absl::StatusOr<std::size_t> CountPending() override;
  absl::Status MarkPublished(std::span<const std::int64_t> sequences) override;
  absl::Status Park(std::int64_t sequence, const absl::Status& reason) override;

  Fence NewFence() override { return inner_->claims()->NewFence(); }
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
  friend class CrashTransaction;

  // The call at `seam`, as the gate lets it happen. `undo` is what "not applied" means for a call
  // that ends something.
  absl::Status Call(
      Seam seam, absl::FunctionRef<absl::Status()> call, absl::FunctionRef<void()> undo = [] {});
  Outbox& inner_outbox() { return inner_->transactions()->outbox(); }

  SeamGate& gate_;
  std::shared_ptr<Process> process_;
  CrashLedger& ledger_;
  std::shared_ptr<DedupStore> inner_;
  CrashTransaction* open_ = nullptr;
};

}  // namespace once::testing
