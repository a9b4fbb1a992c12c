// One function per <name>_campaign.cc.
#pragma once

#include "tests/campaign/campaign.h"

namespace once::campaign {

Campaign KafkaKillCampaign();
Campaign StorePowerCampaign();

}  // namespace once::campaign
