// Paths, and what a folder without a database may be.
#include "adapters/rocksdb/store_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "adapters/rocksdb/log_order.h"
#include "adapters/rocksdb/manifest_mark.h"

namespace once::rocksdb {
namespace {

absl::Status SystemError(int error, std::string_view operation, std::string_view path) {
  return stores::SystemError("rocksdb", error, operation, path);
}

bool Exists(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0;
}

// The first entry of a folder without CURRENT that a first opening cannot have left there.
std::string FindForeignEntry(const std::string& path) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    const std::string name = entry.path().filename().string();
    const bool is_of_opening = name == "LOCK" || name == "IDENTITY" || name == kManifestMarkName ||
                               absl::StartsWith(name, "LOG") ||
                               absl::StartsWith(name, "MANIFEST-000001") ||
                               absl::EndsWith(name, ".dbtmp");
    if (!is_of_opening) return name;
  }
  return "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreFolder>> StoreFolder::Open(const std::string& path,
                                                               bool must_exist) {
  std::string wanted = path;
  while (wanted.size() > 1 && wanted.back() == '/') wanted.pop_back();
  if (wanted.empty() || wanted == "/") {
    return absl::InvalidArgumentError(absl::StrCat("rocksdb: StoreOptions::path is \"", path,
                                                   "\"; give the store a folder of its own"));
  }
  absl::StatusOr<std::string> resolved = stores::ResolveStorePath("rocksdb", wanted);
  if (!resolved.ok()) return resolved.status();
  std::unique_ptr<StoreFolder> folder(new StoreFolder);
  folder->path_ = *std::move(resolved);
  folder->current_path_ = folder->path_ + "/CURRENT";
  struct stat status = {};
  const bool is_there = ::stat(folder->path_.c_str(), &status) == 0;
  if (is_there && !S_ISDIR(status.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rocksdb: open ", folder->path_, ": it is not a folder"));
  }
  // Before the lock file, so that a mistyped path leaves nothing behind.
  if (must_exist && !is_there && !Exists(stores::StoreLock::PathOf(folder->path_))) {
    return absl::NotFoundError(absl::StrCat("rocksdb: open ", folder->path_,
                                            ": there is no such folder, and must_exist is set"));
  }
  if (is_there && ::access(folder->path_.c_str(), R_OK | W_OK | X_OK) != 0) {
    return SystemError(errno, "open", folder->path_);
  }
  auto lock = stores::StoreLock::Take("rocksdb", folder->path_);
  if (!lock.ok()) return lock.status();
  folder->lock_ = *std::move(lock);
  if (absl::Status content = folder->CheckContent(must_exist); !content.ok()) return content;
  return folder;
}

absl::Status StoreFolder::CheckContent(bool must_exist) {
  is_new_ = !Exists(current_path_);
  if (!is_new_) {
    const absl::Status manifest = CheckManifest(path_);
    return manifest.ok() ? CheckLogOrder(path_) : manifest;
  }
  const std::string what = absl::StrCat("rocksdb: open ", path_, ": ");
  if (known_store()) {
    return absl::DataLossError(absl::StrCat(
        what, "it is missing or has no CURRENT, but ", lock_->lock_path(), " says that store ",
        *known_store(),
        " was there; restore the folder from a backup, or remove the lock file to begin with "
        "nothing known: then every message that is still in the log is applied again"));
  }
  if (lock_->is_unreadable()) {
    return absl::DataLossError(
        absl::StrCat(what, "it is missing or has no CURRENT, and ", lock_->lock_path(),
                     " is unreadable, so it cannot be told whether a store was here; restore the "
                     "folder, or remove the lock file to begin with nothing known"));
  }
  if (const std::string entry = FindForeignEntry(path_); !entry.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        what, "it has no CURRENT, but there is ", entry,
        " in it; give the store a folder of its own, or restore the one that was there"));
  }
  if (must_exist) {
    return absl::NotFoundError(absl::StrCat(what, "it is missing or empty, and must_exist is set"));
  }
  return absl::OkStatus();
}

absl::Status StoreFolder::Pin() {
  struct stat status = {};
  if (::stat(path_.c_str(), &status) != 0) return SystemError(errno, "look at", path_);
  device_ = status.st_dev;
  inode_ = status.st_ino;
  return lock_->CheckInPlace();
}

absl::Status StoreFolder::CheckUnmoved() const {
  if (is_forked()) {
    return absl::FailedPreconditionError(
        absl::StrCat("rocksdb: ", path_, " was opened by process ", lock_->process(),
                     "; a forked child must not use it, open the store after the fork"));
  }
  struct stat status = {};
  const bool is_there = ::stat(path_.c_str(), &status) == 0;
  const bool is_same = is_there && status.st_dev == device_ && status.st_ino == inode_;
  if (is_same && Exists(current_path_) && lock_->CheckInPlace().ok()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "rocksdb: ", is_same ? (Exists(current_path_) ? lock_->lock_path() : current_path_) : path_,
      " was removed or replaced while the store is open: what is written now would be lost; stop "
      "the process and put it back, or restore a backup"));
}

}  // namespace once::rocksdb
