// rocksdb-kill: kill -9 of a process that writes to a RocksDB store, many times over.
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/store_kill.h"

namespace once::campaign {
namespace {

constexpr const char* kName = "rocksdb-kill";

CampaignReport Run(const CampaignOptions& options) {
  return RunStoreKills(kName, RocksdbKind(), options);
}

int Write(const Json& task) { return WriteUntilKilled(RocksdbKind(), task); }

}  // namespace

Campaign RocksdbKillCampaign() {
  return {.name = kName,
          .what = "kill -9 of a process that writes to a RocksDB store",
          .runs = 2'000,
          .quick_runs = 20,
          .needs_broker = false,
          .run = &Run,
          .child = &Write};
}

}  // namespace once::campaign
