// The parts of the in-memory store: MemoryData is what is committed, MemoryTransaction stages what
// one transaction adds to it. Private to src/memory.
// Thread-safety: MemoryData is safe for concurrent use; a transaction belongs to one thread at a
// time.
#pragma once

#include <algorithm>
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

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/memory/store.h"

namespace once::memory {

// A position row.
struct PositionRow {
  PositionStamp stamp;
  std::int64_t reach = 0;
  std::optional<AppliedRecord> last_applied;
  PositionDirective directive = PositionDirective::kNone;
};

// What one transaction adds: applied to MemoryData as a whole, or thrown away.
struct StagedWrites {
  absl::flat_hash_map<std::string, IdRecord> ids;  // by EncodeIdKey
  std::vector<OutboxRow> outgoing;
  std::set<OutboxOrigin> origins;  // of `outgoing`
  std::vector<std::pair<std::string, std::string>> records;
  std::map<PartitionKey, PositionRow> positions;
};

class MemoryData {
 public:
  // Clamped, because an endless wait overflows the clock's arithmetic.
  explicit MemoryData(absl::Duration begin_timeout)
      : begin_timeout_(std::clamp(begin_timeout, absl::ZeroDuration(), absl::Hours(24))) {}

  // Waits until no transaction is open, then marks one as open. Every OK is paired with one
  // Leave().
  absl::Status Enter(std::string_view operation);
  void Leave();

  // REQUIRES for the next three: between Enter() and Leave().
  std::vector<BeginResult::Mismatch> Compare(std::span<const PositionLock> locks) const;
  std::vector<TakenPosition> Take(std::span<const TakeRequest> requests);
  void Apply(StagedWrites writes);

  IdRecord FindId(const std::string& encoded_key) const;
  bool HasOrigin(const OutboxOrigin& origin) const;
  std::vector<std::optional<PositionStamp>> ReadPositions(std::span<const PartitionKey> keys) const;
  std::vector<std::string> ReadRecords(std::string_view table) const;

  std::vector<PendingRow> FindPending(std::size_t rows_max) const;
  std::size_t CountPending() const;
  void MarkPublished(std::span<const std::int64_t> sequences);
  void Park(std::int64_t sequence, const absl::Status& reason);

 private:
  TakenPosition TakeOne(const TakeRequest& request);
  // The cluster of another row of the same group, topic and partition; empty: there is none.
  std::string FindOtherCluster(const PartitionKey& key) const;

  struct ParkedRow {
    OutgoingMessage message;
    absl::Status reason;
  };

  const absl::Duration begin_timeout_;

  mutable std::mutex mutex_;
  std::condition_variable left_;
  bool is_open_ = false;
  std::map<PartitionKey, PositionRow> positions_;
  absl::flat_hash_map<std::string, IdRecord> ids_;
  std::map<std::int64_t, OutgoingMessage> pending_;
  std::map<std::int64_t, ParkedRow> parked_;
  std::set<OutboxOrigin> origins_;
  std::int64_t last_sequence_ = 0;
  std::map<std::string, std::vector<std::string>, std::less<>> records_;
};

class MemoryTransaction final : public StoreTransaction, public RecordWriter {
 public:
  // REQUIRES: data->Enter() was OK; this object leaves.
  MemoryTransaction(std::shared_ptr<MemoryData> data, std::span<const PositionLock> locks);
  ~MemoryTransaction() override { Rollback(); }

  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override;
  absl::Status PutIds(std::span<const IdWrite> writes) override;
  absl::Status PutOutgoing(std::span<const OutboxRow> rows) override;
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
    std::map<PartitionKey, PositionRow> positions;
    // Former staged records of the ids written since, newest last; nullopt: was not staged.
    std::vector<std::pair<std::string, std::optional<IdRecord>>> ids;
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
