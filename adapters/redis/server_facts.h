// What a Redis server says of itself, and how far its answers can be trusted therefore. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/dedup_store.h"
#include "once/redis/store.h"

namespace once::redis {

struct ServerFacts {
  std::string version;  // "7.0.15"
  std::string run_id;   // drawn at every start of the process
  std::string role;     // "master", "slave"
  // Name the history of the data: another one begins when a replica is promoted, whose former one
  // is that of its master, and at every start. Zeros: no former one.
  std::string history;
  std::string former_history;
  int replicas = 0;
  bool is_loading = false;
  bool is_cluster = false;
  bool has_append_only_file = false;
  std::string eviction_policy;
  AppendFsync appendfsync = AppendFsync::kNever;
  bool skips_sync_on_rewrite = false;

  bool was_promoted() const;
};

// "name:value" lines; no others.
std::map<std::string, std::string> ReadLines(std::string_view info);

// Of INFO. kInternal: something that every server says is missing.
absl::StatusOr<ServerFacts> ParseInfo(std::string_view info);

// "always", "everysec", "no".
absl::StatusOr<AppendFsync> ParseAppendFsync(std::string_view word);

// Why nobody may work on the server now, or ever: kUnavailable, kFailedPrecondition.
absl::Status CheckServes(const ServerFacts& facts);
absl::Status CheckPolicy(const ServerFacts& facts, bool accept_eviction);

struct Trust {
  Durability durability = Durability::kMachine;
  std::string weakness;  // empty for kMachine
};

// What survives of what the server has answered.
Trust TrustIn(const ServerFacts& facts);

}  // namespace once::redis
