// One connection to the file of a store. Thread-safety: one thread at a time uses it.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace once::sqlite {

struct ConnectionCloser {
  void operator()(sqlite3* connection) const;
};
using ConnectionHandle = std::unique_ptr<sqlite3, ConnectionCloser>;

// For reading and writing. Waits for locks of others for `busy_timeout`.
absl::StatusOr<ConnectionHandle> Connect(const std::string& path, bool may_create,
                                         absl::Duration busy_timeout);

// As SQLite wants it: milliseconds, a day at most.
int BusyMilliseconds(absl::Duration timeout);

}  // namespace once::sqlite
