// RocksDB's options, and why they are as they are.
#include "adapters/rocksdb/open_db.h"

#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/memtable_order.h"
#include "adapters/rocksdb/status.h"
#include "once/abseil.h"

namespace once::rocksdb {
namespace {

// In the order of their indexes. A folder that has the first of them is a store of once.
constexpr std::array<const char*, kOwnFamilies - 1> kOwnFamilyNames = {"once_segments", "once_open",
                                                                       "once_runs"};
// What stores had before any release.
constexpr const char* kFormerIdsFamilyName = "once_ids";
constexpr double kFilterBitsPerKey = 10;
constexpr std::size_t kLogFileBytesMax = 4 * 1024 * 1024;  // of LOG, which people read

::rocksdb::DBOptions DatabaseOptions(const DbSpec& spec) {
  ::rocksdb::DBOptions options;
  options.env = spec.env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  // What is damaged is refused, not worked around.
  options.paranoid_checks = true;
  options.track_and_verify_wals_in_manifest = true;
  // After a crash the log ends in the middle of a record, and everything before it counts.
  options.wal_recovery_mode = ::rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  // What an opening finds in the log is written to files and synced: so opening again settles what
  // a failed write or sync has left.
  options.avoid_flush_during_recovery = false;
  options.avoid_flush_during_shutdown = true;
  // Every write reaches the system before it returns; recovery knows one log, one order.
  options.manual_wal_flush = false;
  options.allow_2pc = false;
  options.recycle_log_file_num = 0;
  // No resumption by itself: after a full disk it succeeds, and every later write fails. The store
  // opens the folder again.
  options.max_bgerror_resume_count = 0;
  options.db_write_buffer_size = static_cast<std::size_t>(spec.options.write_buffer_bytes);
  options.max_total_wal_size = static_cast<std::uint64_t>(spec.options.wal_bytes_max);
  options.max_background_jobs = spec.options.background_threads;
  options.info_log_level = ::rocksdb::InfoLogLevel::WARN_LEVEL;
  options.max_log_file_size = kLogFileBytesMax;
  options.keep_log_file_num = 3;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

::rocksdb::ColumnFamilyOptions FamilyOptions(const DbSpec& spec, std::size_t family) {
  ::rocksdb::BlockBasedTableOptions table;
  table.block_cache = spec.cache;
  // Inside the cache, so that cache_bytes is the bound.
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  // Segments and pages of runs are there when they are asked for, and are random to look at.
  const bool is_of_ids = family == kSegmentsFamily || family == kRunsFamily;
  if (!is_of_ids) table.filter_policy.reset(::rocksdb::NewBloomFilterPolicy(kFilterBitsPerKey));
  table.checksum = ::rocksdb::kXXH3;
  table.format_version = 5;
  ::rocksdb::ColumnFamilyOptions options;
  options.table_factory.reset(::rocksdb::NewBlockBasedTableFactory(table));
  options.write_buffer_size = static_cast<std::size_t>(spec.options.write_buffer_bytes);
  options.level_compaction_dynamic_level_bytes = true;
  options.memtable_factory = SkipListInByteOrder();
  if (is_of_ids) options.compression = ::rocksdb::kNoCompression;
  return options;
}

// Of a folder without a table of ids: a crash leaves one of the first opening, and nothing is in it
// then. What cannot be read is left to the opening.
bool HasRows(const DbSpec& spec) {
  ::rocksdb::Options options(DatabaseOptions(spec), {});
  ::rocksdb::DB* raw = nullptr;
  if (!::rocksdb::DB::OpenForReadOnly(options, spec.path, &raw).ok()) return false;
  const std::unique_ptr<::rocksdb::DB> db(raw);
  const std::unique_ptr<::rocksdb::Iterator> first(db->NewIterator({}));
  first->SeekToFirst();
  return first->Valid();
}

std::vector<::rocksdb::ColumnFamilyDescriptor> Descriptors(const DbSpec& spec) {
  std::vector<::rocksdb::ColumnFamilyDescriptor> descriptors;
  for (std::size_t i = 0; i < spec.families.size(); ++i) {
    descriptors.emplace_back(spec.families[i], FamilyOptions(spec, i));
  }
  return descriptors;
}

}  // namespace

std::unique_ptr<OpenDb> OpenDb::Open(const DbSpec& spec, ::rocksdb::Status& error) {
  std::unique_ptr<OpenDb> open(new OpenDb);
  error = ::rocksdb::DB::Open(DatabaseOptions(spec), spec.path, Descriptors(spec), &open->families_,
                              &open->db_);
  return error.ok() ? std::move(open) : nullptr;
}

std::unique_ptr<OpenDb> OpenDb::OpenReadOnly(const DbSpec& spec, ::rocksdb::Status& error) {
  std::unique_ptr<OpenDb> open(new OpenDb);
  error = ::rocksdb::DB::OpenForReadOnly(DatabaseOptions(spec), spec.path, Descriptors(spec),
                                         &open->families_, &open->db_);
  return error.ok() ? std::move(open) : nullptr;
}

OpenDb::~OpenDb() {
  if (db_ == nullptr) return;
  for (::rocksdb::ColumnFamilyHandle* family : families_) {
    db_->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  }
  // What is not synced is in the log, and its sync is not this call's business.
  db_->Close().PermitUncheckedError();
  delete db_;
}

absl::StatusOr<std::vector<std::string>> FindFamilies(const DbSpec& spec, bool is_new) {
  std::vector<std::string> families = {::rocksdb::kDefaultColumnFamilyName};
  families.insert(families.end(), kOwnFamilyNames.begin(), kOwnFamilyNames.end());
  std::vector<std::string> others;
  if (!is_new) {
    const ::rocksdb::Status listed =
        ::rocksdb::DB::ListColumnFamilies(DatabaseOptions(spec), spec.path, &others);
    if (!listed.ok()) return StatusOf(listed, absl::StrCat("open ", spec.path));
    const auto has = [&](const char* name) {
      return std::find(others.begin(), others.end(), name) != others.end();
    };
    if (has(kFormerIdsFamilyName)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "rocksdb: open ", spec.path,
          ": it was written by a version of once from before the "
          "first release, which this one cannot read; finish with that version, then begin with "
          "a new folder and the positions of the old one"));
    }
    if (!has(kOwnFamilyNames.front()) && (others.size() > 1 || HasRows(spec))) {
      return absl::FailedPreconditionError(
          absl::StrCat("rocksdb: open ", spec.path,
                       ": it is a RocksDB that is no store of once; give the store a folder of "
                       "its own"));
    }
  }
  for (const std::string& table : spec.options.tables) {
    if (table.empty() || table == families[0] || table.substr(0, 5) == "once_") {
      return absl::InvalidArgumentError(
          absl::StrCat("rocksdb: StoreOptions::tables names \"", table,
                       "\"; names are not empty, not \"default\" and do not begin with once_"));
    }
    others.push_back(table);
  }
  for (std::string& other : others) {
    if (std::find(families.begin(), families.end(), other) == families.end()) {
      families.push_back(std::move(other));
    }
  }
  return families;
}

}  // namespace once::rocksdb
