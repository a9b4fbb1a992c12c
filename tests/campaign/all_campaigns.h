// One function per <name>_campaign.cc.
#pragma once

#include "tests/campaign/campaign.h"

namespace once::campaign {

Campaign KafkaKillCampaign();

}  // namespace once::campaign
