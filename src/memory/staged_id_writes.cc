// Rows over one string of bytes.
#include "src/memory/staged_id_writes.h"

#include <algorithm>
#include <string_view>

#include "src/id_hash.h"

namespace once::memory {

void StagedIdWrites::Reserve(std::size_t more) { rows_.reserve(rows_.size() + more); }

void StagedIdWrites::Append(const IdWrite& write) {
  Row row{.hash = HashOf(write.key), .record = write.record};
  const bool is_same_scope = !rows_.empty() && KeyOf(rows_.back()).scope == write.key.scope;
  row.scope = is_same_scope ? rows_.back().scope : bytes_.size();
  row.scope_size = write.key.scope.size();
  if (!is_same_scope) bytes_.append(write.key.scope);
  row.id = bytes_.size();
  row.id_size = write.key.id.size();
  bytes_.append(write.key.id);
  rows_.push_back(row);
}

void StagedIdWrites::Truncate(std::size_t size) {
  rows_.resize(size);
  if (rows_.empty()) bytes_.clear();
  if (indexed_ > size) {
    index_.Reset(0);
    indexed_ = 0;
  }
}

const IdRecord* StagedIdWrites::Find(const IdKey& key) const {
  if (rows_.empty()) return nullptr;
  for (; indexed_ < rows_.size(); ++indexed_) {
    index_.Insert(rows_[indexed_].hash, static_cast<std::uint32_t>(indexed_));
  }
  // All rows of the id are in the index; the newest one counts.
  const Row* newest = nullptr;
  index_.Find(HashOf(key), [&](std::uint32_t number) {
    const Row& row = rows_[number];
    if (KeyOf(row) == key) newest = std::max(newest, &row);
    return false;
  });
  return newest == nullptr ? nullptr : &newest->record;
}

IdWrite StagedIdWrites::at(std::size_t index) const {
  return {.key = KeyOf(rows_[index]), .record = rows_[index].record};
}

IdKey StagedIdWrites::KeyOf(const Row& row) const {
  const std::string_view bytes = bytes_;
  return {.scope = bytes.substr(row.scope, row.scope_size),
          .id = bytes.substr(row.id, row.id_size)};
}

}  // namespace once::memory
