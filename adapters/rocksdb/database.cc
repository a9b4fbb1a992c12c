// Opening, commits, syncs, and opening again after one of them has failed.
#include "adapters/rocksdb/database.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/rocksdb/row_codec.h"
#include "adapters/rocksdb/rows.h"
#include "adapters/rocksdb/status.h"
#include "once/abseil.h"
#include "src/stores/retention.h"
#include "src/test_hooks.h"

namespace once::rocksdb {
namespace {

constexpr std::uint64_t kFormat = 5;

// Few enough bytes that sorting them takes little memory and time.
constexpr std::uint64_t kSealBytes = std::uint64_t{16} << 20;

// What must fit on the disk before the folder is closed and opened again, which needs at least a
// new manifest and a new log.
constexpr std::size_t kProbeBytes = 256 * 1024;

std::shared_ptr<::rocksdb::FileSystem>& FileSystemOfTest() {
  static auto* const file_system = new std::shared_ptr<::rocksdb::FileSystem>;
  return *file_system;
}

std::optional<stores::IdLogOptions>& IdLogOptionsOfTest() {
  static auto* const options = new std::optional<stores::IdLogOptions>;
  return *options;
}

std::uint64_t RandomNumber() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

std::string NewStoreId() {
  std::string bytes = EncodeNumber(RandomNumber()) + EncodeNumber(RandomNumber());
  return absl::BytesToHexString(bytes);
}

absl::Status CheckOptions(const StoreOptions& options) {
  absl::Status retention = stores::CheckRetention("rocksdb", options.retention);
  if (!retention.ok()) return retention;
  const auto refuse = [](const char* field, const char* rule) {
    return absl::InvalidArgumentError(
        absl::StrCat("rocksdb: StoreOptions::", field, " must ", rule));
  };
  if (options.busy_timeout < absl::ZeroDuration()) return refuse("busy_timeout", "not be negative");
  if (options.cache_bytes <= 0) return refuse("cache_bytes", "be positive");
  if (options.write_buffer_bytes < 64 * 1024)
    return refuse("write_buffer_bytes", "be 64 KiB or more");
  if (options.wal_bytes_max < 64 * 1024) return refuse("wal_bytes_max", "be 64 KiB or more");
  if (options.transaction_bytes_max < 64 * 1024) {
    return refuse("transaction_bytes_max", "be 64 KiB or more");
  }
  if (options.recent_ids_bytes <= 0) return refuse("recent_ids_bytes", "be positive");
  if (options.background_threads < 1) return refuse("background_threads", "be 1 or more");
  return absl::OkStatus();
}

}  // namespace

void SetFileSystemForTest(std::shared_ptr<::rocksdb::FileSystem> file_system) {
  FileSystemOfTest() = std::move(file_system);
}

void SetIdLogOptionsForTest(std::optional<stores::IdLogOptions> options) {
  IdLogOptionsOfTest() = std::move(options);
}

absl::StatusOr<std::shared_ptr<Database>> Database::Open(const StoreOptions& options) {
  if (absl::Status check = CheckOptions(options); !check.ok()) return check;
  auto folder = StoreFolder::Open(options.path, options.must_exist);
  if (!folder.ok()) return folder.status();
  std::shared_ptr<Database> database(new Database);
  database->folder_ = *std::move(folder);
  if (absl::Status prepared = database->Prepare(options); !prepared.ok()) return prepared;
  return database;
}

absl::Status Database::Prepare(const StoreOptions& options) {
  const auto& below = FileSystemOfTest();
  watch_ = std::make_shared<WalWatch>(below ? below : ::rocksdb::FileSystem::Default());
  env_ = ::rocksdb::NewCompositeEnv(watch_);
  spec_ = {.path = path(),
           .env = env_.get(),
           .cache = ::rocksdb::NewLRUCache(static_cast<std::size_t>(options.cache_bytes)),
           .options = options};
  now_ = options.now ? options.now : [] { return absl::Now(); };
  // Once per opening, so that the claims of an opening that is over are told from ours.
  incarnation_ = RandomNumber();
  absl::StatusOr<std::vector<std::string>> families = FindFamilies(spec_, folder_->is_new());
  if (!families.ok()) return families.status();
  spec_.families = *std::move(families);
  const std::string operation = absl::StrCat("open ", path());
  ::rocksdb::Status error;
  open_ = OpenDb::Open(spec_, error);
  if (open_ == nullptr) return StatusOf(error, operation);
  if (options.integrity_check) {
    const ::rocksdb::Status intact = open_->db().VerifyChecksum();
    if (!intact.ok()) return StatusOf(intact, absl::StrCat("check ", path()));
  }
  if (absl::Status identified = Identify(); !identified.ok()) return identified;
  if (absl::Status loaded = LoadCounters(); !loaded.ok()) return loaded;
  if (absl::Status opened = OpenIds(); !opened.ok()) return opened;
  if (absl::Status kept = folder_->Remember(identity_.store_id); !kept.ok()) return kept;
  if (absl::Status pinned = folder_->Pin(); !pinned.ok()) return pinned;
  upkeep_ = std::make_unique<stores::IdUpkeep>(static_cast<stores::IdOwner&>(*this));
  if (ids_->is_upkeep_due()) upkeep_->Wake();
  return absl::OkStatus();
}

absl::Status Database::OpenIds() {
  const stores::IdLogOptions ours{
      .recent = {.bytes_max = static_cast<std::size_t>(spec_.options.recent_ids_bytes)},
      .seal_bytes = kSealBytes};
  stores::IdLogOptions chosen = IdLogOptionsOfTest().value_or(ours);
  chosen.merge.span_max_ms = stores::MergeSpan(spec_.options.retention);
  auto ids = stores::IdLog::Open(id_storage_, chosen);
  if (!ids.ok()) {
    return absl::Status(ids.status().code(),
                        absl::StrCat("rocksdb: open ", path(), ": ", ids.status().message()));
  }
  ids_ = *std::move(ids);
  return absl::OkStatus();
}

absl::Status Database::Identify() {
  const View view(*open_, nullptr, nullptr);
  const auto meta = [&](const char* name) { return view.Get(kRowsFamily, Key(kMetaTable, name)); };
  const auto format = meta("format");
  const auto store = meta("store");
  const auto opened = meta("opened");
  for (const auto& one : {format.status(), store.status(), opened.status()}) {
    if (!one.ok()) return one;
  }
  const std::string what = absl::StrCat("rocksdb: open ", path(), ": ");
  if (!*format && folder_->known_store()) {
    return absl::DataLossError(absl::StrCat(what, "store ", *folder_->known_store(),
                                            " was in it and its rows are gone; restore a backup, "
                                            "or remove ",
                                            path(), ".once-lock to begin with nothing known"));
  }
  identity_ = {.store_id = NewStoreId(), .open_count = 1};
  if (*format) {
    const auto number = DecodeNumber(**format);
    const auto count = DecodeNumber(opened->value_or(""));
    if (!number.ok() || !count.ok() || !*store) {
      return absl::DataLossError(
          absl::StrCat(what, "what the store says of itself is damaged; restore a backup"));
    }
    if (*number > kFormat) {
      return absl::FailedPreconditionError(absl::StrCat(
          what, "a newer version of once wrote it (format ", *number, ", this one knows ", kFormat,
          "); upgrade this program, or give it another folder"));
    }
    identity_ = {.store_id = **store, .open_count = *count + 1};
  }
  if (folder_->known_store() && identity_.store_id != *folder_->known_store()) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, "it holds store ", identity_.store_id, ", where store ",
                     *folder_->known_store(), " was before; put that one back, or remove ", path(),
                     ".once-lock if the exchange was meant"));
  }
  ::rocksdb::WriteBatch batch;
  const auto put = [&](const char* name, const std::string& value) {
    batch.Put(open_->family(kRowsFamily), Key(kMetaTable, name), value).PermitUncheckedError();
  };
  put("format", EncodeNumber(kFormat));
  put("store", identity_.store_id);
  put("opened", EncodeNumber(identity_.open_count));
  ::rocksdb::WriteOptions synced;
  synced.sync = true;
  return StatusOf(open_->db().Write(synced, &batch), absl::StrCat("open ", path()));
}

absl::Status Database::LoadCounters() {
  ::rocksdb::ReadOptions options;
  options.ignore_range_deletions = true;  // see View::Scan()
  const std::unique_ptr<::rocksdb::Iterator> rows(
      open_->db().NewIterator(options, open_->family(kRowsFamily)));
  const auto has_any = [&](char table) {
    rows->Seek(std::string(1, table));
    return rows->Valid() && rows->key()[0] == table;
  };
  // Every seek forgets the error of the one before.
  has_results_ = has_any(kResultTable);
  ::rocksdb::Status read = rows->status();
  has_letters_ = has_any(kLetterTable);
  if (read.ok()) read = rows->status();
  rows->SeekForPrev(EndOfPrefix(std::string(1, kOutboxTable)));
  if (rows->Valid() && rows->key()[0] == kOutboxTable) {
    const auto last = SequenceOf({rows->key().data(), rows->key().size()});
    if (!last.ok()) return last.status();
    last_sequence_ = *last;
  }
  if (read.ok()) read = rows->status();
  rows->SeekForPrev(EndOfPrefix(std::string(1, kOutgoingTable)));
  if (rows->Valid() && rows->key()[0] == kOutgoingTable) {
    const auto last = SequenceOf({rows->key().data(), rows->key().size()});
    if (!last.ok()) return last.status();
    last_outgoing_ = *last;
  }
  if (absl::Status loaded = LoadLastDropped(); !loaded.ok()) return loaded;
  written_until_ = open_->db().GetLatestSequenceNumber();
  if (read.ok()) read = rows->status();
  return StatusOf(read, absl::StrCat("open ", path()));
}

// The greatest one's row may be gone, its number is not.
absl::Status Database::LoadLastDropped() {
  const View view(*open_, nullptr, nullptr);
  const auto stored = view.Get(kRowsFamily, Key(kMetaTable, kLastOutgoing));
  if (!stored.ok()) return stored.status();
  if (!*stored) return absl::OkStatus();
  const auto dropped = DecodeNumber(**stored);
  if (!dropped.ok()) return dropped.status();
  last_outgoing_ = std::max(last_outgoing_.load(), static_cast<std::int64_t>(*dropped));
  return absl::OkStatus();
}

Database::~Database() {
  // Leaked on purpose: the threads are the parent's, and ending would wait for them.
  if (!folder_->is_forked()) return;
  static_cast<void>(upkeep_.release());
  static_cast<void>(open_.release());
}

absl::Status Database::EnterTurnstile(std::string_view operation) {
  if (!turnstile_.Enter(std::min(spec_.options.busy_timeout, absl::Hours(24)))) {
    return absl::UnavailableError(
        absl::StrCat("rocksdb: ", ToAbsl(operation), " on ", path(),
                     ": another transaction of this process has been open for ",
                     absl::FormatDuration(spec_.options.busy_timeout)));
  }
  absl::Status unmoved = folder_->CheckUnmoved();
  if (!unmoved.ok()) turnstile_.Leave();
  return unmoved;
}

absl::Status Database::Begin(std::string_view operation) {
  if (absl::Status entered = EnterTurnstile(operation); !entered.ok()) return entered;
  absl::Status usable = MakeUsable(operation);
  if (!usable.ok()) turnstile_.Leave();
  return usable;
}

absl::Status Database::MakeUsable(std::string_view operation) {
  if (is_lost_) {
    return absl::DataLossError(
        absl::StrCat("rocksdb: ", ToAbsl(operation), " on ", path(),
                     ": a write or sync of the log has failed, and the system has dropped commits "
                     "that were not synced yet; start the process again: everything that was "
                     "synced is still there"));
  }
  if (is_doubtful_) {
    if (absl::Status opened = Reopen(operation); !opened.ok()) return opened;
  }
  if (!must_resync_) return absl::OkStatus();
  absl::Status learned = ChangeIds([](stores::IdLog& ids) { return ids.Resync(); });
  must_resync_ = !learned.ok();
  return learned;
}

absl::Status Database::ProbeSpace(std::string_view operation) {
  const std::string probe = path() + ".once-probe";
  const ::rocksdb::Status written = ::rocksdb::WriteStringToFile(
      env_.get(), std::string(kProbeBytes, 'x'), probe, /*should_sync=*/true);
  env_->DeleteFile(probe).PermitUncheckedError();
  return StatusOf(written, absl::StrCat(ToAbsl(operation), " on ", path(),
                                        ": a write has failed, and the disk takes no other yet"));
}

absl::Status Database::Reopen(std::string_view operation) {
  // While there is no space, reads need the handle that is open.
  if (absl::Status space = ProbeSpace(operation); !space.ok()) return space;
  const std::unique_lock closed(open_mutex_);
  open_.reset();
  ONCE_KILL_POINT("rocksdb.closed_to_reopen");
  ::rocksdb::Status error;
  open_ = OpenDb::Open(spec_, error);
  if (open_ == nullptr) {
    ::rocksdb::Status unreadable;
    open_ = OpenDb::OpenReadOnly(spec_, unreadable);
    return StatusOf(error, absl::StrCat(ToAbsl(operation), ": open ", path(),
                                        " again after a write that failed"));
  }
  ONCE_KILL_POINT("rocksdb.reopened");
  ++reopenings_;
  const std::uint64_t found_until = open_->db().GetLatestSequenceNumber();
  if (found_until < written_until_) {
    is_lost_ = true;
    return MakeUsable(operation);
  }
  written_until_ = found_until;
  must_resync_ = true;
  is_doubtful_ = false;
  has_unsynced_ = false;
  return absl::OkStatus();
}

// A sync after one that has failed would say OK: what the disk has dropped is told once. So nothing
// is written meanwhile, and nobody syncs before the folder is opened again.
absl::Status Database::SyncNow(std::string_view operation) {
  const std::lock_guard lock(write_mutex_);
  if (absl::Status writable = CheckWritable(); !writable.ok()) return writable;
  if (!has_unsynced_) return absl::OkStatus();
  ONCE_KILL_POINT("rocksdb.before_sync");
  const ::rocksdb::Status synced = open_->db().SyncWAL();
  ONCE_KILL_POINT("rocksdb.synced");
  if (synced.ok()) {
    has_unsynced_ = false;
    return absl::OkStatus();
  }
  is_doubtful_ = true;
  return StatusOf(synced, absl::StrCat(ToAbsl(operation), " ", path()));
}

absl::Status Database::Sync() {
  if (!has_unsynced_) return folder_->CheckUnmoved();
  if (absl::Status begun = Begin("sync"); !begun.ok()) return begun;
  const absl::Status synced = SyncNow("sync");
  turnstile_.Leave();
  return synced;
}

absl::Status Database::SyncBeside() {
  if (absl::Status unmoved = folder_->CheckUnmoved(); !unmoved.ok()) return unmoved;
  const std::shared_lock open(open_mutex_);
  return SyncNow("sync");
}

absl::Status Database::CheckWritable() const {
  if (!is_doubtful_) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("rocksdb: write to ", path(),
                   ": a write before it has failed, and the folder is opened again first"));
}

absl::Status Database::WriteNow(::rocksdb::WriteBatch& batch, const WriteRequest& request) {
  const std::lock_guard lock(write_mutex_);
  if (absl::Status writable = CheckWritable(); !writable.ok()) return writable;
  ::rocksdb::WriteOptions options;
  options.sync = request.is_synced;
  watch_->Forget();
  if (request.is_synced) {
    ONCE_KILL_POINT("rocksdb.before_synced_write");
  } else {
    ONCE_KILL_POINT("rocksdb.before_write");
  }
  const ::rocksdb::Status written = open_->db().Write(options, &batch);
  if (written.ok()) {
    if (request.is_synced) {
      ONCE_KILL_POINT("rocksdb.written_and_synced");
    } else {
      ONCE_KILL_POINT("rocksdb.written");
    }
    if (request.is_owed) written_until_ = open_->db().GetLatestSequenceNumber();
    return absl::OkStatus();
  }
  is_doubtful_ = true;
  const WalWatch::Notes& notes = watch_->notes();
  absl::Status failure = StatusOf(written, request.what);
  // A record that found no space is torn, and torn it stays: nothing is written behind it.
  const bool may_be_there = notes.has_failed || (notes.has_appended && !notes.has_no_space);
  if (!may_be_there) return failure;
  return absl::UnknownError(absl::StrCat(failure.message(), "; ", ToAbsl(request.when_unknown)));
}

absl::Status Database::WriteApart(::rocksdb::WriteBatch& batch, Durability wanted,
                                  std::string_view operation) {
  const bool is_owed = wanted == Durability::kMachine;
  return WriteNow(batch, {.is_synced = is_owed,
                          .is_owed = is_owed,
                          .what = absl::StrCat(ToAbsl(operation), " in ", path()),
                          .when_unknown = "it is read once the folder is open again"});
}

absl::Status Database::Apply(Batch& batch, stores::IdChanges& ids, const CommitRequest& request) {
  if (absl::Status unmoved = folder_->CheckUnmoved(); !unmoved.ok()) return unmoved;
  id_storage_.Join(&batch);
  const absl::Status staged = ids_->WriteSegment(ids, request.log_time_ms);
  id_storage_.Join(nullptr);
  if (!staged.ok()) return staged;
  const bool is_synced = request.wanted == Durability::kMachine && spec_.options.is_synced;
  if (batch.empty()) {
    // What it has read may not be synced yet.
    return is_synced ? SyncNow("sync") : absl::OkStatus();
  }
  const absl::StatusOr<::rocksdb::WriteBatch*> writes = batch.Gather();
  if (!writes.ok()) return writes.status();
  absl::Status written = WriteNow(**writes, {.is_synced = is_synced,
                                             .is_owed = true,
                                             .what = absl::StrCat("commit to ", path()),
                                             .when_unknown = request.when_unknown});
  if (!written.ok()) return written;
  has_unsynced_ = !is_synced && spec_.options.is_synced;
  return absl::OkStatus();
}

absl::Status Database::Commit(Batch& batch, stores::IdChanges ids, CommitRequest request) {
  absl::Status committed = Apply(batch, ids, request);
  bool is_upkeep_due = false;
  if (committed.ok()) {
    is_upkeep_due = ChangeIds([&](stores::IdLog& log) {
      log.Committed(std::move(ids));
      return log.is_upkeep_due();
    });
  } else if (!absl::IsUnknown(committed)) {
    ids_->RolledBack(std::move(ids));
  }
  batch_room_ = batch.TakeRoom();
  turnstile_.Leave();
  if (is_upkeep_due) upkeep_->Wake();
  return committed;
}

absl::Status Database::InTurn(std::string_view operation,
                              absl::FunctionRef<absl::Status(stores::IdLog&)> change) {
  if (absl::Status begun = Begin(operation); !begun.ok()) return begun;
  absl::Status changed = ChangeIds(change);
  Leave();
  return changed;
}

absl::Status Database::OutOfTurn(absl::FunctionRef<absl::Status(stores::IdLog&)> change) {
  return ChangeIds(change);
}

absl::Status Database::Beside(absl::FunctionRef<absl::Status()> work) {
  const ReadScope reading(*this);
  absl::Status check = reading.Check();
  return check.ok() ? work() : check;
}

absl::StatusOr<bool> Database::DropSome(stores::IdLog& ids, std::size_t max) {
  // Somebody who reads may still need them.
  const std::unique_lock may_remove(files_mutex_, std::try_to_lock);
  if (!may_remove.owns_lock()) return true;
  return ids.DropSome(max);
}

absl::StatusOr<std::optional<std::int64_t>> Database::FindExpiryLimit() {
  if (spec_.options.retention == absl::InfiniteDuration()) return std::nullopt;
  const ReadScope reading(*this);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  const auto positions = ListPositions(reading.view());
  if (!positions.ok()) return positions.status();
  return stores::ExpiryLimit(*positions, spec_.options.retention);
}

Database::ReadScope::ReadScope(Database& database)
    : database_(database), lock_(database.open_mutex_) {
  if (database_.open_ != nullptr) snapshot_ = database_.open_->db().GetSnapshot();
}

Database::ReadScope::~ReadScope() {
  if (snapshot_ != nullptr) database_.open_->db().ReleaseSnapshot(snapshot_);
}

absl::Status Database::ReadScope::Check() const {
  if (database_.open_ == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("rocksdb: read ", database_.path(),
                     ": it could not be opened again after a write that failed"));
  }
  return database_.folder_->CheckUnmoved();
}

}  // namespace once::rocksdb
