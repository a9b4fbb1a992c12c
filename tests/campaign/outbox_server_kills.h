// outbox-kill over PostgreSQL: several processes at a time, each of which commits messages on
// several connections and has a relay; the relays share the lanes. One process after another is
// killed and replaced, a third of them at named places, while the others go on; now and then the
// server's processes are killed too. In some lives a writer keeps a transaction open for 5 s again
// and again, whose numbers others commit past.
#pragma once

#include <cstdint>

#include "tests/campaign/campaign.h"

namespace once::campaign {

// As the runs of embedded stores: `kills` of processes, about `rows` in all.
void KillOverPostgres(const CampaignOptions& options, std::int64_t kills, std::int64_t rows,
                      bool is_wrong, CampaignReport& report);

}  // namespace once::campaign
