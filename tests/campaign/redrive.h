// An operator's redrive of every dead letter in a closed store, as a process that may be killed.
#pragma once

#include "tests/campaign/campaign.h"

namespace once::campaign {

// The child: redrives what is dead, once. `task`: {"store": path}.
int RedriveAll(const Json& task);

}  // namespace once::campaign
