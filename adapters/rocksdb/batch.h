// A Batch is what one transaction writes, in memory until it commits, and visible to it before.
// Thread-safety: as the transaction.
#pragma once

#include <rocksdb/write_batch.h>

#include <cstddef>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/rocksdb/open_db.h"
#include "adapters/rocksdb/table_writes.h"
#include "adapters/rocksdb/view.h"

namespace once::rocksdb {

class Batch {
 public:
  // Where all of it lies. One Batch leaves it to the next, so that the system need not be asked for
  // memory each time.
  struct Room {
    ByteStack bytes;
    std::vector<TableWrites> tables;  // by family
    ::rocksdb::WriteBatch writes;
  };

  // More than `bytes_max` are refused with kOutOfRange. REQUIRES: `open` outlives it.
  Batch(const OpenDb& open, std::size_t bytes_max, Room room);
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  View view() { return {open_, this, nullptr}; }
  absl::Status Put(std::size_t family, std::string_view key, std::string_view value);
  absl::Status Delete(std::size_t family, std::string_view key);
  TableWrites& table(std::size_t family) { return room_.tables[family]; }

  // One level: setting replaces the last one, and it stays after a rollback to it.
  void SetSavepoint();
  // REQUIRES: one was set.
  void RollbackToSavepoint();

  bool empty() const { return bytes_used_ == 0; }
  // All of it, as RocksDB takes it; the last write of a key counts. REQUIRES: not empty(), and that
  // nothing is written any more.
  absl::StatusOr<::rocksdb::WriteBatch*> Gather();
  // Ends the batch. After a large one there is no room to leave.
  Room TakeRoom();

 private:
  struct Savepoint {
    ByteStack::Mark bytes;
    std::size_t bytes_used = 0;
    std::vector<std::size_t> sizes;  // of tables
  };
  absl::Status CheckRoom(std::string_view key, std::string_view value);

  const OpenDb& open_;
  const std::size_t bytes_max_;
  Room room_;
  std::size_t bytes_used_ = 0;  // with what a write takes beside key and value
  std::size_t bytes_most_ = 0;  // of that, ever: rolling back keeps the room
  Savepoint savepoint_;
};

}  // namespace once::rocksdb
