// A View reads the rows of a store: those of one transaction, its own writes included, or what is
// committed at one moment.
// Thread-safety: a View of what is committed is safe for concurrent use, the others are not.
#pragma once

#include <rocksdb/options.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/rocksdb/open_db.h"

namespace once::rocksdb {

class Batch;
class TableWrites;

class View {
 public:
  // `batch` and `snapshot` may be null. REQUIRES: all three outlive it.
  View(const OpenDb& open, Batch* batch, const ::rocksdb::Snapshot* snapshot)
      : open_(&open), batch_(batch), snapshot_(snapshot) {}

  absl::StatusOr<std::optional<std::string>> Get(std::size_t family, std::string_view key) const;

  // From `first` to before `end` (empty: to the last), in key order, until `visit` returns false.
  using Visitor = absl::FunctionRef<bool(std::string_view key, std::string_view value)>;
  absl::Status Scan(std::size_t family, std::string_view first, std::string_view end,
                    Visitor visit) const;

 private:
  // Null where the transaction has written nothing.
  TableWrites* WritesTo(std::size_t family) const;
  ::rocksdb::ReadOptions Options() const;

  const OpenDb* open_;
  Batch* batch_;
  const ::rocksdb::Snapshot* snapshot_;
};

}  // namespace once::rocksdb
