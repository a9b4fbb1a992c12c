// Rows over one string of bytes.
#include "src/stores/id_log/staged_writes.h"

#include <algorithm>
#include <cassert>

namespace once::stores {

void StagedWrites::Add(const IdKey& key, std::uint64_t hash, const IdRecord& record,
                       std::string_view extra) {
  Row row{.hash = hash,
          .scope_size = static_cast<std::uint32_t>(key.scope.size()),
          .id_size = static_cast<std::uint32_t>(key.id.size()),
          .extra_size = static_cast<std::uint32_t>(extra.size()),
          .record = record};
  const bool is_same_scope = !rows_.empty() && KeyOf(rows_.back()).scope == key.scope;
  row.scope = is_same_scope ? rows_.back().scope : bytes_.size();
  if (!is_same_scope) bytes_.append(key.scope);
  row.id = bytes_.size();
  bytes_.append(key.id).append(extra);
  rows_.push_back(row);
}

void StagedWrites::CutTo(std::size_t size) {
  assert(size <= rows_.size());
  rows_.resize(size);
  bytes_.resize(rows_.empty() ? 0
                              : rows_.back().id + rows_.back().id_size + rows_.back().extra_size);
  if (indexed_ > size) {
    index_.Reset(0);
    indexed_ = 0;
  }
}

std::size_t StagedWrites::FindNewest(const IdKey& key, std::uint64_t hash) const {
  if (rows_.empty()) return 0;
  IndexAll();
  std::size_t newest = rows_.size();
  index_.Find(hash, [&](std::uint32_t number) {
    const bool is_newer = newest == rows_.size() || number > newest;
    if (is_newer && KeyOf(rows_[number]) == key) newest = number;
    return false;
  });
  return newest;
}

bool StagedWrites::IsNewest(std::size_t index) const {
  IndexAll();
  const Row& row = rows_[index];
  const auto later = index_.Find(row.hash, [&](std::uint32_t number) {
    return number > index && KeyOf(rows_[number]) == KeyOf(row);
  });
  return later == HashIndex::kNone;
}

void StagedWrites::IndexAll() const {
  if (indexed_ == 0) index_.Reset(rows_.size());
  for (; indexed_ < rows_.size(); ++indexed_) {
    index_.Insert(rows_[indexed_].hash, static_cast<std::uint32_t>(indexed_));
  }
}

StagedWrites::Write StagedWrites::at(std::size_t index) const {
  const Row& row = rows_[index];
  return {.key = KeyOf(row),
          .hash = row.hash,
          .record = row.record,
          .extra = std::string_view(bytes_).substr(row.id + row.id_size, row.extra_size)};
}

IdKey StagedWrites::KeyOf(const Row& row) const {
  const std::string_view bytes = bytes_;
  return {.scope = bytes.substr(row.scope, row.scope_size),
          .id = bytes.substr(row.id, row.id_size)};
}

}  // namespace once::stores
