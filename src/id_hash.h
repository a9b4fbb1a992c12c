// The hash of a dedup key, for tables in memory. It differs from process to process, so that nobody
// can choose ids that collide, and is never stored.
#pragma once

#include <cstdint>

#include "once/message_id.h"

namespace once {

std::uint64_t HashOf(const IdKey& key);

}  // namespace once
