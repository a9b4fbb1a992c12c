// store-kill: kill -9 of a process that writes to an SQLite store, many times over.
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/store_kill.h"

namespace once::campaign {
namespace {

constexpr const char* kName = "store-kill";

CampaignReport Run(const CampaignOptions& options) {
  return RunStoreKills(kName, SqliteKind(), options);
}

int Write(const Json& task) { return WriteUntilKilled(SqliteKind(), task); }

}  // namespace

Campaign StoreKillCampaign() {
  return {.name = kName,
          .what = "kill -9 of a process that writes to an SQLite store",
          .runs = 2'000,
          .quick_runs = 40,
          .needs_broker = false,
          .run = &Run,
          .child = &Write};
}

}  // namespace once::campaign
