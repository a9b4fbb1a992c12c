// What an error reply of Redis means to whoever uses the store. Pure.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace once::redis {

// The first word of an error reply: "NOSCRIPT", "OOM".
std::string_view ErrorWord(std::string_view error);

// `error` as a status that names the way out. At the opening of a store a refused login is
// kPermissionDenied; later it is kUnavailable, since somebody may be changing passwords.
absl::Status ErrorStatus(std::string_view error, bool is_opening);

}  // namespace once::redis
