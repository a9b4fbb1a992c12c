// The one bridge between std::string_view, which every public header uses, and absl::string_view,
// which is a type of its own where Abseil was built for C++14 (Debian's LTS 20220623). Both
// functions compile to nothing, also where the two types are the same.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace once {

inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

inline std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

// `status` with "`operation`: " in front of its message, payloads dropped; OK stays OK.
inline absl::Status Annotate(const absl::Status& status, std::string_view operation) {
  if (status.ok()) return status;
  std::string text(operation);
  text.append(": ").append(ToStd(status.message()));
  return absl::Status(status.code(), text);
}

}  // namespace once
