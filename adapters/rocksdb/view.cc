// Reads and writes by RocksDB's own calls.
#include "adapters/rocksdb/view.h"

#include <memory>

#include "absl/strings/str_cat.h"
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

}  // namespace

::rocksdb::ReadOptions View::Options() const {
  ::rocksdb::ReadOptions options;
  options.snapshot = snapshot_;
  return options;
}

absl::StatusOr<std::optional<std::string>> View::Get(std::size_t family,
                                                     std::string_view key) const {
  ::rocksdb::DB& db = open_->db();
  ::rocksdb::PinnableSlice value;
  const ::rocksdb::Status status =
      batch_ == nullptr
          ? db.Get(Options(), open_->family(family), SliceOf(key), &value)
          : batch_->GetFromBatchAndDB(&db, Options(), open_->family(family), SliceOf(key), &value);
  return ValueOf(status, TextOf(value));
}

absl::StatusOr<std::vector<std::optional<std::string>>> View::GetAll(
    std::size_t family, std::span<const std::string> keys) const {
  std::vector<::rocksdb::Slice> slices(keys.begin(), keys.end());
  std::vector<::rocksdb::PinnableSlice> found(keys.size());
  std::vector<::rocksdb::Status> statuses(keys.size());
  ::rocksdb::DB& db = open_->db();
  if (batch_ == nullptr) {
    db.MultiGet(Options(), open_->family(family), keys.size(), slices.data(), found.data(),
                statuses.data());
  } else {
    batch_->MultiGetFromBatchAndDB(&db, Options(), open_->family(family), keys.size(),
                                   slices.data(), found.data(), statuses.data(), false);
  }
  std::vector<std::optional<std::string>> values;
  values.reserve(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    absl::StatusOr<std::optional<std::string>> value = ValueOf(statuses[i], TextOf(found[i]));
    if (!value.ok()) return value.status();
    values.push_back(*std::move(value));
  }
  return values;
}

absl::Status View::Scan(std::size_t family, std::string_view first, std::string_view end,
                        Visitor visit) const {
  ::rocksdb::ReadOptions options = Options();
  // Where RocksDB 7.8 minds range deletions, it forgets that the next file of a level cannot be
  // read, and goes on behind it. Runs alone depend on them: without, their pages would come back.
  // Segments that were dropped are below any that is asked for.
  options.ignore_range_deletions = family != kRunsFamily;
  std::unique_ptr<::rocksdb::Iterator> rows(
      open_->db().NewIterator(options, open_->family(family)));
  if (batch_ != nullptr) {
    rows.reset(batch_->NewIteratorWithBase(open_->family(family), rows.release()));
  }
  for (rows->Seek(SliceOf(first)); rows->Valid(); rows->Next()) {
    const std::string_view key = TextOf(rows->key());
    if (!end.empty() && key >= end) break;
    if (!visit(key, TextOf(rows->value()))) break;
  }
  return StatusOf(rows->status(), "read");
}

Batch::Batch(const OpenDb& open, std::size_t bytes_max)
    : open_(open), writes_(::rocksdb::BytewiseComparator(), 0, /*overwrite_key=*/true, bytes_max) {}

absl::Status Batch::Put(std::size_t family, std::string_view key, std::string_view value) {
  return StatusOf(writes_.Put(open_.family(family), SliceOf(key), SliceOf(value)), "write");
}

absl::Status Batch::Delete(std::size_t family, std::string_view key) {
  return StatusOf(writes_.Delete(open_.family(family), SliceOf(key)), "write");
}

void Batch::SetSavepoint() {
  if (has_savepoint_) writes_.PopSavePoint().PermitUncheckedError();
  writes_.SetSavePoint();
  has_savepoint_ = true;
}

absl::Status Batch::RollbackToSavepoint() {
  const ::rocksdb::Status undone = writes_.RollbackToSavePoint();
  has_savepoint_ = false;
  SetSavepoint();
  return StatusOf(undone, "roll back to savepoint");
}

}  // namespace once::rocksdb
