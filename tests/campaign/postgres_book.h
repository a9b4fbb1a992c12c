// The effects of campaign handlers in PostgreSQL, as EffectsTable has them in SQLite: a row each in
// a table where a duplicate shows, and totals. Paths are those of MakePostgresPlace().
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "once/transaction.h"
#include "tests/campaign/truth.h"

namespace once::campaign {

absl::Status BookInPostgres(Transaction& transaction, const Effect& effect);

// By sessions of their own, as any other reader would.
std::vector<Effect> ReadPostgresEffects(const std::string& path);
std::map<std::int32_t, EffectTotal> ReadPostgresTotals(const std::string& path);

}  // namespace once::campaign
