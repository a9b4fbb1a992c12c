// Reads and writes by RocksDB's own calls.
#include "adapters/rocksdb/view.h"

#include <rocksdb/iterator.h>

#include <memory>

#include "adapters/rocksdb/batch.h"
#include "adapters/rocksdb/status.h"

namespace once::rocksdb {
namespace {

::rocksdb::Slice SliceOf(std::string_view text) { return {text.data(), text.size()}; }

std::string_view TextOf(const ::rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// The value of a lookup; nullopt where there is none.
absl::StatusOr<std::optional<std::string>> ValueOf(const ::rocksdb::Status& status,
                                                   std::string_view value) {
  if (status.ok()) return std::string(value);
  if (status.IsNotFound()) return std::nullopt;
  return StatusOf(status, "read");
}

// Rows that are committed, from where the iterator stands, and what the transaction has written,
// from `first` on, in one order.
absl::Status ScanWithOwn(::rocksdb::Iterator& rows, TableWrites& own, std::string_view first,
                         absl::FunctionRef<bool(std::string_view key)> is_wanted,
                         View::Visitor visit) {
  const TableWrites::Keys& keys = own.OrderedKeys();
  auto written = keys.lower_bound(first);
  for (;;) {
    const bool has_row = rows.Valid() && is_wanted(TextOf(rows.key()));
    const bool has_written = written != keys.end() && is_wanted(*written);
    // A row that cannot be read may come before what was written.
    if (!rows.Valid() && !rows.status().ok()) break;
    if (!has_row && !has_written) break;
    const std::string_view row = has_row ? TextOf(rows.key()) : std::string_view();
    if (!has_written || (has_row && row < *written)) {
      if (!visit(row, TextOf(rows.value()))) break;
      rows.Next();
      continue;
    }
    const bool is_replaced = has_row && row == *written;
    const TableWrites::Write& write = *own.Find(*written);
    if (!write.is_deletion() && !visit(write.key, write.value)) break;
    ++written;
    if (is_replaced) rows.Next();
  }
  return StatusOf(rows.status(), "read");
}

}  // namespace

::rocksdb::ReadOptions View::Options() const {
  ::rocksdb::ReadOptions options;
  options.snapshot = snapshot_;
  return options;
}

TableWrites* View::WritesTo(std::size_t family) const {
  if (batch_ == nullptr || batch_->table(family).empty()) return nullptr;
  return &batch_->table(family);
}

absl::StatusOr<std::optional<std::string>> View::Get(std::size_t family,
                                                     std::string_view key) const {
  if (TableWrites* const own = WritesTo(family)) {
    const TableWrites::Write* const write = own->Find(key);
    if (write != nullptr && write->is_deletion()) return std::nullopt;
    if (write != nullptr) return std::string(write->value);
  }
  ::rocksdb::PinnableSlice value;
  const ::rocksdb::Status status =
      open_->db().Get(Options(), open_->family(family), SliceOf(key), &value);
  return ValueOf(status, TextOf(value));
}

absl::Status View::Scan(std::size_t family, std::string_view first, std::string_view end,
                        Visitor visit) const {
  ::rocksdb::ReadOptions options = Options();
  // Where RocksDB 7.8 minds range deletions, it forgets that the next file of a level cannot be
  // read, and goes on behind it. Runs alone depend on them: without, their pages would come back.
  // Segments that were dropped are below any that is asked for.
  options.ignore_range_deletions = family != kRunsFamily;
  const std::unique_ptr<::rocksdb::Iterator> rows(
      open_->db().NewIterator(options, open_->family(family)));
  const auto is_wanted = [end](std::string_view key) { return end.empty() || key < end; };
  rows->Seek(SliceOf(first));
  TableWrites* const own = WritesTo(family);
  if (own != nullptr) return ScanWithOwn(*rows, *own, first, is_wanted, visit);
  for (; rows->Valid() && is_wanted(TextOf(rows->key())); rows->Next()) {
    if (!visit(TextOf(rows->key()), TextOf(rows->value()))) break;
  }
  return StatusOf(rows->status(), "read");
}

}  // namespace once::rocksdb
