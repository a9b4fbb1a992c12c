// FaultyStore: the in-memory store behind a door that a test can jam. Commits can be refused, fail,
// or lose their answer, with or without having happened; and since every durable operation is
// written down, the store can be rolled back to an earlier moment, as after a failover to a replica
// that lags behind.
//
// Thread-safety: like the in-memory store; hooks are set before the consumer starts.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "once/memory/store.h"

namespace once {

// How one commit ends.
enum class CommitFate : unsigned char {
  kHappens,
  kRefused,        // rolled back, because of what is in it
  kTrouble,        // rolled back, the store is unavailable
  kUnknownDone,    // happened, and the answer is lost
  kUnknownUndone,  // did not happen, and nobody says so
};

class FaultyStore : public DedupStore, public TransactionalStore {
 public:
  // Asked at every synced commit, with the ids that the transaction completes.
  using CommitHook = std::function<CommitFate(const std::vector<std::string>& completed)>;

  FaultyStore() = default;

  void OnCommit(CommitHook hook) { commit_hook_ = std::move(hook); }
  // Asked at every commit that need not survive the machine.
  void OnMark(std::function<CommitFate()> hook) { mark_hook_ = std::move(hook); }
  // From now on it syncs beside transactions: called by Sync(), for its answer.
  void OnSync(std::function<absl::Status()> hook) { sync_hook_ = std::move(hook); }
  // Called at the start of Begin, Take and ReadPositions; an error is returned as theirs.
  void OnBegin(std::function<absl::Status()> hook) { begin_hook_ = std::move(hook); }
  void OnTake(std::function<absl::Status()> hook) { take_hook_ = std::move(hook); }
  void OnRead(std::function<absl::Status()> hook) { read_hook_ = std::move(hook); }
  // What StoreTransaction::CheckOpen() answers, once, after the next handler.
  void EndNextTransactionWith(absl::Status status) { open_answer_ = std::move(status); }

  // A statement of the next handler fails: its transaction takes nothing more until it is rolled
  // back to the savepoint, which answers `undone`, once.
  void FailNextStatement(absl::Status undone = absl::OkStatus()) {
    fails_statement_ = true;
    undone_answer_ = std::move(undone);
  }

  // The consumer's process dies: whatever it still asks of the store does not happen.
  void Die() { is_dead_ = true; }
  void Revive() { is_dead_ = false; }

  // What traits() say of the store's identity.
  void SetIdentity(std::string id, std::uint64_t open_count = 1) {
    traits_.id = std::move(id);
    traits_.open_count = open_count;
  }

  // … and of what it keeps, for how long.
  void SetRetention(absl::Duration retention) { traits_.retention = retention; }
  void SetDurability(Durability durability, std::string weakness) {
    traits_.durability = durability;
    traits_.weakness = std::move(weakness);
  }

  // Durable operations so far. RollBackTo(n) undoes all but the first n.
  std::size_t recorded_calls() const;
  void RollBackTo(std::size_t operations);
  // Another process becomes the writer of a row.
  void LetAnotherTake(const PartitionKey& key, std::uint64_t writer = 999);
  // … and its writer, whoever it is, writes it.
  void LetAnotherWrite(const PositionUpdate& update);

  std::optional<PositionStamp> Row(const PartitionKey& key);
  // The whole row; all zero without one.
  StoredPosition FindRow(const PartitionKey& key);
  std::vector<std::string> ReadRecords(std::string_view table) const;
  IdRecord FindId(std::string_view scope, std::string_view id);
  std::vector<OutgoingMessage> PendingLetters();

  StoreTraits traits() const override { return traits_; }
  TransactionalStore* transactions() override { return this; }
  // Past the door: what an operator changes is not among the recorded calls.
  StoreOperations* operations() override { return inner()->operations(); }
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override;
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override;
  absl::StatusOr<std::vector<std::optional<PositionStamp>>> ReadPositions(
      std::span<const PartitionKey> keys) override;
  bool syncs_beside() const override { return sync_hook_ != nullptr; }
  absl::Status Sync() override { return sync_hook_(); }
  Outbox& outbox() override { return inner()->transactions()->outbox(); }

 private:
  friend class FaultyTransaction;

  struct Write {
    std::string scope;
    std::string id;
    IdRecord record;
  };
  // Everything that one transaction wrote.
  struct Committed {
    std::vector<Write> ids;
    std::vector<OutboxRow> letters;
    std::vector<std::pair<std::string, std::string>> notes;
    std::vector<PositionUpdate> positions;
    std::vector<std::pair<std::string, std::string>> records;
  };
  using Operation = std::variant<std::vector<TakeRequest>, Committed>;

  std::shared_ptr<memory::Store> inner() const;
  absl::Status CheckAlive() const {
    return is_dead_ ? absl::CancelledError("the process is dead") : absl::OkStatus();
  }
  void Remember(Operation operation);
  static void Replay(memory::Store& store, const Operation& operation);

  bool is_dead_ = false;
  StoreTraits traits_ = memory::OpenStore()->traits();
  CommitHook commit_hook_;
  std::function<CommitFate()> mark_hook_;
  std::function<absl::Status()> sync_hook_;
  std::function<absl::Status()> begin_hook_;
  std::function<absl::Status()> take_hook_;
  std::function<absl::Status()> read_hook_;
  absl::Status open_answer_;
  bool fails_statement_ = false;
  absl::Status undone_answer_;

  mutable std::mutex mutex_;
  std::shared_ptr<memory::Store> inner_ = memory::OpenStore();
  std::vector<Operation> operations_;
};

// The handler's access to its effects, through the door or without one.
inline void AppendEffect(Transaction& transaction, std::string_view row) {
  dynamic_cast<memory::RecordWriter&>(transaction).Append("effects", row);
}

}  // namespace once
