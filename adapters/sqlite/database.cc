// Turns, transactions and their ends on the writing connection.
#include "adapters/sqlite/database.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/test_hooks.h"

namespace once::sqlite {
namespace {

// Scopes are a handful by nature (group × topic); this keeps an odd user's from growing for ever.
constexpr std::size_t kKnownScopesMax = 10'000;

// The background task may wait for as long as a handler takes: giving up would be for nothing.
constexpr absl::Duration kUpkeepPatience = absl::Hours(24);

// Which failures of COMMIT leave it open whether it happened. SQLite writes the frames of a
// transaction to the -wal, the one that commits it last, syncs, and then publishes them in the
// -shm.
//   FULL: a write fell short, so the last frame is not complete and its checksum fails for ever.
//   BUSY, CONSTRAINT, READONLY …: refused before the first frame.
//   IOERR: the sync may have failed with all frames in the page cache, or the -shm could not grow
//   after the sync. This connection has rolled back and will overwrite the frames with its next
//   commit, but should the process die before, recovery finds a whole transaction and applies it.
//   NOMEM: may strike at the -shm as well.
// So for the last two nobody knows yet. The next transaction settles it: it reads what is there
// and commits at that very place in the -wal, so what it has read is true from then on; and whoever
// recovers instead reads anew.
bool IsCommitUnknown(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CONSTRAINT:
    case SQLITE_READONLY:
    case SQLITE_INTERRUPT:
    case SQLITE_ABORT:
      return false;
    default:
      return true;
  }
}

}  // namespace

Database::~Database() {
  if (files_ != nullptr && files_->is_forked()) {
    // Leaked on purpose: closing in the child may delete the parent's -wal, and threads are the
    // parent's.
    static_cast<void>(ids_.release());
    static_cast<void>(std::make_unique<WriterStatements>(std::move(statements_)).release());
    static_cast<void>(std::make_unique<ReaderStatements>(std::move(reader_statements_)).release());
    static_cast<void>(writer_.release());
    static_cast<void>(reader_.release());
    return;
  }
  if (ids_ != nullptr) ids_->StopUpkeep();
  // A handler's statement that was kept must not hold locks beyond the store.
  if (writer_ != nullptr) ResetStatementsOfHandlers();
  if (wal_sync_ != nullptr && wal_sync_->is_doubtful()) KeepWalAtClose(true);
}

// Closing moves the -wal to the database otherwise.
void Database::KeepWalAtClose(bool is_kept) {
  sqlite3_db_config(writer_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, is_kept ? 1 : 0, nullptr);
}

absl::Status Database::EnterTurnstile(std::string_view operation, absl::Duration patience) {
  if (!turnstile_.Enter(patience)) {
    return absl::UnavailableError(
        absl::StrCat("sqlite: ", ToAbsl(operation), " on ", path(),
                     ": another transaction of this process has been open for ",
                     absl::FormatDuration(patience)));
  }
  absl::Status unmoved = files_->CheckUnmoved();
  if (!unmoved.ok()) turnstile_.Leave();
  return unmoved;
}

absl::StatusOr<absl::Duration> Database::EnterTurnstile(std::string_view operation) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  if (absl::Status entered = EnterTurnstile(operation, busy_timeout_); !entered.ok()) {
    return entered;
  }
  return busy_timeout_ - absl::FromChrono(Clock::now() - start);
}

absl::Status Database::Begin(std::string_view operation) {
  const absl::StatusOr<absl::Duration> time_left = EnterTurnstile(operation);
  if (!time_left.ok()) return time_left.status();
  absl::Status begun = BeginImmediate(operation, *time_left);
  if (!begun.ok()) turnstile_.Leave();
  return begun;
}

absl::Status Database::WriteWalAnew(std::string_view operation) {
  const int code = wal_sync_->WriteAnew();
  if (code == SQLITE_OK) return absl::OkStatus();
  if (code == SQLITE_CORRUPT) {
    return absl::DataLossError(absl::StrCat(
        "sqlite: ", ToAbsl(operation), " on ", path(),
        ": a sync of the -wal has failed, and the system has dropped commits that were not synced "
        "yet; end every process that has the file open, and start again: everything that was "
        "synced is still there"));
  }
  const absl::Status error =
      wal_sync_->ErrorOf(code, absl::StrCat(ToAbsl(operation), " on ", path()));
  return absl::Status(error.code(),
                      absl::StrCat(error.message(),
                                   "; a sync of the -wal has failed, or a process has died over "
                                   "it, so its content must first be written anew"));
}

absl::Status Database::SettleDoubt(std::string_view operation, absl::Duration timeout) {
  const absl::Status begun = BeginImmediate(operation, timeout);
  return begun.ok() ? statements_.rollback.Run() : begun;
}

absl::Status Database::Sync() {
  if (!wal_sync_->has_unsynced()) return files_->CheckUnmoved();
  const absl::StatusOr<absl::Duration> time_left = EnterTurnstile("sync");
  if (!time_left.ok()) return time_left.status();
  absl::Status synced;
  {
    const Guard::StoreScope scope(*guard_);
    ResetStatementsOfHandlers();
    sqlite3_busy_timeout(writer_.get(), BusyMilliseconds(*time_left));
    if (wal_sync_->is_doubtful()) {
      synced = SettleDoubt("sync", *time_left);
    } else if (wal_sync_->has_unsynced()) {
      ONCE_KILL_POINT("sqlite.before_sync");
      const int code = wal_sync_->Sync();
      ONCE_KILL_POINT("sqlite.synced");
      if (code != SQLITE_OK) synced = wal_sync_->ErrorOf(code, absl::StrCat("sync ", path()));
    }
  }
  turnstile_.Leave();
  return synced;
}

absl::Status Database::SyncBeside() {
  if (absl::Status unmoved = files_->CheckUnmoved(); !unmoved.ok()) return unmoved;
  if (!wal_sync_->has_unsynced()) return absl::OkStatus();
  ONCE_KILL_POINT("sqlite.before_sync");
  const int code = wal_sync_->SyncBeside();
  ONCE_KILL_POINT("sqlite.synced");
  // Without the system's number, which may be of another call by now.
  return code == SQLITE_OK ? absl::OkStatus()
                           : FileErrorStatus(code, 0, absl::StrCat("sync ", path()));
}

absl::Status Database::RunAlone(std::string_view operation,
                                absl::FunctionRef<absl::Status(sqlite3*)> body) {
  const absl::StatusOr<absl::Duration> time_left = EnterTurnstile(operation);
  if (!time_left.ok()) return time_left.status();
  absl::Status ran;
  {
    const Guard::StoreScope scope(*guard_);
    ResetStatementsOfHandlers();
    sqlite3_busy_timeout(writer_.get(), BusyMilliseconds(*time_left));
    if (sqlite3_get_autocommit(writer_.get()) == 0) ran = statements_.rollback.Run();
    if (ran.ok() && wal_sync_->is_doubtful()) ran = SettleDoubt(operation, *time_left);
    if (ran.ok()) ran = body(writer_.get());
  }
  turnstile_.Leave();
  return ran;
}

absl::Status Database::RunForUpkeep(std::string_view operation,
                                    absl::FunctionRef<absl::Status()> body) {
  if (absl::Status entered = EnterTurnstile(operation, kUpkeepPatience); !entered.ok()) {
    return entered;
  }
  absl::Status ran;
  if (is_unsettled_) {
    ran = WriteInTurn(operation, Durability::kProcess, [] { return absl::OkStatus(); });
  }
  if (ran.ok()) ran = body();
  turnstile_.Leave();
  return ran;
}

absl::Status Database::WriteInTurn(std::string_view operation, Durability wanted,
                                   absl::FunctionRef<absl::Status()> work) {
  if (absl::Status begun = BeginImmediate(operation, busy_timeout_); !begun.ok()) return begun;
  absl::Status worked;
  {
    const Guard::StoreScope scope(*guard_);
    worked = work();
  }
  if (worked.ok()) {
    return CommitOpen({.wanted = wanted, .when_unknown = "it is read again before it counts"},
                      nullptr);
  }
  RollBackOpen();
  return worked;
}

absl::Status Database::WriteApart(std::string_view operation,
                                  absl::FunctionRef<absl::Status()> work) {
  return RunForUpkeep(operation,
                      [&] { return WriteInTurn(operation, Durability::kProcess, work); });
}

absl::Status Database::BeginImmediate(std::string_view operation, absl::Duration timeout) {
  const Guard::StoreScope scope(*guard_);
  ResetStatementsOfHandlers();
  // Only after a ROLLBACK that failed.
  if (sqlite3_get_autocommit(writer_.get()) == 0) {
    if (absl::Status status = statements_.rollback.Run(); !status.ok()) return status;
  }
  sqlite3_busy_timeout(writer_.get(), BusyMilliseconds(timeout));
  absl::Status begun = statements_.begin.Run();
  if (begun.ok()) {
    guard_->NoteBegun();
    // Within the transaction: another program's writer must leave the -wal alone meanwhile.
    if (wal_sync_->is_doubtful()) begun = WriteWalAnew(operation);
    if (begun.ok() && is_unsettled_) begun = Settle();
    if (!begun.ok()) statements_.rollback.Run().IgnoreError();
  } else if ((sqlite3_extended_errcode(writer_.get()) & 0xff) == SQLITE_BUSY) {
    begun = absl::UnavailableError(absl::StrCat(
        "sqlite: ", ToAbsl(operation), " on ", path(), ": database is locked for ",
        absl::FormatDuration(busy_timeout_), "; another connection is writing to the file"));
  }
  return begun;
}

absl::Status Database::Settle() {
  // Something must be written, so that a commit takes the place of the one that is in doubt.
  if (absl::Status put = statements_.settle.Run(); !put.ok()) return put;
  return ids_->CatchUp();
}

absl::Status Database::CheckOpen() {
  absl::Status same = guard_->CheckSame();
  if (same.ok()) return same;
  return absl::Status(same.code(), absl::StrCat(same.message(), "; ", path()));
}

absl::Status Database::RunCommit(Durability wanted, int& code) {
  const Guard::CommitScope commit(*guard_);
  absl::Status status;
  // Below kFull SQLite leaves the sync out by itself.
  if (wanted == Durability::kMachine || synchronous_ != Synchronous::kFull) {
    ONCE_KILL_POINT("sqlite.before_commit");
    status = statements_.commit.Run();
    ONCE_KILL_POINT("sqlite.committed");
  } else {
    const WalSync::UnsyncedScope unsynced(*wal_sync_);
    ONCE_KILL_POINT("sqlite.before_unsynced_commit");
    status = statements_.commit.Run();
    ONCE_KILL_POINT("sqlite.committed_unsynced");
  }
  if (!status.ok()) code = sqlite3_extended_errcode(writer_.get());
  return status;
}

absl::Status Database::Commit(CommitRequest request, stores::IdChanges changes) {
  absl::Status committed = CommitOpen(std::move(request), &changes);
  turnstile_.Leave();
  return committed;
}

absl::Status Database::CommitOpen(CommitRequest request, stores::IdChanges* changes) {
  absl::Status status;
  int code = SQLITE_OK;
  bool is_committed = false;
  {
    const Guard::StoreScope scope(*guard_);
    ResetStatementsOfHandlers();
    status = CheckOpen();
    if (status.ok()) status = files_->CheckUnmoved();
    if (status.ok() && changes != nullptr) status = ids_->Write(*changes, request.log_time_ms);
    if (status.ok()) {
      status = RunCommit(request.wanted, code);
      is_committed = status.ok();
    }
    // A transaction without writes has synced nothing, and may have read what was not synced yet.
    if (status.ok() && request.wanted == Durability::kMachine && wal_sync_->has_unsynced()) {
      const int synced = wal_sync_->Sync();
      // Committed it is: to call that a failure would have it done again.
      if (synced != SQLITE_OK) {
        status = absl::UnknownError(
            absl::StrCat(wal_sync_->ErrorOf(synced, absl::StrCat("sync ", path())).message(), "; ",
                         ToAbsl(request.when_unknown)));
      }
    }
  }
  if (is_committed) {
    is_unsettled_ = false;
    if (known_scopes_.size() + request.new_scopes.size() > kKnownScopesMax) known_scopes_.clear();
    known_scopes_.merge(request.new_scopes);
    if (changes != nullptr) ids_->Committed(std::move(*changes));
    return status;
  }
  RollBackOpen();
  if (code != SQLITE_OK && IsCommitUnknown(code)) {
    is_unsettled_ = true;
    return absl::UnknownError(absl::StrCat(status.message(), "; ", ToAbsl(request.when_unknown)));
  }
  if (changes != nullptr) ids_->RolledBack(std::move(*changes));
  return status;
}

void Database::Rollback() {
  RollBackOpen();
  turnstile_.Leave();
}

void Database::RollBackOpen() {
  const Guard::StoreScope scope(*guard_);
  ResetStatementsOfHandlers();
  // SQLite may have rolled back already. Should this fail, BeginImmediate() tries again.
  if (sqlite3_get_autocommit(writer_.get()) == 0) statements_.rollback.Run().IgnoreError();
}

void Database::ResetStatementsOfHandlers() {
  // Ours are never in the middle of anything here: they are reset where they are used.
  for (sqlite3_stmt* statement = sqlite3_next_stmt(writer_.get(), nullptr); statement != nullptr;
       statement = sqlite3_next_stmt(writer_.get(), statement)) {
    if (sqlite3_stmt_busy(statement) != 0) sqlite3_reset(statement);
  }
}

}  // namespace once::sqlite
