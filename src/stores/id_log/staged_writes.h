// StagedWrites: what an open transaction has put, in order, with bytes of its own. What came after
// a savepoint is cut off again.
// Private to src/stores. Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "once/transaction.h"
#include "src/hash_index.h"
#include "src/stores/id_log/id_query.h"

namespace once::stores {

class StagedWrites {
 public:
  struct Write {
    IdKey key;
    std::uint64_t hash = 0;
    IdRecord record;
    std::string_view extra;
  };

  // `extra` is what the store keeps with an open id beyond its record.
  void Add(const IdKey& key, std::uint64_t hash, const IdRecord& record, std::string_view extra);
  void Reserve(std::size_t writes) { rows_.reserve(rows_.size() + writes); }
  // Forgets all but the first `size` writes. REQUIRES: size <= size().
  void CutTo(std::size_t size);

  // The newest write of the id; size() when there is none.
  std::size_t FindNewest(const IdKey& key, std::uint64_t hash) const;

  // Whether no later write is of the same id. REQUIRES: index < size().
  bool IsNewest(std::size_t index) const;

  std::size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  // In the order in which they were put. Valid until the next change. REQUIRES: index < size().
  Write at(std::size_t index) const;
  std::uint64_t hash_at(std::size_t index) const { return rows_[index].hash; }

 private:
  struct Row {
    std::uint64_t hash = 0;
    std::size_t scope = 0;  // where its bytes begin; those of the id and of `extra` follow it …
    std::size_t id = 0;     // … but rows of one scope in a row share it
    std::uint32_t scope_size = 0;
    std::uint32_t id_size = 0;
    std::uint32_t extra_size = 0;
    IdRecord record;
  };
  IdKey KeyOf(const Row& row) const;
  void IndexAll() const;

  std::vector<Row> rows_;
  std::string bytes_;
  // Of rows_, up to indexed_: an engine looks up all its ids before it puts the first one.
  mutable HashIndex index_;
  mutable std::size_t indexed_ = 0;
};

}  // namespace once::stores
