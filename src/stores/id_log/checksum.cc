// XXH3, in the form that does not change from release to release.
#include "src/stores/id_log/checksum.h"

#include "src/stores/bytes.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace once::stores {

void AppendChecksum(std::string& bytes, std::uint64_t seed) {
  AppendInt(bytes, std::uint64_t{XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed)});
}

std::optional<std::string_view> WithoutChecksum(std::string_view bytes, std::uint64_t seed) {
  if (bytes.size() < kChecksumBytes) return std::nullopt;
  const std::string_view content = bytes.substr(0, bytes.size() - kChecksumBytes);
  const auto written = ByteReader(bytes.substr(content.size())).TakeInt<std::uint64_t>();
  const std::uint64_t is = XXH3_64bits_withSeed(content.data(), content.size(), seed);
  return is == written ? std::optional(content) : std::nullopt;
}

}  // namespace once::stores
