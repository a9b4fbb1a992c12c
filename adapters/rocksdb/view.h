// A View reads the rows of a store: those of one transaction, its own writes included, or what is
// committed at one moment. A Batch is the transaction's side: what it has written so far, in memory
// until it commits.
// Thread-safety: a View of what is committed is safe for concurrent use, the others are not.
#pragma once

#include <rocksdb/utilities/write_batch_with_index.h>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/rocksdb/open_db.h"

namespace once::rocksdb {

class View {
 public:
  // `batch` and `snapshot` may be null. REQUIRES: all three outlive it.
  View(const OpenDb& open, ::rocksdb::WriteBatchWithIndex* batch,
       const ::rocksdb::Snapshot* snapshot)
      : open_(&open), batch_(batch), snapshot_(snapshot) {}

  absl::StatusOr<std::optional<std::string>> Get(std::size_t family, std::string_view key) const;
  // values[i] belongs to keys[i].
  absl::StatusOr<std::vector<std::optional<std::string>>> GetAll(
      std::size_t family, std::span<const std::string> keys) const;

  // From `first` to before `end` (empty: to the last), in key order, until `visit` returns false.
  using Visitor = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;
  absl::Status Scan(std::size_t family, std::string_view first, std::string_view end,
                    Visitor visit) const;

 private:
  ::rocksdb::ReadOptions Options() const;

  const OpenDb* open_;
  ::rocksdb::WriteBatchWithIndex* batch_;
  const ::rocksdb::Snapshot* snapshot_;
};

class Batch {
 public:
  // More than `bytes_max` are refused with kOutOfRange. REQUIRES: `open` outlives it.
  Batch(const OpenDb& open, std::size_t bytes_max);

  View view() { return {open_, &writes_, nullptr}; }
  absl::Status Put(std::size_t family, std::string_view key, std::string_view value);
  absl::Status Delete(std::size_t family, std::string_view key);

  // One level: setting replaces the last one, and it stays after a rollback to it.
  void SetSavepoint();
  // REQUIRES: one was set.
  absl::Status RollbackToSavepoint();

  ::rocksdb::WriteBatchWithIndex& writes() { return writes_; }

 private:
  const OpenDb& open_;
  ::rocksdb::WriteBatchWithIndex writes_;
  bool has_savepoint_ = false;
};

}  // namespace once::rocksdb
