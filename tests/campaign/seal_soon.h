// SQLite stores that this process opens after SealSoon(), and before SealLater(), seal their ids
// all the time and merge what they have sealed, as others do once in hundreds of thousands of ids.
// Thread-safety: none.
#pragma once

#include <optional>

#include "adapters/sqlite/store_ids.h"

namespace once::campaign {

inline void SealSoon() {
  sqlite::SetIdLogOptionsForTest(
      stores::IdLogOptions{.recent = {.bytes_max = 4096, .chunk_bytes = 512},
                           .reload_bytes = 1024,
                           .page_bytes = 1024,
                           .merge = {.runs_max = 1},
                           .seal_segments = 1});
}

inline void SealLater() { sqlite::SetIdLogOptionsForTest(std::nullopt); }

}  // namespace once::campaign
