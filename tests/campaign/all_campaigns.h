// One function per <name>_campaign.cc.
#pragma once

#include "tests/campaign/campaign.h"

namespace once::campaign {

Campaign BrokerDownCampaign();
Campaign CommitCutCampaign();
Campaign CorruptionCampaign();
Campaign DiskFullCampaign();
Campaign GracefulStopCampaign();
Campaign KafkaKillCampaign();
Campaign KillPointsCampaign();
Campaign LossDetectorCampaign();
Campaign OutboxKillCampaign();
Campaign PlantedBugsCampaign();
Campaign PostgresCutCampaign();
Campaign PostgresGroupCampaign();
Campaign PostgresKillCampaign();
Campaign PostgresRollbackCampaign();
Campaign RedisCutCampaign();
Campaign RedisKillCampaign();
Campaign RedisMoveCampaign();
Campaign RedisRollbackCampaign();
Campaign RocksdbCorruptionCampaign();
Campaign RocksdbDiskFullCampaign();
Campaign RocksdbKillCampaign();
Campaign StoreKillCampaign();
Campaign StorePowerCampaign();
Campaign ZombieCampaign();

}  // namespace once::campaign
