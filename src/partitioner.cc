// MurmurHash2, as Kafka's Java client has it: bytes little-endian, the tail first to last.
// Source: https://github.com/aappleby/smhasher/blob/master/src/MurmurHash2.cpp
#include "src/partitioner.h"

namespace once {
namespace {

constexpr std::uint32_t kSeed = 0x9747b28c;
constexpr std::uint32_t kMultiplier = 0x5bd1e995;

std::uint32_t ByteAt(std::string_view bytes, std::size_t index) {
  return static_cast<unsigned char>(bytes[index]);
}

std::uint32_t Mixed(std::uint32_t block) {
  block *= kMultiplier;
  block ^= block >> 24;
  return block * kMultiplier;
}

}  // namespace

std::uint32_t Murmur2(std::string_view bytes) {
  std::uint32_t hash = kSeed ^ static_cast<std::uint32_t>(bytes.size());
  while (bytes.size() >= 4) {
    const std::uint32_t block =
        ByteAt(bytes, 0) | ByteAt(bytes, 1) << 8 | ByteAt(bytes, 2) << 16 | ByteAt(bytes, 3) << 24;
    hash = (hash * kMultiplier) ^ Mixed(block);
    bytes.remove_prefix(4);
  }
  if (!bytes.empty()) {
    for (std::size_t i = bytes.size(); i-- > 0;) hash ^= ByteAt(bytes, i) << (8 * i);
    hash *= kMultiplier;
  }
  hash ^= hash >> 13;
  hash *= kMultiplier;
  return hash ^ hash >> 15;
}

std::int32_t PartitionOfKey(std::string_view key, std::int32_t partitions) {
  constexpr std::uint32_t kPositive = 0x7fffffff;
  return static_cast<std::int32_t>((Murmur2(key) & kPositive) %
                                   static_cast<std::uint32_t>(partitions));
}

}  // namespace once
