// A Server is one Redis server of a store: the connections to it, new ones when they break, and a
// ServerWatch that looks whether it is still the same. Of a cluster it is one master.
// Thread-safety: safe for concurrent use.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/address.h"
#include "adapters/redis/connection.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/server_watch.h"
#include "adapters/redis/tls.h"
#include "once/redis/store.h"

namespace once::redis {

// A witness that nobody has moved for so long belongs to no running process.
inline constexpr std::string_view kWitnessMilliseconds = "2592000000";  // thirty days

// What the servers of one store have in common.
struct Access {
  StoreOptions options;
  KeyNames keys;
  std::uint64_t incarnation = 0;
  std::shared_ptr<TlsContext> tls;  // null: none
  bool is_cluster = false;

  Deadline CallDeadline() const;
  // Of one attempt at one node of a cluster, while others may be asked instead.
  Deadline TryDeadline(Deadline deadline) const;
};

class Server {
 public:
  // `witness_stem`: what its witness is called, unlike those of other servers.
  // REQUIRES: `access` outlives it.
  Server(const Access& access, ServerAddress address, std::string witness_stem);

  // Whether it is a node of a cluster, when nobody knows yet.
  absl::StatusOr<bool> IsNode(Deadline deadline);
  // Once, when the store is opened: connects and begins the watch. Whatever is wrong is said.
  absl::Status Begin(Deadline deadline);

  // A connection on loan, and the generation that it belongs to.
  struct Borrowed {
    std::unique_ptr<Connection> connection;
    std::uint64_t generation = 0;
  };
  // kUnavailable: nobody serves there. Of a single server, not by the deadline; of a cluster, now.
  absl::StatusOr<Borrowed> Borrow(Deadline deadline);
  void GiveBack(Borrowed borrowed);

  // The replies to commands (EncodeCommand), errors among them; to one.
  absl::StatusOr<std::vector<Reply>> AskEach(std::span<const std::string> commands);
  absl::StatusOr<Reply> Ask(std::initializer_list<std::string_view> command);

  // Where new connections lead.
  ServerAddress address() const;
  void MoveTo(ServerAddress address);
  // This server has taken the place of `former`, which owns nothing more: the next connection looks
  // what became of its words. REQUIRES: `former` outlives it.
  void Succeed(Server& former);

  // Held by whoever moves the witness.
  std::mutex& witness_mutex() { return witness_mutex_; }
  const std::string& witness_stem() const { return witness_stem_; }
  ServerWatch& watch() { return watch_; }
  const ServerWatch& watch() const { return watch_; }

 private:
  // Facts, and the witness; nullopt where it lies elsewhere.
  struct Look {
    ServerFacts facts;
    std::optional<std::uint64_t> witness;
  };

  // An idle connection, or leave to make one: null.
  absl::StatusOr<Borrowed> TakeIdle(Deadline deadline);
  // Of a single server, tries until the deadline, with growing pauses.
  absl::StatusOr<std::unique_ptr<Connection>> Connect(Deadline deadline) const;
  // Of a server that serves.
  absl::StatusOr<Look> ReadFacts(Connection& connection, const std::string& witness_tag,
                                 Deadline deadline) const;
  absl::Status Inspect(Connection& connection, Deadline deadline);
  std::string ReadWitness(const std::string& tag) const;
  bool IsInspectionDue() const;

  const Access& access_;
  const std::string witness_stem_;
  ServerWatch watch_;
  std::mutex witness_mutex_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  ServerAddress address_;
  std::vector<Server*> formers_;  // not yet looked after
  std::vector<Borrowed> idle_;
  int connections_ = 0;  // idle or on loan
  std::optional<Deadline> last_inspection_;
};

// A command of these words, as a server reads it. Pure.
std::string Encode(std::initializer_list<std::string_view> words);

}  // namespace once::redis
