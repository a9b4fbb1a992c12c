// The opening of a store, and what is asked of all its servers.
#include "adapters/redis/cluster.h"

#include <algorithm>
#include <mutex>
#include <random>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/redis/errands.h"
#include "adapters/redis/errors.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

// A write, so that replicas hear of something.
constexpr std::string_view kKeepText =
    "#!lua flags=allow-oom\nreturn redis.call('PEXPIRE',KEYS[1],ARGV[1])";

// So often a Sync() looks for a slot that is not moving.
constexpr int kWitnessTries = 4;

// What a pipeline of scripts means as one call: errors of all of them are the call's; of some, the
// call is half applied, which only a repetition mends. Foreign keys are mended by nobody.
absl::Status JudgeReplies(std::span<const Errand> errands) {
  std::size_t errors = 0;
  absl::Status first;
  for (const Errand& errand : errands) {
    if (!errand.reply.is_error()) continue;
    if (errors++ == 0) first = ErrorStatus(errand.reply.text, /*is_opening=*/false);
  }
  const bool is_half_applied = errors > 0 && errors < errands.size();
  const bool is_mendable = is_half_applied && !absl::IsDataLoss(first);
  return is_mendable ? absl::UnknownError(first.message()) : first;
}

std::string EncodeRun(const Script& script, const ScriptCall& call) {
  const std::string keys = absl::StrCat(1 + call.more_keys.size());
  std::vector<std::string_view> words = {"EVALSHA", script.sha1, keys, call.key};
  words.insert(words.end(), call.more_keys.begin(), call.more_keys.end());
  words.insert(words.end(), call.arguments.begin(), call.arguments.end());
  return EncodeCommand(words);
}

Answerer AnswererOf(const Errand& errand) {
  return {.server = errand.answered_by, .generation = errand.generation};
}

std::vector<Reply> TakeReplies(std::span<Errand> errands) {
  std::vector<Reply> replies;
  replies.reserve(errands.size());
  for (Errand& errand : errands) replies.push_back(std::move(errand.reply));
  return replies;
}

// A witness of `server` in a slot that it owns, other than `but_slot`; nullopt where it owns none.
std::optional<std::string> HomeOf(const Server& server, const Masters::Map& map, int but_slot) {
  const auto is_wanted = [&](int slot) {
    return slot != but_slot && map.owners[static_cast<std::size_t>(slot)] == &server;
  };
  for (int slot = 0; slot < kSlots; ++slot) {
    if (is_wanted(slot)) return TagWithin(server.witness_stem(), is_wanted);
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Cluster>> Cluster::Open(const StoreOptions& options, KeyNames keys,
                                                       ServerAddress address) {
  std::unique_ptr<Cluster> cluster(new Cluster(options, std::move(keys), std::move(address)));
  absl::Status met = cluster->masters_.Meet(cluster->masters_.access().CallDeadline());
  if (!met.ok()) return met;
  if (absl::Status entered = cluster->EnterStore(); !entered.ok()) return entered;
  return cluster;
}

absl::Status Cluster::EnterStore() {
  const StoreOptions& options = masters_.access().options;
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&id, absl::Hex(random(), absl::kZeroPad8));
  const ScriptCall call{.key = masters_.access().keys.OfStore(),
                        .arguments = {id, options.must_exist ? "1" : "0"}};
  const auto replies = Run(ScriptName::kOpen, {&call, 1});
  if (!replies.ok()) return replies.status();
  const std::vector<Reply>& told = replies->front().elements;
  if (told.size() != 3 || !absl::SimpleAtoi(told[1].text, &open_count_)) {
    return absl::InternalError("redis: the opening was answered by something else");
  }
  const std::string where = masters_.seed().Describe();
  if (told[2].text != "1") {
    return absl::FailedPreconditionError(
        absl::StrCat("redis: the store at ", where, " under \"", options.key_prefix,
                     "\" has format ", told[2].text, ", this version knows 1; use a newer one"));
  }
  if (told[0].text.empty()) {
    return absl::NotFoundError(absl::StrCat(
        "redis: no store at ", where, " under \"", options.key_prefix,
        "\"; it was lost or is elsewhere, or open it without must_exist to begin a new one"));
  }
  id_ = told[0].text;
  return absl::OkStatus();
}

StoreTraits Cluster::traits() const {
  StoreTraits traits = {.name = "redis",
                        .durability = Durability::kMachine,
                        .is_shared = true,
                        .id = id_,
                        .open_count = open_count_};
  for (const Server* const server : masters_.All()) {
    const Trust trust = server->watch().trust();
    if (trust.durability >= traits.durability) continue;
    traits.durability = trust.durability;
    traits.weakness = masters_.access().is_cluster
                          ? absl::StrCat(server->address().Describe(), ": ", trust.weakness)
                          : trust.weakness;
  }
  return traits;
}

absl::Status Cluster::LookForChanges() {
  if (!masters_.access().is_cluster) return absl::OkStatus();
  return masters_.Refresh(masters_.map()->number, std::nullopt, masters_.access().CallDeadline());
}

std::uint64_t Cluster::changes() const {
  std::uint64_t changes = masters_.map()->number;
  for (const Server* const server : masters_.All()) changes += server->watch().losses();
  return changes;
}

// ---- Calls ----

absl::StatusOr<std::vector<Reply>> Cluster::Run(ScriptName name,
                                                std::span<const ScriptCall> calls) {
  return RunEach(ScriptOf(name), calls, IsWord(name), nullptr);
}

absl::StatusOr<Reply> Cluster::Run(const Script& script, const ScriptCall& call, Answerer* by) {
  auto replies = RunEach(script, {&call, 1}, /*are_words=*/false, by);
  if (!replies.ok()) return replies.status();
  return std::move(replies->front());
}

absl::StatusOr<std::vector<Reply>> Cluster::RunEach(const Script& script,
                                                    std::span<const ScriptCall> calls,
                                                    bool are_words, Answerer* first_by) {
  std::vector<std::string> commands;
  std::vector<Errand> errands;
  commands.reserve(calls.size());
  errands.reserve(calls.size());
  for (const ScriptCall& call : calls) {
    commands.push_back(EncodeRun(script, call));
    errands.push_back({.bytes = commands.back(), .slot = SlotOf(call.key)});
  }
  absl::Status carried = Carry(masters_, errands, {.script = &script, .are_words = are_words});
  if (carried.ok()) carried = JudgeReplies(errands);
  if (!carried.ok()) return carried;
  if (first_by != nullptr) *first_by = AnswererOf(errands.front());
  return TakeReplies(errands);
}

absl::StatusOr<std::vector<Reply>> Cluster::ReadEach(std::span<const KeyedCommand> commands) {
  std::vector<Errand> errands;
  errands.reserve(commands.size());
  for (const KeyedCommand& command : commands) {
    errands.push_back({.bytes = command.bytes, .slot = SlotOf(command.key)});
  }
  if (absl::Status carried = Carry(masters_, errands, {}); !carried.ok()) return carried;
  return TakeReplies(errands);
}

absl::StatusOr<Reply> Cluster::Read(const KeyedCommand& command, Answerer& by) {
  Errand errand{.bytes = command.bytes, .slot = SlotOf(command.key)};
  if (absl::Status carried = Carry(masters_, {&errand, 1}, {}); !carried.ok()) return carried;
  by = AnswererOf(errand);
  return std::move(errand.reply);
}

// WAIT counts from what its own connection was last answered, so something is said in front of it.
// That is about all of the keys: while some of them lie with another master already, whose replicas
// are others, it is refused.
absl::StatusOr<std::int64_t> Cluster::AwaitReplicas(std::span<const std::string> keys,
                                                    std::int64_t milliseconds, int wanted,
                                                    absl::Duration patience) {
  const std::string count = absl::StrCat(keys.size());
  const std::string kept_for = absl::StrCat(milliseconds);
  // In full: a server that must first be told a script would wait in vain.
  std::vector<std::string_view> words = {"EVAL", kKeepText, count};
  words.insert(words.end(), keys.begin(), keys.end());
  words.push_back(kept_for);
  const std::string kept = EncodeCommand(words);
  const std::string wait =
      Encode({"WAIT", absl::StrCat(wanted), absl::StrCat(absl::ToInt64Milliseconds(patience))});
  Errand errand{.bytes = kept, .slot = SlotOf(keys.front()), .next = wait};
  absl::Status carried = Carry(masters_, {&errand, 1}, {});
  if (carried.ok()) carried = JudgeReplies({&errand, 1});
  if (!carried.ok()) return carried;
  if (errand.reply.integer != 1) {
    return absl::UnknownError(
        "redis: the server has forgotten what it was told (a failover?), whoever has heard of it");
  }
  if (errand.next_reply.is_error()) {
    return ErrorStatus(errand.next_reply.text, /*is_opening=*/false);
  }
  return errand.next_reply.integer;
}

// ---- Syncs ----

std::vector<Server*> Cluster::ServersToSync() const {
  std::vector<Server*> servers = masters_.All();
  std::erase_if(servers, [](const Server* server) { return !server->watch().HasWords(); });
  return servers.empty() ? masters_.Owning() : servers;
}

absl::StatusOr<std::vector<Server*>> Cluster::SayWitnesses(std::span<Server* const> servers) {
  const Access& access = masters_.access();
  const Script& script = ScriptOf(ScriptName::kWitness);
  std::vector<ServerWatch::SyncStep> steps;
  std::vector<std::string> commands;
  std::vector<Errand> errands;
  commands.reserve(servers.size());
  for (Server* const server : servers) {
    const ServerWatch::SyncStep& step = steps.emplace_back(server->watch().BeginSync());
    const ScriptCall call{.key = access.keys.OfWitness(step.tag, access.incarnation),
                          .arguments = {absl::StrCat(step.known), absl::StrCat(step.next),
                                        std::string(kWitnessMilliseconds)}};
    commands.push_back(EncodeRun(script, call));
    errands.push_back({.bytes = commands.back(), .slot = SlotOf(call.key)});
  }
  absl::Status carried = Carry(masters_, errands, {.script = &script});
  if (carried.ok()) carried = JudgeReplies(errands);
  if (!carried.ok()) return carried;
  std::vector<Server*> away;
  for (std::size_t i = 0; i < servers.size(); ++i) {
    servers[i]->watch().RecordWitness(steps[i], errands[i].reply.integer == kLost);
    if (errands[i].answered_by != servers[i]) away.push_back(servers[i]);
  }
  return away;
}

// A server whose witness was never said, and would lie elsewhere.
bool Cluster::IsHomeless(const Server& server) const {
  const ServerWatch::Expected expected = server.watch().BeginLook();
  const auto slot = static_cast<std::size_t>(SlotOf(expected.tag));
  return expected.witness == 0 && masters_.map()->owners[slot] != &server;
}

void Cluster::BringHome(std::vector<Server*>& servers) {
  const auto map = masters_.map();
  std::erase_if(servers, [&](Server* server) {
    const int slot = SlotOf(server->watch().BeginLook().tag);
    const std::optional<std::string> home = HomeOf(*server, *map, slot);
    if (home) server->watch().MoveWitness(*home);
    return !home;
  });
}

absl::Status Cluster::Sync() {
  std::vector<Server*> servers = ServersToSync();
  // In the order of all servers: nobody waits in a circle.
  std::vector<std::unique_lock<std::mutex>> locks;
  for (Server* const server : servers) locks.emplace_back(server->witness_mutex());
  std::vector<Server*> newcomers = servers;
  std::erase_if(newcomers, [&](const Server* server) { return !IsHomeless(*server); });
  BringHome(newcomers);
  for (int tries = 0; !servers.empty(); ++tries) {
    if (tries == kWitnessTries) {
      return absl::UnavailableError("redis: sync: the cluster moves one slot after another; wait");
    }
    absl::StatusOr<std::vector<Server*>> away = SayWitnesses(servers);
    if (!away.ok()) return Annotate(away.status(), "sync");
    servers = *std::move(away);
    // Where it was it was looked for, but what its server loses it would not lose with it.
    BringHome(servers);
  }
  absl::Status told;
  for (Server* const server : masters_.All()) {
    absl::Status each = server->watch().Tell();
    if (told.ok()) told = each;
  }
  return told;
}

}  // namespace once::redis
