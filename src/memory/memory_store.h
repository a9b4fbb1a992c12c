// The parts of the in-memory store: MemoryData is what is committed, MemoryTransaction stages what
// one transaction adds to it. Private to src/memory.
// Thread-safety: MemoryData is safe for concurrent use; a transaction belongs to one thread at a
// time.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/memory/store.h"
#include "src/memory/id_table.h"
#include "src/memory/outbox_table.h"
#include "src/memory/outgoing_table.h"
#include "src/memory/position_table.h"
#include "src/memory/staged_id_writes.h"

namespace once::memory {

// What one transaction adds: applied to MemoryData as a whole, or thrown away.
struct StagedWrites {
  StagedIdWrites ids;
  std::vector<OutboxRow> outgoing;
  std::set<OutboxOrigin> origins;  // of `outgoing`
  std::vector<std::pair<std::string, std::string>> records;
  std::map<PartitionKey, PositionRow> positions;
  std::map<std::string, std::string, std::less<>> notes;  // empty: to be forgotten
  std::vector<OutgoingMessage> published;
};

// What is committed.
struct Contents {
  PositionTable positions;
  IdTable ids;
  OutboxTable outbox;
  std::map<std::string, std::vector<std::string>, std::less<>> records;
  std::map<std::string, std::string, std::less<>> notes;
  OutgoingTable outgoing;

  void Apply(StagedWrites& writes, absl::Time now);
};

// The contents behind one mutex, and the turn to change them: an open transaction has it until it
// ends, everybody else for one call.
class MemoryData {
 public:
  explicit MemoryData(const StoreOptions& options);

  absl::Time Now() const { return now_(); }

  // For whoever has the turn: the room of a former transaction's staged ids, and where it goes.
  StagedIdWrites TakeRoom() { return std::exchange(room_, {}); }
  void GiveRoom(StagedIdWrites room);

  // Waits until no transaction is open, then marks one as open. Every OK is paired with one
  // Leave().
  absl::Status Enter(std::string_view operation);
  void Leave();

  // Calls `change` with the contents and with the time, in a turn of its own. kUnavailable when a
  // transaction was open all the time; `change` was not called then.
  absl::Status Change(std::string_view operation,
                      absl::FunctionRef<absl::Status(Contents&, absl::Time)> change);

  // Calls `access` with the contents, beside whatever transaction is open: for reading, and for
  // what no transaction reads. What `access` returns must own its data.
  template <typename F>
  auto Access(F&& access) {
    std::lock_guard lock(mutex_);
    return access(contents_);
  }

 private:
  const absl::Duration begin_timeout_;
  const std::function<absl::Time()> now_;

  std::mutex mutex_;
  std::condition_variable left_;
  bool is_open_ = false;
  StagedIdWrites room_;  // used in turns, without the mutex
  Contents contents_;
};

class MemoryTransaction final : public StoreTransaction, public RecordWriter {
 public:
  // REQUIRES: data->Enter() was OK; this object leaves.
  MemoryTransaction(std::shared_ptr<MemoryData> data, std::span<const PositionLock> locks);
  ~MemoryTransaction() override { Rollback(); }

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override;
  absl::Status PutIds(std::span<const IdWrite> writes) override;
  absl::Status FindNotes(std::span<const std::string_view> keys,
                         std::span<std::string> values) override;
  absl::Status PutNotes(std::span<const Note> notes) override;
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override;
  absl::Status Publish(const OutgoingMessage& message) override;
  absl::Status SetSavepoint() override;
  absl::Status RollbackToSavepoint() override;
  absl::Status CheckOpen() override { return state_; }
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override;
  absl::Status Commit(Durability wanted) override;
  void Rollback() override;

  void Append(std::string_view table, std::string_view row) override;

 private:
  // What RollbackToSavepoint() goes back to.
  struct Savepoint {
    std::size_t outgoing = 0;
    std::size_t records = 0;
    std::size_t ids = 0;
    std::map<PartitionKey, PositionRow> positions;
    std::map<std::string, std::string, std::less<>> notes;
    std::size_t published = 0;
  };

  absl::Status Fail(absl::Status error);
  void Finish(absl::Status state);

  std::shared_ptr<MemoryData> data_;  // null once the transaction is over
  std::map<PartitionKey, PositionStamp> locks_;
  StagedWrites staged_;
  std::optional<Savepoint> savepoint_;
  absl::Status state_;  // OK while the transaction is usable
};

}  // namespace once::memory
