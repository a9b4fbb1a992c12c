// What a session is told by the server about the server. Thread-safety: as a value.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/postgres/session.h"

namespace once::postgres {

struct Server {
  std::int64_t system = 0;    // drawn when its data was created; a standby has its primary's
  std::int64_t timeline = 0;  // grows when a standby takes over
  bool is_standby = false;
  std::int64_t log_end = 0;          // of its write-ahead log; only ever grows, on one timeline
  bool has_synced_standbys = false;  // a durable commit waits for another machine
  // Why a commit that was answered may not survive the machine, and what to set; empty: it does.
  std::string weakness;
};

// Also notes the session's pid. kFailedPrecondition: too old.
absl::StatusOr<Server> AskServer(Session& session, absl::Duration timeout);

}  // namespace once::postgres
