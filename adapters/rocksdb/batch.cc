// Writes gathered by table, and handed to RocksDB at the commit.
#include "adapters/rocksdb/batch.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "adapters/rocksdb/status.h"

namespace once::rocksdb {
namespace {

// More than most transactions write.
constexpr std::size_t kBytesKeptMax = std::size_t{4} << 20;

::rocksdb::Slice SliceOf(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

Batch::Batch(const OpenDb& open, std::size_t bytes_max, Room room)
    : open_(open), bytes_max_(bytes_max), room_(std::move(room)) {
  room_.tables.resize(open.families());
}

absl::Status Batch::CheckRoom(std::string_view key, std::string_view value) {
  constexpr std::size_t kSizeMax = std::numeric_limits<std::uint32_t>::max();
  if (key.size() > kSizeMax || value.size() > kSizeMax) {
    return StatusOf(::rocksdb::Status::InvalidArgument("a key or a value of 4 GiB or more"),
                    "write");
  }
  const std::size_t bytes = key.size() + value.size() + sizeof(TableWrites::Write);
  if (bytes > bytes_max_ - bytes_used_) {
    return StatusOf(::rocksdb::Status::MemoryLimit(), "write");
  }
  bytes_used_ += bytes;
  bytes_most_ = std::max(bytes_most_, bytes_used_);
  return absl::OkStatus();
}

absl::Status Batch::Put(std::size_t family, std::string_view key, std::string_view value) {
  if (absl::Status room = CheckRoom(key, value); !room.ok()) return room;
  const std::string_view kept = room_.bytes.Copy(key);
  room_.tables[family].Put(kept, room_.bytes.Copy(value));
  return absl::OkStatus();
}

absl::Status Batch::Delete(std::size_t family, std::string_view key) {
  if (absl::Status room = CheckRoom(key, {}); !room.ok()) return room;
  room_.tables[family].Delete(room_.bytes.Copy(key));
  return absl::OkStatus();
}

void Batch::SetSavepoint() {
  savepoint_.bytes = room_.bytes.mark();
  savepoint_.bytes_used = bytes_used_;
  savepoint_.sizes.clear();
  for (const TableWrites& table : room_.tables) savepoint_.sizes.push_back(table.size());
}

void Batch::RollbackToSavepoint() {
  for (std::size_t i = 0; i < room_.tables.size(); ++i) room_.tables[i].CutTo(savepoint_.sizes[i]);
  room_.bytes.CutTo(savepoint_.bytes);
  bytes_used_ = savepoint_.bytes_used;
}

absl::StatusOr<::rocksdb::WriteBatch*> Batch::Gather() {
  ::rocksdb::WriteBatch& batch = room_.writes;
  for (std::size_t i = 0; i < room_.tables.size(); ++i) {
    ::rocksdb::ColumnFamilyHandle* const family = open_.family(i);
    for (const TableWrites::Write& write : room_.tables[i].all()) {
      const ::rocksdb::Status put =
          write.is_deletion() ? batch.Delete(family, SliceOf(write.key))
                              : batch.Put(family, SliceOf(write.key), SliceOf(write.value));
      if (!put.ok()) return StatusOf(put, "write");
    }
  }
  return &batch;
}

Batch::Room Batch::TakeRoom() {
  Room room = std::move(room_);
  if (bytes_most_ > kBytesKeptMax) return Room();
  room.bytes.CutTo({});
  for (TableWrites& table : room.tables) table.Clear();
  room.writes.Clear();
  return room;
}

}  // namespace once::rocksdb
