// Entries of differing length, one behind the other in large chunks, never moved.
#include "src/memory/completed_ids.h"

#include <cstring>
#include <limits>
#include <new>

#include "once/abseil.h"

namespace once::memory {
namespace {

constexpr std::size_t kChunkBytes = 256 * 1024;
constexpr std::size_t kUnitBytes = 8;  // of an entry's number
constexpr std::size_t kChunkUnits = kChunkBytes / kUnitBytes;
// The last one is left out: its last number could be HashIndex::kNone.
constexpr std::size_t kChunksMax = HashIndex::kNone / kChunkUnits - 1;

}  // namespace

bool CompletedIds::CanKeep(const IdKey& key, const IdRecord& record) const {
  return chunks_.size() < kChunksMax && record.state == IdState::kCompleted &&
         key.id.size() <= std::numeric_limits<std::uint8_t>::max() && record.attempt >= 0 &&
         record.attempt <= std::numeric_limits<std::uint16_t>::max() &&
         record.first_failed_at == absl::InfinitePast() &&
         record.not_before == absl::InfinitePast();
}

std::optional<IdRecord> CompletedIds::Find(const IdKey& key, std::uint64_t hash) const {
  const std::uint32_t number = FindNumber(key, hash);
  if (number == HashIndex::kNone) return std::nullopt;
  return RecordOf(*EntryAt(number));
}

void CompletedIds::Put(const IdKey& key, std::uint64_t hash, const IdRecord& record) {
  std::uint32_t number = FindNumber(key, hash);
  if (number == HashIndex::kNone) {
    number = AddEntry(key.id);
    EntryAt(number)->scope = InternScope(key.scope);
    index_.Insert(hash, number);
  }
  Entry* entry = EntryAt(number);
  entry->fingerprint = record.fingerprint;
  entry->attempt = static_cast<std::uint16_t>(record.attempt);
}

void CompletedIds::Erase(const IdKey& key, std::uint64_t hash) {
  const std::uint32_t number = FindNumber(key, hash);
  if (number == HashIndex::kNone) return;
  index_.Erase(hash, number);
  EntryAt(number)->is_erased = true;
}

IdRecord CompletedIds::RecordOf(const Entry& entry) {
  return {.state = IdState::kCompleted, .fingerprint = entry.fingerprint, .attempt = entry.attempt};
}

void CompletedIds::ForEach(absl::FunctionRef<void(const IdKey&, const IdRecord&)> visit) const {
  for (const Chunk& chunk : chunks_) {
    for (std::size_t at = 0; at < chunk.used;) {
      const auto* entry = std::launder(reinterpret_cast<const Entry*>(chunk.bytes.get() + at));
      if (!entry->is_erased) {
        visit({.scope = scopes_[entry->scope], .id = entry->id()}, RecordOf(*entry));
      }
      at += SizeOf(entry->id_size);
    }
  }
}

CompletedIds::Entry* CompletedIds::EntryAt(std::uint32_t number) const {
  std::byte* const chunk = chunks_[number / kChunkUnits].bytes.get();
  return std::launder(reinterpret_cast<Entry*>(chunk + number % kChunkUnits * kUnitBytes));
}

std::uint32_t CompletedIds::FindNumber(const IdKey& key, std::uint64_t hash) const {
  const std::optional<std::uint32_t> scope = FindScope(key.scope);
  if (!scope) return HashIndex::kNone;
  return index_.Find(hash, [&](std::uint32_t number) {
    const Entry* entry = EntryAt(number);
    return entry->scope == *scope && entry->id() == key.id;
  });
}

std::optional<std::uint32_t> CompletedIds::FindScope(std::string_view name) const {
  if (scopes_.size() == 1) return scopes_.front() == name ? std::optional(0U) : std::nullopt;
  const auto found = scope_numbers_.find(ToAbsl(name));
  return found == scope_numbers_.end() ? std::nullopt : std::optional(found->second);
}

std::uint32_t CompletedIds::InternScope(std::string_view name) {
  if (const std::optional<std::uint32_t> known = FindScope(name)) return *known;
  const auto number = static_cast<std::uint32_t>(scopes_.size());
  scopes_.emplace_back(name);
  scope_numbers_.emplace(std::string(name), number);
  return number;
}

std::uint32_t CompletedIds::AddEntry(std::string_view id) {
  static_assert(alignof(Entry) == kUnitBytes);
  const std::size_t size = SizeOf(id.size());
  if (chunks_.empty() || chunks_.back().used + size > kChunkBytes) {
    chunks_.push_back({.bytes = std::make_unique_for_overwrite<std::byte[]>(kChunkBytes)});
  }
  Chunk& chunk = chunks_.back();
  const std::size_t number = (chunks_.size() - 1) * kChunkUnits + chunk.used / kUnitBytes;
  auto* entry = new (chunk.bytes.get() + chunk.used) Entry;
  entry->id_size = static_cast<std::uint8_t>(id.size());
  std::memcpy(entry + 1, id.data(), id.size());
  chunk.used += size;
  return static_cast<std::uint32_t>(number);
}

}  // namespace once::memory
