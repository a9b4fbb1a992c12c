// Ids of 16 bytes by number: the same in every process, and random to look at.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "once/transaction.h"

namespace once::benchmark {

inline std::array<char, 16> IdOf(std::uint64_t number) {
  std::array<char, 16> id{};
  for (std::size_t half = 0; half < 2; ++half) {
    std::uint64_t bits = (number * 2 + half) * 0x9E3779B97F4A7C15;
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
    bits ^= bits >> 31;
    std::memcpy(id.data() + 8 * half, &bits, sizeof(bits));
  }
  return id;
}

// What is known of an id that was handled.
inline IdRecord RecordOf(std::uint64_t number) {
  return {.state = IdState::kCompleted,
          .fingerprint = {.high = number * 0xD6E8FEB86659FD93, .low = number + 1},
          .attempt = 1};
}

}  // namespace once::benchmark
