// How a command reaches a store: it opens one that is closed or on a server, and goes through the
// owner's socket to one that is open in another process.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/executor.h"
#include "once/operator_socket.h"
#include "once/spool_log.h"

namespace once::cli {

struct StoreAddress {
  std::string text;  // as the user gave it: "sqlite:PATH", "rocksdb:PATH", PATH, or a server's URL
  absl::Duration timeout = absl::Seconds(30);
};

struct StoreAccess {
  std::string path;
  std::shared_ptr<DedupStore> store;          // opened here …
  std::shared_ptr<SpoolLog> spool;            // … or a spool in a server, which is no store, …
  std::unique_ptr<StoreOperations> refusals;  // and what it says to whoever takes it for one …
  std::unique_ptr<StoreOperations> owner;     // … or the way through its owner
  std::unique_ptr<StoreMaintenance> owner_maintenance;
  std::unique_ptr<OutgoingOperations> owner_outgoing;
  pid_t process = 0;                        // of the owner
  StoreOperations* operations = nullptr;    // of one of the two
  StoreMaintenance* maintenance = nullptr;  // likewise; null: the store offers none
  OutgoingOperations* outgoing = nullptr;   // likewise
  bool is_server = false;                   // consumers may be at work beside us
  bool is_running() const { return owner != nullptr; }
};

// Never creates a store. kNotFound: there is none; kInvalidArgument: no address of a store; else
// what stands in the way, and the way out.
absl::StatusOr<StoreAccess> ReachStore(const StoreAddress& address, Executor& executor);

}  // namespace once::cli
