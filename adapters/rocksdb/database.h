// A Database is one open store: the folder, RocksDB's handle to it, the turnstile that lets one
// transaction at a time write, and what is known after a write has failed.
//
// A failed write leaves RocksDB with a log whose end nobody knows, and a handle that may never
// write again. So nothing is written through it any more: the next call that writes closes the
// folder and opens it anew. Recovery then decides what the log holds, writes it to files and syncs
// them; until that succeeds, reads go on over what was there before.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/utilities/write_batch_with_index.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/rocksdb/open_db.h"
#include "adapters/rocksdb/store_folder.h"
#include "adapters/rocksdb/view.h"
#include "adapters/rocksdb/wal_watch.h"
#include "once/claims.h"
#include "once/rocksdb/store.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"
#include "src/stores/turnstile.h"

namespace once::rocksdb {

// Scopes by name: ids are kept under these numbers.
using ScopeNumbers = absl::flat_hash_map<std::string, std::uint32_t>;

struct StoreIdentity {
  std::string store_id;  // 32 hexadecimal digits, drawn when the store was created
  std::uint64_t open_count = 0;
};

// What a commit is to be, and what a caller may do when nobody knows whether it happened.
struct CommitRequest {
  Durability wanted = Durability::kMachine;
  ScopeNumbers new_scopes = {};  // known from then on, if it is OK
  std::string_view when_unknown = "repeat the call, which settles whether it happened";
};

// Under the store's own layer in stores that are opened from now on; null: the system's.
void SetFileSystemForTest(std::shared_ptr<::rocksdb::FileSystem> file_system);

class Database {
 public:
  static absl::StatusOr<std::shared_ptr<Database>> Open(const StoreOptions& options);
  ~Database();
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
  // The turn is over in every case. kUnknown: it may have happened; the next Begin() decides.
  absl::Status Commit(::rocksdb::WriteBatchWithIndex& batch, CommitRequest request = {});
  void Leave() { turnstile_.Leave(); }
  // Of committed scopes; a number never changes.
  const ScopeNumbers& known_scopes() const { return known_scopes_; }
  // Ascending; never given to two rows, also not by openings of the folder after trouble.
  std::int64_t NextSequence() { return ++last_sequence_; }

  // OK: every commit before survives what StoreOptions::is_synced says. Costs nothing when there is
  // nothing to sync. REQUIRES: this thread has no transaction open.
  absl::Status Sync();

  // False as long as nobody has ever claimed an id in this store: nobody then needs to look.
  bool has_claims() const { return has_claims_; }
  void NoteClaims() { has_claims_ = true; }
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
  absl::Status Prepare(const StoreOptions& options);
  absl::Status Identify();
  absl::Status LoadCounters();
  absl::Status EnterTurnstile(std::string_view operation);
  // Opens the folder again if it must. REQUIRES: our turn.
  absl::Status MakeUsable(std::string_view operation);
  absl::Status Reopen(std::string_view operation);
  absl::Status ProbeSpace(std::string_view operation);
  absl::Status SyncNow(std::string_view operation);
  absl::Status Apply(::rocksdb::WriteBatchWithIndex& batch, const CommitRequest& request);

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
  std::atomic<bool> has_claims_ = false;
  std::atomic<bool> has_letters_ = false;
  std::atomic<std::uint64_t> reopenings_ = 0;
  // The rest only in one's turn, but for has_unsynced_.
  ScopeNumbers known_scopes_;
  std::int64_t last_sequence_ = 0;
  std::uint64_t written_until_ = 0;  // RocksDB's number of the last write that was OK
  bool is_doubtful_ = false;         // a write or sync has failed since the folder was opened
  bool is_lost_ = false;             // writes that were OK are gone
  std::atomic<bool> has_unsynced_ = false;
};

}  // namespace once::rocksdb
