// The folder of one store, seen from outside RocksDB: who may open it, whether there was a store
// here before, and whether it is still the one that was opened.
// Thread-safety: const functions are safe for concurrent use.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/stores/store_lock.h"
#include "src/stores/store_path.h"

namespace once::rocksdb {

class StoreFolder {
 public:
  // Resolves `path` and takes the lock.
  static absl::StatusOr<std::unique_ptr<StoreFolder>> Open(const std::string& path,
                                                           bool must_exist);
  StoreFolder(const StoreFolder&) = delete;
  StoreFolder& operator=(const StoreFolder&) = delete;

  // Absolute, without symbolic links.
  const std::string& path() const { return path_; }
  // True when there was nothing at the path, or what an opening left that went no further.
  bool is_new() const { return is_new_; }
  // The id of the store that was opened here last; nullopt when there was none.
  const std::optional<std::string>& known_store() const { return lock_->known_store(); }
  absl::Status Remember(std::string_view store_id) { return lock_->Remember(store_id); }

  // From now on CheckUnmoved() compares with the folder that is there at this moment.
  absl::Status Pin();
  // kDataLoss when the folder was removed or replaced: what is written from now on would be lost
  // with the last descriptor. kFailedPrecondition in a forked child.
  absl::Status CheckUnmoved() const;
  bool is_forked() const { return lock_->is_forked(); }
  std::string FindWeakness() const { return stores::FindFileSystemWeakness(path_); }

 private:
  StoreFolder() = default;
  absl::Status CheckContent(bool must_exist);

  std::string path_;
  std::string current_path_;  // RocksDB's file of that name, which every database has
  std::unique_ptr<stores::StoreLock> lock_;
  bool is_new_ = false;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace once::rocksdb
