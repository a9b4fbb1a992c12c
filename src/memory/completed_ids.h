// CompletedIds: ids whose effect is committed and of which nothing else is known but the
// fingerprint and the number of attempts. That is nearly every id there ever was, so an id costs
// its own bytes and about 40 more. Private to src/memory.
// Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "once/message_id.h"
#include "once/transaction.h"
#include "src/hash_index.h"

namespace once::memory {

class CompletedIds {
 public:
  // True when `record` says no more than this table can keep, and there is room: for 32 GiB.
  bool CanKeep(const IdKey& key, const IdRecord& record) const;

  // `hash` is HashOf(key) everywhere.
  std::optional<IdRecord> Find(const IdKey& key, std::uint64_t hash) const;
  // Whatever was known of the id before is forgotten. REQUIRES: CanKeep(key, record).
  void Put(const IdKey& key, std::uint64_t hash, const IdRecord& record);
  // The room of an id that is erased is not used again: completed ids seldom change.
  void Erase(const IdKey& key, std::uint64_t hash);

  void ForEach(absl::FunctionRef<void(const IdKey&, const IdRecord&)> visit) const;
  // Brings what Find() and Put() will need nearer.
  void Prefetch(std::uint64_t hash) const { index_.Prefetch(hash); }

 private:
  // Lies in a chunk, with the bytes of the id behind it. Its number is where: in units of its own
  // alignment, over all chunks.
  struct Entry {
    Fingerprint fingerprint;
    std::uint32_t scope = 0;  // in scopes_
    std::uint16_t attempt = 0;
    std::uint8_t id_size = 0;
    bool is_erased = false;

    std::string_view id() const { return {reinterpret_cast<const char*>(this + 1), id_size}; }
  };

  // An entry with its id, rounded up so that the next one is aligned.
  static constexpr std::size_t SizeOf(std::size_t id_size) {
    return (sizeof(Entry) + id_size + alignof(Entry) - 1) / alignof(Entry) * alignof(Entry);
  }
  static IdRecord RecordOf(const Entry& entry);
  Entry* EntryAt(std::uint32_t number) const;
  // The number of the entry of `key`; else kNone.
  std::uint32_t FindNumber(const IdKey& key, std::uint64_t hash) const;
  std::optional<std::uint32_t> FindScope(std::string_view name) const;
  std::uint32_t InternScope(std::string_view name);
  std::uint32_t AddEntry(std::string_view id);

  HashIndex index_;                  // to numbers of entries
  std::vector<std::string> scopes_;  // a handful by nature: group × topic
  absl::flat_hash_map<std::string, std::uint32_t> scope_numbers_;
  struct Chunk {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t used = 0;
  };
  std::vector<Chunk> chunks_;
};

}  // namespace once::memory
