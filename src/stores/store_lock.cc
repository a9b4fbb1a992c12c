// Locking, and the few lines the file holds.
#include "src/stores/store_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "once/abseil.h"
#include "src/stores/store_path.h"

namespace once::stores {
namespace {

constexpr std::size_t kMarkerBytesMax = 8192;

std::string MarkerTitle(std::string_view store_name) {
  return absl::StrCat("once ", ToAbsl(store_name), " store lock, format 1");
}

// The value of the line "`name` …", empty when there is none.
std::string MarkerField(std::string_view text, std::string_view name) {
  for (const absl::string_view line : absl::StrSplit(ToAbsl(text), '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    if (words.size() == 2 && words[0] == name) return words[1];
  }
  return "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<StoreLock>> StoreLock::Take(std::string_view store_name,
                                                           const std::string& path) {
  std::unique_ptr<StoreLock> lock(new StoreLock);
  lock->store_name_ = std::string(store_name);
  lock->path_ = path;
  lock->lock_path_ = PathOf(path);
  if (absl::Status locked = lock->Lock(); !locked.ok()) return locked;
  if (absl::Status marker = lock->ReadMarker(); !marker.ok()) return marker;
  return lock;
}

StoreLock::~StoreLock() {
  // No explicit unlock: that would also unlock the parent's copy if this is a forked child's.
  if (descriptor_ >= 0) ::close(descriptor_);
}

absl::Status StoreLock::Lock() {
  descriptor_ =
      ::open(lock_path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
  if (descriptor_ < 0) return SystemError(store_name_, errno, "open lock file", lock_path_);
  process_ = ::getpid();
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(descriptor_, F_OFD_SETLK, &lock) == 0) return absl::OkStatus();
  if (errno != EAGAIN && errno != EACCES) {
    return SystemError(store_name_, errno, "lock", lock_path_);
  }
  std::string text(kMarkerBytesMax, '\0');
  const ssize_t size = ::pread(descriptor_, text.data(), text.size(), 0);
  text.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  const std::string owner = MarkerField(text, "process");
  if (owner == absl::StrCat(process_)) {
    return absl::FailedPreconditionError(
        absl::StrCat(store_name_, ": open ", path_,
                     ": this process has it open already; share the one "
                     "open store (a std::shared_ptr) between consumers"));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      store_name_, ": open ", path_, ": another process",
      owner.empty() ? "" : absl::StrCat(" (", owner, ")"),
      " has it open, and only one may; stop it, give each instance a file of its own, or use a "
      "shared store"));
}

absl::Status StoreLock::ReadMarker() {
  std::string text(kMarkerBytesMax, '\0');
  const ssize_t size = ::pread(descriptor_, text.data(), text.size(), 0);
  if (size < 0) return SystemError(store_name_, errno, "read", lock_path_);
  text.resize(static_cast<std::size_t>(size));
  // Empty: locked by an opening that went no further. A store was never there.
  if (text.empty()) return absl::OkStatus();
  std::string store = MarkerField(text, "store");
  is_unreadable_ = !absl::StartsWith(text, MarkerTitle(store_name_)) || store.empty();
  if (!is_unreadable_) known_store_ = std::move(store);
  return absl::OkStatus();
}

absl::Status StoreLock::Remember(std::string_view store_id) {
  const std::string text =
      absl::StrCat(MarkerTitle(store_name_), "\nstore ", ToAbsl(store_id), "\nprocess ", process_,
                   "\npath ", path_.substr(0, kMarkerBytesMax / 2), "\n");
  const ssize_t written = ::pwrite(descriptor_, text.data(), text.size(), 0);
  if (written != static_cast<ssize_t>(text.size())) {
    return SystemError(store_name_, written < 0 ? errno : ENOSPC, "write", lock_path_);
  }
  if (::ftruncate(descriptor_, static_cast<off_t>(text.size())) != 0 || ::fsync(descriptor_) != 0) {
    return SystemError(store_name_, errno, "write", lock_path_);
  }
  known_store_ = std::string(store_id);
  return absl::OkStatus();
}

bool StoreLock::is_forked() const { return ::getpid() != process_; }

absl::Status StoreLock::CheckInPlace() const {
  struct stat ours = {};
  struct stat named = {};
  if (::stat(lock_path_.c_str(), &named) != 0) {
    return SystemError(store_name_, errno, "look at", lock_path_);
  }
  if (::fstat(descriptor_, &ours) == 0 && ours.st_ino == named.st_ino &&
      ours.st_dev == named.st_dev) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat(store_name_, ": ", path_, ": ", lock_path_, " is not the file that was locked"));
}

}  // namespace once::stores
