// The memory of copies: what is handed out, and what becomes of it.
#include "adapters/kafka/arena.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace once::kafka {
namespace {

std::shared_ptr<ChunkPool> NewPool() { return std::make_shared<ChunkPool>(); }

TEST(Arena, PiecesAreAlignedAndApart) {
  Arena arena(NewPool());
  std::vector<std::pair<std::byte*, std::size_t>> pieces;
  for (std::size_t size = 1; size < 3000; size += 7) {
    std::byte* const piece = arena.Allocate(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(piece) % alignof(std::max_align_t), 0U);
    std::memset(piece, static_cast<int>(pieces.size() % 251), size);
    pieces.emplace_back(piece, size);
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto [piece, size] = pieces[i];
    for (std::size_t at = 0; at < size; ++at) {
      ASSERT_EQ(static_cast<std::size_t>(piece[at]), i % 251) << i;
    }
  }
}

TEST(Arena, APieceMayBeLargerThanAChunkAndTheChunkAtHandGoesOn) {
  Arena arena(NewPool());
  const std::byte* const before = arena.Allocate(16);
  const std::string large(ChunkPool::kChunkBytes + 1, 'x');
  const std::string_view copy = arena.Copy(large);
  EXPECT_EQ(copy, large);
  EXPECT_EQ(arena.Allocate(16), before + 16);
}

TEST(Arena, AnEmptyTextIsNotNull) {
  Arena arena(NewPool());
  EXPECT_NE(arena.Copy("").data(), nullptr);
  EXPECT_NE(arena.Copy(std::string_view()).data(), nullptr);
}

// A poll of one message, which may be held for long.
TEST(Arena, ASmallBatchTakesNoChunkAndALargerOneDoes) {
  const std::shared_ptr<ChunkPool> pool = NewPool();
  {
    Arena arena(pool);
    const std::byte* const first = arena.Allocate(16);
    EXPECT_EQ(arena.Allocate(Arena::kFirstBytes - 16), first + 16);
  }
  EXPECT_EQ(pool->CountIdle(), 0U);
  {
    Arena arena(pool);
    arena.Allocate(Arena::kFirstBytes);
    arena.Allocate(1);
    arena.Allocate(ChunkPool::kChunkBytes - alignof(std::max_align_t));
  }
  EXPECT_EQ(pool->CountIdle(), 1U);
}

TEST(ChunkPool, TheNextBatchLiesWhereTheLastOneWas) {
  const std::shared_ptr<ChunkPool> pool = NewPool();
  const std::byte* first = nullptr;
  {
    Arena arena(pool);
    first = arena.Allocate(ChunkPool::kChunkBytes);
  }
  Arena arena(pool);
  arena.Allocate(1);
  EXPECT_EQ(arena.Allocate(ChunkPool::kChunkBytes), first);
}

TEST(ChunkPool, KeepsNoMoreThanItsBound) {
  const std::shared_ptr<ChunkPool> pool = NewPool();
  {
    Arena arena(pool);
    Arena other(pool);
    for (std::size_t i = 0; i < ChunkPool::kIdleChunksMax; ++i) {
      arena.Allocate(ChunkPool::kChunkBytes);
      other.Allocate(ChunkPool::kChunkBytes);
    }
  }
  EXPECT_EQ(pool->CountIdle(), ChunkPool::kIdleChunksMax);
}

// A batch may outlive its source, and the pool with it.
TEST(ChunkPool, LivesAsLongAsAnArena) {
  std::shared_ptr<ChunkPool> pool = NewPool();
  Arena arena(pool);
  const std::string_view copy = arena.Copy("text");
  pool.reset();
  EXPECT_EQ(copy, "text");
  const std::string more(ChunkPool::kChunkBytes, 'x');
  const std::string_view first = arena.Copy(more);
  EXPECT_EQ(arena.Copy(more), more) << "of a second chunk";
  EXPECT_EQ(first, more);
}

}  // namespace
}  // namespace once::kafka
