// The shared spool: messages that could not be sent wait in a Redis server, or in a Redis Cluster,
// until one of the processes that share it has published them. For processes without a disk of
// their own.
//
//   auto log = once::redis::OpenSpoolLog(
//       {.server = {.url = "rediss://:password@redis.example.com"}});
//   if (!log.ok()) return log.status();
//   auto producer = once::OpenSpool({.log = *log, .producer = {.clients = …}});
//
// A spool is as durable as its server: `appendfsync everysec` loses a second with the machine, a
// failover what the promoted replica had not heard of. SpoolLog::traits() say which, and OpenSpool
// warns. adapters/redis/README.md has the table.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/redis/store.h"
#include "once/spool_log.h"

namespace once::redis {

// A larger message is refused (kInvalidArgument): it would hold up the server for everybody.
inline constexpr std::size_t kSpoolMessageBytesMax = std::size_t{8} * 1024 * 1024;

struct SpoolLogOptions {
  // Where it lies and how it is reached. Its key_prefix and retention are of claims, and nobody
  // asks for them here; accept_eviction is refused.
  StoreOptions server;
  // In front of every key of this spool, and what places them in a cluster: all in one slot.
  std::string key_prefix = "once-spool:";
  // A process that says nothing for so long has lost its lanes, by the server's clock, and others
  // go on with them. From three seconds to an hour.
  absl::Duration lane_lease = absl::Seconds(15);
  // Append() is OK only once so many replicas have heard of it (WAIT, for at most half of
  // call_timeout); fewer: kUnknown, and they are asked again. It narrows what a failover loses, and
  // closes nothing: who is promoted may be another one. 0: nobody waits.
  int replicas_min = 0;
};

// As OpenStore().
absl::StatusOr<std::shared_ptr<SpoolLog>> OpenSpoolLog(SpoolLogOptions options);

}  // namespace once::redis
