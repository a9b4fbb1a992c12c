// Shards as sorted arrays with gaps.
#include "src/stores/id_log/id_index.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <utility>

namespace once::stores {
namespace {

// Few enough that a tag tells most of a shard's numbers apart.
constexpr std::size_t kNumbersPerShard = 2048;
constexpr std::size_t kShardsMin = 2;
constexpr std::size_t kShardsMax = 65'536;
constexpr int kHashBits = 64;

// At most 15/16 of the homes are in use …
constexpr std::size_t kLoadNumerator = 15;
constexpr std::size_t kLoadDenominator = 16;
// … and about 9/11 of them when a shard has grown. The rest is for small shards, which differ most:
// the first one that is full makes all of its group grow.
constexpr std::uint32_t HomesFor(std::uint32_t size) { return size / 9 * 11 + 32; }

}  // namespace

IdIndex::IdIndex(std::size_t expected_max)
    : shards_(std::bit_ceil(std::clamp(expected_max / kNumbersPerShard, kShardsMin, kShardsMax))),
      blocks_((shards_.size() + kShardsPerGroup - 1) / kShardsPerGroup),
      shift_(kHashBits - std::countr_zero(shards_.size())),
      bytes_(shards_.size() * sizeof(Shard)) {}

void IdIndex::Insert(std::uint64_t hash, std::uint32_t number) {
  assert(number != kNone);
  Shard& shard = ShardOf(hash);
  const bool is_full =
      (std::size_t{shard.size} + 1) * kLoadDenominator > shard.homes * kLoadNumerator;
  if (is_full) GrowGroupOf(hash >> shift_);
  while (!TryInsert(shard, TagOf(hash), number)) GrowGroupOf(hash >> shift_);
  ++size_;
}

bool IdIndex::TryInsert(Shard& shard, std::uint16_t tag, std::uint32_t number) {
  std::uint16_t* tags = shard.tags();
  std::size_t at = SkipTo(shard, tag);
  while (tags[at] == tag) ++at;
  std::size_t gap = at;
  while (tags[gap] != 0) ++gap;
  if (gap >= shard.slots()) return false;
  std::uint32_t* numbers = shard.numbers();
  std::copy_backward(tags + at, tags + gap, tags + gap + 1);
  std::copy_backward(numbers + at, numbers + gap, numbers + gap + 1);
  tags[at] = tag;
  numbers[at] = number;
  ++shard.size;
  return true;
}

void IdIndex::Erase(std::uint64_t hash, std::uint32_t number) {
  Shard& shard = ShardOf(hash);
  std::uint16_t* tags = shard.tags();
  std::uint32_t* numbers = shard.numbers();
  std::size_t at = SkipTo(shard, TagOf(hash));
  while (numbers[at] != number) ++at;
  // What follows moves up as long as that brings it no further than home.
  for (; tags[at + 1] != 0 && shard.HomeOf(tags[at + 1]) <= at; ++at) {
    tags[at] = tags[at + 1];
    numbers[at] = numbers[at + 1];
  }
  tags[at] = 0;
  --shard.size;
  --size_;
}

bool IdIndex::PrefetchNumber(std::uint64_t hash) const {
  const Shard& shard = ShardOf(hash);
  if (shard.size == 0) return false;
  const std::uint16_t tag = TagOf(hash);
  const std::size_t at = SkipTo(shard, tag);
  if (shard.tags()[at] != tag) return false;
  __builtin_prefetch(shard.numbers() + at);
  return true;
}

void IdIndex::Sweep(std::size_t number_of_shard, absl::FunctionRef<bool(std::uint32_t)> is_live) {
  Shard& shard = shards_[number_of_shard];
  if (shard.size == 0) return;
  std::uint16_t* tags = shard.tags();
  std::uint32_t* numbers = shard.numbers();
  std::size_t next = 0;  // free, as is everything behind it that was passed
  std::uint32_t kept = 0;
  for (std::size_t at = 0; at < shard.slots(); ++at) {
    const std::uint16_t tag = std::exchange(tags[at], std::uint16_t{0});
    if (tag == 0 || !is_live(numbers[at])) continue;
    next = std::max(next, shard.HomeOf(tag));
    tags[next] = tag;
    numbers[next++] = numbers[at];
    ++kept;
  }
  size_ -= shard.size - kept;
  shard.size = kept;
}

void IdIndex::ForEach(absl::FunctionRef<void(std::uint32_t)> visit) const {
  for (const Shard& shard : shards_) {
    if (shard.size == 0) continue;
    for (std::size_t at = 0; at < shard.slots(); ++at) {
      if (shard.tags()[at] != 0) visit(shard.numbers()[at]);
    }
  }
}

bool IdIndex::TryMove(const Shard& former, Shard& shard) {
  shard.size = former.size;
  if (former.size == 0) return true;
  const std::uint16_t* const former_tags = former.tags();
  const std::uint32_t* const former_numbers = former.numbers();
  const std::size_t former_slots = former.slots();
  std::uint16_t* const tags = shard.tags();
  std::uint32_t* const numbers = shard.numbers();
  const std::size_t slots = shard.slots();
  std::size_t next = 0;
  for (std::size_t at = 0; at < former_slots; ++at) {
    const std::uint16_t tag = former_tags[at];
    if (tag == 0) continue;
    next = std::max(next, shard.HomeOf(tag));
    if (next == slots) return false;
    tags[next] = tag;
    numbers[next++] = former_numbers[at];
  }
  return true;
}

void IdIndex::GrowGroupOf(std::size_t needy) {
  const std::size_t group = needy / kShardsPerGroup;
  const std::size_t first = group * kShardsPerGroup;
  const std::size_t count = std::min(kShardsPerGroup, shards_.size() - first);
  std::array<Shard, kShardsPerGroup> grown;
  for (std::size_t i = 0; i < count; ++i) grown[i].homes = HomesFor(shards_[first + i].size);
  const std::uint32_t too_few = shards_[needy].homes;
  grown[needy - first].homes = std::max(grown[needy - first].homes, too_few + too_few / 8);
  PageBlock block;
  for (bool is_moved = false; !is_moved;) {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) bytes += grown[i].bytes();
    block = PageBlock(bytes);
    std::byte* memory = block.bytes();
    is_moved = true;
    for (std::size_t i = 0; i < count && is_moved; ++i) {
      grown[i].memory = memory;
      memory += grown[i].bytes();
      is_moved = TryMove(shards_[first + i], grown[i]);
      if (!is_moved) grown[i].homes += grown[i].homes / 8;
    }
  }
  std::copy_n(grown.begin(), count, shards_.begin() + static_cast<std::ptrdiff_t>(first));
  bytes_ = bytes_ - blocks_[group].size() + block.size();
  blocks_[group] = std::move(block);
}

}  // namespace once::stores
