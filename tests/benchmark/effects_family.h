// Effects as rows of a RocksDB column family, in the order in which they come: by partition and
// offset.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "tests/benchmark/effects_table.h"

namespace once::benchmark {

inline constexpr const char* kEffectsFamily = "effects";

// Key and value. Throws for a message that is not of the workload.
std::pair<std::string, std::string> EncodeEffect(const Effect& effect);

// As FindWrongEffects says of a database of SQLite. The folder is closed.
std::string FindWrongEffectsInFamily(const std::string& path, std::int64_t messages);

}  // namespace once::benchmark
