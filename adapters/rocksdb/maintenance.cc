// RocksDB's properties, checksums, manual compaction and checkpoints.
#include "adapters/rocksdb/maintenance.h"

#include <rocksdb/utilities/checkpoint.h>

#include <atomic>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/id_storage.h"
#include "adapters/rocksdb/row_codec.h"
#include "adapters/rocksdb/status.h"
#include "adapters/rocksdb/view.h"
#include "once/abseil.h"
#include "src/stores/id_figures.h"
#include "src/stores/id_log/id_log.h"
#include "src/stores/id_table.h"
#include "src/stores/outbox_codec.h"
#include "src/stores/store_path.h"
#include "src/test_hooks.h"

namespace once::rocksdb {
namespace {

// Findings of one check; a damaged table has thousands that say the same.
constexpr std::size_t kFindingsMax = 100;

struct Property {
  const char* name;
  const char* property;
};

// Over all column families.
constexpr Property kSums[] = {
    {"table_bytes", "rocksdb.total-sst-files-size"},
    {"live_bytes", "rocksdb.estimate-live-data-size"},
    {"write_buffer_bytes", "rocksdb.cur-size-all-mem-tables"},
    {"table_reader_bytes", "rocksdb.estimate-table-readers-mem"},
    {"compaction_pending_bytes", "rocksdb.estimate-pending-compaction-bytes"},
};

absl::Status Cancelled(const std::string& operation) {
  return absl::CancelledError(absl::StrCat("rocksdb: ", operation, ": given up on request"));
}

absl::Status CheckLetter(std::string_view value) {
  const absl::StatusOr<OutboxEntry> entry = DecodeEntry(value);
  absl::Status decoded = entry.status();
  if (entry.ok()) decoded.Update(stores::DecodeOrigin(entry->origin).status());
  if (entry.ok() && entry->payload) {
    decoded.Update(stores::DecodeMessage(*entry->payload).status());
  }
  return decoded;
}

// Every letter of the outbox, which is decoded only when somebody asks for it.
absl::Status CheckLetters(const View& view, const std::stop_token& stop,
                          std::vector<std::string>& findings) {
  const std::string prefix(1, kOutboxTable);
  return view.Scan(
      kRowsFamily, prefix, EndOfPrefix(prefix), [&](std::string_view key, std::string_view value) {
        const absl::Status decoded = CheckLetter(value);
        if (!decoded.ok()) {
          const auto number = SequenceOf(key);
          findings.push_back(absl::StrCat("letter ", number.value_or(0), ": ", decoded.message()));
        }
        return findings.size() < kFindingsMax && !stop.stop_requested();
      });
}

// Every id, as it is read when nothing of it is in memory.
absl::Status CheckIds(Database& database, const View& view, const std::stop_token& stop) {
  IdStorage storage(database, view);
  const auto ids = stores::IdLog::Open(storage, {});
  if (!ids.ok()) return ids.status();
  return stores::CheckIds(
      **ids, [&] { return stop.stop_requested() ? Cancelled("verify ids") : absl::OkStatus(); });
}

}  // namespace

absl::StatusOr<std::vector<StoreFigure>> RocksMaintenance::ReadFigures() {
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  ::rocksdb::DB& db = reading.open_db().db();
  std::vector<StoreFigure> figures;
  for (const Property& sum : kSums) {
    std::uint64_t value = 0;
    if (!db.GetAggregatedIntProperty(sum.property, &value)) continue;
    figures.push_back({sum.name, static_cast<std::int64_t>(value)});
  }
  const stores::IdLogStats ids =
      database_->ReadIds([](const stores::IdLog& log) { return log.stats(); });
  stores::AddIdFigures(ids, figures);
  std::uint64_t cache = 0;
  db.GetIntProperty("rocksdb.block-cache-usage", &cache);
  figures.push_back({"cache_bytes", static_cast<std::int64_t>(cache)});
  ::rocksdb::VectorLogPtr logs;
  const ::rocksdb::Status listed = db.GetSortedWalFiles(logs);
  if (!listed.ok()) return StatusOf(listed, absl::StrCat("read figures of ", database_->path()));
  std::int64_t log_bytes = 0;
  for (const auto& log : logs) log_bytes += static_cast<std::int64_t>(log->SizeFileBytes());
  figures.push_back({"log_bytes", log_bytes});
  return figures;
}

absl::StatusOr<std::vector<std::string>> RocksMaintenance::Verify(const std::stop_token& stop) {
  const std::string operation = absl::StrCat("verify ", database_->path());
  const auto kept = database_->KeepFiles();
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  std::vector<std::string> findings;
  const ::rocksdb::Status intact = reading.open_db().db().VerifyChecksum();
  if (intact.IsCorruption()) {
    findings.push_back(intact.ToString());
  } else if (!intact.ok()) {
    return StatusOf(intact, operation);
  }
  for (const absl::Status& scanned :
       {CheckLetters(reading.view(), stop, findings), CheckIds(*database_, reading.view(), stop)}) {
    if (absl::IsDataLoss(scanned)) {
      findings.emplace_back(scanned.message());
    } else if (!scanned.ok()) {
      return scanned;
    }
  }
  if (stop.stop_requested()) return Cancelled(operation);
  return findings;
}

absl::Status RocksMaintenance::Compact(const std::stop_token& stop) {
  const std::string operation = absl::StrCat("compact ", database_->path());
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  std::atomic<bool> is_cancelled = false;
  const std::stop_callback cancel(stop, [&] { is_cancelled = true; });
  ::rocksdb::CompactRangeOptions options;
  options.canceled = &is_cancelled;
  options.bottommost_level_compaction = ::rocksdb::BottommostLevelCompaction::kForceOptimized;
  for (std::size_t family = 0; family < reading.open_db().families(); ++family) {
    const ::rocksdb::Status compacted = reading.open_db().db().CompactRange(
        options, reading.open_db().family(family), nullptr, nullptr);
    if (stop.stop_requested()) return Cancelled(operation);
    if (!compacted.ok()) return StatusOf(compacted, operation);
  }
  return absl::OkStatus();
}

absl::Status RocksMaintenance::Backup(const std::string& path, const std::stop_token& stop) {
  const std::string operation = absl::StrCat("back up ", database_->path(), " to ", path);
  if (stop.stop_requested()) return Cancelled(operation);
  if (absl::Status free = stores::CheckFree("rocksdb", operation, path); !free.ok()) return free;
  const Database::ReadScope reading(*database_);
  if (absl::Status check = reading.Check(); !check.ok()) return check;
  ::rocksdb::Checkpoint* raw = nullptr;
  ::rocksdb::Status made = ::rocksdb::Checkpoint::Create(&reading.open_db().db(), &raw);
  const std::unique_ptr<::rocksdb::Checkpoint> checkpoint(raw);
  ONCE_KILL_POINT("rocksdb.before_backup");
  if (made.ok()) made = checkpoint->CreateCheckpoint(path);
  ONCE_KILL_POINT("rocksdb.backed_up");
  return made.ok() ? stores::SyncFolderOf("rocksdb", operation, path) : StatusOf(made, operation);
}

}  // namespace once::rocksdb
