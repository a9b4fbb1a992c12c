// OpenRows: the ids of which more is known than that they are completed, all of them in memory as
// they stand in the store's table of open rows. An open row overrides whatever segments say of its
// id; one whose record is absent says that the id is forgotten.
// Private to src/stores. Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "once/transaction.h"
#include "src/hash_index.h"

namespace once::stores {

struct OpenRow {
  IdRecord record;
  std::string extra;  // what the store keeps beyond: a claim, a disposition

  friend bool operator==(const OpenRow&, const OpenRow&) = default;
};

// As the storage keeps it. Times keep microseconds.
std::string EncodeOpenRow(const IdKey& key, const IdRecord& record, std::string_view extra);
// kDataLoss for anything but what was written for this key.
absl::StatusOr<OpenRow> DecodeOpenRow(const IdKey& key, std::string_view bytes);

class OpenRows {
 public:
  // `hash` is HashOf(key) everywhere. Null when there is none; valid until the next change.
  const OpenRow* Find(const IdKey& key, std::uint64_t hash) const;
  void Put(const IdKey& key, std::uint64_t hash, OpenRow row);
  void Erase(const IdKey& key, std::uint64_t hash);
  void ForEach(absl::FunctionRef<void(const IdKey&, const OpenRow&)> visit) const;

  std::size_t size() const { return index_.size(); }

 private:
  struct Slot {
    std::string scope;
    std::string id;  // empty: a slot to be used again
    OpenRow row;
  };
  std::uint32_t FindSlot(const IdKey& key, std::uint64_t hash) const;

  HashIndex index_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace once::stores
