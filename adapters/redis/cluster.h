// A Cluster is what a store lies in: one server, or the masters of a Redis Cluster. Every command
// is said to the owner of its key, follows keys that move, and is waited for together with the
// others of its call. A call is no transaction, neither at one server nor at many.
// Thread-safety: safe for concurrent use.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/masters.h"
#include "adapters/redis/scripts.h"
#include "adapters/redis/server.h"

namespace once::redis {

// One run of a script: its keys and what follows them.
struct ScriptCall {
  std::string key;
  std::vector<std::string> arguments;
  std::vector<std::string> more_keys = {};  // all of one slot with `key`
};

// A command about one key.
struct KeyedCommand {
  std::string_view key;
  std::string bytes;  // EncodeCommand
};

// Who has answered. A cursor of HSCAN is understood by the one that gave it, and by nobody else.
struct Answerer {
  const Server* server = nullptr;
  std::uint64_t generation = 0;  // it was started again meanwhile, or is another one

  friend bool operator==(const Answerer&, const Answerer&) = default;
};

class Cluster {
 public:
  // REQUIRES: the options are checked.
  static absl::StatusOr<std::unique_ptr<Cluster>> Open(const StoreOptions& options, KeyNames keys,
                                                       ServerAddress address);

  // One reply for each of `calls`, none of them an error. kUnavailable: none was run, because not
  // all of their owners can be reached; kUnknown: some may have been run.
  absl::StatusOr<std::vector<Reply>> Run(ScriptName script, std::span<const ScriptCall> calls);
  // Likewise one run of a script that is not about claims. `by`: who has answered; or null.
  absl::StatusOr<Reply> Run(const Script& script, const ScriptCall& call, Answerer* by = nullptr);
  // The replies to commands that change nothing, errors among them.
  absl::StatusOr<std::vector<Reply>> ReadEach(std::span<const KeyedCommand> commands);
  // The reply to one, and who has given it.
  absl::StatusOr<Reply> Read(const KeyedCommand& command, Answerer& by);

  // How many replicas of the master of `keys`, which are of one slot, have heard of all that was
  // done to them before, once they are `wanted`, or after `patience`. The first of them is kept for
  // `milliseconds` from now on. kUnavailable: they move, and are not all in one place; kUnknown:
  // the first is not there any more, so that what was told may be gone as well.
  absl::StatusOr<std::int64_t> AwaitReplicas(std::span<const std::string> keys,
                                             std::int64_t milliseconds, int wanted,
                                             absl::Duration patience);

  // OK: what this thread was answered before survives as much as traits() promise.
  absl::Status Sync();

  // Those that own something, to be asked about themselves. They live as long as the cluster.
  std::vector<Server*> Servers() const { return masters_.Owning(); }

  // Of the server that is trusted least.
  StoreTraits traits() const;
  std::uint64_t incarnation() const { return masters_.access().incarnation; }
  // Rises when a server was seen to be another one or to have less than it had, and when slots
  // have got other owners.
  std::uint64_t changes() const;
  // Asks a cluster whether its slots have other owners now.
  absl::Status LookForChanges();

 private:
  Cluster(const StoreOptions& options, KeyNames keys, ServerAddress address)
      : masters_(options, std::move(keys), std::move(address)) {}

  absl::Status EnterStore();
  std::vector<Server*> ServersToSync() const;
  // Returns those whose witness does not lie with them.
  absl::StatusOr<std::vector<Server*>> SayWitnesses(std::span<Server* const> servers);
  bool IsHomeless(const Server& server) const;
  // Gives them new ones in slots of theirs; removes those that have none.
  void BringHome(std::vector<Server*>& servers);

  // `first_by`: who has answered the first of them; or null.
  absl::StatusOr<std::vector<Reply>> RunEach(const Script& script,
                                             std::span<const ScriptCall> calls, bool are_words,
                                             Answerer* first_by);

  Masters masters_;
  std::string id_;
  std::uint64_t open_count_ = 0;
};

}  // namespace once::redis
