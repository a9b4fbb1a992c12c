// Anonymous mappings.
#include "src/stores/id_log/page_block.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace once::stores {

PageBlock::PageBlock(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t size = (bytes + page - 1) / page * page;
  void* const mapped =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  bytes_ = static_cast<std::byte*>(mapped);
  size_ = size;
}

PageBlock::~PageBlock() {
  if (bytes_ != nullptr) munmap(bytes_, size_);
}

}  // namespace once::stores
