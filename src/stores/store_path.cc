// Paths, errno and kinds of file systems.
#include "src/stores/store_path.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::stores {
namespace {

std::optional<std::string> RealPath(const std::string& path) {
  char* resolved = ::realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return std::nullopt;
  std::string result = resolved;
  std::free(resolved);
  return result;
}

}  // namespace

absl::Status SystemError(std::string_view store_name, int error, std::string_view operation,
                         std::string_view path) {
  const std::string text = absl::StrCat(ToAbsl(store_name), ": ", ToAbsl(operation), " ",
                                        ToAbsl(path), ": ", std::strerror(error));
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

absl::StatusOr<std::string> ResolveStorePath(std::string_view store_name, const std::string& path) {
  if (std::optional<std::string> existing = RealPath(path)) return *std::move(existing);
  char target[PATH_MAX];
  if (::readlink(path.c_str(), target, sizeof target) >= 0) {
    return absl::NotFoundError(
        absl::StrCat(ToAbsl(store_name), ": open ", path,
                     ": it is a symbolic link whose target does not exist; create the "
                     "target's folder and give its own name"));
  }
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const std::optional<std::string> real_folder = RealPath(folder);
  if (!real_folder) return SystemError(store_name, errno, "find the folder of", path);
  return absl::StrCat(*real_folder == "/" ? "" : *real_folder, "/",
                      slash == std::string::npos ? path : path.substr(slash + 1));
}

std::string FindFileSystemWeakness(const std::string& path) {
  struct statfs system = {};
  if (::statfs(path.c_str(), &system) != 0) return "";
  switch (static_cast<unsigned long>(system.f_type)) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
      return absl::StrCat(path, " is on a file system in memory; move it to a disk");
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case 0xfe534d42:  // SMB2_MAGIC_NUMBER, missing in older headers
    case 0xff534d42:  // CIFS_MAGIC_NUMBER
      return absl::StrCat(path,
                          " is on a network file system, whose locks and syncs no store can "
                          "rely on; move it to a local disk");
    default:
      return "";
  }
}

absl::Status CheckFree(std::string_view store_name, std::string_view operation,
                       const std::string& path) {
  if (path.empty() || path.front() != '/') {
    return absl::InvalidArgumentError(
        absl::StrCat(ToAbsl(store_name), ": ", ToAbsl(operation), ": give an absolute path"));
  }
  struct stat there = {};
  if (::lstat(path.c_str(), &there) == 0) {
    return absl::AlreadyExistsError(absl::StrCat(ToAbsl(store_name), ": ", ToAbsl(operation),
                                                 ": something is there already; name a new path"));
  }
  return errno == ENOENT ? absl::OkStatus() : SystemError(store_name, errno, operation, path);
}

absl::Status SyncFolderOf(std::string_view store_name, std::string_view operation,
                          const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool is_synced = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  return is_synced ? absl::OkStatus() : SystemError(store_name, error, operation, folder);
}

}  // namespace once::stores
