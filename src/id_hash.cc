// XXH3, seeded with where the loader put this program.
#include "src/id_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace once {

std::uint64_t HashOf(const IdKey& key) {
  static const char anchor = 0;
  const XXH64_hash_t scope = XXH3_64bits_withSeed(key.scope.data(), key.scope.size(),
                                                  reinterpret_cast<std::uintptr_t>(&anchor));
  return XXH3_64bits_withSeed(key.id.data(), key.id.size(), scope);
}

}  // namespace once
