// One function per <name>_campaign.cc.
#pragma once

#include "tests/campaign/campaign.h"

namespace once::campaign {

Campaign KafkaKillCampaign();
Campaign CommitCutCampaign();
Campaign DiskFullCampaign();
Campaign StoreDamageCampaign();
Campaign StoreKillCampaign();
Campaign StorePowerCampaign();

}  // namespace once::campaign
