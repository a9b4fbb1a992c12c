// What the store writes into its hashes, as text and back: scripts read and write the same.
// Pure; safe for concurrent use.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "once/claims.h"
#include "once/message_id.h"

namespace once::redis {

// For messages: ids may be any bytes.
std::string Quoted(std::string_view id);

// At most fifty years, either way: beyond, a sum with the clock is no longer exact in a script.
std::string Microseconds(absl::Duration duration);

// "0" for ever.
std::string RetentionMilliseconds(absl::Duration retention);

std::string Text(const Fence& fence);

// Sixteen bytes; empty for none.
std::string Text(const Fingerprint& print);
// None for anything but sixteen bytes.
Fingerprint FingerprintOf(std::string_view bytes);

// Microseconds since 1970; empty for "not known".
std::string Text(absl::Time time);
absl::Time TimeOf(std::string_view text);

}  // namespace once::redis
