// Where a store on the local file system lies, what the system says when it cannot be reached, and
// whether the file system keeps what is synced. `store_name` begins the messages: "sqlite".
// Thread-safety: safe for concurrent use.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace once::stores {

// What errno `error` of `operation` on `path` means.
absl::Status SystemError(std::string_view store_name, int error, std::string_view operation,
                         std::string_view path);

// Absolute and without symbolic links, whether something is there already or not: one name for one
// store, whichever way it was written. kNotFound: no folder for it, or it is a link to nothing.
absl::StatusOr<std::string> ResolveStorePath(std::string_view store_name, const std::string& path);

// OK where a copy of a store may be put: `path` is absolute and nothing is there. kInvalidArgument,
// kAlreadyExists.
absl::Status CheckFree(std::string_view store_name, std::string_view operation,
                       const std::string& path);
// Makes names that were given in the folder of `path` survive a power failure.
absl::Status SyncFolderOf(std::string_view store_name, std::string_view operation,
                          const std::string& path);

// Why the file system cannot keep what is synced; empty when nothing speaks against it.
std::string FindFileSystemWeakness(const std::string& path);

}  // namespace once::stores
