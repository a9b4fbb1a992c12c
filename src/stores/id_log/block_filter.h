// A BlockFilter says of an id that it is certainly not among those that were added, or that it may
// be: then the disk is asked. It looks at one block of 32 bytes. With 16 bits an id about one in
// 1000 that were not added may be.
// Private to src/stores. Thread-safety: safe for concurrent use once everything is added.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "once/message_id.h"

namespace once::stores {

// The hash of a key that is the same in every process and for ever. Who studies it can make
// look-ups slow, never wrong.
std::uint64_t StableHashOf(const IdKey& key);

class BlockFilter {
 public:
  BlockFilter() = default;
  BlockFilter(std::uint64_t ids, int bits_per_id);

  // What bytes() gave; nullopt for what it cannot have given.
  static std::optional<BlockFilter> FromBytes(std::string_view bytes);
  std::string_view bytes() const;

  // `hash` is StableHashOf(key). REQUIRES: made for at least one id.
  void Add(std::uint64_t hash);
  bool MayContain(std::uint64_t hash) const;
  void Prefetch(std::uint64_t hash) const { __builtin_prefetch(&blocks_[BlockOf(hash)]); }

 private:
  static constexpr std::size_t kWords = 8;
  struct alignas(32) Block {
    std::array<std::uint32_t, kWords> words{};
  };

  std::size_t BlockOf(std::uint64_t hash) const { return (hash >> 32) * blocks_.size() >> 32; }
  static Block MaskOf(std::uint64_t hash);

  std::vector<Block> blocks_;
};

}  // namespace once::stores
