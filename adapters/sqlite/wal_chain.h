// What makes a -wal whole: every frame carries a checksum over all frames before it, and the -shm
// says at which frame and which checksum the last commit ends. WalChain follows the checksums, so
// that one who reads the file knows whether it is still what was written to it. Both formats:
// https://www.sqlite.org/walformat.html. Thread-safety: none; ReadWalEnd as the connection.
#pragma once

#include <sqlite3.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace once::sqlite {

inline constexpr std::size_t kWalHeaderBytes = 32;
inline constexpr std::size_t kWalFrameHeaderBytes = 24;

// Two sums that run through the -wal.
using WalChecksum = std::array<std::uint32_t, 2>;

// Where the last commit ends, by the -shm.
struct WalEnd {
  std::uint32_t frames = 0;  // 0: nothing in the -wal is in use
  std::size_t page_bytes = 0;
  WalChecksum checksum = {};
  std::array<char, 8> salt = {};  // in the header and in every frame that belongs to it
};

// REQUIRES: `database` is the main file of a connection that has the write lock.
int ReadWalEnd(sqlite3_file* database, WalEnd& end);

class WalChain {
 public:
  explicit WalChain(const WalEnd& end) : end_(end) {}

  // False: it is not what was written. `header`: the first kWalHeaderBytes of the -wal.
  bool Begin(std::string_view header);
  // The next frame, with its header. REQUIRES: Begin() was true.
  bool Follow(std::string_view frame);
  // The frames that were followed end where the last commit does.
  bool IsComplete() const { return frames_ == end_.frames && sum_ == end_.checksum; }

 private:
  void Add(std::string_view bytes);

  const WalEnd end_;
  bool is_big_endian_ = false;  // the words that are summed up
  WalChecksum sum_ = {};
  std::uint32_t frames_ = 0;
};

}  // namespace once::sqlite
