// Opening, transactions and their ends on the writing connection.
#include "adapters/sqlite/database.h"

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::sqlite {
namespace {

// A -wal that grew while somebody was reading for long is cut back to this at its next reset.
constexpr std::int64_t kWalBytesKept = 64 * 1024 * 1024;

// Scopes are a handful by nature (group × topic); this keeps an odd user's from growing for ever.
constexpr std::size_t kKnownScopesMax = 10'000;

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

absl::Status PrepareAll(
    sqlite3* connection, const std::string& path,
    std::initializer_list<std::tuple<Statement*, const char*, const char*>> all) {
  for (const auto& [statement, operation, sql] : all) {
    absl::StatusOr<Statement> prepared =
        Statement::Prepare(connection, sql, absl::StrCat(operation, " ", path));
    if (!prepared.ok()) return prepared.status();
    *statement = *std::move(prepared);
  }
  return absl::OkStatus();
}

constexpr const char* kFindPosition =
    "SELECT position, revision, writer FROM main.once_positions "
    "WHERE cluster = ?1 AND consumer_group = ?2 AND topic = ?3 AND partition = ?4";

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
  database->busy_timeout_ = std::min(options.busy_timeout, absl::Hours(24));
  auto files = StoreFiles::Open(options.path, options.must_exist);
  if (!files.ok()) return files.status();
  database->files_ = *std::move(files);
  if (absl::Status status = database->OpenWriter(options); !status.ok()) return status;
  if (absl::Status status = database->SetUpByUser(options); !status.ok()) return status;
  if (absl::Status status = database->PrepareWriterStatements(); !status.ok()) return status;
  if (absl::Status status = database->OpenReader(); !status.ok()) return status;
  if (absl::Status status = database->files_->Pin(); !status.ok()) return status;
  database->guard_->Install();
  return database;
}

absl::Status Database::OpenWriter(const StoreOptions& options) {
  absl::StatusOr<ConnectionHandle> writer = Connect(path(), files_->is_new(), busy_timeout_);
  if (!writer.ok()) return writer.status();
  writer_ = *std::move(writer);
  guard_ = Guard::Attach(writer_.get());
  if (guard_ == nullptr) return ErrorStatus(nullptr, SQLITE_NOMEM, absl::StrCat("open ", path()));
  const std::string operation = absl::StrCat("open ", path());
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
  if (options.quick_check) {
    const auto finding =
        QueryText(writer_.get(), "PRAGMA main.quick_check(1)", absl::StrCat("check ", path()));
    if (!finding.ok()) return finding.status();
    if (*finding != "ok") {
      return absl::DataLossError(
          absl::StrCat("sqlite: check ", path(), ": ", finding->value_or("no result"),
                       "; restore the file together with its -wal from a backup"));
    }
  }
  const auto identity = PrepareSchema(
      writer_.get(),
      {.path = path(), .is_new = files_->is_new(), .known_store = files_->known_store()});
  if (!identity.ok()) return identity.status();
  identity_ = *identity;
  return files_->Remember(identity_.store_id);
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

absl::Status Database::PrepareWriterStatements() {
  WriterStatements& s = statements_;
  // Every table is named with its schema: a handler's TEMP table must not stand in front of it.
  return PrepareAll(
      writer_.get(), path(),
      {{&s.begin, "begin on", "BEGIN IMMEDIATE"},
       {&s.commit, "commit on", "COMMIT"},
       {&s.rollback, "rollback on", "ROLLBACK"},
       {&s.savepoint, "set savepoint on", "SAVEPOINT once_savepoint"},
       {&s.release_savepoint, "release savepoint on", "RELEASE once_savepoint"},
       {&s.rollback_to_savepoint, "roll back to savepoint on", "ROLLBACK TO once_savepoint"},
       {&s.find_id, "find ids in",
        "SELECT state, fingerprint_high, fingerprint_low, attempt, first_failed_at, not_before "
        "FROM main.once_ids WHERE scope = ?1 AND id = ?2"},
       {&s.put_id, "put ids into",
        "INSERT OR REPLACE INTO main.once_ids VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"},
       {&s.forget_id, "forget ids in", "DELETE FROM main.once_ids WHERE scope = ?1 AND id = ?2"},
       {&s.find_scope, "find scope in", "SELECT scope FROM main.once_scopes WHERE name = ?1"},
       {&s.add_scope, "add scope to", "INSERT INTO main.once_scopes(name) VALUES(?1)"},
       {&s.find_position, "read position in", kFindPosition},
       {&s.add_position, "create position in",
        "INSERT INTO main.once_positions VALUES(?1, ?2, ?3, ?4, ?5, 1, ?6)"},
       {&s.take_position, "take position in",
        "UPDATE main.once_positions SET revision = ?5, writer = ?6 "
        "WHERE cluster = ?1 AND consumer_group = ?2 AND topic = ?3 AND partition = ?4"},
       {&s.set_position, "set position in",
        "UPDATE main.once_positions SET position = ?5, revision = ?7 + 1 "
        "WHERE cluster = ?1 AND consumer_group = ?2 AND topic = ?3 AND partition = ?4 "
        "AND writer = ?6 AND revision IN (?7, ?7 + 1)"},
       {&s.put_outgoing, "put outbox row into",
        "INSERT INTO main.once_outbox(origin, state, payload) VALUES(?1, 0, ?2) "
        "ON CONFLICT(origin) DO NOTHING"},
       {&s.mark_published, "mark outbox rows in",
        "UPDATE main.once_outbox SET state = 1, payload = NULL WHERE sequence = ?1 AND state = 0"},
       {&s.park, "park outbox row in",
        "UPDATE main.once_outbox SET state = 2, reason = CAST(?2 AS TEXT) "
        "WHERE sequence = ?1 AND state = 0"}});
}

absl::Status Database::OpenReader() {
  absl::StatusOr<ConnectionHandle> reader = Connect(path(), false, busy_timeout_);
  if (!reader.ok()) return reader.status();
  reader_ = *std::move(reader);
  absl::Status set =
      Execute(reader_.get(), "PRAGMA query_only = ON", absl::StrCat("open ", path()));
  if (!set.ok()) return set;
  ReaderStatements& s = reader_statements_;
  return PrepareAll(reader_.get(), path(),
                    {{&s.find_position, "read position in", kFindPosition},
                     {&s.find_pending, "find outbox rows in",
                      "SELECT sequence, payload FROM main.once_outbox WHERE state = 0 "
                      "ORDER BY sequence LIMIT ?1"},
                     {&s.count_pending, "count outbox rows in",
                      "SELECT count(*) FROM main.once_outbox WHERE state = 0"}});
}

Database::~Database() {
  if (files_ != nullptr && files_->is_forked()) {
    // Leaked on purpose: closing in the child may delete the parent's -wal.
    static_cast<void>(new WriterStatements(std::move(statements_)));
    static_cast<void>(new ReaderStatements(std::move(reader_statements_)));
    static_cast<void>(writer_.release());
    static_cast<void>(reader_.release());
    return;
  }
  // A handler's statement that was kept must not hold locks beyond the store.
  if (writer_ != nullptr) ResetStatementsOfHandlers();
}

absl::Status Database::Begin(std::string_view operation) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  if (!turnstile_.Enter(busy_timeout_)) {
    return absl::UnavailableError(absl::StrCat("sqlite: ", ToAbsl(operation), " on ", path(),
                                               ": another transaction of this process has "
                                               "been open for ",
                                               absl::FormatDuration(busy_timeout_)));
  }
  const absl::Duration waited = absl::FromChrono(Clock::now() - start);
  absl::Status begun = files_->CheckUnmoved();
  if (begun.ok()) begun = BeginImmediate(operation, busy_timeout_ - waited);
  if (!begun.ok()) turnstile_.Leave();
  return begun;
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

absl::Status Database::Commit(ScopeNumbers new_scopes) {
  absl::Status status;
  int code = SQLITE_OK;
  {
    const Guard::StoreScope scope(*guard_);
    ResetStatementsOfHandlers();
    status = CheckOpen();
    if (status.ok()) status = files_->CheckUnmoved();
    if (status.ok()) {
      const Guard::CommitScope commit(*guard_);
      status = statements_.commit.Run();
      if (!status.ok()) code = sqlite3_extended_errcode(writer_.get());
    }
  }
  if (status.ok()) {
    if (known_scopes_.size() + new_scopes.size() > kKnownScopesMax) known_scopes_.clear();
    known_scopes_.merge(new_scopes);
    turnstile_.Leave();
    return status;
  }
  Rollback();
  if (code == SQLITE_OK || !IsCommitUnknown(code)) return status;
  return absl::UnknownError(absl::StrCat(
      status.message(), "; whether the commit happened shows when the positions are taken again"));
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
