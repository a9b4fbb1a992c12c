// What every operator's command works with.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/executor.h"
#include "once/maintenance.h"
#include "once/operations.h"
#include "once/outgoing_operations.h"

namespace once::cli {

struct CommandContext {
  StoreOperations& operations;
  Random& random;
  Executor& executor;                       // for what must be tried again after a pause
  StoreMaintenance* maintenance = nullptr;  // null: the store offers none
  // Of a store that is open here: closed before, or on a server. Null through the process that has
  // it open.
  TransactionalStore* transactions = nullptr;
  OutgoingOperations* outgoing = nullptr;  // null: the store keeps no outgoing messages
  std::string store;                       // its path, for messages
  bool is_running = false;                 // reached through the process that has it open
  bool is_server = false;                  // on a server, which others may be using
  absl::Time now = absl::InfinitePast();
  // Asks the person; true: go on. What cannot be taken back is asked first.
  std::function<bool(std::string_view question)> confirm;
};

}  // namespace once::cli
