// What RocksDB's statuses mean to callers of the store. Pure.
#pragma once

#include <rocksdb/status.h>

#include <string_view>

#include "absl/status/status.h"

namespace once::rocksdb {

// `operation` and its subject begin the message. REQUIRES: nothing was written by the call, or it
// is known that none of it will ever be read.
absl::Status StatusOf(const ::rocksdb::Status& status, std::string_view operation);

bool IsOutOfSpace(const ::rocksdb::Status& status);

// A row that the store never writes.
absl::Status DamagedRow(std::string_view what);

}  // namespace once::rocksdb
