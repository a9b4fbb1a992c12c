// An entry begins with the size of its internal key as a varint, then that key: the user's, and
// eight bytes, little-endian, with the write's number and kind. Of equal keys the newest comes
// first. All of it is in RocksDB's files too, and never changes.
#include "adapters/rocksdb/memtable_order.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace once::rocksdb {
namespace {

using ::rocksdb::Slice;

constexpr std::size_t kTrailerBytes = 8;

Slice InternalKeyOf(const char* entry) {
  constexpr unsigned kPayloadBits = 7;
  constexpr unsigned kMore = 1u << kPayloadBits;
  std::uint32_t size = 0;
  for (unsigned shift = 0;; shift += kPayloadBits) {
    const auto byte = static_cast<unsigned char>(*entry++);
    size |= (byte & (kMore - 1)) << shift;
    if ((byte & kMore) == 0) return {entry, size};
  }
}

std::uint64_t TrailerOf(const Slice& key) {
  std::uint64_t trailer = 0;
  for (std::size_t i = 1; i <= kTrailerBytes; ++i) {
    trailer = trailer << 8 | static_cast<unsigned char>(key[key.size() - i]);
  }
  return trailer;
}

int Compare(const Slice& a, const Slice& b) {
  assert(a.size() >= kTrailerBytes && b.size() >= kTrailerBytes);
  const std::size_t shared = std::min(a.size(), b.size()) - kTrailerBytes;
  const int order = std::memcmp(a.data(), b.data(), shared);
  if (order != 0) return order;
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  const std::uint64_t trailer = TrailerOf(a);
  const std::uint64_t other = TrailerOf(b);
  return trailer == other ? 0 : trailer > other ? -1 : 1;
}

class ByteOrder final : public ::rocksdb::MemTableRep::KeyComparator {
 public:
  Slice decode_key(const char* entry) const override { return InternalKeyOf(entry); }
  int operator()(const char* entry, const char* other) const override {
    return Compare(InternalKeyOf(entry), InternalKeyOf(other));
  }
  int operator()(const char* entry, const Slice& key) const override {
    return Compare(InternalKeyOf(entry), key);
  }
};

// RocksDB's skip list in all but how it compares; so it also keeps its name in the options that
// RocksDB writes down.
class ByteOrderedSkipList final : public ::rocksdb::SkipListFactory {
 public:
  using SkipListFactory::CreateMemTableRep;
  ::rocksdb::MemTableRep* CreateMemTableRep(const ::rocksdb::MemTableRep::KeyComparator&,
                                            ::rocksdb::Allocator* allocator,
                                            const ::rocksdb::SliceTransform* prefix,
                                            ::rocksdb::Logger* logger) override {
    return SkipListFactory::CreateMemTableRep(ByteOrderOfEntries(), allocator, prefix, logger);
  }
};

}  // namespace

const ::rocksdb::MemTableRep::KeyComparator& ByteOrderOfEntries() {
  static const auto* const order = new ByteOrder;  // outlives every memtable
  return *order;
}

std::shared_ptr<::rocksdb::MemTableRepFactory> SkipListInByteOrder() {
  return std::make_shared<ByteOrderedSkipList>();
}

}  // namespace once::rocksdb
