// A Database is one open store file: the connection that writes, the connection that reads, their
// prepared statements, and the turnstile that lets one transaction at a time write.
//
// WAL lets the relay and the idle audit read what is committed while the worker's transaction is
// open, without waiting for it and without seeing into it; pages of ids are read by a third
// connection (id_storage.h). Everything that writes, MarkPublished and the background task of ids
// included, goes through the one writing connection and its turnstile.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/sqlite/connection.h"
#include "adapters/sqlite/guard.h"
#include "adapters/sqlite/schema.h"
#include "adapters/sqlite/statements.h"
#include "adapters/sqlite/store_files.h"
#include "adapters/sqlite/store_ids.h"
#include "adapters/sqlite/wal_sync.h"
#include "once/claims.h"
#include "once/sqlite/store.h"
#include "once/transaction.h"
#include "src/stores/claim_rules.h"
#include "src/stores/turnstile.h"

namespace once::sqlite {

// Scopes by name: letters and results name them by these numbers.
using ScopeNumbers = absl::flat_hash_map<std::string, std::int64_t>;

// What a commit is to be, and what a caller may do when nobody knows whether it happened.
struct CommitRequest {
  Durability wanted = Durability::kMachine;
  std::int64_t log_time_ms = stores::kUnknownLogTime;  // of the ids that are settled
  ScopeNumbers new_scopes = {};                        // known from then on, if it is OK
  std::string_view when_unknown = "repeat the call, which settles whether it happened";
};

// How many pages the -wal of stores that are opened from now on holds before they are moved to the
// database; 0: as many as ever. For tests, which otherwise meet no checkpoint while a store opens.
void SetCheckpointPagesForTest(int pages);

class Database {
 public:
  static absl::StatusOr<std::shared_ptr<Database>> Open(const StoreOptions& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& path() const { return files_->path(); }
  const StoreIdentity& identity() const { return identity_; }
  std::string FindWeakness() const { return files_->FindWeakness(); }

  // Waits for its turn, then for other processes, in all for busy_timeout. OK: the writing
  // connection is the caller's until Commit() or Rollback(). kUnavailable: it took too long.
  absl::Status Begin(std::string_view operation);

  // OK: every commit before survives what StoreOptions::synchronous says. Costs nothing when there
  // is nothing to sync. REQUIRES: this thread has no transaction open.
  absl::Status Sync();
  // The same beside transactions, without a turn. After a sync that failed it does nothing, until
  // the next transaction has written anew what it was about.
  absl::Status SyncBeside();

  // Runs `body` on the writing connection in our turn, outside any transaction, with nothing of the
  // -wal in doubt. REQUIRES: this thread has no transaction open.
  absl::Status RunAlone(std::string_view operation, absl::FunctionRef<absl::Status(sqlite3*)> body);

  // For the background task of ids: `body` in its turn, outside any transaction …
  absl::Status RunForUpkeep(std::string_view operation, absl::FunctionRef<absl::Status()> body);
  // … where this is a transaction of its own …
  absl::Status WriteInTurn(std::string_view operation, Durability wanted,
                           absl::FunctionRef<absl::Status()> work);
  // … and both in one, committed as kProcess.
  absl::Status WriteApart(std::string_view operation, absl::FunctionRef<absl::Status()> work);

  // REQUIRES for all below: between Begin() and Commit() or Rollback().
  absl::Status CheckOpen();
  // Writes what becomes of ids as well. Over in every case. kUnknown: see the comment at
  // IsCommitUnknown.
  absl::Status Commit(CommitRequest request, stores::IdChanges changes);
  void Rollback();
  // Ends what the handler's statements have begun to read: a COMMIT would otherwise fail, or leave
  // a reader behind that holds the whole -wal back.
  void ResetStatementsOfHandlers();

  sqlite3* writer() { return writer_.get(); }
  Guard& guard() { return *guard_; }
  WriterStatements& statements() { return statements_; }
  // Of committed scopes; a number never changes.
  const ScopeNumbers& known_scopes() const { return known_scopes_; }

  StoreIds& ids() { return *ids_; }

  // False as long as no id has ever had a result in this file: nobody then needs to look.
  bool has_results() const { return has_results_; }
  void NoteResults() { has_results_ = true; }
  // Likewise of letters that are kept under an id.
  bool has_letters() const { return has_letters_; }
  void NoteLetters() { has_letters_ = true; }

  // From any thread, at any time: the claims of this opening …
  Fence NewFence() { return {.incarnation = incarnation_, .counter = ++last_fence_}; }
  // … and the clock of their leases.
  stores::LeaseClock clock() const { return {.incarnation = incarnation_, .now = now_()}; }

  // For readers, one at a time. The statements are valid while the object lives.
  class ReadScope {
   public:
    explicit ReadScope(Database& database) : database_(database), lock_(database.reader_mutex_) {}
    ReaderStatements& statements() { return database_.reader_statements_; }
    absl::Status Check() const { return database_.files_->CheckUnmoved(); }

   private:
    Database& database_;
    std::lock_guard<std::mutex> lock_;
  };

 private:
  Database() = default;
  absl::Status OpenWriter(const StoreOptions& options);
  // Makes sure that the disk has what an earlier process left in the -wal.
  absl::Status WatchWal();
  absl::Status SetUpByUser(const StoreOptions& options);
  absl::Status CheckBeforeUse(const StoreOptions& options);
  absl::Status OpenReader();
  // kDataLoss, naming what SQLite finds wrong. `subject`: a table, or "1" for the whole file.
  absl::Status CheckOldIds();
  absl::Status CheckIntegrity(std::string_view subject);
  // Our turn within busy_timeout, the files unmoved; what is left of the time. REQUIRES after OK:
  // turnstile_.Leave().
  absl::StatusOr<absl::Duration> EnterTurnstile(std::string_view operation);
  absl::Status EnterTurnstile(std::string_view operation, absl::Duration patience);
  absl::Status BeginImmediate(std::string_view operation, absl::Duration timeout);
  // Takes the place of a commit whose outcome nobody knew. REQUIRES: the write lock is ours.
  absl::Status Settle();
  absl::Status RunCommit(Durability wanted, int& code);
  // Over in every case, but the turn is not. `changes`: null where the background task writes.
  absl::Status CommitOpen(CommitRequest request, stores::IdChanges* changes);
  void RollBackOpen();
  // REQUIRES: the write lock is ours, and WalSync::is_doubtful().
  absl::Status WriteWalAnew(std::string_view operation);
  void KeepWalAtClose(bool is_kept);
  absl::Status SettleDoubt(std::string_view operation, absl::Duration timeout);

  std::unique_ptr<StoreFiles> files_;  // first in, last out: the lock outlives the connections
  absl::Duration busy_timeout_;
  Synchronous synchronous_ = Synchronous::kFull;
  StoreIdentity identity_;
  stores::Turnstile turnstile_;
  ConnectionHandle writer_;
  Guard* guard_ = nullptr;       // owned by the connection
  WalSync* wal_sync_ = nullptr;  // likewise
  std::uint64_t incarnation_ = 0;
  std::atomic<std::uint64_t> last_fence_ = 0;
  std::function<absl::Time()> now_;
  std::atomic<bool> has_results_ = false;
  std::atomic<bool> has_letters_ = false;
  WriterStatements statements_;
  ScopeNumbers known_scopes_;

  std::mutex reader_mutex_;
  ConnectionHandle reader_;
  ReaderStatements reader_statements_;

  bool is_unsettled_ = false;      // nobody knows what became of the last commit
  std::unique_ptr<StoreIds> ids_;  // last: it uses all of this
};

}  // namespace once::sqlite
