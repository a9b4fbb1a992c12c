// The lock file of a store that one process at a time may open: <path>.once-lock, locked as long as
// the store is open, by an open-file-description lock: it goes with the process, however that ends,
// and also keeps the same process from opening a store twice. It holds the store's id, so that data
// that have vanished are never quietly begun anew.
// Thread-safety: const functions are safe for concurrent use.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace once::stores {

class StoreLock {
 public:
  // kFailedPrecondition: somebody has it open, and the message says who. `path` is the store's, as
  // ResolveStorePath() gives it; `store_name` is in messages and in the file.
  static absl::StatusOr<std::unique_ptr<StoreLock>> Take(std::string_view store_name,
                                                         const std::string& path);
  // The lock file of the store at `path`, whether it is there or not.
  static std::string PathOf(const std::string& path) { return path + ".once-lock"; }
  ~StoreLock();
  StoreLock(const StoreLock&) = delete;
  StoreLock& operator=(const StoreLock&) = delete;

  const std::string& lock_path() const { return lock_path_; }
  // The id of the store that was opened here last; nullopt when there was none …
  const std::optional<std::string>& known_store() const { return known_store_; }
  // … or when the file is torn or of a later version, so that nobody knows.
  bool is_unreadable() const { return is_unreadable_; }

  // Remembers, durably, that `store_id` lives here.
  absl::Status Remember(std::string_view store_id);

  // True in a child of the process that took the lock.
  bool is_forked() const;
  pid_t process() const { return process_; }
  // kFailedPrecondition when the lock file was removed or replaced since.
  absl::Status CheckInPlace() const;

 private:
  StoreLock() = default;
  absl::Status Lock();
  absl::Status ReadMarker();

  std::string store_name_;
  std::string path_;
  std::string lock_path_;
  int descriptor_ = -1;
  pid_t process_ = 0;
  std::optional<std::string> known_store_;
  bool is_unreadable_ = false;
};

}  // namespace once::stores
