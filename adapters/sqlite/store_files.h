// The files of one store, seen from outside SQLite: who may open them, whether there was a store
// here before, and whether they are still the ones that were opened.
//
// <path>.once-lock (src/stores/store_lock.h) is locked as long as the store is open.
//
// Never opens the database file itself: closing any descriptor of it would drop SQLite's own POSIX
// locks. Thread-safety: const functions are safe for concurrent use.
#pragma once

#include <sys/types.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/stores/store_lock.h"
#include "src/stores/store_path.h"

namespace once::sqlite {

class StoreFiles {
 public:
  // Resolves `path` and takes the lock. Refuses what SQLite could not keep safe (a folder, a second
  // hard link) or would destroy (a -wal whose database is gone).
  static absl::StatusOr<std::unique_ptr<StoreFiles>> Open(const std::string& path, bool must_exist);
  StoreFiles(const StoreFiles&) = delete;
  StoreFiles& operator=(const StoreFiles&) = delete;

  // Absolute, without symbolic links.
  const std::string& path() const { return path_; }
  // True when there was nothing at the path, or an empty file.
  bool is_new() const { return is_new_; }
  // The id of the store that was opened here last; nullopt when there was none.
  const std::optional<std::string>& known_store() const { return lock_->known_store(); }

  // Remembers in the lock file, durably, that `store_id` lives here.
  absl::Status Remember(std::string_view store_id) { return lock_->Remember(store_id); }

  // From now on CheckUnmoved() compares with the files that are there at this moment.
  // REQUIRES: SQLite has them open.
  absl::Status Pin();
  // kDataLoss when a file of the store was removed or replaced: what is written from now on would
  // be lost with the last descriptor. kFailedPrecondition in a forked child.
  absl::Status CheckUnmoved() const;

  // True in a child of the process that opened the store.
  bool is_forked() const { return lock_->is_forked(); }

  // Why the file system cannot keep what is synced; empty when nothing speaks against it.
  std::string FindWeakness() const { return stores::FindFileSystemWeakness(path_); }

 private:
  struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
  };
  struct PinnedFile {
    std::string path;
    Identity identity;
  };

  StoreFiles() = default;
  absl::Status ResolvePath(const std::string& path);
  absl::Status CheckMarker() const;
  absl::Status CheckDatabaseFile(bool must_exist);

  std::string path_;
  std::unique_ptr<stores::StoreLock> lock_;
  bool is_new_ = false;
  std::array<PinnedFile, 4> pinned_;
};

}  // namespace once::sqlite
