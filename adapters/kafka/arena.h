// An Arena is the memory that one batch's copies lie in, one behind the other: it is asked for in
// large chunks and given back as a whole, to a ChunkPool, where the next batch finds it. So a copy
// costs the moving of a pointer. What a poll of a few messages needs is asked for by itself: held
// for long, by many, it must not pin a chunk each.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

namespace once::kafka {

// Thread-safety: any; batches may be given back anywhere.
class ChunkPool {
 public:
  using Chunk = std::unique_ptr<std::byte[]>;

  // Below what malloc asks the kernel for singly.
  static constexpr std::size_t kChunkBytes = 64 * 1024;
  // Kept for the next batch; what is given back beyond that is released.
  static constexpr std::size_t kIdleChunksMax = 64;

  ChunkPool() { idle_.reserve(kIdleChunksMax); }  // Give() must not fail: destructors call it

  // Of kChunkBytes.
  Chunk Take();
  void Give(std::vector<Chunk> chunks);
  std::size_t CountIdle() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Chunk> idle_;
};

// Thread-safety: none.
class Arena {
 public:
  // The first piece: not of the pool.
  static constexpr std::size_t kFirstBytes = 2048;

  explicit Arena(std::shared_ptr<ChunkPool> pool) : pool_(std::move(pool)) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  // Room for `size` bytes, aligned for any pointer or number. It lives as long as the arena.
  // REQUIRES: size > 0.
  std::byte* Allocate(std::size_t size) {
    constexpr std::size_t kAlignment = alignof(std::max_align_t);
    size = (size + kAlignment - 1) / kAlignment * kAlignment;
    if (size > left_) return AllocateAnew(size);
    std::byte* const room = next_;
    next_ += size;
    left_ -= size;
    return room;
  }

  // Never null: an empty text and a missing one differ.
  std::string_view Copy(std::string_view bytes) {
    if (bytes.empty()) return "";
    auto* const copy = reinterpret_cast<char*>(Allocate(bytes.size()));
    std::memcpy(copy, bytes.data(), bytes.size());
    return {copy, bytes.size()};
  }

 private:
  std::byte* AllocateAnew(std::size_t size);

  const std::shared_ptr<ChunkPool> pool_;
  std::vector<ChunkPool::Chunk> chunks_;  // of the pool
  ChunkPool::Chunk first_;
  std::vector<ChunkPool::Chunk> large_;  // of their own size
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
};

}  // namespace once::kafka
