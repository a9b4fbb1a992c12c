// A Database is one open store: the folder, RocksDB's handle to it, the turnstile that lets one
// transaction at a time write, and what is known after a write has failed.
//
// A failed write leaves RocksDB with a log whose end nobody knows, and a handle that may never
// write again. So nothing is written through it any more: the next call that writes closes the
// folder and opens it anew. Recovery then decides what the log holds, writes it to files and syncs
// them; until that succeeds, reads go on over what was there before.
#pragma once

#include <rocksdb/env.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/rocksdb/batch.h"
#include "adapters/rocksdb/id_storage.h"
#include "adapters/rocksdb/open_db.h"
#include "adapters/rocksdb/store_folder.h"
#include "adapters/rocksdb/view.h"
#include "adapters/rocksdb/wal_watch.h"
#include "once/claims.h"
#include "once/rocksdb/store.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"
#include "src/stores/id_log/id_log.h"
#include "src/stores/id_log/id_upkeep.h"
#include "src/stores/turnstile.h"

namespace once::rocksdb {

struct StoreIdentity {
  std::string store_id;  // 32 hexadecimal digits, drawn when the store was created
  std::uint64_t open_count = 0;
};

// What a commit is to be, and what a caller may do when nobody knows whether it happened.
struct CommitRequest {
  Durability wanted = Durability::kMachine;
  std::int64_t log_time_ms = stores::kUnknownLogTime;  // of the ids that are settled
  std::string_view when_unknown = "repeat the call, which settles whether it happened";
};

// Under the store's own layer in stores that are opened from now on; null: the system's.
void SetFileSystemForTest(std::shared_ptr<::rocksdb::FileSystem> file_system);
// For the ids of such stores; nullopt: what is right for users.
void SetIdLogOptionsForTest(std::optional<stores::IdLogOptions> options);

class Database : private stores::IdOwner {
 public:
  static absl::StatusOr<std::shared_ptr<Database>> Open(const StoreOptions& options);
  ~Database() override;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& path() const { return folder_->path(); }
  const StoreIdentity& identity() const { return identity_; }
  std::string FindWeakness() const { return folder_->FindWeakness(); }
  const StoreOptions& options() const { return spec_.options; }
  const std::vector<std::string>& families() const { return spec_.families; }

  // Waits for its turn, for busy_timeout at most, and makes sure that the folder can be written.
  // OK: until Commit() or Leave() nobody else writes.
  absl::Status Begin(std::string_view operation);

  // REQUIRES for all below: between Begin() and Commit() or Leave().
  const OpenDb& open_db() const { return *open_; }
  // Writes the batch, and what becomes of ids. The turn is over in every case. kUnknown: it may
  // have happened; the next Begin() decides.
  absl::Status Commit(Batch& batch, stores::IdChanges ids, CommitRequest request = {});
  void Leave() { turnstile_.Leave(); }
  // What the last transaction's batch has left, for the next one.
  Batch::Room TakeBatchRoom() { return std::exchange(batch_room_, Batch::Room()); }
  stores::IdLog& ids() { return *ids_; }
  // What is written apart from transactions, for IdStorage; also inside of a ReadScope. What is
  // wanted for the machine is synced whatever StoreOptions says: files are removed after it. An
  // error has the folder opened again.
  absl::Status WriteApart(::rocksdb::WriteBatch& batch, Durability wanted,
                          std::string_view operation);
  // kUnavailable: a write has failed since the folder was opened.
  absl::Status CheckWritable() const;
  // Ascending; never given to two rows, also not by openings of the folder after trouble.
  std::int64_t NextSequence() { return ++last_sequence_; }
  // The greatest number of an outgoing message that was ever committed, or may have been.
  std::int64_t last_outgoing() const { return last_outgoing_; }
  void set_last_outgoing(std::int64_t number) { last_outgoing_ = number; }

  // OK: every commit before survives what StoreOptions::is_synced says. Costs nothing when there is
  // nothing to sync. REQUIRES: this thread has no transaction open.
  absl::Status Sync();
  // The same beside transactions, without a turn. After a write or a sync that failed it does
  // nothing, until the next transaction has opened the folder again.
  absl::Status SyncBeside();

  // What is known of ids, for readers: `read(const IdLog&)`, inside of a ReadScope.
  template <typename Read>
  auto ReadIds(Read read) {
    const std::shared_lock lock(ids_mutex_);
    return read(static_cast<const stores::IdLog&>(*ids_));
  }
  // For what teaches it something, in one's turn: `change(IdLog&)`.
  template <typename Change>
  auto ChangeIds(Change change) {
    const std::unique_lock lock(ids_mutex_);
    return change(*ids_);
  }
  // As long as it lives, no file of ids is removed that a snapshot of after it may need.
  std::shared_lock<std::shared_mutex> KeepFiles() { return std::shared_lock(files_mutex_); }
  // Of the ids' background task.
  absl::Status upkeep_status() const { return upkeep_->status(); }

  // False as long as no id has ever had a result in this store: nobody then needs to look.
  bool has_results() const { return has_results_; }
  void NoteResults() { has_results_ = true; }
  // Likewise of letters that are kept under an id.
  bool has_letters() const { return has_letters_; }
  void NoteLetters() { has_letters_ = true; }

  // From any thread, at any time: the claims of this opening …
  Fence NewFence() { return {.incarnation = incarnation_, .counter = ++last_fence_}; }
  // … and the clock of their leases.
  stores::LeaseClock clock() const { return {.incarnation = incarnation_, .now = now_()}; }
  std::uint64_t reopenings() const { return reopenings_; }

  // For readers, any number at a time and beside a transaction. What they see is of one moment.
  class ReadScope {
   public:
    explicit ReadScope(Database& database);
    ~ReadScope();
    ReadScope(const ReadScope&) = delete;
    ReadScope& operator=(const ReadScope&) = delete;
    // REQUIRES for the others: OK.
    absl::Status Check() const;
    View view() const { return {*database_.open_, nullptr, snapshot_}; }
    const OpenDb& open_db() const { return *database_.open_; }

   private:
    Database& database_;
    std::shared_lock<std::shared_mutex> lock_;
    const ::rocksdb::Snapshot* snapshot_ = nullptr;
  };

 private:
  Database() = default;

  // For the background task of ids.
  absl::Status InTurn(std::string_view operation,
                      absl::FunctionRef<absl::Status(stores::IdLog&)> change) override;
  absl::Status OutOfTurn(absl::FunctionRef<absl::Status(stores::IdLog&)> change) override;
  absl::Status Beside(absl::FunctionRef<absl::Status()> work) override;
  absl::StatusOr<bool> DropSome(stores::IdLog& ids, std::size_t max) override;
  absl::StatusOr<std::optional<std::int64_t>> FindExpiryLimit() override;
  std::uint64_t generation() const override { return reopenings_; }

  absl::Status Prepare(const StoreOptions& options);
  absl::Status Identify();
  absl::Status LoadCounters();
  absl::Status LoadLastDropped();
  absl::Status EnterTurnstile(std::string_view operation);
  // Opens the folder again if it must. REQUIRES: our turn.
  absl::Status MakeUsable(std::string_view operation);
  absl::Status Reopen(std::string_view operation);
  absl::Status ProbeSpace(std::string_view operation);
  absl::Status SyncNow(std::string_view operation);
  absl::Status OpenIds();
  absl::Status Apply(Batch& batch, stores::IdChanges& ids, const CommitRequest& request);
  struct WriteRequest {
    bool is_synced = false;
    bool is_owed = false;   // once it was OK, it is lost if the folder is opened without it
    std::string what = {};  // begins messages
    std::string_view when_unknown = {};
  };
  // The one place that writes. A failure has the folder opened again.
  absl::Status WriteNow(::rocksdb::WriteBatch& batch, const WriteRequest& request);

  std::unique_ptr<StoreFolder> folder_;  // first in, last out: the lock outlives the database
  std::shared_ptr<WalWatch> watch_;
  std::unique_ptr<::rocksdb::Env> env_;
  DbSpec spec_;
  StoreIdentity identity_;
  stores::Turnstile turnstile_;
  std::shared_mutex open_mutex_;  // exclusive while the folder is closed and opened again
  std::unique_ptr<OpenDb> open_;  // null: not even reading is possible
  std::uint64_t incarnation_ = 0;
  std::atomic<std::uint64_t> last_fence_ = 0;
  std::function<absl::Time()> now_;
  std::atomic<bool> has_results_ = false;
  std::atomic<bool> has_letters_ = false;
  std::atomic<std::uint64_t> reopenings_ = 0;
  std::atomic<bool> has_unsynced_ = false;
  // Only in one's turn:
  std::int64_t last_sequence_ = 0;
  std::atomic<std::int64_t> last_outgoing_ = 0;  // read beside transactions
  Batch::Room batch_room_;
  bool is_lost_ = false;      // writes that were OK are gone
  bool must_resync_ = false;  // ids_ has to read what became of the last commit
  // Whoever writes; what the watch notes is of one write.
  std::mutex write_mutex_;
  std::uint64_t written_until_ = 0;        // RocksDB's number of the last write that is owed
  std::atomic<bool> is_doubtful_ = false;  // a write or sync has failed since the folder was opened
  // Exclusive for what teaches ids_ something, which only happens in one's turn.
  std::shared_mutex ids_mutex_;
  std::shared_mutex files_mutex_;  // exclusive while files of ids are removed
  IdStorage id_storage_{*this};
  std::unique_ptr<stores::IdLog> ids_;
  std::unique_ptr<stores::IdUpkeep> upkeep_;  // last: it uses all of this
};

}  // namespace once::rocksdb
