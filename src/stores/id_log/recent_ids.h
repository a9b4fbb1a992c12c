// RecentIds: completed ids in memory, exact, each with its own bytes, fingerprint and attempts.
// They lie in the order in which they came, in large chunks; when the bytes they may take are used
// up, the oldest chunk goes, as soon as the disk can answer for it. An id of 16 bytes with a
// fingerprint costs 34 bytes and 7 in the index.
// Private to src/stores. Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "once/message_id.h"
#include "once/transaction.h"
#include "src/stores/id_log/id_index.h"
#include "src/stores/id_log/id_query.h"
#include "src/stores/id_log/packed_id.h"

namespace once::stores {

struct RecentIdsOptions {
  // What chunks and index take together. The newest chunk, and what the disk cannot answer for, are
  // kept beyond it.
  std::size_t bytes_max = std::size_t{256} << 20;
  // The unit in which ids leave. 512 bytes to 1 MiB.
  std::size_t chunk_bytes = std::size_t{1} << 20;
};

class RecentIds {
 public:
  // Of both; 8 GiB of chunks are what numbers of 32 bits can tell apart.
  static constexpr std::size_t kBytesMax = std::size_t{4} << 30;

  // About what one takes, in chunks and index.
  static constexpr std::size_t kBytesPerId = 42;

  explicit RecentIds(const RecentIdsOptions& options);

  // True when `record` says no more than this table can keep.
  static bool CanKeep(const IdKey& key, const IdRecord& record);

  // Answers what it knows.
  void Find(IdQuery& query) const;
  std::optional<IdRecord> Find(const IdKey& key, std::uint64_t hash) const;

  // `segment` is the number of the segment that the id stands in; numbers never fall. What was
  // known of the id before is forgotten. REQUIRES: CanKeep(key, record) and has_room().
  void Put(const IdKey& key, std::uint64_t hash, const IdRecord& record, std::uint64_t segment);
  // The room of an id that is erased comes free with its chunk.
  void Erase(const IdKey& key, std::uint64_t hash);
  // Bring what a Put() needs nearer, in two steps: the second when what the first asked for may
  // have come.
  void PrefetchTags(std::uint64_t hash) const { index_.PrefetchTags(hash); }
  void PrefetchPlace(std::uint64_t hash) const { index_.PrefetchPlace(hash); }

  // The disk answers for all segments up to this one: they may go. At first none may.
  void MayForgetThrough(std::uint64_t segment) { forgettable_ = segment; }
  // Lets all chunks go that hold nothing newer.
  void ForgetThrough(std::uint64_t segment);
  // Forgets everything; the next segment to come is this one.
  void Restart(std::uint64_t segment);

  // Every id of this segment and of all newer ones is here, unless erased.
  std::uint64_t complete_from() const { return complete_from_; }
  // False when so much may not be forgotten that numbers run out.
  bool has_room() const { return next_chunk_ - oldest_chunk_ < kChunksMax; }

  void ForEach(absl::FunctionRef<void(const IdKey&, const IdRecord&)> visit) const;

  // Of all ids that were ever put.
  const std::vector<std::string>& scopes() const { return scopes_; }
  std::size_t size() const { return index_.size(); }
  std::size_t bytes() const {
    return (next_chunk_ - oldest_chunk_) * options_.chunk_bytes + index_.bytes();
  }

 private:
  // A number is a chunk's slot and where in it an entry begins, in units of 2 bytes. Chunks take
  // the slots in turns.
  static constexpr unsigned kUnitBits = 19;
  static constexpr std::size_t kUnitBytes = 2;
  static constexpr std::size_t kSlots = std::size_t{1} << (32 - kUnitBits);
  static constexpr std::uint64_t kChunksMax = kSlots - 64;

  struct Chunk {
    std::unique_ptr<char[]> bytes;  // null: gone
    std::uint32_t used = 0;
    std::uint64_t newest_segment = 0;
    std::uint64_t swept = 0;  // swept_ when it went
  };

  // An entry begins with its head: form, whether there is a fingerprint, how the attempts are
  // written, size of the id, and the scope where its number is small.
  struct Entry {
    std::uint32_t scope = 0;
    IdForm form = IdForm::kRaw;
    std::string_view id;
    IdRecord record;
  };
  static constexpr std::size_t kEntryBytesMax = 2 + 4 + 2 + kMessageIdBytesMax + 16 + 1;

  static std::size_t Write(const Entry& entry, char* out);
  static Entry Read(const char* bytes);

  const char* EntryAt(std::uint32_t number) const {
    const Chunk& chunk = chunks_[number >> kUnitBits];
    constexpr std::uint32_t kUnitMask = (std::uint32_t{1} << kUnitBits) - 1;
    return chunk.bytes ? chunk.bytes.get() + (number & kUnitMask) * kUnitBytes : nullptr;
  }
  std::uint32_t FindNumber(const IdKey& key, std::uint64_t hash, std::uint32_t scope) const;
  std::optional<std::uint32_t> FindScope(std::string_view name) const;
  std::uint32_t InternScope(std::string_view name);
  void AddChunk();
  void ForgetOldestChunk();
  // Takes numbers of chunks that are gone out of the index, a part of it at a time.
  void SweepSome(std::size_t shards);

  const RecentIdsOptions options_;
  IdIndex index_;
  std::vector<Chunk> chunks_;  // by slot
  std::uint64_t oldest_chunk_ = 0;
  std::uint64_t next_chunk_ = 0;
  std::uint64_t swept_ = 0;  // shards, in all
  std::uint64_t forgettable_ = 0;
  std::uint64_t complete_from_ = 0;
  std::vector<std::string> scopes_;  // a handful by nature: group × topic
  absl::flat_hash_map<std::string, std::uint32_t> scope_numbers_;
};

}  // namespace once::stores
