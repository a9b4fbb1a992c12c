// One function per <name>_campaign.cc.
#pragma once

#include "tests/campaign/campaign.h"

namespace once::campaign {

Campaign GracefulStopCampaign();
Campaign KafkaKillCampaign();
Campaign KillPointsCampaign();
Campaign PlantedBugsCampaign();
Campaign ZombieCampaign();

}  // namespace once::campaign
