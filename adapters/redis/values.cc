// Durations, times, fences and fingerprints as the scripts have them.
#include "adapters/redis/values.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

constexpr absl::Duration kLongest = absl::Hours(24 * 365 * 50);
constexpr int kHalfBits = 64;
constexpr int kByteBits = 8;
constexpr std::size_t kHalfBytes = kHalfBits / kByteBits;

std::uint64_t HalfOf(std::string_view bytes) {
  std::uint64_t half = 0;
  for (std::size_t i = 0; i < kHalfBytes; ++i) {
    half |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (kByteBits * i);
  }
  return half;
}

}  // namespace

std::string Quoted(std::string_view id) {
  return absl::StrCat("\"", absl::CHexEscape(ToAbsl(id)), "\"");
}

std::string Microseconds(absl::Duration duration) {
  return absl::StrCat(absl::ToInt64Microseconds(std::clamp(duration, -kLongest, kLongest)));
}

std::string RetentionMilliseconds(absl::Duration retention) {
  if (retention == absl::InfiniteDuration()) return "0";
  return absl::StrCat(std::max<std::int64_t>(absl::ToInt64Milliseconds(retention), 1));
}

std::string Text(const Fence& fence) { return absl::StrCat(fence.incarnation, ":", fence.counter); }

std::string Text(const Fingerprint& print) {
  std::string bytes;
  if (!print.is_set()) return bytes;
  for (const std::uint64_t half : {print.high, print.low}) {
    for (int shift = 0; shift < kHalfBits; shift += kByteBits) {
      bytes.push_back(static_cast<char>(static_cast<unsigned char>(half >> shift & 0xff)));
    }
  }
  return bytes;
}

Fingerprint FingerprintOf(std::string_view bytes) {
  if (bytes.size() != 2 * kHalfBytes) return {};
  return {.high = HalfOf(bytes), .low = HalfOf(bytes.substr(kHalfBytes))};
}

std::string Text(absl::Time time) {
  return time == absl::InfinitePast() ? "" : absl::StrCat(absl::ToUnixMicros(time));
}

absl::Time TimeOf(std::string_view text) {
  std::int64_t micros = 0;
  if (!absl::SimpleAtoi(ToAbsl(text), &micros)) return absl::InfinitePast();
  if (micros == std::numeric_limits<std::int64_t>::max()) return absl::InfiniteFuture();
  return absl::FromUnixMicros(micros);
}

}  // namespace once::redis
