// Chunks come from the pool and go there; what comes before the first one, and what is larger than
// one, has a place of its own.
#include "adapters/kafka/arena.h"

#include <algorithm>
#include <iterator>

namespace once::kafka {

ChunkPool::Chunk ChunkPool::Take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      Chunk chunk = std::move(idle_.back());  // the one given back last: a cache may have it still
      idle_.pop_back();
      return chunk;
    }
  }
  return std::make_unique_for_overwrite<std::byte[]>(kChunkBytes);
}

void ChunkPool::Give(std::vector<Chunk> chunks) {
  const std::lock_guard lock(mutex_);
  const std::size_t kept = std::min(chunks.size(), kIdleChunksMax - idle_.size());
  std::move(chunks.begin(), chunks.begin() + static_cast<std::ptrdiff_t>(kept),
            std::back_inserter(idle_));
}

std::size_t ChunkPool::CountIdle() const {
  const std::lock_guard lock(mutex_);
  return idle_.size();
}

Arena::~Arena() {
  if (!chunks_.empty()) pool_->Give(std::move(chunks_));
}

std::byte* Arena::AllocateAnew(std::size_t size) {
  if (size > ChunkPool::kChunkBytes) {
    return large_.emplace_back(std::make_unique_for_overwrite<std::byte[]>(size)).get();
  }
  if (next_ == nullptr && size <= kFirstBytes) {
    first_ = std::make_unique_for_overwrite<std::byte[]>(kFirstBytes);
    next_ = first_.get();
    left_ = kFirstBytes;
  } else {
    next_ = chunks_.emplace_back(pool_->Take()).get();
    left_ = ChunkPool::kChunkBytes;
  }
  std::byte* const room = next_;
  next_ += size;
  left_ -= size;
  return room;
}

}  // namespace once::kafka
