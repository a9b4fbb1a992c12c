// An IdIndex finds 32-bit numbers by hash: the index beside entries that hold the ids. It is made
// of many small shards, so that none of its steps takes long, and costs about 7 bytes a number. Who
// calls it compares the ids: two that share a hash cost time and nothing else.
//
// Shards that are next to each other share a block of memory and grow together: blocks of one size
// each for every shard would leave holes in the heap that no later one fits into.
//
// A shard keeps 16 bits of each hash, its tag, and its slots in the order of their tags. The place
// where a tag belongs follows from the tag alone and grows with it. So a search ends at the first
// greater tag, however full the shard is, and a shard grows in one pass that looks at no id.
// Private to src/stores. Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "src/stores/id_log/page_block.h"

namespace once::stores {

class IdIndex {
 public:
  // What Find() gives when there is none; never inserted.
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  // For about so many numbers at most; for more it gets slower, not wrong.
  explicit IdIndex(std::size_t expected_max);

  // The first number under `hash` for which `is_wanted(number)`; else kNone.
  template <typename F>
  std::uint32_t Find(std::uint64_t hash, F&& is_wanted) const {
    const Shard& shard = ShardOf(hash);
    if (shard.size == 0) return kNone;
    const std::uint16_t tag = TagOf(hash);
    const std::uint16_t* tags = shard.tags();
    for (std::size_t at = SkipTo(shard, tag); tags[at] == tag; ++at) {
      const std::uint32_t number = shard.numbers()[at];
      if (is_wanted(number)) return number;
    }
    return kNone;
  }

  // REQUIRES: number != kNone.
  void Insert(std::uint64_t hash, std::uint32_t number);
  // REQUIRES: `number` was inserted under `hash`, and is there.
  void Erase(std::uint64_t hash, std::uint32_t number);

  // The three steps that bring what Find() needs nearer, for many hashes at a time: each asks for
  // memory that the one before has brought.
  void Prefetch(std::uint64_t hash) const { __builtin_prefetch(&ShardOf(hash)); }
  void PrefetchTags(std::uint64_t hash) const {
    const Shard& shard = ShardOf(hash);
    if (shard.size > 0) __builtin_prefetch(shard.tags() + shard.HomeOf(TagOf(hash)));
  }
  // False when there is no number under `hash`: nothing need be looked for.
  bool PrefetchNumber(std::uint64_t hash) const;
  // The last step for an Insert().
  void PrefetchPlace(std::uint64_t hash) const {
    const Shard& shard = ShardOf(hash);
    if (shard.size > 0) __builtin_prefetch(shard.numbers() + SkipTo(shard, TagOf(hash)), 1);
  }

  // Takes the numbers out of one shard for which not `is_live(number)`.
  void Sweep(std::size_t shard, absl::FunctionRef<bool(std::uint32_t)> is_live);
  void ForEach(absl::FunctionRef<void(std::uint32_t)> visit) const;

  std::size_t shards() const { return shards_.size(); }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return bytes_; }

 private:
  // Slots beyond the homes take what does not fit before them. Tag 0 is an empty slot, and one more
  // such slot ends the tags: it is never written.
  struct Shard {
    std::uint32_t* numbers() const { return reinterpret_cast<std::uint32_t*>(memory); }
    std::uint16_t* tags() const {
      return reinterpret_cast<std::uint16_t*>(memory + slots() * sizeof(std::uint32_t));
    }
    std::size_t slots() const { return homes + homes / 32 + 16; }
    // A multiple of what numbers are aligned to.
    std::size_t bytes() const {
      const std::size_t tags = (slots() + 2) / 2 * 2;
      return slots() * sizeof(std::uint32_t) + tags * sizeof(std::uint16_t);
    }
    std::size_t HomeOf(std::uint16_t tag) const { return std::uint64_t{tag} * homes >> 16; }

    std::byte* memory = nullptr;  // of its group: numbers, then tags
    std::uint32_t homes = 0;
    std::uint32_t size = 0;
  };
  static constexpr std::size_t kShardsPerGroup = 32;

  static std::uint16_t TagOf(std::uint64_t hash) {
    const auto tag = static_cast<std::uint16_t>(hash >> 16);
    return tag == 0 ? 1 : tag;
  }
  const Shard& ShardOf(std::uint64_t hash) const { return shards_[hash >> shift_]; }
  Shard& ShardOf(std::uint64_t hash) { return shards_[hash >> shift_]; }

  // The first slot, from the home of `tag` on, that is empty or has no smaller one.
  static std::size_t SkipTo(const Shard& shard, std::uint16_t tag) {
    const std::uint16_t* tags = shard.tags();
    std::size_t at = shard.HomeOf(tag);
    while (tags[at] != 0 && tags[at] < tag) ++at;
    return at;
  }
  static bool TryInsert(Shard& shard, std::uint16_t tag, std::uint32_t number);
  // False when they do not fit.
  static bool TryMove(const Shard& former, Shard& shard);
  // Gives all shards of the group of `needy` the room that they need, and `needy` more than it had.
  void GrowGroupOf(std::size_t needy);

  std::vector<Shard> shards_;
  std::vector<PageBlock> blocks_;  // by group
  int shift_;
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace once::stores
