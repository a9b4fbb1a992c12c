// Whether the write-ahead logs of a folder are each the one that its name says. RocksDB replays
// them by name, and trusts that each goes on where the one before has ended.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace once::rocksdb {

// kDataLoss: a log begins before one that should be older. What cannot be read is left to RocksDB.
absl::Status CheckLogOrder(const std::string& folder);

}  // namespace once::rocksdb
