// A PostgreSQL store with a retention under attack: a process settles ids, whose log time goes on
// by a second each, of which each comes a second time before it is too old, and one in so many
// ends dead. The store closes buckets of them and drops them all the time. There is no broker in
// this.
#pragma once

#include <string>
#include <vector>

#include "tests/campaign/campaign.h"

namespace once::campaign {

// The child: settles all that is not settled yet, and ends once the store has forgotten what it
// should. `task`: {"store": MakePostgresPlace()}.
int SettleForgetfully(const Json& task);

// What is not as it should be then, a line each: an effect that is missing or there twice, an id
// that was forgotten too early or not at all.
std::vector<std::string> JudgeForgetful(const std::string& store);

}  // namespace once::campaign
