// TableWrites: what an open transaction has written to one column family, as it must be read before
// it is committed. Who only writes pays for no index: the first look-up makes it, and the first
// scan puts keys into their order; later writes join both when somebody looks again.
// Thread-safety: as the transaction.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"

namespace once::rocksdb {

// Copies of strings, at places that never move. What was copied last goes first.
class ByteStack {
 public:
  // How much was copied; for CutTo().
  struct Mark {
    std::size_t chunk = 0;
    std::size_t used = 0;  // of that chunk
  };

  // Valid until it is cut off. Never null, also of an empty string.
  std::string_view Copy(std::string_view text);
  Mark mark() const { return end_; }
  // Forgets what was copied since mark() was this. Its room is kept.
  void CutTo(const Mark& mark) { end_ = mark; }

 private:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    std::size_t size = 0;
  };
  bool HasRoom(std::size_t bytes) const {
    return end_.chunk < chunks_.size() && chunks_[end_.chunk].size - end_.used >= bytes;
  }
  void AddRoom(std::size_t bytes);

  std::vector<Chunk> chunks_;
  Mark end_;
};

class TableWrites {
 public:
  // A deletion has a value whose data() is null.
  struct Write {
    bool is_deletion() const { return value.data() == nullptr; }

    std::string_view key;
    std::string_view value;
    std::size_t older = 0;  // the write that it replaces, once it is indexed; kNone: nothing
  };
  using Keys = absl::btree_set<std::string_view>;

  // REQUIRES: key and value, which is not null, live as long as the write.
  void Put(std::string_view key, std::string_view value) { writes_.push_back({key, value, kNone}); }
  void Delete(std::string_view key) { writes_.push_back({key, {}, kNone}); }

  // The last write of the key; null: there is none. Valid until the next change.
  const Write* Find(std::string_view key);
  // Of all that were written, deleted ones too, in the order of unsigned bytes. Valid until the
  // next change.
  const Keys& OrderedKeys();

  // In the order in which they came.
  const std::vector<Write>& all() const { return writes_; }
  std::size_t size() const { return writes_.size(); }
  bool empty() const { return writes_.empty(); }
  // Forgets all but the first `size` writes. REQUIRES: size <= size(), and that the bytes of all
  // are still there.
  void CutTo(std::size_t size);
  // Forgets all, and keeps the room.
  void Clear();

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  void IndexAll();

  std::vector<Write> writes_;
  // Of writes_, up to indexed_: the last one of each key. The map's own keys are those of the first
  // ones, which are cut off last.
  absl::flat_hash_map<std::string_view, std::size_t> newest_;
  std::size_t indexed_ = 0;
  Keys keys_;  // those of newest_, once somebody has asked
  bool is_ordered_ = false;
};

}  // namespace once::rocksdb
