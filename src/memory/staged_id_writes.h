// StagedIdWrites: the ids that an open transaction has put, in order, with bytes of their own. What
// came after a savepoint is cut off again. Private to src/memory.
// Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "once/transaction.h"
#include "src/hash_index.h"

namespace once::memory {

class StagedIdWrites {
 public:
  // So many will be appended soon.
  void Reserve(std::size_t more);
  void Append(const IdWrite& write);
  // Forgets all but the first `size` writes.
  void Truncate(std::size_t size);
  // The newest record of the id; null when it was not put. Valid until the next change.
  const IdRecord* Find(const IdKey& key) const;

  std::size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  // In the order in which they were put. REQUIRES: index < size(). Valid until the next change.
  IdWrite at(std::size_t index) const;
  std::uint64_t hash(std::size_t index) const { return rows_[index].hash; }

 private:
  struct Row {
    std::uint64_t hash = 0;
    std::size_t scope = 0;  // where its bytes begin
    std::size_t scope_size = 0;
    std::size_t id = 0;
    std::size_t id_size = 0;
    IdRecord record;
  };
  IdKey KeyOf(const Row& row) const;

  std::vector<Row> rows_;
  std::string bytes_;  // of scopes and ids; rows of one scope in a row share it
  // Of rows_, up to indexed_: an engine looks up all its ids before it puts the first one, and so
  // never needs it.
  mutable HashIndex index_;
  mutable std::size_t indexed_ = 0;
};

}  // namespace once::memory
