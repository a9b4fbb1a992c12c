// One table from RocksDB's codes to ours.
#include "adapters/rocksdb/status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::rocksdb {

bool IsOutOfSpace(const ::rocksdb::Status& status) {
  return status.IsIOError() && (status.subcode() == ::rocksdb::Status::kNoSpace ||
                                status.subcode() == ::rocksdb::Status::kSpaceLimit);
}

absl::Status StatusOf(const ::rocksdb::Status& status, std::string_view operation) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat("rocksdb: ", ToAbsl(operation), ": ", status.ToString());
  if (IsOutOfSpace(status)) {
    return absl::ResourceExhaustedError(absl::StrCat(text, "; make space, no restart is needed"));
  }
  if (status.IsMemoryLimit()) {
    return absl::OutOfRangeError(
        absl::StrCat(text, "; the transaction is larger than StoreOptions::transaction_bytes_max"));
  }
  if (status.IsCorruption() || status.IsPathNotFound()) {
    return absl::DataLossError(absl::StrCat(text, "; restore a backup"));
  }
  if (status.IsIOError() || status.IsBusy() || status.IsTimedOut() || status.IsTryAgain() ||
      status.IsShutdownInProgress() || status.IsIncomplete()) {
    return absl::UnavailableError(text);
  }
  if (status.IsAborted()) return absl::AbortedError(text);
  return absl::InternalError(text);
}

absl::Status DamagedRow(std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("rocksdb: ", ToAbsl(what), " is damaged; restore a backup"));
}

}  // namespace once::rocksdb
