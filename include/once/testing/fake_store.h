// A FakeStore is the server side of a store in a simulation, with transactions and with claims:
// what it has committed survives the processes that use it. Every process connects for itself and
// gets a DedupStore. Leases run in virtual time.
//
// Rows are locked until their transaction ends, ids from the first look at them; a wait for a lock
// is bounded, in virtual time. Answers may be lost, commits may be on their way while the caller
// has long given up, the store may lose its tail, and it may have no space to write for a while:
// see seam.h for the menu.
//
// Thread-safety: none; see fiber_executor.h. Outside of fibres it works too, and waits take no
// time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/message.h"
#include "once/testing/fiber_executor.h"
#include "once/testing/observer.h"
#include "once/testing/seam.h"
#include "once/testing/store_state.h"

namespace once::testing {

// What may be lost when the store dies.
enum class StoreLoss : std::uint8_t {
  kTail,      // the last commits, whatever was promised of them: a replica takes over, a backup
  kUnsynced,  // only what no synced commit and no Sync() has followed: a machine loses its power
};

enum class StoreModel : std::uint8_t {
  kRowLocks,        // a shared server: transactions on different rows run side by side
  kOneTransaction,  // an embedded store: one writer at a time
};

// The time by which a store judges its leases and delays: that of the workers, but ahead of it (or
// behind), and so many of its seconds to one of theirs.
struct StoreClock {
  absl::Duration ahead;
  double rate = 1;
};

struct FakeStoreOptions {
  StoreModel model = StoreModel::kRowLocks;
  absl::Duration lock_wait_max = absl::Milliseconds(200);
  // How long a commit is on its way after its answer was lost.
  absl::Duration in_flight = absl::Milliseconds(100);
  // How long there is no space. Reads work meanwhile, and what is on its way had its space before.
  absl::Duration no_space = absl::Milliseconds(400);
  // False: an id is locked when it is written, not when it is looked up. A planted bug: two
  // transactions both find it absent.
  bool locks_found_ids = true;
  // A store that lost its tail gives the sequences of the lost outbox rows to others.
  bool reuses_sequences = false;
  StoreLoss loss = StoreLoss::kTail;
  // True: the creation of a position row may be lost too, and what came before it.
  bool loses_new_rows = false;
  // An embedded store, locked to the process that has it open: whoever connects knows that all
  // former owners of claims are dead.
  bool has_one_owner = false;
  // False: whoever names a claimed id is believed to own the claim. A planted bug.
  bool compares_fences = true;
  // A call of the claim protocol about several ids is a pipeline, not a transaction: where its
  // answer is lost, or its process dies with it, the first half of them have heard it.
  bool says_claims_in_part = false;
  // Without rollback: a claim word that breaks off there has ended the claim and left the record as
  // it was. A planted bug.
  bool tears_words = false;
  Durability durability = Durability::kMachine;  // StoreTraits::durability
  bool syncs_beside = false;                     // TransactionalStore::syncs_beside()
  StoreClock clock;
  // It has a log of outgoing messages (TransactionalStore::outgoing). That keeps in memory what it
  // has written, so one process at a time may use it, and the store loses nothing under it: see
  // loses_in_use.
  bool has_outgoing = false;
  // False: kLoseOneCommit and kLoseTwoCommits do nothing. An embedded store loses its tail with the
  // machine, and with whoever has it open: LoseCommits().
  bool loses_in_use = true;
  // Planted bugs of the outgoing messages: their rows are there before the transaction commits; a
  // rollback to the savepoint keeps them; they get their numbers when they are written, not in the
  // order of the commits.
  bool sends_at_once = false;
  bool keeps_undone_messages = false;
  bool numbers_at_once = false;
  std::string id = "fake-store";  // StoreTraits::id
};

// The effects table, as a handler sees it through its transaction.
class EffectWriter {
 public:
  virtual ~EffectWriter() = default;
  virtual void Append(EffectRow row) = 0;
  // The row that says what `message` did: scope, id, value, origin.
  void Append(const Message& message);
  // What the store holds for an id, this transaction's writes included; no seam.
  virtual IdRecord Peek(const IdKey& key) const = 0;
  // False once the server has ended the session: what runs then has no effect.
  virtual bool is_open() const = 0;
};

// Null when `transaction` is not of a fake store.
EffectWriter* Effects(Transaction& transaction);

class FakeTransaction;

class FakeStore {
 public:
  // `observer` may be null; both must outlive the store and every connection.
  FakeStore(SeamGate& gate, FakeStoreOptions options, SimulationObserver* observer);
  ~FakeStore();

  std::shared_ptr<DedupStore> Connect(std::shared_ptr<Process> process);

  // Committed, and visible to everybody.
  const StoreState& state() const { return state_; }
  // What a loss of everything unsynced would leave.
  const StoreState& SyncedState();
  // Commits whose answer was lost and that are still on their way.
  std::size_t in_flight() const { return flights_.size(); }

  // The store dies and comes back without its last `commits` commits, as far as its options let it
  // lose them. Every open transaction ends.
  void LoseCommits(std::size_t commits);

  const FakeStoreOptions& options() const { return options_; }

 private:
  friend class FakeTransaction;
  friend class FakeConnection;
  friend class FakeOutgoing;
  using TransactionId = std::uint64_t;

  struct Flight {
    TransactionId id;
    int process;
    std::vector<PositionLock> locks;
    StoreChange change;
  };

  // What a transaction, or a call that is one of its own, needs to wait for a lock.
  struct Waiter {
    Process& process;
    TransactionId id;
    const FakeTransaction* transaction;  // null: a call of its own
  };
  absl::Status Lock(const Waiter& waiter, TransactionId& holder);
  absl::Status LockWriter(const Waiter& waiter);
  absl::Status LockRow(const Waiter& waiter, const PartitionKey& key);
  absl::Status LockId(const Waiter& waiter, const std::string& key);
  void Release(TransactionId id);
  // Does what kLoseOneCommit and kLoseTwoCommits ask for; false for any other fault.
  bool Lose(Fault fault);
  // True while nothing can be written; kNoSpace begins such a time.
  bool IsFull(Fault fault = Fault::kNone);
  void MarkSynced();
  absl::Time Now() const;
  // fake_claims.cc
  bool IsOver(const ClaimRecord& claim) const;
  IdRecord Find(const std::string& key) const;
  // Of the last connection. Not a small number: it must not be taken for a counter.
  std::uint64_t Incarnation() const { return opens_ * 0x9E3779B97F4A7C15u; }
  void ApplyChange(int process, std::span<const PositionLock> locks, const StoreChange& change);
  void Launch(Flight flight);
  void Land(TransactionId id);
  void EndSessions(const Process& process);

  SeamGate& gate_;
  FakeStoreOptions options_;
  SimulationObserver* observer_;
  SimulationObserver silent_;
  StoreState state_;
  std::vector<StoreChange> history_;
  std::size_t losable_from_ = 0;  // commits before this one are never lost
  std::size_t synced_ = 0;        // so many commits survive the machine
  StoreState synced_state_;       // as far as `synced_applied_`, for SyncedState()
  std::size_t synced_applied_ = 0;
  std::uint64_t opens_ = 0;
  std::uint64_t losses_ = 0;
  std::int64_t last_number_ = 0;  // numbers_at_once
  absl::Time full_until_ = absl::InfinitePast();
  TransactionId last_id_ = 0;
  TransactionId writer_ = 0;  // kOneTransaction: who writes; 0 nobody
  std::map<PartitionKey, TransactionId> row_locks_;
  std::map<std::string, TransactionId> id_locks_;
  std::vector<FakeTransaction*> open_;
  std::vector<Flight> flights_;
  Condition released_;
};

}  // namespace once::testing
