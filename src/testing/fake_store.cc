// The server: locks, commits that arrive late, and what is lost.
#include "once/testing/fake_store.h"

#include <algorithm>
#include <cassert>
#include <optional>
#include <utility>

#include "src/testing/fake_connection.h"

namespace once::testing {
namespace {

OutboxEntry* FindEntry(StoreState& state, std::int64_t sequence) {
  const auto it = std::lower_bound(
      state.outbox.begin(), state.outbox.end(), sequence,
      [](const OutboxEntry& entry, std::int64_t wanted) { return entry.sequence < wanted; });
  return it != state.outbox.end() && it->sequence == sequence ? &*it : nullptr;
}

bool IsEmpty(const StoreChange& change) {
  return change.positions.empty() && change.ids.empty() && change.effects.empty() &&
         change.outgoing.empty() && change.notes.empty() && change.published.empty() &&
         change.parked.empty() && change.sent.empty() && change.facts.empty() &&
         change.dropped.empty();
}

void ApplyOutgoing(const StoreChange& change, OutgoingTables& outgoing) {
  for (const StoreChange::Sent& sent : change.sent) {
    const std::int64_t number = sent.number > 0 ? sent.number : outgoing.last + 1;
    outgoing.last = std::max(outgoing.last, number);
    outgoing.rows.insert_or_assign(
        number, OutgoingRow{.number = number, .message = sent.message, .put_at = change.sent_at});
  }
  for (const StoreChange::Fact& fact : change.facts) {
    if (fact.value) {
      outgoing.facts.insert_or_assign(fact.key, *fact.value);
    } else {
      outgoing.facts.erase(fact.key);
    }
  }
  for (const StoreChange::Range& range : change.dropped) {
    outgoing.rows.erase(outgoing.rows.lower_bound(range.first),
                        outgoing.rows.upper_bound(range.last));
  }
}

}  // namespace

void Apply(const StoreChange& change, StoreState& state) {
  for (const StoreChange::Position& position : change.positions) {
    state.positions.insert_or_assign(position.key, position.row);
  }
  for (const StoreChange::Id& id : change.ids) {
    if (id.entry.record.state == IdState::kAbsent) {
      state.ids.erase(id.key);
    } else {
      state.ids.insert_or_assign(id.key, id.entry);
    }
  }
  for (const StoredNote& note : change.notes) {
    if (note.value.empty()) {
      state.notes.erase(note.key);
    } else {
      state.notes.insert_or_assign(note.key, note.value);
    }
  }
  state.effects.insert(state.effects.end(), change.effects.begin(), change.effects.end());
  if (change.first_sequence > 0) state.next_sequence = change.first_sequence;
  for (const OutboxRow& row : change.outgoing) {
    const bool is_known =
        std::any_of(state.outbox.begin(), state.outbox.end(),
                    [&row](const OutboxEntry& entry) { return entry.row.origin == row.origin; });
    if (is_known) continue;
    state.outbox.push_back({.sequence = state.next_sequence++, .row = row});
  }
  for (const std::int64_t sequence : change.published) {
    if (OutboxEntry* entry = FindEntry(state, sequence)) entry->is_published = true;
  }
  for (const std::int64_t sequence : change.parked) {
    if (OutboxEntry* entry = FindEntry(state, sequence)) entry->is_parked = true;
  }
  ApplyOutgoing(change, state.outgoing);
}

FakeStore::FakeStore(SeamGate& gate, FakeStoreOptions options, SimulationObserver* observer)
    : gate_(gate),
      options_(std::move(options)),
      observer_(observer == nullptr ? &silent_ : observer),
      released_(gate.scheduler()) {}

FakeStore::~FakeStore() { assert(open_.empty()); }

std::shared_ptr<DedupStore> FakeStore::Connect(std::shared_ptr<Process> process) {
  process->OnKill([this, dying = process.get()] { EndSessions(*dying); });
  ++opens_;
  return std::make_shared<FakeConnection>(*this, std::move(process));
}

absl::Time FakeStore::Now() const {
  const absl::Time now = gate_.scheduler().Now();
  return absl::UnixEpoch() + (now - absl::UnixEpoch()) * options_.clock.rate + options_.clock.ahead;
}

// Waits until nobody else holds the lock, and takes it.
absl::Status FakeStore::Lock(const Waiter& waiter, TransactionId& holder) {
  const absl::Time deadline = gate_.scheduler().Now() + options_.lock_wait_max;
  while (holder != 0 && holder != waiter.id) {
    const bool is_notified = released_.WaitUntil(deadline);
    if (waiter.process.is_dead()) return StoreDead();
    if (waiter.transaction != nullptr && !waiter.transaction->is_open()) return StoreSessionLost();
    if (!is_notified && holder != 0) {
      return absl::UnavailableError("fake store: somebody else holds a lock for too long");
    }
  }
  holder = waiter.id;
  return absl::OkStatus();
}

absl::Status FakeStore::LockWriter(const Waiter& waiter) {
  return options_.model == StoreModel::kOneTransaction ? Lock(waiter, writer_) : absl::OkStatus();
}

// Map nodes stay where they are, so a reference survives the wait; holder 0 means free.
absl::Status FakeStore::LockRow(const Waiter& waiter, const PartitionKey& key) {
  return Lock(waiter, row_locks_[key]);
}

absl::Status FakeStore::LockId(const Waiter& waiter, const std::string& key) {
  // The one writer needs no lock on what nobody else can write.
  if (options_.model == StoreModel::kOneTransaction) return absl::OkStatus();
  return Lock(waiter, id_locks_[key]);
}

void FakeStore::Release(TransactionId id) {
  if (id == 0) return;
  if (writer_ == id) writer_ = 0;
  for (auto& [key, holder] : row_locks_) {
    if (holder == id) holder = 0;
  }
  for (auto& [key, holder] : id_locks_) {
    if (holder == id) holder = 0;
  }
  released_.NotifyAll();
}

void FakeStore::ApplyChange(int process, std::span<const PositionLock> locks,
                            const StoreChange& change) {
  if (locks.empty() && IsEmpty(change)) {
    // What it has read is synced all the same.
    if (change.durability == Durability::kMachine) MarkSynced();
    return;
  }
  observer_->OnApply(process, locks, change, state_);
  history_.push_back(change);
  history_.back().first_sequence = state_.next_sequence;
  history_.back().sent_at = Now();
  Apply(history_.back(), state_);
  for (const StoreChange::Position& position : change.positions) {
    if (position.is_new && !options_.loses_new_rows) losable_from_ = history_.size();
  }
  observer_->OnApplied(change, state_);
  if (change.durability == Durability::kMachine) MarkSynced();
}

void FakeStore::MarkSynced() {
  synced_ = history_.size();
  observer_->OnSynced(state_);
}

const StoreState& FakeStore::SyncedState() {
  for (; synced_applied_ < synced_; ++synced_applied_) {
    Apply(history_[synced_applied_], synced_state_);
  }
  return synced_state_;
}

void FakeStore::Launch(Flight flight) {
  const TransactionId id = flight.id;
  flights_.push_back(std::move(flight));
  gate_.scheduler().At(gate_.scheduler().Now() + options_.in_flight, [this, id] { Land(id); });
}

void FakeStore::Land(TransactionId id) {
  const auto it = std::find_if(flights_.begin(), flights_.end(),
                               [id](const Flight& flight) { return flight.id == id; });
  if (it == flights_.end()) return;  // the store died meanwhile
  const Flight flight = std::move(*it);
  flights_.erase(it);
  ApplyChange(flight.process, flight.locks, flight.change);
  Release(id);
}

void FakeStore::EndSessions(const Process& process) {
  const std::vector<FakeTransaction*> open = open_;
  for (FakeTransaction* transaction : open) {
    if (&transaction->process() == &process) transaction->End(StoreDead());
  }
}

bool FakeStore::Lose(Fault fault) {
  if (fault != Fault::kLoseOneCommit && fault != Fault::kLoseTwoCommits) return false;
  if (!options_.loses_in_use) return false;
  // Of a tail that nobody has promised anything about, one commit or all of it.
  const std::size_t two = options_.loss == StoreLoss::kUnsynced ? history_.size() : 2;
  LoseCommits(fault == Fault::kLoseOneCommit ? 1 : two);
  return true;
}

bool FakeStore::IsFull(Fault fault) {
  const absl::Time now = gate_.scheduler().Now();
  if (fault == Fault::kNoSpace) full_until_ = now + options_.no_space;
  return now < full_until_;
}

void FakeStore::LoseCommits(std::size_t commits) {
  const std::vector<FakeTransaction*> open = open_;
  for (FakeTransaction* transaction : open) transaction->End(StoreSessionLost());
  const std::vector<Flight> flights = std::move(flights_);
  flights_.clear();
  for (const Flight& flight : flights) Release(flight.id);
  std::size_t kept = std::max(losable_from_, history_.size() - std::min(commits, history_.size()));
  if (options_.loss == StoreLoss::kUnsynced) kept = std::max(kept, synced_);
  if (kept == history_.size()) return;
  ++losses_;
  const StoreState before = std::move(state_);
  history_.resize(kept);
  synced_ = kept;  // what came back is on the disk
  state_ = {};
  for (const StoreChange& change : history_) Apply(change, state_);
  if (synced_applied_ > kept) {
    synced_state_ = {};
    synced_applied_ = 0;
  }
  if (!options_.reuses_sequences) state_.next_sequence = before.next_sequence;
  observer_->OnLost(before, state_);
  observer_->OnSynced(state_);
}

}  // namespace once::testing
