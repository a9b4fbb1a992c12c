// What remembers how far RocksDB's manifest was written. RocksDB takes a manifest that ends early
// for one whose writer died, and works with an older list of files, although the logs of what was
// added since are gone. So <folder>/once-manifest keeps length and checksum of what was synced
// last. It is not synced itself: after a power failure it says less, never more.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace once::rocksdb {

inline constexpr const char* kManifestMarkName = "once-manifest";

// `file`, which a mark follows if it is a manifest.
std::unique_ptr<::rocksdb::FSWritableFile> MarkIfManifest(
    const std::string& path, std::unique_ptr<::rocksdb::FSWritableFile> file);

// kDataLoss: less, or something else, is left of the folder's manifest than its mark says. What
// cannot be read, or has no mark, is left to RocksDB.
absl::Status CheckManifest(const std::string& folder);

}  // namespace once::rocksdb
