// Paths, the lock file and file identities.
#include "adapters/sqlite/store_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "once/abseil.h"

namespace once::sqlite {
namespace {

constexpr std::string_view kMarkerTitle = "once sqlite store lock, format 1";
constexpr std::size_t kMarkerBytesMax = 8192;

absl::Status SystemError(int error, std::string_view operation, std::string_view path) {
  const std::string text =
      absl::StrCat("sqlite: ", ToAbsl(operation), " ", ToAbsl(path), ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(
          absl::StrCat(text, "; the process must be able to write to the file and its folder"));
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::UnavailableError(text);
  }
}

std::optional<std::string> RealPath(const std::string& path) {
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return std::nullopt;
  std::string result = resolved;
  std::free(resolved);
  return result;
}

bool HasContent(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0 && status.st_size > 0;
}

// The value of the line "`name` …", empty when there is none.
std::string MarkerField(std::string_view text, std::string_view name) {
  for (const absl::string_view line : absl::StrSplit(ToAbsl(text), '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    if (words.size() == 2 && words[0] == name) return words[1];
  }
  return "";
}

absl::StatusOr<std::string> ReadAll(int descriptor, const std::string& path) {
  std::string text(kMarkerBytesMax, '\0');
  const ssize_t size = ::pread(descriptor, text.data(), text.size(), 0);
  if (size < 0) return SystemError(errno, "read", path);
  text.resize(static_cast<std::size_t>(size));
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreFiles>> StoreFiles::Open(const std::string& path,
                                                             bool must_exist) {
  std::unique_ptr<StoreFiles> files(new StoreFiles);
  if (absl::Status status = files->ResolvePath(path); !status.ok()) return status;
  // Before the lock file, so that a mistyped path leaves nothing behind.
  struct stat status = {};
  if (must_exist && ::stat(files->path_.c_str(), &status) != 0 &&
      ::stat(files->lock_path_.c_str(), &status) != 0) {
    return absl::NotFoundError(absl::StrCat("sqlite: open ", files->path_,
                                            ": there is no such file, and must_exist is set"));
  }
  if (absl::Status locked = files->TakeLock(); !locked.ok()) return locked;
  if (absl::Status marker = files->ReadMarker(); !marker.ok()) return marker;
  if (absl::Status file = files->CheckDatabaseFile(must_exist); !file.ok()) return file;
  return files;
}

StoreFiles::~StoreFiles() {
  // No explicit unlock: that would also unlock the parent's copy if this is a forked child's.
  if (lock_descriptor_ >= 0) ::close(lock_descriptor_);
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
  // One name for one file, whichever way it was written: the lock lies beside the real file.
  if (const std::optional<std::string> existing = RealPath(path)) {
    struct stat status = {};
    if (::stat(existing->c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
      return absl::InvalidArgumentError(
          absl::StrCat("sqlite: open ", path, ": it is not a regular file"));
    }
    path_ = *existing;
  } else {
    char target[PATH_MAX];
    if (::readlink(path.c_str(), target, sizeof target) >= 0) {
      return absl::NotFoundError(
          absl::StrCat("sqlite: open ", path,
                       ": it is a symbolic link whose target does not exist; create the "
                       "target's folder and give its own name"));
    }
    const std::size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    const std::optional<std::string> real_folder = RealPath(folder);
    if (!real_folder) return SystemError(errno, "find the folder of", path);
    path_ = absl::StrCat(*real_folder == "/" ? "" : *real_folder, "/",
                         slash == std::string::npos ? path : path.substr(slash + 1));
  }
  lock_path_ = path_ + ".once-lock";
  return absl::OkStatus();
}

absl::Status StoreFiles::TakeLock() {
  lock_descriptor_ =
      ::open(lock_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (lock_descriptor_ < 0) return SystemError(errno, "open lock file", lock_path_);
  process_ = ::getpid();
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(lock_descriptor_, F_OFD_SETLK, &lock) == 0) return absl::OkStatus();
  if (errno != EAGAIN && errno != EACCES) return SystemError(errno, "lock", lock_path_);

  const absl::StatusOr<std::string> marker = ReadAll(lock_descriptor_, lock_path_);
  const std::string owner = marker.ok() ? MarkerField(*marker, "process") : "";
  if (owner == absl::StrCat(process_)) {
    return absl::FailedPreconditionError(
        absl::StrCat("sqlite: open ", path_,
                     ": this process has it open already; share the one "
                     "open store (a std::shared_ptr) between consumers"));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "sqlite: open ", path_, ": another process",
      owner.empty() ? "" : absl::StrCat(" (", owner, ")"),
      " has it open, and only one may; stop it, give each instance a file of its own, or use a "
      "shared store"));
}

absl::Status StoreFiles::ReadMarker() {
  const absl::StatusOr<std::string> marker = ReadAll(lock_descriptor_, lock_path_);
  if (!marker.ok()) return marker.status();
  // Empty: locked by an opening that went no further. A store was never there.
  if (marker->empty()) return absl::OkStatus();
  const std::string store = MarkerField(*marker, "store");
  if (absl::StartsWith(*marker, ToAbsl(kMarkerTitle)) && !store.empty()) {
    known_store_ = store;
    return absl::OkStatus();
  }
  // Torn by a power failure, or of a later version. An existing database speaks for itself.
  if (HasContent(path_)) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "sqlite: open ", path_, ": it is missing or empty, and ", lock_path_,
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
  if (known_store_) {
    return absl::DataLossError(absl::StrCat(
        "sqlite: open ", path_, ": it is missing or empty, but ", lock_path_, " says that store ",
        *known_store_,
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

absl::Status StoreFiles::Remember(std::string_view store_id) {
  const std::string text =
      absl::StrCat(ToAbsl(kMarkerTitle), "\nstore ", ToAbsl(store_id), "\nprocess ", process_,
                   "\npath ", path_.substr(0, kMarkerBytesMax / 2), "\n");
  const ssize_t written = ::pwrite(lock_descriptor_, text.data(), text.size(), 0);
  if (written != static_cast<ssize_t>(text.size())) {
    return SystemError(written < 0 ? errno : ENOSPC, "write", lock_path_);
  }
  if (::ftruncate(lock_descriptor_, static_cast<off_t>(text.size())) != 0 ||
      ::fsync(lock_descriptor_) != 0) {
    return SystemError(errno, "write", lock_path_);
  }
  known_store_ = std::string(store_id);
  return absl::OkStatus();
}

absl::Status StoreFiles::Pin() {
  const std::array<std::string, 4> paths = {path_, path_ + "-wal", path_ + "-shm", lock_path_};
  for (std::size_t i = 0; i < paths.size(); ++i) {
    struct stat status = {};
    if (::stat(paths[i].c_str(), &status) != 0) return SystemError(errno, "look at", paths[i]);
    pinned_[i] = {.path = paths[i], .identity = {.device = status.st_dev, .inode = status.st_ino}};
  }
  struct stat ours = {};
  if (::fstat(lock_descriptor_, &ours) != 0 || ours.st_ino != pinned_[3].identity.inode ||
      ours.st_dev != pinned_[3].identity.device) {
    return absl::FailedPreconditionError(absl::StrCat(
        "sqlite: open ", path_, ": ", lock_path_, " was removed while the store was being opened"));
  }
  return absl::OkStatus();
}

absl::Status StoreFiles::CheckUnmoved() const {
  if (is_forked()) {
    return absl::FailedPreconditionError(absl::StrCat("sqlite: ", path_, " was opened by process ",
                                                      process_,
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

bool StoreFiles::is_forked() const { return ::getpid() != process_; }

std::string StoreFiles::FindWeakness() const {
  struct statfs system = {};
  if (::statfs(path_.c_str(), &system) != 0) return "";
  switch (static_cast<unsigned long>(system.f_type)) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
      return absl::StrCat(path_, " is on a file system in memory; move it to a disk");
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case 0xfe534d42:  // SMB2_MAGIC_NUMBER, missing in older headers
    case 0xff534d42:  // CIFS_MAGIC_NUMBER
      return absl::StrCat(path_,
                          " is on a network file system, whose locks and syncs SQLite cannot "
                          "rely on; move it to a local disk");
    default:
      return "";
  }
}

}  // namespace once::sqlite
