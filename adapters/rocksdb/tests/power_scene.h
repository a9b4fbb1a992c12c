// What a machine that has lost its power leaves of a RocksDB store. Thread-safety: none.
#pragma once

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/tests/fault_files.h"
#include "adapters/rocksdb/tests/store_scene.h"

namespace once::rocksdb {

// In the new folder `to`: of every file of the store at `from`, which may be open, what was synced.
inline void LeaveSynced(FaultFiles& files, const std::string& from, const std::string& to) {
  CopyStore(from, to);
  for (const auto& entry : std::filesystem::directory_iterator(to)) {
    const std::string name = entry.path().filename().string();
    const std::size_t synced = files.SyncedBytes(absl::StrCat(from, "/", name));
    if (synced == 0) {
      std::filesystem::remove(entry.path());
      continue;
    }
    std::filesystem::resize_file(entry.path(), synced);
    files.NoteSynced(entry.path().string(), synced);
  }
}

}  // namespace once::rocksdb
