// INFO and CONFIG read, and judged.
#include "adapters/redis/server_facts.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

// #!lua and allow-oom are of that version.
constexpr int kMajorVersionMin = 7;

}  // namespace

std::map<std::string, std::string> ReadLines(std::string_view info) {
  std::map<std::string, std::string> values;
  for (absl::string_view line : absl::StrSplit(ToAbsl(info), absl::ByAnyChar("\r\n"))) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (!parts.first.empty() && parts.first.front() != '#') values.insert(parts);
  }
  return values;
}

bool ServerFacts::was_promoted() const {
  return former_history.find_first_not_of('0') != std::string::npos;
}

absl::StatusOr<ServerFacts> ParseInfo(std::string_view info) {
  std::map<std::string, std::string> values = ReadLines(info);
  for (const char* const name : {"redis_version", "run_id", "role", "master_replid"}) {
    if (values.contains(name)) continue;
    return absl::InternalError(
        absl::StrCat("redis: INFO does not say ", name, ": is this a Redis server, and no proxy?"));
  }
  ServerFacts facts{.version = values["redis_version"],
                    .run_id = values["run_id"],
                    .role = values["role"],
                    .history = values["master_replid"],
                    .former_history = values["master_replid2"],
                    .is_loading = values["loading"] == "1",
                    .is_cluster = values["cluster_enabled"] == "1",
                    .has_append_only_file = values["aof_enabled"] == "1",
                    .eviction_policy = values["maxmemory_policy"]};
  if (!absl::SimpleAtoi(values["connected_slaves"], &facts.replicas)) facts.replicas = 0;
  return facts;
}

absl::StatusOr<AppendFsync> ParseAppendFsync(std::string_view word) {
  if (word == "always") return AppendFsync::kAlways;
  if (word == "everysec") return AppendFsync::kEverySecond;
  if (word == "no") return AppendFsync::kNever;
  return absl::InternalError(absl::StrCat("redis: appendfsync is \"", ToAbsl(word),
                                          "\", which this version does not know"));
}

absl::Status CheckServes(const ServerFacts& facts) {
  int major = 0;
  const absl::string_view version = facts.version;
  if (!absl::SimpleAtoi(version.substr(0, version.find('.')), &major) || major < kMajorVersionMin) {
    return absl::FailedPreconditionError(absl::StrCat(
        "redis: the server is version ", version, "; the store needs ", kMajorVersionMin, ".0"));
  }
  if (facts.role != "master") {
    return absl::UnavailableError(absl::StrCat("redis: the server is a replica (role ", facts.role,
                                               "); name the master in the URL"));
  }
  if (facts.is_loading) {
    return absl::UnavailableError("redis: the server reads its data (loading); wait");
  }
  return absl::OkStatus();
}

absl::Status CheckPolicy(const ServerFacts& facts, bool accept_eviction) {
  if (accept_eviction || facts.eviction_policy == "noeviction") return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("redis: maxmemory-policy is ", facts.eviction_policy,
                   ", by which a full server silently forgets what it has answered; set it to "
                   "noeviction (or open a claim store with accept_eviction and the guarantee of "
                   "at-least-once)"));
}

Trust TrustIn(const ServerFacts& facts) {
  if (facts.eviction_policy != "noeviction") {
    return {.durability = Durability::kNothing,
            .weakness =
                absl::StrCat("maxmemory-policy ", facts.eviction_policy,
                             " forgets what it has answered when memory is full; set noeviction")};
  }
  if (!facts.has_append_only_file) {
    return {.durability = Durability::kNothing,
            .weakness =
                "appendonly no: a restart forgets what is newer than the last snapshot; "
                "set appendonly yes"};
  }
  if (facts.appendfsync != AppendFsync::kAlways) {
    const bool is_every_second = facts.appendfsync == AppendFsync::kEverySecond;
    return {.durability = Durability::kProcess,
            .weakness = absl::StrCat("appendfsync ", is_every_second ? "everysec" : "no",
                                     " answers before it syncs; set always")};
  }
  if (facts.skips_sync_on_rewrite) {
    return {.durability = Durability::kProcess,
            .weakness = "no-appendfsync-on-rewrite yes answers without a sync at times; set no"};
  }
  if (facts.replicas > 0) {
    return {.durability = Durability::kProcess,
            .weakness =
                "the server has replicas, which hear of an answer after whoever asked does: a "
                "failover loses the last ones"};
  }
  return {};
}

}  // namespace once::redis
