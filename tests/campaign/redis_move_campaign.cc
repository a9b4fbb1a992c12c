// redis-move: slots of a Redis Cluster move from master to master, key by key, under several
// claimers whose next ids lie in them, and now and then a master is killed and started again.
// Masters sync what they answer: nothing may be gone, and no id may be done twice.
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/redis/tests/redis_cluster.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/redis_claimers.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kSayEvery = 200;
constexpr std::int64_t kMovesPerKill = 20;
// The id whose slot moves comes about so many ids later, or was among the last.
constexpr std::int64_t kIdsAhead = 100;
constexpr absl::Duration kPatience = absl::Minutes(1);

void KillAndStart(redis::testing::RedisCluster& cluster, Dice& dice) {
  const int node = static_cast<int>(dice.Below(cluster.size()));
  cluster.node(node).Kill();
  absl::SleepFor(absl::Microseconds(dice.Below(20'000)));
  cluster.node(node).Start();
  cluster.AwaitState(node, "ok");
}

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport report;
  Dice dice(options.seed);
  redis::testing::RedisCluster cluster({.settings = {"cluster-require-full-coverage no"}});
  RedisClaimers claimers(cluster.url(), options.seed);
  std::map<int, int> owners;  // of slots that were moved
  std::int64_t kills = 0;
  for (std::int64_t move = 1; move <= options.runs; ++move) {
    const std::string key = RedisClaimers::KeyOf(claimers.completed() + dice.Below(kIdsAhead));
    const int slot = redis::SlotOf(key);
    const int from = owners.try_emplace(slot, cluster.FirstOwnerOf(key)).first->second;
    const int to = static_cast<int>((from + 1 + dice.Below(cluster.size() - 1)) % cluster.size());
    cluster.BeginMove(slot, from, to);
    absl::SleepFor(absl::Microseconds(dice.Below(10'000)));
    while (cluster.MoveKey(slot, from, to)) absl::SleepFor(absl::Microseconds(dice.Below(2'000)));
    cluster.EndMove(slot, to);
    owners[slot] = to;
    if (move % kMovesPerKill == 0) {
      KillAndStart(cluster, dice);
      ++kills;
    }
    if (move % kSayEvery == 0) Say(absl::StrCat(move, " of ", options.runs, " moves"));
    if (!claimers.AwaitWork(kPatience)) {
      report.violations.emplace_back("nobody works although the cluster serves");
      break;
    }
  }
  claimers.Finish(report);
  report.extras["kills"] = kills;
  return report;
}

}  // namespace

Campaign RedisMoveCampaign() {
  return {.name = "redis-move",
          .what = "slots of a Redis Cluster moved, and its masters killed, under claimers",
          .runs = 2'000,
          .quick_runs = 40,
          .needs_broker = false,
          .why_not = &redis::testing::WhyNoServer,
          .run = &Run};
}

}  // namespace once::campaign
