// A ScratchFolder is a folder under TMPDIR that is removed with everything in it, unless somebody
// may want to look at it.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace once::demo {

class ScratchFolder {
 public:
  static absl::StatusOr<ScratchFolder> Create();

  ScratchFolder(ScratchFolder&& other) noexcept
      : path_(std::move(other.path_)), is_kept_(std::exchange(other.is_kept_, true)) {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder();

  const std::string& path() const { return path_; }
  void Keep() { is_kept_ = true; }

 private:
  explicit ScratchFolder(std::string path) : path_(std::move(path)) {}

  std::string path_;
  bool is_kept_ = false;
};

}  // namespace once::demo
