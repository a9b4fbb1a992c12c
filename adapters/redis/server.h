// A Server runs the store's scripts: it keeps a few connections, makes new ones when they break,
// loads scripts that the server does not know, and has a ServerWatch look whether it is still the
// same server.
// Thread-safety: safe for concurrent use.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/address.h"
#include "adapters/redis/connection.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/scripts.h"
#include "adapters/redis/server_watch.h"
#include "adapters/redis/tls.h"
#include "once/redis/store.h"

namespace once::redis {

// One run of a script: its key and what follows the key.
struct ScriptCall {
  std::string key;
  std::vector<std::string> arguments;
};

class Server {
 public:
  // REQUIRES: the options are checked.
  static absl::StatusOr<std::unique_ptr<Server>> Open(const StoreOptions& options,
                                                      ServerAddress address);

  // One reply for each of `calls`, none of them an error. kUnknown: some may have been run.
  absl::StatusOr<std::vector<Reply>> Run(ScriptName script, std::span<const ScriptCall> calls);
  // The server's replies to commands (EncodeCommand), errors among them; of one.
  absl::StatusOr<std::vector<Reply>> AskEach(std::span<const std::string> commands);
  absl::StatusOr<Reply> Ask(std::initializer_list<std::string_view> command);

  // OK: what was answered before survives as much as traits() promise.
  absl::Status Sync();

  StoreTraits traits() const { return watch_.traits(); }
  std::uint64_t incarnation() const { return incarnation_; }
  void NoteWord() { watch_.NoteWord(); }
  // Rises when the server was seen to be another one, or to have less than it had.
  std::uint64_t losses() const { return watch_.losses(); }

 private:
  // A connection on loan, and the generation that it belongs to.
  struct Borrowed {
    std::unique_ptr<Connection> connection;
    std::uint64_t generation = 0;
  };

  Server(const StoreOptions& options, ServerAddress address);

  absl::Status Start();
  absl::Status EnterStore();
  absl::StatusOr<Borrowed> Borrow(Deadline deadline);
  // An idle connection, or leave to make one: null.
  absl::StatusOr<Borrowed> TakeIdle(Deadline deadline);
  void GiveBack(Borrowed borrowed);
  // Tries until the deadline, with growing pauses.
  absl::StatusOr<std::unique_ptr<Connection>> Connect(Deadline deadline);
  // Of a server that serves.
  absl::StatusOr<ServerFacts> ReadFacts(Connection& connection, Deadline deadline,
                                        std::uint64_t& witness) const;
  absl::Status Inspect(Connection& connection, Deadline deadline);
  bool IsInspectionDue() const;
  // EVALSHA, and once more after SCRIPT LOAD where the server did not know the script.
  static absl::StatusOr<std::vector<Reply>> RunOn(Connection& connection, ScriptName script,
                                                  std::span<const ScriptCall> calls,
                                                  Deadline deadline);
  Deadline CallDeadline() const;

  const StoreOptions options_;
  const ServerAddress address_;
  const KeyNames keys_;
  const std::uint64_t incarnation_;
  std::shared_ptr<TlsContext> tls_;
  ServerWatch watch_;
  std::mutex sync_mutex_;  // held during a Sync()

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Borrowed> idle_;
  int connections_ = 0;  // idle or on loan
  Deadline last_inspection_ = {};
};

}  // namespace once::redis
