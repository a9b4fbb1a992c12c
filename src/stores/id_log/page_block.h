// A PageBlock is memory taken from the system for itself and given back as a whole: for few large
// blocks that come and go, which would leave holes in a heap.
// Private to src/stores. Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <utility>

namespace once::stores {

class PageBlock {
 public:
  PageBlock() = default;
  // All zero. Throws std::bad_alloc, as operator new does.
  explicit PageBlock(std::size_t bytes);
  PageBlock(PageBlock&& other) noexcept
      : bytes_(std::exchange(other.bytes_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PageBlock& operator=(PageBlock&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~PageBlock();

  std::byte* bytes() const { return bytes_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* bytes_ = nullptr;
  std::size_t size_ = 0;  // whole pages
};

}  // namespace once::stores
