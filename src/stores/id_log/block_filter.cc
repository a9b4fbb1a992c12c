// The split-block Bloom filter of Putze, Sanders and Singler ("Cache-, Hash- and Space-Efficient
// Bloom Filters", 2007): one bit in each word of one block, by odd multipliers of our own.
#include "src/stores/id_log/block_filter.h"

#include <algorithm>
#include <bit>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace once::stores {

static_assert(std::endian::native == std::endian::little,
              "blocks are stored as they lie in memory");

std::uint64_t StableHashOf(const IdKey& key) {
  const XXH64_hash_t scope = XXH3_64bits(key.scope.data(), key.scope.size());
  return XXH3_64bits_withSeed(key.id.data(), key.id.size(), scope);
}

BlockFilter::BlockFilter(std::uint64_t ids, int bits_per_id)
    : blocks_(std::max<std::uint64_t>(
          1, (ids * static_cast<std::uint64_t>(bits_per_id) + 255) / (8 * sizeof(Block)))) {}

std::optional<BlockFilter> BlockFilter::FromBytes(std::string_view bytes) {
  if (bytes.empty() || bytes.size() % sizeof(Block) != 0) return std::nullopt;
  BlockFilter filter;
  filter.blocks_.resize(bytes.size() / sizeof(Block));
  std::memcpy(filter.blocks_.data(), bytes.data(), bytes.size());
  return filter;
}

std::string_view BlockFilter::bytes() const {
  return {reinterpret_cast<const char*>(blocks_.data()), blocks_.size() * sizeof(Block)};
}

BlockFilter::Block BlockFilter::MaskOf(std::uint64_t hash) {
  static constexpr std::array<std::uint32_t, kWords> kOdd = {0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D,
                                                             0x27D4EB2F, 0x165667B1, 0xD3A2646D,
                                                             0xFD7046C5, 0xB55A4F09};
  Block mask;
  for (std::size_t i = 0; i < kWords; ++i) {
    mask.words[i] = std::uint32_t{1} << ((static_cast<std::uint32_t>(hash) * kOdd[i]) >> 27);
  }
  return mask;
}

void BlockFilter::Add(std::uint64_t hash) {
  const Block mask = MaskOf(hash);
  Block& block = blocks_[BlockOf(hash)];
  for (std::size_t i = 0; i < kWords; ++i) block.words[i] |= mask.words[i];
}

bool BlockFilter::MayContain(std::uint64_t hash) const {
  const Block mask = MaskOf(hash);
  const Block& block = blocks_[BlockOf(hash)];
  std::uint32_t missing = 0;
  for (std::size_t i = 0; i < kWords; ++i) missing |= mask.words[i] & ~block.words[i];
  return missing == 0;
}

}  // namespace once::stores
