// Everything between the path and a store that can be used.
#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "adapters/sqlite/database.h"
#include "once/abseil.h"
#include "src/stores/retention.h"

namespace once::sqlite {
namespace {

// A -wal that grew while somebody was reading for long is cut back to this at its next reset.
constexpr std::int64_t kWalBytesKept = 64 * 1024 * 1024;

// How many pages of the -wal are moved to the database at a time. With SQLite's default of 1000
// a checkpoint and its syncs would come after every few dozen commits of many ids. At 4 KiB a page
// this is half of kWalBytesKept.
constexpr int kCheckpointPages = 8192;

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

}  // namespace

void SetCheckpointPagesForTest(int pages) { checkpoint_pages_of_test = pages; }

absl::StatusOr<std::shared_ptr<Database>> Database::Open(const StoreOptions& options) {
  if (options.busy_timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat("sqlite: StoreOptions::busy_timeout is ",
                                                   absl::FormatDuration(options.busy_timeout),
                                                   "; it must not be negative"));
  }
  for (const auto& [field, value] : {std::pair("cache_bytes", options.cache_bytes),
                                     std::pair("recent_ids_bytes", options.recent_ids_bytes),
                                     std::pair("runs_max", std::int64_t{options.runs_max}),
                                     std::pair("filter_bits", std::int64_t{options.filter_bits})}) {
    if (value > 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("sqlite: StoreOptions::", field, " is ", value, "; it must be positive"));
  }
  absl::Status retention = stores::CheckRetention("sqlite", options.retention);
  if (!retention.ok()) return retention;
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
  database->ids_ = std::make_unique<StoreIds>(*database);
  if (absl::Status status = database->ids_->Open(options); !status.ok()) return status;
  if (absl::Status status = database->files_->Pin(); !status.ok()) return status;
  database->guard_->Install();
  database->ids_->StartUpkeep();
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
  if (absl::Status movable = CheckOldIds(); !movable.ok()) return movable;
  const auto identity = PrepareSchema(
      writer_.get(),
      {.path = path(), .is_new = files_->is_new(), .known_store = files_->known_store()});
  if (!identity.ok()) return identity.status();
  identity_ = *identity;
  // Small, and everything hangs on them: where the name of a scope is damaged, none of its letters
  // is found. Segments and pages have checksums of their own.
  for (const char* table : {"once_scopes", "once_positions", "once_open"}) {
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

// Ids of before format 4 are about to be moved by the order of their rows, and whatever comes out
// of it is trusted from then on.
absl::Status Database::CheckOldIds() {
  const auto old = QueryText(
      writer_.get(),
      "SELECT group_concat(name) FROM main.sqlite_schema WHERE type = 'table' AND name IN "
      "('once_scopes', 'once_ids', 'once_claims')",
      absl::StrCat("check ", path()));
  if (!old.ok()) return old.status();
  const std::vector<std::string> tables = absl::StrSplit(old->value_or(""), ',', absl::SkipEmpty());
  if (std::find(tables.begin(), tables.end(), "once_ids") == tables.end()) return absl::OkStatus();
  for (const std::string& table : tables) {
    if (absl::Status intact = CheckIntegrity(table); !intact.ok()) return intact;
  }
  return absl::OkStatus();
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
  sqlite3_busy_timeout(writer_.get(), BusyMilliseconds(busy_timeout_));
  return Execute(writer_.get(),
                 absl::StrCat("PRAGMA main.synchronous = ", ToAbsl(PragmaOf(options.synchronous))),
                 absl::StrCat("open ", path()));
}

absl::Status Database::CheckBeforeUse(const StoreOptions& options) {
  now_ = options.now ? options.now : [] { return absl::Now(); };
  // Once per opening, so that the claims of an opening that is over are told from ours.
  sqlite3_randomness(sizeof incarnation_, &incarnation_);
  const std::string operation = absl::StrCat("find results and letters in ", path());
  const auto has_results =
      QueryText(writer_.get(), "SELECT EXISTS(SELECT 1 FROM main.once_results)", operation);
  if (!has_results.ok()) return has_results.status();
  has_results_ = *has_results != "0";
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

}  // namespace once::sqlite
