// Checksums of the -wal, and the header of the -shm.
#include "adapters/sqlite/wal_chain.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace once::sqlite {
namespace {

// The last bit says in which order of bytes the words are summed up.
constexpr std::uint32_t kMagic = 0x377f0682;

// The first region of the -shm begins with this, in the machine's own order of bytes.
constexpr int kShmRegionBytes = 32 * 1024;
struct ShmHeader {
  std::uint32_t version, unused, change;
  std::uint8_t is_filled, is_big_endian;
  std::uint16_t page_bytes;  // 1: 65536
  std::uint32_t frames, pages;
  std::uint32_t checksum[2];
  char salt[8];
  std::uint32_t checksum_of_this[2];
};
static_assert(sizeof(ShmHeader) == 48);

std::uint32_t WordAt(std::string_view bytes, std::size_t at, bool is_big_endian) {
  std::uint32_t word = 0;
  std::memcpy(&word, bytes.data() + at, sizeof word);
  const bool is_native = is_big_endian == (std::endian::native == std::endian::big);
  return is_native ? word : __builtin_bswap32(word);
}

WalChecksum ChecksumAt(std::string_view bytes, std::size_t at) {
  return {WordAt(bytes, at, true), WordAt(bytes, at + 4, true)};
}

}  // namespace

int ReadWalEnd(sqlite3_file* database, WalEnd& end) {
  void volatile* region = nullptr;
  const int code = database->pMethods->xShmMap(database, 0, kShmRegionBytes, 0, &region);
  if (code != SQLITE_OK) return code;
  if (region == nullptr) return SQLITE_IOERR_SHMMAP;
  ShmHeader header;
  // Nobody else writes it: the write lock is ours.
  std::memcpy(&header, const_cast<const void*>(region), sizeof header);
  end.frames = header.frames;
  end.page_bytes = header.page_bytes == 1 ? 65536 : header.page_bytes;
  std::copy_n(header.checksum, 2, end.checksum.begin());
  std::copy_n(header.salt, sizeof header.salt, end.salt.begin());
  return SQLITE_OK;
}

bool WalChain::Begin(std::string_view header) {
  const std::uint32_t magic = WordAt(header, 0, true);
  is_big_endian_ = (magic & 1) != 0;
  Add(header.substr(0, 24));
  return (magic & ~1U) == kMagic && std::equal(end_.salt.begin(), end_.salt.end(), &header[16]) &&
         ChecksumAt(header, 24) == sum_;
}

bool WalChain::Follow(std::string_view frame) {
  ++frames_;
  Add(frame.substr(0, 8));
  Add(frame.substr(kWalFrameHeaderBytes));
  return std::equal(end_.salt.begin(), end_.salt.end(), &frame[8]) && ChecksumAt(frame, 16) == sum_;
}

void WalChain::Add(std::string_view bytes) {
  for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    sum_[0] += WordAt(bytes, at, is_big_endian_) + sum_[1];
    sum_[1] += WordAt(bytes, at + 4, is_big_endian_) + sum_[0];
  }
}

}  // namespace once::sqlite
