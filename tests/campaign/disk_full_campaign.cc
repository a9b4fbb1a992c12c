// disk-full: the real engine consumes into an SQLite store while the disk fails at its n-th call,
// for every n there is: once, for a spell, for want of space, and in its syncs. The process is
// never restarted. Once the disk is well again everything must settle: one effect per id, a dead
// letter for each rejected message, positions at the end, no partition stopped. Once more on a real
// file system that is too small, where mounting one is permitted.
#include <sqlite3.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/sqlite/store.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/failing_disk.h"

namespace once::campaign {
namespace {

absl::Status Run(sqlite3* connection, const std::string& sql) {
  const int code = sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : absl::UnavailableError(sqlite3_errmsg(connection));
}

class ConsumedSqlite final : public ConsumedStore {
 public:
  absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                   std::function<absl::Time()> now) const override {
    return sqlite::OpenStore({.path = path,
                              .cache_bytes = 64 * 1024,
                              .serve_operators = false,
                              .now = std::move(now),
                              .setup = [](sqlite3* connection) {
                                return Run(connection,
                                           "CREATE TABLE IF NOT EXISTS effects(id TEXT, body TEXT);"
                                           "PRAGMA wal_autocheckpoint = 8");
                              }});
  }

  absl::Status Book(Transaction& transaction, const std::string& id,
                    std::string_view body) const override {
    return Run(sqlite::Connection(transaction),
               absl::StrCat("INSERT INTO effects VALUES('", id, "', '", ToAbsl(body), "')"));
  }

  // Through a connection of its own, as anybody would.
  absl::StatusOr<std::map<std::string, int>> ReadEffects(const std::string& path,
                                                         DedupStore& /*open*/) const override {
    std::map<std::string, int> effects;
    sqlite3* connection = nullptr;
    sqlite3_open_v2(path.c_str(), &connection, SQLITE_OPEN_READWRITE, nullptr);
    const auto count = [](void* counted, int, char** values, char**) {
      ++(*static_cast<std::map<std::string, int>*>(counted))[values[0]];
      return 0;
    };
    sqlite3_exec(connection, "SELECT id FROM effects", count, &effects, nullptr);
    const bool is_read = sqlite3_errcode(connection) == SQLITE_OK;
    const absl::Status error = absl::UnavailableError(sqlite3_errmsg(connection));
    sqlite3_close(connection);
    if (!is_read) return error;
    return effects;
  }
};

class SqliteDisk final : public FailingDisk {
 public:
  void Fail(const Trouble& trouble, std::int64_t first) override {
    disk_.PowerUp({});
    disk_.Fail({.work = WorkOf(trouble.work),
                .first = first,
                .count = trouble.count,
                .is_full = trouble.is_full});
  }
  void Mend() override { disk_.Mend(); }
  std::int64_t calls() const override { return disk_.fault_calls(); }
  std::int64_t failures() const override { return disk_.failures(); }

 private:
  static std::uint32_t WorkOf(FailingWork work) {
    switch (work) {
      case FailingWork::kSyncs:
        return kDiskSync;
      case FailingWork::kWrites:
        return kDiskWrite;
      case FailingWork::kAll:
        break;
    }
    return kDiskAll;
  }

  Disk disk_;
};

CampaignReport Run(const CampaignOptions& options) {
  SqliteDisk disk;
  return ConsumeOnFailingDisk(
      ConsumedSqlite(), disk,
      {.size = "4m", .ballast_bytes = 3'500'000, .load = {.messages = 1'000, .value_bytes = 500}},
      options);
}

}  // namespace

Campaign DiskFullCampaign() {
  return {.name = "disk-full",
          .what = "a disk that fails at its n-th call under the consuming engine",
          .runs = 5'000,
          .quick_runs = 100,
          .needs_broker = false,
          .run = &Run};
}

}  // namespace once::campaign
