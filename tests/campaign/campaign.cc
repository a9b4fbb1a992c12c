// The registry: one line per campaign.
#include "tests/campaign/campaign.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/campaign/all_campaigns.h"

namespace once::campaign {

const std::vector<Campaign>& Campaigns() {
  static const std::vector<Campaign>* const all = new std::vector<Campaign>{
      KafkaKillCampaign(),       KillPointsCampaign(),       ZombieCampaign(),
      GracefulStopCampaign(),    PlantedBugsCampaign(),      CommitCutCampaign(),
      StorePowerCampaign(),      StoreKillCampaign(),        CorruptionCampaign(),
      DiskFullCampaign(),        RocksdbKillCampaign(),      RocksdbCorruptionCampaign(),
      RocksdbDiskFullCampaign(), PostgresKillCampaign(),     PostgresCutCampaign(),
      PostgresGroupCampaign(),   PostgresRollbackCampaign(), OutboxKillCampaign(),
      BrokerDownCampaign(),      LossDetectorCampaign(),
#ifdef ONCE_HAS_REDIS
      RedisKillCampaign(),       RedisCutCampaign(),         RedisRollbackCampaign(),
      RedisMoveCampaign(),
#endif
  };
  return *all;
}

const Campaign* FindCampaign(std::string_view name) {
  const auto& all = Campaigns();
  const auto found = std::find_if(
      all.begin(), all.end(), [name](const Campaign& campaign) { return campaign.name == name; });
  return found == all.end() ? nullptr : &*found;
}

bool IsContinuousIntegration() {
  const char* const ci = std::getenv("CI");
  const std::string_view value = ci == nullptr ? "" : ci;
  return value == "1" || value == "true";
}

void Say(const std::string& line) { std::fprintf(stderr, "campaign: %s\n", line.c_str()); }

}  // namespace once::campaign
