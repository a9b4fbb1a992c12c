// Opening, transactions and their ends on the writing connection.
#include "adapters/sqlite/database.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "once/abseil.h"
#include "src/test_hooks.h"

namespace once::sqlite {
namespace {

// A -wal that grew while somebody was reading for long is cut back to this at its next reset.
constexpr std::int64_t kWalBytesKept = 64 * 1024 * 1024;

// How many pages of the -wal are moved to the database at a time. Ids lie at random, so a batch of
// them is more than SQLite's default of 1000 pages, and each commit would end with the syncs of a
// checkpoint. At 4 KiB a page this is half of kWalBytesKept.
constexpr int kCheckpointPages = 8192;

// Scopes are a handful by nature (group × topic); this keeps an odd user's from growing for ever.
constexpr std::size_t kKnownScopesMax = 10'000;

std::atomic<int> checkpoint_pages_of_test = 0;

int CheckpointPages() {
  const int pages = checkpoint_pages_of_test;
  return pages > 0 ? pages : kCheckpointPages;
}

std::string_view PragmaOf(Synchronous synchronous) {
  switch (synchronous) {
    case Synchronous::kOff:
      return "OFF";
    case Synchronous::kNormal:
      return "NORMAL";
    case Synchronous::kFull:
      return "FULL";
  }
  return "FULL";
}

int Milliseconds(absl::Duration timeout) {
  return static_cast<int>(
      absl::ToInt64Milliseconds(std::clamp(timeout, absl::ZeroDuration(), absl::Hours(24))));
}

absl::StatusOr<ConnectionHandle> Connect(const std::string& path, bool may_create,
                                         absl::Duration busy_timeout) {
  sqlite3* raw = nullptr;
  // One thread at a time uses a connection, so SQLite's own mutex per connection is left out.
  const int code = sqlite3_open_v2(
      path.c_str(), &raw,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (may_create ? SQLITE_OPEN_CREATE : 0), nullptr);
  ConnectionHandle connection(raw);
  if (code != SQLITE_OK) return ErrorStatus(raw, code, absl::StrCat("open ", path));
  if (sqlite3_db_readonly(raw, "main") == 1) {
    return absl::PermissionDeniedError(
        absl::StrCat("sqlite: open ", path,
                     ": it can only be read; the process must be able to "
                     "write to the file and its folder"));
  }
  sqlite3_busy_timeout(raw, Milliseconds(busy_timeout));
  return connection;
}

// Which failures of COMMIT leave it open whether it happened. SQLite writes the frames of a
// transaction to the -wal, the one that commits it last, syncs, and then publishes them in the
// -shm.
//   FULL: a write fell short, so the last frame is not complete and its checksum fails for ever.
//   BUSY, CONSTRAINT, READONLY …: refused before the first frame.
//   IOERR: the sync may have failed with all frames in the page cache, or the -shm could not grow
//   after the sync. This connection has rolled back and will overwrite the frames with its next
//   commit, but should the process die before, recovery finds a whole transaction and applies it.
//   NOMEM: may strike at the -shm as well.
// So for the last two nobody knows yet. Take() settles it: it commits at that very place in the
// -wal, so what it has read is true from then on; and whoever recovers instead reads the row anew.
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

void SetCheckpointPagesForTest(int pages) { checkpoint_pages_of_test = pages; }

void ConnectionCloser::operator()(sqlite3* connection) const {
  // Statements that are not ours may still refer to it; SQLite then frees it after the last one.
  sqlite3_close_v2(connection);
}

absl::StatusOr<std::shared_ptr<Database>> Database::Open(const StoreOptions& options) {
  if (options.busy_timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat("sqlite: StoreOptions::busy_timeout is ",
                                                   absl::FormatDuration(options.busy_timeout),
                                                   "; it must not be negative"));
  }
  if (options.cache_bytes <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("sqlite: StoreOptions::cache_bytes is ",
                                                   options.cache_bytes, "; it must be positive"));
  }
  std::shared_ptr<Database> database(new Database);
  database->synchronous_ = options.synchronous;
  database->busy_timeout_ = std::min(options.busy_timeout, absl::Hours(24));
  auto files = StoreFiles::Open(options.path, options.must_exist);
  if (!files.ok()) return files.status();
  database->files_ = *std::move(files);
  if (absl::Status status = database->OpenWriter(options); !status.ok()) return status;
  if (absl::Status status = database->SetUpByUser(options); !status.ok()) return status;
  if (absl::Status status = database->CheckBeforeUse(options); !status.ok()) return status;
  if (absl::Status status = database->OpenReader(); !status.ok()) return status;
  if (absl::Status status = database->files_->Pin(); !status.ok()) return status;
  database->guard_->Install();
  return database;
}

absl::Status Database::OpenWriter(const StoreOptions& options) {
  absl::StatusOr<ConnectionHandle> writer = Connect(path(), files_->is_new(), busy_timeout_);
  if (!writer.ok()) return writer.status();
  writer_ = *std::move(writer);
  KeepWalAtClose(true);  // until it is known to be durable
  guard_ = Guard::Attach(writer_.get());
  if (guard_ == nullptr) return ErrorStatus(nullptr, SQLITE_NOMEM, absl::StrCat("open ", path()));
  const std::string operation = absl::StrCat("open ", path());
  // Nothing is moved out of a -wal before it is known to be durable.
  sqlite3_wal_autocheckpoint(writer_.get(), 0);
  // The first statement that reads the file: this is where a foreign or damaged one shows.
  const auto mode = QueryText(writer_.get(), "PRAGMA main.journal_mode = WAL", operation);
  if (!mode.ok()) return mode.status();
  if (*mode != "wal") {
    return absl::FailedPreconditionError(
        absl::StrCat("sqlite: ", operation, ": journal_mode stays \"", mode->value_or(""),
                     "\"; the file system cannot do WAL, put the file on a local disk"));
  }
  absl::Status set =
      Execute(writer_.get(),
              absl::StrCat("PRAGMA main.synchronous = ", ToAbsl(PragmaOf(options.synchronous)),
                           "; PRAGMA main.cache_size = -",
                           std::max<std::int64_t>(options.cache_bytes / 1024, 1),
                           "; PRAGMA main.journal_size_limit = ", kWalBytesKept),
              operation);
  if (!set.ok()) return set;
  // Nobody may switch the journal off or write to sqlite_schema directly.
  sqlite3_db_config(writer_.get(), SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  if (absl::Status watched = WatchWal(); !watched.ok()) return watched;
  sqlite3_wal_autocheckpoint(writer_.get(), CheckpointPages());
  if (options.integrity_check) {
    if (absl::Status intact = CheckIntegrity("1"); !intact.ok()) return intact;
  }
  const auto identity = PrepareSchema(
      writer_.get(),
      {.path = path(), .is_new = files_->is_new(), .known_store = files_->known_store()});
  if (!identity.ok()) return identity.status();
  identity_ = *identity;
  // Small, and everything hangs on them: where the name of a scope is damaged, none of its ids is
  // found.
  for (const char* table : {"once_scopes", "once_positions"}) {
    if (absl::Status intact = CheckIntegrity(table); !intact.ok()) return intact;
  }
  if (absl::Status prepared = statements_.Prepare(writer_.get(), path()); !prepared.ok()) {
    return prepared;
  }
  // The lock file is to remember no store that a power failure undoes.
  if (synchronous_ == Synchronous::kNormal) {
    const int code = wal_sync_->Sync();
    if (code != SQLITE_OK) return wal_sync_->ErrorOf(code, absl::StrCat("sync ", path()));
  }
  KeepWalAtClose(false);
  return files_->Remember(identity_.store_id);
}

absl::Status Database::CheckIntegrity(std::string_view subject) {
  // quick_check would not do: it leaves out the order of the ids, by which they are looked up.
  const auto finding =
      QueryText(writer_.get(), absl::StrCat("PRAGMA main.integrity_check(", ToAbsl(subject), ")"),
                absl::StrCat("check ", path()));
  if (!finding.ok()) return finding.status();
  if (*finding == "ok") return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("sqlite: check ", path(), ": ", finding->value_or("no result"),
                   "; restore the file together with its -wal from a backup"));
}

absl::Status Database::SetUpByUser(const StoreOptions& options) {
  if (!options.setup) return absl::OkStatus();
  if (absl::Status status = options.setup(writer_.get()); !status.ok()) {
    return Annotate(status, absl::StrCat("sqlite: StoreOptions::setup for ", path()));
  }
  ResetStatementsOfHandlers();
  const auto mode = QueryText(writer_.get(), "PRAGMA main.journal_mode", "read journal_mode");
  if (!mode.ok()) return mode.status();
  if (sqlite3_get_autocommit(writer_.get()) == 0 || *mode != "wal") {
    return absl::FailedPreconditionError(
        absl::StrCat("sqlite: StoreOptions::setup for ", path(),
                     " left a transaction open or changed journal_mode"));
  }
  sqlite3_busy_timeout(writer_.get(), Milliseconds(busy_timeout_));
  return Execute(writer_.get(),
                 absl::StrCat("PRAGMA main.synchronous = ", ToAbsl(PragmaOf(options.synchronous))),
                 absl::StrCat("open ", path()));
}

absl::Status Database::CheckBeforeUse(const StoreOptions& options) {
  now_ = options.now ? options.now : [] { return absl::Now(); };
  // Once per opening, so that the claims of an opening that is over are told from ours.
  sqlite3_randomness(sizeof incarnation_, &incarnation_);
  const std::string operation = absl::StrCat("find claims and letters in ", path());
  const auto has_claims = QueryText(
      writer_.get(),
      "SELECT EXISTS(SELECT 1 FROM main.once_claims) OR EXISTS(SELECT 1 FROM main.once_results)",
      operation);
  if (!has_claims.ok()) return has_claims.status();
  has_claims_ = *has_claims != "0";
  const auto has_letters = QueryText(
      writer_.get(), "SELECT EXISTS(SELECT 1 FROM main.once_outbox WHERE kept = 1)", operation);
  if (!has_letters.ok()) return has_letters.status();
  has_letters_ = *has_letters != "0";
  return absl::OkStatus();
}

absl::Status Database::OpenReader() {
  absl::StatusOr<ConnectionHandle> reader = Connect(path(), false, busy_timeout_);
  if (!reader.ok()) return reader.status();
  reader_ = *std::move(reader);
  absl::Status set =
      Execute(reader_.get(), "PRAGMA query_only = ON", absl::StrCat("open ", path()));
  if (!set.ok()) return set;
  return reader_statements_.Prepare(reader_.get(), path());
}

Database::~Database() {
  if (files_ != nullptr && files_->is_forked()) {
    // Leaked on purpose: closing in the child may delete the parent's -wal.
    static_cast<void>(std::make_unique<WriterStatements>(std::move(statements_)).release());
    static_cast<void>(std::make_unique<ReaderStatements>(std::move(reader_statements_)).release());
    static_cast<void>(writer_.release());
    static_cast<void>(reader_.release());
    return;
  }
  // A handler's statement that was kept must not hold locks beyond the store.
  if (writer_ != nullptr) ResetStatementsOfHandlers();
  if (wal_sync_ != nullptr && wal_sync_->is_doubtful()) KeepWalAtClose(true);
}

// Closing moves the -wal to the database otherwise.
void Database::KeepWalAtClose(bool is_kept) {
  sqlite3_db_config(writer_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, is_kept ? 1 : 0, nullptr);
}

absl::StatusOr<absl::Duration> Database::EnterTurnstile(std::string_view operation) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  if (!turnstile_.Enter(busy_timeout_)) {
    return absl::UnavailableError(absl::StrCat("sqlite: ", ToAbsl(operation), " on ", path(),
                                               ": another transaction of this process has "
                                               "been open for ",
                                               absl::FormatDuration(busy_timeout_)));
  }
  if (absl::Status unmoved = files_->CheckUnmoved(); !unmoved.ok()) {
    turnstile_.Leave();
    return unmoved;
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

absl::Status Database::WatchWal() {
  const std::string operation = absl::StrCat("open ", path());
  // SQLite opens the -wal when it is read for the first time.
  const auto read = QueryText(writer_.get(), "SELECT count(*) FROM main.sqlite_schema", operation);
  if (!read.ok()) return read.status();
  const absl::StatusOr<WalSync*> wal_sync =
      WalSync::Attach(writer_.get(), synchronous_ == Synchronous::kFull);
  if (!wal_sync.ok()) return wal_sync.status();
  wal_sync_ = *wal_sync;
  if (!wal_sync_->is_doubtful()) return absl::OkStatus();
  if (absl::Status begun = Execute(writer_.get(), "BEGIN IMMEDIATE", operation); !begun.ok()) {
    return begun;
  }
  absl::Status written = WriteWalAnew("open");
  written.Update(Execute(writer_.get(), "ROLLBACK", operation));
  return written;
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
    sqlite3_busy_timeout(writer_.get(), Milliseconds(*time_left));
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

absl::Status Database::RunAlone(std::string_view operation,
                                absl::FunctionRef<absl::Status(sqlite3*)> body) {
  const absl::StatusOr<absl::Duration> time_left = EnterTurnstile(operation);
  if (!time_left.ok()) return time_left.status();
  absl::Status ran;
  {
    const Guard::StoreScope scope(*guard_);
    ResetStatementsOfHandlers();
    sqlite3_busy_timeout(writer_.get(), Milliseconds(*time_left));
    if (sqlite3_get_autocommit(writer_.get()) == 0) ran = statements_.rollback.Run();
    if (ran.ok() && wal_sync_->is_doubtful()) ran = SettleDoubt(operation, *time_left);
    if (ran.ok()) ran = body(writer_.get());
  }
  turnstile_.Leave();
  return ran;
}

absl::Status Database::BeginImmediate(std::string_view operation, absl::Duration timeout) {
  const Guard::StoreScope scope(*guard_);
  ResetStatementsOfHandlers();
  // Only after a ROLLBACK that failed.
  if (sqlite3_get_autocommit(writer_.get()) == 0) {
    if (absl::Status status = statements_.rollback.Run(); !status.ok()) return status;
  }
  sqlite3_busy_timeout(writer_.get(), Milliseconds(timeout));
  absl::Status begun = statements_.begin.Run();
  if (begun.ok()) {
    guard_->NoteBegun();
    // Within the transaction: another program's writer must leave the -wal alone meanwhile.
    if (wal_sync_->is_doubtful()) begun = WriteWalAnew(operation);
    if (!begun.ok()) statements_.rollback.Run().IgnoreError();
  } else if ((sqlite3_extended_errcode(writer_.get()) & 0xff) == SQLITE_BUSY) {
    begun = absl::UnavailableError(absl::StrCat(
        "sqlite: ", ToAbsl(operation), " on ", path(), ": database is locked for ",
        absl::FormatDuration(busy_timeout_), "; another connection is writing to the file"));
  }
  return begun;
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

absl::Status Database::Commit(CommitRequest request) {
  absl::Status status;
  int code = SQLITE_OK;
  {
    const Guard::StoreScope scope(*guard_);
    ResetStatementsOfHandlers();
    status = CheckOpen();
    if (status.ok()) status = files_->CheckUnmoved();
    if (status.ok()) status = RunCommit(request.wanted, code);
    // A transaction without writes has synced nothing, and may have read what was not synced yet.
    if (status.ok() && request.wanted == Durability::kMachine && wal_sync_->has_unsynced()) {
      const int synced = wal_sync_->Sync();
      if (synced != SQLITE_OK) status = wal_sync_->ErrorOf(synced, absl::StrCat("sync ", path()));
    }
  }
  if (status.ok()) {
    if (known_scopes_.size() + request.new_scopes.size() > kKnownScopesMax) known_scopes_.clear();
    known_scopes_.merge(request.new_scopes);
    turnstile_.Leave();
    return status;
  }
  Rollback();
  if (code == SQLITE_OK || !IsCommitUnknown(code)) return status;
  return absl::UnknownError(absl::StrCat(status.message(), "; ", ToAbsl(request.when_unknown)));
}

void Database::Rollback() {
  {
    const Guard::StoreScope scope(*guard_);
    ResetStatementsOfHandlers();
    // SQLite may have rolled back already. Should this fail, BeginImmediate() tries again.
    if (sqlite3_get_autocommit(writer_.get()) == 0) statements_.rollback.Run().IgnoreError();
  }
  turnstile_.Leave();
}

void Database::ResetStatementsOfHandlers() {
  // Ours are never in the middle of anything here: they are reset where they are used.
  for (sqlite3_stmt* statement = sqlite3_next_stmt(writer_.get(), nullptr); statement != nullptr;
       statement = sqlite3_next_stmt(writer_.get(), statement)) {
    if (sqlite3_stmt_busy(statement) != 0) sqlite3_reset(statement);
  }
}

}  // namespace once::sqlite
