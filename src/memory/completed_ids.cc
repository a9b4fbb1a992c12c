// Entries of differing length, one behind the other in large chunks, never moved.
#include "src/memory/completed_ids.h"

#include <cstring>
#include <limits>
#include <new>

#include "once/abseil.h"

namespace once::memory {
namespace {

constexpr std::size_t kChunkBytes = 256 * 1024;

}  // namespace

bool CompletedIds::CanKeep(const IdKey& key, const IdRecord& record) {
  return record.state == IdState::kCompleted &&
         key.id.size() <= std::numeric_limits<std::uint8_t>::max() && record.attempt >= 0 &&
         record.attempt <= std::numeric_limits<std::uint16_t>::max() &&
         record.first_failed_at == absl::InfinitePast() &&
         record.not_before == absl::InfinitePast();
}

std::optional<IdRecord> CompletedIds::Find(const IdKey& key, std::uint64_t hash) const {
  const Entry* entry = FindEntry(key, hash);
  if (entry == nullptr) return std::nullopt;
  return IdRecord{
      .state = IdState::kCompleted, .fingerprint = entry->fingerprint, .attempt = entry->attempt};
}

void CompletedIds::Put(const IdKey& key, std::uint64_t hash, const IdRecord& record) {
  Entry* entry = FindEntry(key, hash);
  if (entry == nullptr) {
    const std::uint32_t scope = InternScope(key.scope);
    entry = NewEntry(key.id);
    entry->scope = scope;
    index_.Insert(hash, reinterpret_cast<std::uintptr_t>(entry));
  }
  entry->fingerprint = record.fingerprint;
  entry->attempt = static_cast<std::uint16_t>(record.attempt);
}

void CompletedIds::Erase(const IdKey& key, std::uint64_t hash) {
  Entry* entry = FindEntry(key, hash);
  if (entry == nullptr) return;
  index_.Erase(hash, reinterpret_cast<std::uintptr_t>(entry));
  entry->is_erased = true;
}

void CompletedIds::ForEach(absl::FunctionRef<void(const IdKey&, const IdRecord&)> visit) const {
  for (const Chunk& chunk : chunks_) {
    for (std::size_t at = 0; at < chunk.used;) {
      const auto* entry = std::launder(reinterpret_cast<const Entry*>(chunk.bytes.get() + at));
      if (!entry->is_erased) {
        visit({.scope = scopes_[entry->scope], .id = entry->id()},
              {.state = IdState::kCompleted,
               .fingerprint = entry->fingerprint,
               .attempt = entry->attempt});
      }
      at += SizeOf(entry->id_size);
    }
  }
}

CompletedIds::Entry* CompletedIds::FindEntry(const IdKey& key, std::uint64_t hash) const {
  const std::optional<std::uint32_t> scope = FindScope(key.scope);
  if (!scope) return nullptr;
  const std::uint64_t found = index_.Find(hash, [&](std::uint64_t address) {
    const auto* entry = reinterpret_cast<const Entry*>(address);
    return entry->scope == *scope && entry->id() == key.id;
  });
  return found == HashIndex::kNone ? nullptr : reinterpret_cast<Entry*>(found);
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

CompletedIds::Entry* CompletedIds::NewEntry(std::string_view id) {
  const std::size_t size = SizeOf(id.size());
  if (chunks_.empty() || chunks_.back().used + size > kChunkBytes) {
    chunks_.push_back({.bytes = std::make_unique_for_overwrite<std::byte[]>(kChunkBytes)});
  }
  Chunk& chunk = chunks_.back();
  auto* entry = new (chunk.bytes.get() + chunk.used) Entry;
  entry->id_size = static_cast<std::uint8_t>(id.size());
  std::memcpy(entry + 1, id.data(), id.size());
  chunk.used += size;
  return entry;
}

}  // namespace once::memory
