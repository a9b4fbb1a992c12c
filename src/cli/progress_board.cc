// Shared memory behind the board: an anonymous file, mapped by both processes.
#include "src/cli/progress_board.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace once::demo {
namespace {

absl::Status SystemError(const char* operation) {
  return absl::InternalError(absl::StrCat(operation, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<ProgressBoard> ProgressBoard::Create() {
  const int descriptor = memfd_create("once-demo-board", MFD_CLOEXEC);
  if (descriptor < 0) return SystemError("memfd_create");
  if (ftruncate(descriptor, sizeof(BoardCells)) != 0) {
    absl::Status status = SystemError("ftruncate");
    close(descriptor);
    return status;
  }
  return Open(descriptor);
}

absl::StatusOr<ProgressBoard> ProgressBoard::Open(int descriptor) {
  void* memory =
      mmap(nullptr, sizeof(BoardCells), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) return SystemError("mapping the progress board");
  // Zero bytes are valid cells: lock-free atomics of value 0.
  return ProgressBoard(descriptor, static_cast<BoardCells*>(memory));
}

ProgressBoard::ProgressBoard(ProgressBoard&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      cells_(std::exchange(other.cells_, nullptr)) {}

ProgressBoard::~ProgressBoard() {
  if (cells_ != nullptr) munmap(cells_, sizeof(BoardCells));
  if (descriptor_ >= 0) close(descriptor_);
}

void ProgressBoard::WriteGuarantee(std::string_view text) {
  const std::size_t size = std::min(text.size(), kGuaranteeBytesMax);
  std::copy_n(text.data(), size, cells_->guarantee.data());
  cells_->guarantee_size = size;
}

std::string ProgressBoard::ReadGuarantee() const {
  return {cells_->guarantee.data(),
          std::min<std::size_t>(cells_->guarantee_size, kGuaranteeBytesMax)};
}

}  // namespace once::demo
