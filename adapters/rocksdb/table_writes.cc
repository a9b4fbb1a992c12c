// The bytes of a transaction's writes, and their index.
#include "adapters/rocksdb/table_writes.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace once::rocksdb {
namespace {

// Claims write a row or two, batches of messages many thousands.
constexpr std::size_t kChunkBytesMin = 1024;
constexpr std::size_t kChunkBytesMax = 256 * 1024;

}  // namespace

void ByteStack::AddRoom(std::size_t bytes) {
  if (end_.chunk < chunks_.size()) end_ = {.chunk = end_.chunk + 1};
  if (HasRoom(bytes)) return;
  const std::size_t before = chunks_.empty() ? 0 : chunks_.back().size;
  const std::size_t size = std::max(std::clamp(2 * before, kChunkBytesMin, kChunkBytesMax), bytes);
  chunks_.insert(chunks_.begin() + static_cast<std::ptrdiff_t>(end_.chunk),
                 {std::unique_ptr<char[]>(new char[size]), size});
}

std::string_view ByteStack::Copy(std::string_view text) {
  if (!HasRoom(text.size())) AddRoom(text.size());
  char* const place = chunks_[end_.chunk].bytes.get() + end_.used;
  if (!text.empty()) std::memcpy(place, text.data(), text.size());
  end_.used += text.size();
  return {place, text.size()};
}

void TableWrites::IndexAll() {
  if (indexed_ == 0) newest_.reserve(writes_.size());
  for (; indexed_ < writes_.size(); ++indexed_) {
    Write& write = writes_[indexed_];
    const auto [found, is_new] = newest_.try_emplace(write.key, indexed_);
    if (is_new) {
      if (is_ordered_) keys_.insert(write.key);
      continue;
    }
    write.older = found->second;
    found->second = indexed_;
  }
}

const TableWrites::Write* TableWrites::Find(std::string_view key) {
  if (writes_.empty()) return nullptr;
  IndexAll();
  const auto found = newest_.find(key);
  return found == newest_.end() ? nullptr : &writes_[found->second];
}

const TableWrites::Keys& TableWrites::OrderedKeys() {
  IndexAll();
  if (!is_ordered_) {
    for (const auto& [key, newest] : newest_) keys_.insert(key);
    is_ordered_ = true;
  }
  return keys_;
}

void TableWrites::CutTo(std::size_t size) {
  assert(size <= writes_.size());
  for (; indexed_ > size; --indexed_) {
    const Write& write = writes_[indexed_ - 1];
    if (write.older != kNone) {
      newest_.find(write.key)->second = write.older;
      continue;
    }
    newest_.erase(write.key);
    if (is_ordered_) keys_.erase(write.key);
  }
  writes_.resize(size);
}

void TableWrites::Clear() {
  writes_.clear();
  newest_.clear();
  keys_.clear();
  indexed_ = 0;
  is_ordered_ = false;
}

}  // namespace once::rocksdb
