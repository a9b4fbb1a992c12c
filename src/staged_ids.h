// StagedIds is what a running transaction knows of ids: the records it found, overlaid with those
// it is going to write. Nothing of it outlives the transaction, so a rollback cannot leave an id
// behind.
//
// Not thread-safe. Keys are views and must outlive the object's use.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "once/abseil.h"
#include "once/transaction.h"

namespace once {

class StagedIds {
 public:
  // Starts over with what the store said.
  void Reset(std::span<const IdKey> keys, std::span<const IdRecord> records) {
    entries_.clear();
    entries_.reserve(keys.size());
    order_.clear();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      entries_.try_emplace(Key{keys[i]}, Entry{.record = records[i], .is_written = false});
    }
  }

  IdRecord Find(const IdKey& key) const {
    const auto entry = entries_.find(Key{key});
    return entry == entries_.end() ? IdRecord{} : entry->second.record;
  }

  void Put(const IdKey& key, const IdRecord& record) {
    Entry& entry = entries_[Key{key}];
    if (!entry.is_written) order_.push_back(key);
    entry = {.record = record, .is_written = true};
  }

  // The final record of every id that was put, in the order of the first put.
  std::vector<IdWrite> Writes() const {
    std::vector<IdWrite> writes;
    writes.reserve(order_.size());
    for (const IdKey& key : order_) writes.push_back({.key = key, .record = Find(key)});
    return writes;
  }

 private:
  struct Key {
    IdKey key;
    friend bool operator==(const Key&, const Key&) = default;
    template <typename H>
    friend H AbslHashValue(H state, const Key& value) {
      return H::combine(std::move(state), ToAbsl(value.key.scope), ToAbsl(value.key.id));
    }
  };
  struct Entry {
    IdRecord record;
    bool is_written = false;
  };

  absl::flat_hash_map<Key, Entry> entries_;
  std::vector<IdKey> order_;
};

}  // namespace once
