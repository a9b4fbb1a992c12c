// mkdtemp and its undoing.
#include "src/cli/scratch_folder.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace once::demo {

absl::StatusOr<ScratchFolder> ScratchFolder::Create() {
  std::error_code error;
  std::string path = std::filesystem::temp_directory_path(error) / "once-demo-XXXXXX";
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("no folder for scratch files: ", error.message(), "; set TMPDIR to one"));
  }
  if (mkdtemp(path.data()) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("no scratch folder ", path, ": ",
                                                   std::strerror(errno),
                                                   "; set TMPDIR to a writable folder"));
  }
  return ScratchFolder(std::move(path));
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  if (!is_kept_) std::filesystem::remove_all(path_, ignored);
}

}  // namespace once::demo
