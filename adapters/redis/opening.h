// What is checked before anything in a server is opened. Pure.
#pragma once

#include "absl/status/statusor.h"
#include "adapters/redis/address.h"
#include "once/redis/store.h"

namespace once::redis {

// Where the options lead. kInvalidArgument: one of them is not as its comment says.
absl::StatusOr<ServerAddress> CheckOptions(const StoreOptions& options);

}  // namespace once::redis
