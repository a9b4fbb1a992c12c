// rocksdb-disk-full: disk-full over a RocksDB store. The n-th write, sync, making or renaming of a
// file fails, for every n there is, in RocksDB's background tasks too; so how many there are
// differs a little from life to life.
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/database.h"
#include "adapters/rocksdb/tests/fault_files.h"
#include "once/abseil.h"
#include "once/rocksdb/store.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/failing_disk.h"
#include "tests/campaign/store_kind.h"

namespace once::campaign {
namespace {

constexpr const char* kEffects = "effects";

class ConsumedRocksdb final : public ConsumedStore {
 public:
  absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                   std::function<absl::Time()> now) const override {
    // The smallest, so that files are written and merged all the while.
    return rocksdb::OpenStore({.path = path,
                               .tables = {kEffects},
                               .cache_bytes = 256 * 1024,
                               .write_buffer_bytes = 64 * 1024,
                               .wal_bytes_max = 64 * 1024,
                               .serve_operators = false,
                               .now = std::move(now)});
  }

  // Behind those that the id has already.
  absl::Status Book(Transaction& transaction, const std::string& id,
                    std::string_view body) const override {
    absl::StatusOr<rocksdb::Table> effects = rocksdb::TableOf(transaction, kEffects);
    if (!effects.ok()) return effects.status();
    int count = 0;
    const absl::Status counted = effects->ForEach(
        id + "/", id + "0", [&](std::string_view, std::string_view) { return ++count > 0; });
    if (!counted.ok()) return counted;
    return effects->Put(absl::StrCat(id, "/", count), body);
  }

  absl::StatusOr<std::map<std::string, int>> ReadEffects(const std::string& /*path*/,
                                                         DedupStore& open) const override {
    std::map<std::string, int> effects;
    const absl::Status read =
        rocksdb::ForEachCommitted(open, kEffects, [&](std::string_view key, std::string_view) {
          ++effects[std::string(key.substr(0, key.find('/')))];
          return true;
        });
    if (!read.ok()) return read;
    return effects;
  }
};

class RocksdbDisk final : public FailingDisk {
 public:
  RocksdbDisk() { files_->SkipSyncs(); }

  void Fail(const Trouble& trouble, std::int64_t first) override {
    files_->Begin({.hits_writes = trouble.work != FailingWork::kSyncs,
                   .hits_syncs = trouble.work != FailingWork::kWrites,
                   .hits_names = trouble.work == FailingWork::kAll,
                   .first = first,
                   .count = trouble.count,
                   .is_full = trouble.is_full});
  }
  void Mend() override { files_->End(); }
  std::int64_t calls() const override { return files_->spell_calls(); }
  std::int64_t failures() const override { return files_->spell_failures(); }

 private:
  rocksdb::FaultScope files_;
};

CampaignReport Run(const CampaignOptions& options) {
  KeepRocksdbIdsInSmallFiles();
  RocksdbDisk disk;
  CampaignReport report = ConsumeOnFailingDisk(
      ConsumedRocksdb(), disk,
      {.size = "8m", .ballast_bytes = 7'700'000, .load = {.messages = 1'000, .value_bytes = 1'000}},
      options);
  rocksdb::SetIdLogOptionsForTest(std::nullopt);
  return report;
}

}  // namespace

Campaign RocksdbDiskFullCampaign() {
  return {.name = "rocksdb-disk-full",
          .what = "the same under a RocksDB store",
          .runs = 5'000,
          .quick_runs = 60,
          .needs_broker = false,
          .run = &Run};
}

}  // namespace once::campaign
