// A process writes to a store and is killed with SIGKILL, at a random moment or at a kill point of
// the adapter. It acknowledges each step that was answered OK. Another store takes the same steps
// in peace; after every kill the killed one must hold the same: of every step that was
// acknowledged, of the one in flight all or nothing, and of no other.
#pragma once

#include "tests/campaign/campaign.h"
#include "tests/campaign/store_kind.h"

namespace once::campaign {

// `campaign`: the name of the one whose child is WriteUntilKilled.
CampaignReport RunStoreKills(const char* campaign, const StoreKind& kind,
                             const CampaignOptions& options);

int WriteUntilKilled(const StoreKind& kind, const Json& task);

}  // namespace once::campaign
