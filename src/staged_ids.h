// StagedIds is what a running transaction knows of ids: the records it found, overlaid with those
// it is going to write. Nothing of it outlives the transaction, so a rollback cannot leave an id
// behind.
//
// Not thread-safe. Keys are views and must outlive the object's use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "once/transaction.h"
#include "src/hash_index.h"
#include "src/id_hash.h"

namespace once {

class StagedIds {
 public:
  // One of the ids. Copies of a message share theirs.
  using Number = std::uint32_t;

  // Starts over with what the store said. Of a key that is there twice the first answer counts.
  void Reset(std::span<const IdKey> keys, std::span<const IdRecord> records) {
    entries_.clear();
    entries_.reserve(keys.size());
    numbers_.clear();
    numbers_.reserve(keys.size());
    index_.Reset(keys.size());
    order_.clear();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const std::uint64_t hash = HashOf(keys[i]);
      Number number =
          index_.Find(hash, [&](Number known) { return entries_[known].write.key == keys[i]; });
      if (number == HashIndex::kNone) number = Add(keys[i], hash, records[i]);
      numbers_.push_back(number);
    }
  }

  // Of the n-th key of Reset().
  Number NumberOf(std::size_t n) const { return numbers_[n]; }

  const IdRecord& Find(Number number) const { return entries_[number].write.record; }

  void Put(Number number, const IdRecord& record) {
    Entry& entry = entries_[number];
    if (!entry.is_written) order_.push_back(number);
    entry.write.record = record;
    entry.is_written = true;
  }

  // The final record of every id that was put, in the order of the first put.
  std::vector<IdWrite> Writes() const {
    std::vector<IdWrite> writes;
    CopyWrites(writes);
    return writes;
  }
  // The same into a vector that has room already; what was in it goes.
  void CopyWrites(std::vector<IdWrite>& writes) const {
    writes.clear();
    writes.reserve(order_.size());
    for (const Number number : order_) writes.push_back(entries_[number].write);
  }

 private:
  struct Entry {
    IdWrite write;
    bool is_written = false;
  };

  Number Add(const IdKey& key, std::uint64_t hash, const IdRecord& record) {
    entries_.push_back({.write = {.key = key, .record = record}});
    const auto number = static_cast<Number>(entries_.size() - 1);
    index_.Insert(hash, number);
    return number;
  }

  std::vector<Entry> entries_;
  std::vector<Number> numbers_;  // of the keys, in their order
  HashIndex index_;              // into entries_
  std::vector<Number> order_;    // of the first puts
};

}  // namespace once
