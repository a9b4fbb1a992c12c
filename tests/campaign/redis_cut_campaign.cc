// redis-cut: connections between claimers and a Redis server are cut, before the server has heard a
// call, in the middle of it, before and in the middle of its answer. Each in its turn.
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/redis_server.h"
#include "tests/campaign/all_campaigns.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/redis_claimers.h"

namespace once::campaign {
namespace {

constexpr std::int64_t kSayEvery = 200;
constexpr absl::Duration kPatience = absl::Seconds(30);

CampaignReport Run(const CampaignOptions& options) {
  CampaignReport report;
  Dice dice(options.seed);
  redis::testing::RedisServer server;
  redis::testing::CutProxy proxy(server.File("p"), server.socket_path());
  RedisClaimers claimers("unix:" + server.File("p"), options.seed);
  for (std::int64_t cut = 0; cut < options.runs; ++cut) {
    absl::SleepFor(absl::Microseconds(dice.Below(5'000)));
    proxy.Arm(static_cast<redis::testing::Cut>(cut % redis::testing::kCuts));
    const absl::Time deadline = absl::Now() + kPatience;
    while (proxy.cuts() <= cut && absl::Now() < deadline) absl::SleepFor(absl::Microseconds(200));
    if (proxy.cuts() <= cut) {
      report.violations.push_back("nothing passes that could be cut");
      break;
    }
    if ((cut + 1) % kSayEvery == 0) Say(absl::StrCat(cut + 1, " of ", options.runs, " cuts"));
  }
  claimers.Finish(report);
  return report;
}

}  // namespace

Campaign RedisCutCampaign() {
  return {.name = "redis-cut",
          .what = "connections to a Redis server cut before, in and after a call",
          .runs = 2'000,
          .quick_runs = 80,
          .needs_broker = false,
          .why_not = &redis::testing::WhyNoServer,
          .run = &Run};
}

}  // namespace once::campaign
