// Walks over the store's keys, and what INFO says of the server.
#include "adapters/redis/maintenance.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/id_hash.h"
#include "adapters/redis/key_walk.h"
#include "adapters/redis/server_facts.h"
#include "adapters/redis/values.h"
#include "once/abseil.h"
#include "once/transaction.h"

namespace once::redis {
namespace {

// Findings of one check; a store that somebody else has written to has thousands that say the same.
constexpr std::size_t kFindingsMax = 100;

constexpr std::chrono::milliseconds kRewritePoll(100);
// The server begins a rewrite within this, or once what else it writes is written.
constexpr auto kRewritePatience = std::chrono::hours(6);

absl::Status Cancelled(std::string_view operation) {
  return absl::CancelledError(absl::StrCat("redis: ", ToAbsl(operation), ": given up on request"));
}

struct StateFigure {
  const char* name;
  IdState state;
};

constexpr StateFigure kStateFigures[] = {
    {"completed_ids_count", IdState::kCompleted}, {"claimed_ids_count", IdState::kClaimed},
    {"retrying_ids_count", IdState::kRetrying},   {"dying_ids_count", IdState::kDying},
    {"dead_ids_count", IdState::kDead},           {"uncertain_ids_count", IdState::kUncertain},
    {"discarded_ids_count", IdState::kDiscarded},
};

struct ServerFigure {
  const char* name;
  const char* info;  // its line
};

constexpr const char* kUptime = "uptime_in_seconds";

constexpr ServerFigure kServerFigures[] = {
    {"server_memory_bytes", "used_memory"},
    {"server_memory_max_bytes", "maxmemory"},  // 0: no limit
    {"append_only_file_bytes", "aof_current_size"},
    {"append_only_file_compacted_bytes", "aof_base_size"},
    {"unsaved_changes_count", "rdb_changes_since_last_save"},
    {"replicas_count", "connected_slaves"},
    {"evicted_keys_count", "evicted_keys"},
    {"server_uptime_seconds", kUptime},
};

std::int64_t NumberIn(const std::map<std::string, std::string>& lines, const char* name) {
  const auto line = lines.find(name);
  std::int64_t number = 0;
  if (line == lines.end() || !absl::SimpleAtoi(line->second, &number)) return 0;
  return number;
}

using InfoLines = std::map<std::string, std::string>;

absl::StatusOr<InfoLines> ReadInfo(Server& server) {
  const absl::StatusOr<Reply> info = server.Ask({"INFO"});
  if (!info.ok()) return info.status();
  if (info->is_error()) return ErrorStatus(info->text, /*is_opening=*/false);
  return ReadLines(info->text);
}

struct ServerFigures {
  std::int64_t keys = 0;  // of anybody's
  std::array<std::int64_t, std::size(kServerFigures)> values = {};
};

// Of all servers; the uptime is that of the youngest.
absl::StatusOr<ServerFigures> SumOf(const std::vector<Server*>& servers) {
  ServerFigures sum;
  for (Server* const server : servers) {
    const absl::StatusOr<Reply> keys = server->Ask({"DBSIZE"});
    if (!keys.ok()) return keys.status();
    sum.keys += keys->integer;
    const absl::StatusOr<InfoLines> info = ReadInfo(*server);
    if (!info.ok()) return info.status();
    for (std::size_t i = 0; i < sum.values.size(); ++i) {
      const std::int64_t value = NumberIn(*info, kServerFigures[i].info);
      const bool is_age = std::string_view(kServerFigures[i].info) == kUptime;
      const bool is_older = is_age && server != servers.front() && value > sum.values[i];
      if (is_age && !is_older) sum.values[i] = value;
      if (!is_age) sum.values[i] += value;
    }
  }
  return sum;
}

// What SeenState() needs, in this order.
constexpr std::array<std::string_view, 5> kStateFields = {"s", "f", "le", "b", "d"};

// As kLook sees it, which costs the server several times as much. `now` is its clock. nullopt: no
// id of ours is like that.
std::optional<IdState> SeenState(const std::vector<Reply>& fields, std::int64_t now) {
  std::int64_t state = 0;
  std::int64_t lease_end = 0;
  if (fields.size() != kStateFields.size()) return std::nullopt;
  if (!absl::SimpleAtoi(fields[0].text, &state)) state = 0;
  if (!absl::SimpleAtoi(fields[2].text, &lease_end)) lease_end = 0;
  if (state < 0 || state > static_cast<std::int64_t>(IdState::kDying)) return std::nullopt;
  const bool has_fence = !fields[1].text.empty();
  const bool is_dying = !fields[4].text.empty();
  if (has_fence && !is_dying && lease_end > now) return IdState::kClaimed;
  const bool was_lost = has_fence && !is_dying && !fields[3].text.empty();
  return was_lost ? IdState::kRetrying : static_cast<IdState>(state);
}

// Microseconds.
absl::StatusOr<std::int64_t> ReadClock(Server& server) {
  const absl::StatusOr<Reply> answered = server.Ask({"TIME"});
  if (!answered.ok()) return answered.status();
  const Reply& reply = *answered;
  if (reply.is_error()) return ErrorStatus(reply.text, /*is_opening=*/false);
  constexpr std::int64_t kMicrosecondsPerSecond = 1'000'000;
  std::int64_t seconds = 0;
  std::int64_t microseconds = 0;
  if (reply.elements.size() != 2 || !absl::SimpleAtoi(reply.elements[0].text, &seconds) ||
      !absl::SimpleAtoi(reply.elements[1].text, &microseconds)) {
    return absl::InternalError("redis: TIME answers something else");
  }
  return seconds * kMicrosecondsPerSecond + microseconds;
}

std::string FindInHash(std::span<const Reply> parts) {
  // kInspect: type, fields, time to live, then names and values.
  constexpr std::size_t kHead = 3;
  if (parts.size() == kHead) {
    return absl::StrCat("it has ", parts[1].text, " fields, more than an id has");
  }
  IdHash hash{.is_expiring = !parts[2].text.starts_with('-')};
  for (std::size_t i = kHead; i + 1 < parts.size(); i += 2) {
    hash.fields[parts[i].text] = parts[i + 1].text;
  }
  return FindContradiction(hash);
}

// What is wrong with a key of `meaning`; empty: nothing, or it is gone.
std::string FindInKey(const KeyNames::Meaning& meaning, std::span<const Reply> parts) {
  constexpr std::size_t kValue = 4;  // of a string
  const std::string& type = parts.front().text;
  std::uint64_t number = 0;
  const auto is_type = [&](const char* wanted) {
    return type == wanted ? "" : absl::StrCat("it is a ", type, ", no ", wanted);
  };
  if (type == "none") return "";
  switch (meaning.kind) {
    case KeyNames::Kind::kForeign:
      return "it is none of the store's; somebody else uses its key_prefix";
    case KeyNames::Kind::kStore:
      return is_type("hash");
    case KeyNames::Kind::kScopes:
      return is_type("set");
    case KeyNames::Kind::kWitness:
      if (type != "string") return is_type("string");
      if (parts.size() > kValue && absl::SimpleAtoi(parts[kValue].text, &number)) return "";
      return "it holds no number";
    case KeyNames::Kind::kId:
      return type == "hash" ? FindInHash(parts) : is_type("hash");
  }
  return "";
}

// True once `stop` is requested; at most after kRewritePoll.
bool WaitForStop(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, stop, kRewritePoll, [] { return false; });
  return stop.stop_requested();
}

absl::Status CompactServer(Server& server, const std::stop_token& stop) {
  const absl::StatusOr<InfoLines> before = ReadInfo(server);
  if (!before.ok()) return before.status();
  if (NumberIn(*before, "aof_enabled") == 0) {
    return absl::FailedPreconditionError(
        "there is nothing to compact: the server keeps no append-only file (appendonly no), "
        "and gives back the memory of forgotten ids by itself");
  }
  const absl::StatusOr<Reply> begun = server.Ask({"BGREWRITEAOF"});
  if (!begun.ok()) return begun.status();
  const bool is_under_way =
      begun->is_error() && begun->text.find("already in progress") != std::string::npos;
  if (begun->is_error() && !is_under_way) {
    return ErrorStatus(begun->text, /*is_opening=*/true);
  }
  const auto give_up = std::chrono::steady_clock::now() + kRewritePatience;
  while (true) {
    const absl::StatusOr<InfoLines> now = ReadInfo(server);
    if (!now.ok()) return now.status();
    const bool is_at_work = NumberIn(*now, "aof_rewrite_in_progress") != 0 ||
                            NumberIn(*now, "aof_rewrite_scheduled") != 0;
    const auto outcome = now->find("aof_last_bgrewrite_status");
    if (!is_at_work && outcome != now->end() && outcome->second == "ok") return absl::OkStatus();
    if (!is_at_work) {
      return absl::InternalError("the server could not rewrite its append-only file; see its log");
    }
    if (std::chrono::steady_clock::now() >= give_up) {
      return absl::DeadlineExceededError("the server is still at it; see its log");
    }
    if (WaitForStop(stop)) {
      return absl::CancelledError("given up on request; the server goes on with it by itself");
    }
  }
}

}  // namespace

// Ids by state, as others see them.
struct RedisMaintenance::IdCounts {
  std::array<std::int64_t, static_cast<std::size_t>(IdState::kDying) + 1> by_state = {};
  std::int64_t foreign = 0;
  std::int64_t uncounted = 0;

  std::int64_t& operator[](IdState state) { return by_state[static_cast<std::size_t>(state)]; }
};

RedisMaintenance::RedisMaintenance(Cluster& cluster, const StoreOptions& options)
    : cluster_(cluster), keys_(options.key_prefix), clock_skew_(options.clock_skew) {}

absl::Status RedisMaintenance::CountIds(Server& server, const std::vector<std::string>& keys,
                                        IdCounts& counts) {
  std::vector<KeyedCommand> commands;
  for (const std::string& key : keys) {
    const KeyNames::Kind kind = keys_.Read(key).kind;
    if (kind == KeyNames::Kind::kForeign) ++counts.foreign;
    if (kind != KeyNames::Kind::kId) continue;
    std::vector<std::string_view> words = {"HMGET", key};
    words.insert(words.end(), kStateFields.begin(), kStateFields.end());
    commands.push_back({.key = key, .bytes = EncodeCommand(words)});
  }
  const absl::StatusOr<std::int64_t> clock = ReadClock(server);
  if (!clock.ok()) return clock.status();
  const auto replies = cluster_.ReadEach(commands);
  if (!replies.ok()) return replies.status();
  const absl::Duration skew = clock_skew_ ? clock_skew_() : absl::ZeroDuration();
  const std::int64_t now = *clock + absl::ToInt64Microseconds(skew);
  for (const Reply& reply : *replies) {
    absl::Status failed =
        reply.is_error() ? ErrorStatus(reply.text, /*is_opening=*/false) : absl::OkStatus();
    if (!failed.ok() && !absl::IsDataLoss(failed)) return failed;
    const std::optional<IdState> state = SeenState(reply.elements, now);
    ++(state ? counts[*state] : counts.foreign);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoreFigure>> RedisMaintenance::ReadFigures() {
  IdCounts counts;
  KeyWalk walk(cluster_, keys_.Pattern());
  while (!walk.is_over() && walk.passed() < kCountedKeysMax) {
    Server& server = walk.server();
    const auto keys = walk.NextPage();
    if (!keys.ok()) return Annotate(keys.status(), "redis: read figures");
    absl::Status counted = CountIds(server, *keys, counts);
    if (!counted.ok()) return Annotate(counted, "redis: read figures");
  }
  const absl::StatusOr<ServerFigures> of_servers = SumOf(cluster_.Servers());
  if (!of_servers.ok()) return of_servers.status();
  const std::int64_t left = of_servers->keys - walk.passed();
  if (!walk.is_over()) counts.uncounted = std::max<std::int64_t>(left, 1);

  std::vector<StoreFigure> figures = {{"ids_count", 0}};
  for (const StateFigure& figure : kStateFigures) {
    figures.push_back({figure.name, counts[figure.state]});
    figures.front().value += counts[figure.state];
  }
  figures.push_back({"foreign_keys_count", counts.foreign});
  figures.push_back({"uncounted_keys_count", counts.uncounted});
  figures.push_back({"openings_count", static_cast<std::int64_t>(cluster_.traits().open_count)});
  figures.push_back({"servers_count", static_cast<std::int64_t>(cluster_.Servers().size())});
  figures.push_back({"server_keys_count", of_servers->keys});
  for (std::size_t i = 0; i < std::size(kServerFigures); ++i) {
    figures.push_back({kServerFigures[i].name, of_servers->values[i]});
  }
  return figures;
}

absl::Status RedisMaintenance::CheckKeys(const std::vector<std::string>& keys,
                                         std::vector<std::string>& findings) {
  std::vector<ScriptCall> looks;
  looks.reserve(keys.size());
  for (const std::string& key : keys) {
    looks.push_back(
        {.key = key, .arguments = {absl::StrCat(kIdFieldsMax), absl::StrCat(kFieldBytesMax)}});
  }
  const auto replies = cluster_.Run(ScriptName::kInspect, looks);
  if (!replies.ok()) return replies.status();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::vector<Reply>& parts = (*replies)[i].elements;
    if (parts.size() < 3) return absl::InternalError("redis: verify: that is no answer of ours");
    const KeyNames::Meaning meaning = keys_.Read(keys[i]);
    const std::string found = FindInKey(meaning, parts);
    if (found.empty()) continue;
    const std::string of_id = meaning.kind == KeyNames::Kind::kId
                                  ? absl::StrCat(" of the id ", Quoted(meaning.id.id), " under ",
                                                 Quoted(meaning.id.scope))
                                  : "";
    findings.push_back(absl::StrCat("key ", Quoted(keys[i]), of_id, ": ", found));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> RedisMaintenance::Verify(const std::stop_token& stop) {
  std::vector<std::string> findings;
  KeyWalk walk(cluster_, keys_.Pattern());
  while (!walk.is_over() && findings.size() < kFindingsMax) {
    if (stop.stop_requested()) return Cancelled("verify");
    const auto keys = walk.NextPage();
    if (!keys.ok()) return Annotate(keys.status(), "redis: verify");
    absl::Status checked = CheckKeys(*keys, findings);
    if (!checked.ok()) return Annotate(checked, "redis: verify");
  }
  // A key may be visited twice.
  std::sort(findings.begin(), findings.end());
  findings.erase(std::unique(findings.begin(), findings.end()), findings.end());
  return findings;
}

absl::Status RedisMaintenance::Compact(const std::stop_token& stop) {
  for (Server* const server : cluster_.Servers()) {
    absl::Status compacted = CompactServer(*server, stop);
    if (!compacted.ok()) {
      return Annotate(compacted, absl::StrCat("redis: compact ", server->address().Describe()));
    }
  }
  return absl::OkStatus();
}

absl::Status RedisMaintenance::Backup(const std::string& /*path*/,
                                      const std::stop_token& /*stop*/) {
  return absl::UnimplementedError(
      "redis: a claim store has no backup of its own: BGSAVE, or a copy of the server's files, "
      "copies the server as a whole. Ids that were settled after the copy are unknown in it, and "
      "their messages would be handled again: keep a replica and the append-only file instead");
}

}  // namespace once::redis
