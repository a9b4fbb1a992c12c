// The ProgressBoard is memory that the demonstration shares with its consumer process: how far it
// is. It outlives a consumer that is killed, and holds nothing that a kill could leave half
// written. It is for watching only: what the demonstration reports at the end comes from the store
// and the broker.
// Thread-safety: safe for concurrent use, from both processes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace once::demo {

inline constexpr std::size_t kPartitionsMax = 64;
inline constexpr std::size_t kGuaranteeBytesMax = 4096;

struct BoardCells {
  // Number of the effect row that was booked last, committed or not.
  std::atomic<std::int64_t> newest_row;
  // As the store has them; 0 until the first look.
  std::array<std::atomic<std::int64_t>, kPartitionsMax> positions;
  // Dead letters committed and not yet published; -1 while that is being looked up.
  std::atomic<std::int64_t> outbox_pending;
  // The consumer's own description of its guarantee, complete once the size is not 0.
  std::atomic<std::size_t> guarantee_size;
  std::array<char, kGuaranteeBytesMax> guarantee;
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

class ProgressBoard {
 public:
  // A new one, all cells 0. Its descriptor is closed on exec unless it is passed on.
  static absl::StatusOr<ProgressBoard> Create();
  // The one behind an inherited descriptor.
  static absl::StatusOr<ProgressBoard> Open(int descriptor);

  ProgressBoard(ProgressBoard&& other) noexcept;
  ProgressBoard& operator=(ProgressBoard&&) = delete;
  ~ProgressBoard();

  int descriptor() const { return descriptor_; }
  BoardCells& cells() { return *cells_; }
  const BoardCells& cells() const { return *cells_; }

  // Shortened to kGuaranteeBytesMax.
  void WriteGuarantee(std::string_view text);
  // Empty until it is written.
  std::string ReadGuarantee() const;

 private:
  ProgressBoard(int descriptor, BoardCells* cells) : descriptor_(descriptor), cells_(cells) {}

  int descriptor_;
  BoardCells* cells_;
};

}  // namespace once::demo
