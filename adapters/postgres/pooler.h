// A pooler between a store and its server must keep a session of the server for each connection,
// and pass on the settings that a connection begins with: locks, settings and prepared statements
// belong to sessions. One that does neither would answer everything, and mean somebody else's
// session by it.
// Thread-safety: safe for concurrent use.
#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "adapters/postgres/session.h"

namespace once::postgres {

// Looks whether transactions that other connections have begun move `session` to another session
// of the server; takes one more connection for that long. kFailedPrecondition, naming the way out:
// they do, or the settings have not arrived. `mark`: a text that nobody else would use. REQUIRES:
// something stands in between (the server names another process than its first words did).
absl::Status CheckPooler(Session& session, const ConnectionSettings& settings,
                         std::string_view where, std::string_view mark, absl::Duration timeout);

}  // namespace once::postgres
