// A handler's tables: the transaction's batch, as long as it is open.
#include <string>
#include <utility>

#include "adapters/rocksdb/transaction.h"
#include "once/rocksdb/store.h"

namespace once::rocksdb {
namespace {

absl::Status Over() {
  return absl::FailedPreconditionError(
      "rocksdb: the table's transaction is over; open the table in every invocation");
}

absl::Status Visiting() {
  return absl::FailedPreconditionError(
      "rocksdb: a table was written inside of ForEach(); gather what to write, and write it "
      "afterwards");
}

}  // namespace

absl::StatusOr<std::optional<std::string>> Table::Get(std::string_view key) const {
  if (access_->batch() == nullptr) return Over();
  return access_->batch()->view().Get(family_, key);
}

absl::Status Table::Put(std::string_view key, std::string_view value) {
  if (access_->batch() == nullptr) return Over();
  if (access_->is_visiting) return Visiting();
  return access_->batch()->Put(family_, key, value);
}

absl::Status Table::Delete(std::string_view key) {
  if (access_->batch() == nullptr) return Over();
  if (access_->is_visiting) return Visiting();
  return access_->batch()->Delete(family_, key);
}

absl::Status Table::ForEach(std::string_view first, std::string_view end, Visitor visit) const {
  if (access_->batch() == nullptr) return Over();
  const bool was_visiting = std::exchange(access_->is_visiting, true);
  absl::Status scanned = access_->batch()->view().Scan(family_, first, end, visit);
  access_->is_visiting = was_visiting;
  return scanned;
}

}  // namespace once::rocksdb
