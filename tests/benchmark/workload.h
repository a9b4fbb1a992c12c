// The workload of the consume benchmark, as pure functions of a message's place in the topic: which
// order it carries, and so which messages are second copies. Every process computes it anew, so
// what was consumed can be compared with what was sent.
//
// Place i lies in partition i mod kPartitions. In each partition every twentieth message repeats an
// earlier one of the same partition, drawn from all of them; the others are fresh and carry the
// order i.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace once::benchmark {

inline constexpr std::int64_t kPartitions = 6;
inline constexpr std::int64_t kOneInHowManyIsDuplicate = 20;
inline constexpr std::size_t kValueBytes = 100;
inline constexpr std::size_t kOrderDigits = 16;
inline constexpr const char* kIdHeader = "order-id";

// A permutation of 64-bit numbers without visible order (the finalizer of MurmurHash3).
inline std::uint64_t Scramble(std::uint64_t number) {
  number ^= number >> 33;
  number *= 0xff51afd7ed558ccdULL;
  number ^= number >> 33;
  number *= 0xc4ceb9fe1a85ec53ULL;
  number ^= number >> 33;
  return number;
}

inline bool IsDuplicate(std::int64_t place) {
  return place / kPartitions % kOneInHowManyIsDuplicate == kOneInHowManyIsDuplicate - 1;
}

// The order that the message at `place` carries.
inline std::int64_t OrderAt(std::int64_t place) {
  if (!IsDuplicate(place)) return place;
  const std::int64_t row = place / kPartitions;
  const auto drawn = static_cast<std::int64_t>(Scramble(static_cast<std::uint64_t>(place)) %
                                               static_cast<std::uint64_t>(row));
  const std::int64_t original = drawn * kPartitions + place % kPartitions;
  return IsDuplicate(original) ? original - kPartitions : original;
}

// What an outbox would have numbered the order with, in the stream of its partition: the fresh ones
// of each, from 1.
inline std::uint64_t NumberOf(std::int64_t order) {
  const std::int64_t row = order / kPartitions;
  return static_cast<std::uint64_t>(row - row / kOneInHowManyIsDuplicate + 1);
}

// How many different orders the first `messages` places carry.
inline std::int64_t CountOrders(std::int64_t messages) {
  std::int64_t count = 0;
  for (std::int64_t place = 0; place < messages; ++place) count += IsDuplicate(place) ? 0 : 1;
  return count;
}

// 32 hex digits, different for different orders and without order among themselves.
std::string IdOf(std::int64_t order);

// kValueBytes bytes, the first kOrderDigits of which are the order's number.
std::string ValueOf(std::int64_t order);

// The reverse of ValueOf; nullopt for bytes that it never gives.
std::optional<std::int64_t> ParseOrder(std::string_view value);

}  // namespace once::benchmark
