// Paths and file identities.
#include "adapters/sqlite/store_files.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "src/stores/store_path.h"

namespace once::sqlite {
namespace {

absl::Status SystemError(int error, std::string_view operation, std::string_view path) {
  return stores::SystemError("sqlite", error, operation, path);
}

bool HasContent(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 && status.st_size > 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreFiles>> StoreFiles::Open(const std::string& path,
                                                             bool must_exist) {
  std::unique_ptr<StoreFiles> files(new StoreFiles);
  if (absl::Status status = files->ResolvePath(path); !status.ok()) return status;
  // Before the lock file, so that a mistyped path leaves nothing behind.
  struct stat status = {};
  if (must_exist && ::stat(files->path_.c_str(), &status) != 0 &&
      ::stat(stores::StoreLock::PathOf(files->path_).c_str(), &status) != 0) {
    return absl::NotFoundError(absl::StrCat("sqlite: open ", files->path_,
                                            ": there is no such file, and must_exist is set"));
  }
  auto lock = stores::StoreLock::Take("sqlite", files->path_);
  if (!lock.ok()) return lock.status();
  files->lock_ = *std::move(lock);
  if (absl::Status marker = files->CheckMarker(); !marker.ok()) return marker;
  if (absl::Status file = files->CheckDatabaseFile(must_exist); !file.ok()) return file;
  return files;
}

absl::Status StoreFiles::ResolvePath(const std::string& path) {
  if (path.empty() || absl::StartsWith(path, ":") || absl::StartsWith(path, "file:")) {
    return absl::InvalidArgumentError(
        absl::StrCat("sqlite: StoreOptions::path is \"", path,
                     "\"; give the name of a file, since a store in memory would forget every id"));
  }
  if (path.back() == '/') {
    return absl::InvalidArgumentError(
        absl::StrCat("sqlite: StoreOptions::path ", path, " names a folder"));
  }
  absl::StatusOr<std::string> resolved = stores::ResolveStorePath("sqlite", path);
  if (!resolved.ok()) return resolved.status();
  path_ = *std::move(resolved);
  struct stat status = {};
  if (::stat(path_.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("sqlite: open ", path, ": it is not a regular file"));
  }
  return absl::OkStatus();
}

absl::Status StoreFiles::CheckMarker() const {
  // An existing database speaks for itself.
  if (!lock_->is_unreadable() || HasContent(path_)) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "sqlite: open ", path_, ": it is missing or empty, and ", lock_->lock_path(),
      " is unreadable, so it "
      "cannot be told whether a store was here; restore the database, or remove the lock file to "
      "begin with nothing known"));
}

absl::Status StoreFiles::CheckDatabaseFile(bool must_exist) {
  struct stat status = {};
  if (::stat(path_.c_str(), &status) != 0) {
    if (errno != ENOENT) return SystemError(errno, "look at", path_);
    is_new_ = true;
  } else if (status.st_nlink > 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("sqlite: open ", path_, ": it has ", status.st_nlink,
                     " hard links, and SQLite finds the "
                     "newest commits by the name; remove the other names"));
  } else {
    is_new_ = status.st_size == 0;
  }
  if (!is_new_) return absl::OkStatus();
  if (known_store()) {
    return absl::DataLossError(absl::StrCat(
        "sqlite: open ", path_, ": it is missing or empty, but ", lock_->lock_path(),
        " says that store ", *known_store(),
        " was there; restore the file and its -wal from a backup, or remove the lock "
        "file to begin with nothing known: then every message that is still in the log is applied "
        "again"));
  }
  if (HasContent(path_ + "-wal")) {
    return absl::DataLossError(
        absl::StrCat("sqlite: open ", path_,
                     ": it is missing or empty, but its -wal has content, which opening "
                     "would destroy; restore the file that belongs to it, or move the -wal away"));
  }
  if (must_exist) {
    return absl::NotFoundError(
        absl::StrCat("sqlite: open ", path_, ": it is missing or empty, and must_exist is set"));
  }
  return absl::OkStatus();
}

absl::Status StoreFiles::Pin() {
  const std::array<std::string, 4> paths = {path_, path_ + "-wal", path_ + "-shm",
                                            lock_->lock_path()};
  for (std::size_t i = 0; i < paths.size(); ++i) {
    struct stat status = {};
    if (::stat(paths[i].c_str(), &status) != 0) return SystemError(errno, "look at", paths[i]);
    pinned_[i] = {.path = paths[i], .identity = {.device = status.st_dev, .inode = status.st_ino}};
  }
  if (!lock_->CheckInPlace().ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("sqlite: open ", path_, ": ", lock_->lock_path(),
                     " was removed while the store was being opened"));
  }
  return absl::OkStatus();
}

absl::Status StoreFiles::CheckUnmoved() const {
  if (is_forked()) {
    return absl::FailedPreconditionError(absl::StrCat("sqlite: ", path_, " was opened by process ",
                                                      lock_->process(),
                                                      "; a forked child must not use it, "
                                                      "open the store after the fork"));
  }
  for (const PinnedFile& file : pinned_) {
    struct stat status = {};
    const bool is_there = ::stat(file.path.c_str(), &status) == 0;
    if (is_there && status.st_dev == file.identity.device && status.st_ino == file.identity.inode) {
      continue;
    }
    return absl::DataLossError(absl::StrCat(
        "sqlite: ", file.path, " was ", is_there ? "replaced" : "removed",
        " while the store is "
        "open: what is written now would be lost; stop the process and put the file back, or "
        "restore a backup"));
  }
  return absl::OkStatus();
}

}  // namespace once::sqlite
