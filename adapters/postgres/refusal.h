// Why a server refuses a login, whatever language its messages are in. Thread-safety: safe for
// concurrent use.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "adapters/postgres/session.h"

namespace once::postgres {

// The SQLSTATE with which the server refuses these settings now; empty: it does not, or says
// nothing within `patience`. libpq shows it only to whoever asks before it connects, so this
// connects once more: for the one that a human waits for, not for those of a running store.
std::string FindRefusal(const ConnectionSettings& settings, absl::Duration patience);

}  // namespace once::postgres
