// redis-kill: a Redis server that syncs what it answers is killed with SIGKILL and started again,
// over and over, under several claimers. Nothing that was answered may be gone, and no id may be
// done twice.
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/redis/tests/redis_server.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/redis_claimers.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kSayEvery = 100;
constexpr absl::Duration kPatience = absl::Seconds(30);

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport report;
  Dice dice(options.seed);
  redis::testing::RedisServer server;
  RedisClaimers claimers(server.url(), options.seed);
  for (std::int64_t kill = 1; kill <= options.runs; ++kill) {
    // Not before somebody has come back, and is at work.
    if (!claimers.AwaitWork(kPatience)) {
      report.violations.emplace_back("nobody works although the server serves");
      break;
    }
    absl::SleepFor(absl::Microseconds(dice.Below(20'000)));
    server.Kill();
    absl::SleepFor(absl::Microseconds(dice.Below(10'000)));
    server.Start();
    if (kill % kSayEvery == 0) Say(absl::StrCat(kill, " of ", options.runs, " kills"));
  }
  claimers.Finish(report);
  return report;
}

}  // namespace

Campaign RedisKillCampaign() {
  return {.name = "redis-kill",
          .what = "kill -9 of a Redis server under claimers",
          .runs = 2'000,
          .quick_runs = 40,
          .needs_broker = false,
          .why_not = &redis::testing::WhyNoServer,
          .run = &Run};
}

}  // namespace once::campaign
