// The checksum at the end of whatever the log stores as one piece.
// Private to src/stores. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace once::stores {

inline constexpr std::size_t kChecksumBytes = 8;

// Of everything that stands in `bytes`; `seed` says what the bytes are and where they belong, so
// that one piece is never taken for another.
void AppendChecksum(std::string& bytes, std::uint64_t seed);

// `bytes` without their checksum; nullopt when it is not theirs.
std::optional<std::string_view> WithoutChecksum(std::string_view bytes, std::uint64_t seed);

}  // namespace once::stores
