// SQLite: every row of every table. RocksDB: all that the contract shows of a copy.
#include "tests/campaign/store_kind.h"

#include <sqlite3.h>

#include <array>
#include <filesystem>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/tests/fault_files.h"
#include "adapters/sqlite/database.h"
#include "once/rocksdb/store.h"
#include "tests/campaign/store_writer.h"

namespace once::campaign {
namespace {

absl::Status Run(sqlite3* connection, const std::string& sql) {
  char* error = nullptr;
  if (sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, &error) == SQLITE_OK) {
    return absl::OkStatus();
  }
  const absl::Status status = absl::InternalError(error != nullptr ? error : "no message");
  sqlite3_free(error);
  return status;
}

class Sqlite final : public StoreKind {
 public:
  explicit Sqlite(sqlite::Synchronous synchronous) : synchronous_(synchronous) {}

  std::string_view name() const override { return "sqlite"; }
  bool is_synced() const override { return synchronous_ == sqlite::Synchronous::kFull; }

  absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                   std::uint64_t seed) const override {
    static constexpr std::array<int, 5> kCheckpointPages = {1, 4, 16, 64, 8192};
    const int pages = kCheckpointPages[static_cast<std::size_t>(seed % kCheckpointPages.size())];
    sqlite::SetCheckpointPagesForTest(pages);
    return sqlite::OpenStore(
        {.path = path,
         .synchronous = synchronous_,
         .cache_bytes = 32 * 1024,
         .serve_operators = false,
         .now = StandingClock,
         .setup = [pages](sqlite3* connection) {
           return Run(connection, absl::StrCat("CREATE TABLE IF NOT EXISTS effects(id TEXT, body);"
                                               "PRAGMA wal_autocheckpoint = ",
                                               pages));
         }});
  }

  absl::Status AddEffect(Transaction& transaction, const std::string& id,
                         std::size_t bytes) const override {
    return Run(sqlite::Connection(transaction),
               absl::StrCat("INSERT INTO effects VALUES('", id, "', zeroblob(", bytes, "))"));
  }

  std::vector<std::string> Dump(const std::string& path, DedupStore& /*open*/,
                                std::int64_t /*steps*/) const override {
    return DumpStore(path);
  }

 private:
  const sqlite::Synchronous synchronous_;
};

constexpr const char* kEffects = "effects";

// Once in each block of steps a write of the log fails, so that the folder is opened again; and
// once the store is copied.
class RocksdbMischief final : public Mischief {
 public:
  bool Begin(const std::string& path, DedupStore& open, std::int64_t step) override {
    static constexpr std::int64_t kFailing = 5;  // a transaction
    static constexpr std::int64_t kCopied = 11;
    if (step % kStepsPerBlock == kFailing) {
      faults_->Arm(rocksdb::Fault::kWriteError, ".log", 1);
      return true;
    }
    if (step % kStepsPerBlock == kCopied) {
      const std::string copy = path + ".backup";
      std::filesystem::remove_all(copy);
      std::filesystem::remove_all(copy + ".tmp");  // of a process that died in the middle
      open.maintenance()->Backup(copy, {}).IgnoreError();
    }
    return false;
  }
  void End() override { faults_->Disarm(); }

 private:
  rocksdb::FaultScope faults_;
};

class Rocksdb final : public StoreKind {
 public:
  std::string_view name() const override { return "rocksdb"; }

  absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                   std::uint64_t seed) const override {
    KeepRocksdbIdsInSmallFiles();
    // Small buffers, so that a life sees flushes and files of the log come and go.
    static constexpr std::array<std::int64_t, 4> kBufferBytes = {1 << 16, 1 << 20, 4 << 20,
                                                                 64 << 20};
    const std::int64_t bytes = kBufferBytes[static_cast<std::size_t>(seed % kBufferBytes.size())];
    return rocksdb::OpenStore({.path = path,
                               .tables = {kEffects},
                               .cache_bytes = 1024 * 1024,
                               .write_buffer_bytes = bytes,
                               .wal_bytes_max = 4 * bytes,
                               .serve_operators = false,
                               .now = StandingClock});
  }

  std::unique_ptr<Mischief> MakeMischief() const override {
    return std::make_unique<RocksdbMischief>();
  }

  absl::Status AddEffect(Transaction& transaction, const std::string& id,
                         std::size_t bytes) const override {
    absl::StatusOr<rocksdb::Table> effects = rocksdb::TableOf(transaction, kEffects);
    return effects.ok() ? effects->Put(id, std::string(bytes, '\0')) : effects.status();
  }

  // A copy, so that what is dumped is what an opening finds, and nothing else is disturbed.
  std::vector<std::string> Dump(const std::string& path, DedupStore& open,
                                std::int64_t steps) const override {
    const std::string copy = path + ".copy";
    std::vector<std::string> lines;
    const absl::Status copied = open.maintenance()->Backup(copy, {});
    absl::StatusOr<std::shared_ptr<DedupStore>> store =
        copied.ok() ? Open(copy, 0) : absl::StatusOr<std::shared_ptr<DedupStore>>(copied);
    if (store.ok()) {
      lines = DumpThroughContract(**store, steps);
      const absl::Status read = rocksdb::ForEachCommitted(
          **store, kEffects, [&](std::string_view id, std::string_view body) {
            lines.push_back(absl::StrCat("effects ", absl::CEscape(std::string(id)), " of ",
                                         body.size(), " bytes"));
            return true;
          });
      if (!read.ok()) lines.push_back("DAMAGED: " + read.ToString());
      store->reset();
    } else {
      lines.push_back("DAMAGED: " + store.status().ToString());
    }
    std::filesystem::remove_all(copy);
    std::filesystem::remove(copy + ".once-lock");
    return lines;
  }
};

}  // namespace

const StoreKind& SqliteKind(sqlite::Synchronous synchronous) {
  static const auto* const full = new Sqlite(sqlite::Synchronous::kFull);
  static const auto* const normal = new Sqlite(sqlite::Synchronous::kNormal);
  static const auto* const off = new Sqlite(sqlite::Synchronous::kOff);
  switch (synchronous) {
    case sqlite::Synchronous::kNormal:
      return *normal;
    case sqlite::Synchronous::kOff:
      return *off;
    case sqlite::Synchronous::kFull:
      break;
  }
  return *full;
}

void KeepRocksdbIdsInSmallFiles() {
  rocksdb::SetIdLogOptionsForTest(
      stores::IdLogOptions{.recent = {.bytes_max = 16 * 1024, .chunk_bytes = 1024},
                           .reload_bytes = 8 * 1024,
                           .page_bytes = 1024,
                           .merge = {.runs_max = 3},
                           .seal_segments = 8});
}

const StoreKind& RocksdbKind() {
  static const auto* const kind = new Rocksdb;
  return *kind;
}

}  // namespace once::campaign
