// Entries without padding, and a ring of chunks.
#include "src/stores/id_log/recent_ids.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <limits>

#include "once/abseil.h"
#include "src/id_hash.h"

namespace once::stores {
namespace {

// The bits of a head, from the lowest.
constexpr unsigned kHasPrintBit = 3;  // above the form
constexpr unsigned kAttemptShift = 4;
constexpr unsigned kSizeShift = 6;
constexpr unsigned kScopeShift = 13;
constexpr unsigned kFormMask = 7;
constexpr unsigned kAttemptMask = 3;
constexpr unsigned kSizeMask = 0x7F;

// Attempts below stand in the head, and so do scopes.
constexpr unsigned kAttemptFollows = 3;
constexpr unsigned kScopeFollows = 7;

template <typename T>
char* Append(char* out, const T& value) {
  std::memcpy(out, &value, sizeof(value));
  return out + sizeof(value);
}

template <typename T>
T Take(const char*& bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  bytes += sizeof(value);
  return value;
}

}  // namespace

RecentIds::RecentIds(const RecentIdsOptions& options)
    : options_({.bytes_max = std::min(options.bytes_max, kBytesMax),
                .chunk_bytes =
                    std::clamp<std::size_t>(options.chunk_bytes, 512, kUnitBytes << kUnitBits)}),
      index_(options_.bytes_max / kBytesPerId) {}

bool RecentIds::CanKeep(const IdKey& key, const IdRecord& record) {
  return record.state == IdState::kCompleted && !key.id.empty() &&
         key.id.size() <= kMessageIdBytesMax && record.attempt >= 0 &&
         record.attempt <= std::numeric_limits<std::uint16_t>::max() &&
         record.first_failed_at == absl::InfinitePast() &&
         record.not_before == absl::InfinitePast();
}

std::size_t RecentIds::Write(const Entry& entry, char* out) {
  const char* const begin = out;
  const auto attempt = static_cast<std::uint16_t>(entry.record.attempt);
  const unsigned attempt_word = std::min<unsigned>(attempt, kAttemptFollows);
  const unsigned scope_word = std::min(entry.scope, kScopeFollows);
  const bool has_print = entry.record.fingerprint.is_set();
  out = Append(
      out, static_cast<std::uint16_t>(
               static_cast<unsigned>(entry.form) | unsigned{has_print} << kHasPrintBit |
               attempt_word << kAttemptShift |
               static_cast<unsigned>(entry.id.size()) << kSizeShift | scope_word << kScopeShift));
  if (scope_word == kScopeFollows) out = Append(out, entry.scope);
  if (attempt_word == kAttemptFollows) out = Append(out, attempt);
  std::memcpy(out, entry.id.data(), entry.id.size());
  out += entry.id.size();
  if (has_print) out = Append(out, entry.record.fingerprint);
  const auto size = static_cast<std::size_t>(out - begin);
  return (size + kUnitBytes - 1) / kUnitBytes * kUnitBytes;
}

RecentIds::Entry RecentIds::Read(const char* bytes) {
  const unsigned head = Take<std::uint16_t>(bytes);
  Entry entry{.form = static_cast<IdForm>(head & kFormMask),
              .record = {.state = IdState::kCompleted}};
  entry.scope = head >> kScopeShift;
  if (entry.scope == kScopeFollows) entry.scope = Take<std::uint32_t>(bytes);
  unsigned attempt = head >> kAttemptShift & kAttemptMask;
  if (attempt == kAttemptFollows) attempt = Take<std::uint16_t>(bytes);
  entry.record.attempt = static_cast<int>(attempt);
  entry.id = {bytes, head >> kSizeShift & kSizeMask};
  bytes += entry.id.size();
  if ((head >> kHasPrintBit & 1) != 0) entry.record.fingerprint = Take<Fingerprint>(bytes);
  return entry;
}

std::uint32_t RecentIds::FindNumber(const IdKey& key, std::uint64_t hash,
                                    std::uint32_t scope) const {
  std::optional<PackedId> packed;  // only when there is something to compare with
  return index_.Find(hash, [&](std::uint32_t number) {
    const char* const bytes = EntryAt(number);
    if (bytes == nullptr) return false;
    if (!packed) packed = Pack(key.id);
    const Entry entry = Read(bytes);
    return entry.scope == scope && entry.form == packed->form && entry.id == packed->bytes();
  });
}

std::optional<IdRecord> RecentIds::Find(const IdKey& key, std::uint64_t hash) const {
  const std::optional<std::uint32_t> scope = FindScope(key.scope);
  if (!scope) return std::nullopt;
  const std::uint32_t number = FindNumber(key, hash, *scope);
  if (number == IdIndex::kNone) return std::nullopt;
  return Read(EntryAt(number)).record;
}

void RecentIds::Find(IdQuery& query) const {
  // Enough that one waits for memory while the others come, few enough to stay near.
  constexpr std::size_t kGroup = 16;
  std::vector<std::uint32_t> unknown;
  unknown.reserve(query.pending.size());
  for (std::size_t begin = 0; begin < query.pending.size(); begin += kGroup) {
    const std::size_t size = std::min(kGroup, query.pending.size() - begin);
    const std::span<const std::uint32_t> group(&query.pending[begin], size);
    std::array<bool, kGroup> may_be_known{};
    for (const std::uint32_t i : group) index_.PrefetchTags(query.hashes[i]);
    for (std::size_t g = 0; g < size; ++g) {
      may_be_known[g] = index_.PrefetchNumber(query.hashes[group[g]]);
    }
    for (std::size_t g = 0; g < size; ++g) {
      if (!may_be_known[g]) continue;
      const std::uint32_t first = index_.Find(query.hashes[group[g]], [](auto) { return true; });
      __builtin_prefetch(EntryAt(first));
    }
    for (std::size_t g = 0; g < size; ++g) {
      const std::uint32_t i = group[g];
      std::optional<IdRecord> found;
      if (may_be_known[g]) found = Find(query.keys[i], query.hashes[i]);
      if (found) {
        query.records[i] = *found;
      } else {
        unknown.push_back(i);
      }
    }
  }
  query.pending.swap(unknown);
}

void RecentIds::Put(const IdKey& key, std::uint64_t hash, const IdRecord& record,
                    std::uint64_t segment) {
  assert(CanKeep(key, record));
  const std::uint32_t scope = InternScope(key.scope);
  const std::uint32_t former = FindNumber(key, hash, scope);
  if (former != IdIndex::kNone) index_.Erase(hash, former);
  const bool is_full =
      next_chunk_ == oldest_chunk_ ||
      chunks_[(next_chunk_ - 1) % kSlots].used + kEntryBytesMax > options_.chunk_bytes;
  if (is_full) AddChunk();
  const std::size_t slot = (next_chunk_ - 1) % kSlots;
  Chunk& chunk = chunks_[slot];
  const PackedId packed = Pack(key.id);
  const Entry entry{.scope = scope, .form = packed.form, .id = packed.bytes(), .record = record};
  index_.Insert(hash, static_cast<std::uint32_t>(slot << kUnitBits | chunk.used / kUnitBytes));
  chunk.used += static_cast<std::uint32_t>(Write(entry, chunk.bytes.get() + chunk.used));
  chunk.newest_segment = segment;
}

void RecentIds::Erase(const IdKey& key, std::uint64_t hash) {
  const std::optional<std::uint32_t> scope = FindScope(key.scope);
  if (!scope) return;
  const std::uint32_t number = FindNumber(key, hash, *scope);
  if (number != IdIndex::kNone) index_.Erase(hash, number);
}

void RecentIds::AddChunk() {
  assert(has_room());
  while (next_chunk_ > oldest_chunk_ && bytes() + options_.chunk_bytes > options_.bytes_max &&
         chunks_[oldest_chunk_ % kSlots].newest_segment <= forgettable_) {
    ForgetOldestChunk();
    // So that no more than an eighth of the index is in vain.
    const std::uint64_t turns = std::max<std::uint64_t>(1, (next_chunk_ - oldest_chunk_) / 8);
    SweepSome((index_.shards() + turns - 1) / turns);
  }
  const std::size_t slot = next_chunk_ % kSlots;
  if (slot == chunks_.size()) chunks_.emplace_back();
  Chunk& chunk = chunks_[slot];
  // No number of the slot's former chunk may be left: it would point into this one.
  const std::uint64_t swept_since = swept_ - chunk.swept;
  if (next_chunk_ >= kSlots && swept_since < index_.shards()) {
    SweepSome(index_.shards() - swept_since);
  }
  chunk = {.bytes = std::make_unique_for_overwrite<char[]>(options_.chunk_bytes)};
  ++next_chunk_;
}

void RecentIds::ForgetOldestChunk() {
  Chunk& chunk = chunks_[oldest_chunk_ % kSlots];
  complete_from_ = std::max(complete_from_, chunk.newest_segment + 1);
  chunk.bytes.reset();
  chunk.swept = swept_;
  ++oldest_chunk_;
}

void RecentIds::SweepSome(std::size_t shards) {
  for (std::size_t i = 0; i < shards; ++i) {
    index_.Sweep(swept_++ % index_.shards(),
                 [this](std::uint32_t number) { return EntryAt(number) != nullptr; });
  }
}

void RecentIds::ForgetThrough(std::uint64_t segment) {
  const std::uint64_t before = oldest_chunk_;
  while (next_chunk_ > oldest_chunk_ && chunks_[oldest_chunk_ % kSlots].newest_segment <= segment) {
    ForgetOldestChunk();
  }
  if (oldest_chunk_ != before) SweepSome(index_.shards());
}

void RecentIds::Restart(std::uint64_t segment) {
  ForgetThrough(std::numeric_limits<std::uint64_t>::max() - 1);
  forgettable_ = 0;
  complete_from_ = segment;
}

std::optional<std::uint32_t> RecentIds::FindScope(std::string_view name) const {
  if (scopes_.size() == 1) return scopes_.front() == name ? std::optional(0U) : std::nullopt;
  const auto found = scope_numbers_.find(ToAbsl(name));
  return found == scope_numbers_.end() ? std::nullopt : std::optional(found->second);
}

std::uint32_t RecentIds::InternScope(std::string_view name) {
  if (const std::optional<std::uint32_t> known = FindScope(name)) return *known;
  const auto number = static_cast<std::uint32_t>(scopes_.size());
  scopes_.emplace_back(name);
  scope_numbers_.emplace(std::string(name), number);
  return number;
}

void RecentIds::ForEach(absl::FunctionRef<void(const IdKey&, const IdRecord&)> visit) const {
  index_.ForEach([&](std::uint32_t number) {
    const char* const bytes = EntryAt(number);
    if (bytes == nullptr) return;
    const Entry entry = Read(bytes);
    const UnpackedId id = Unpack(entry.form, entry.id);
    visit({.scope = scopes_[entry.scope], .id = id.id()}, entry.record);
  });
}

}  // namespace once::stores
