// One connection to a Redis server, logged in and on its database. Commands go in pipelines; an
// answer that did not come ends the connection, so that none is ever taken for another's.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "adapters/redis/address.h"
#include "adapters/redis/reply.h"
#include "adapters/redis/stream.h"
#include "adapters/redis/tls.h"

namespace once::redis {

// Commands for one server, and what became of them.
struct Pipeline;

class Connection {
 public:
  // kPermissionDenied: the login or the certificate was refused; kUnavailable: anything else. `tls`
  // may be null where the address asks for none.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const ServerAddress& address,
                                                          const TlsContext* tls, Deadline deadline);

  // One reply for each of `commands` (EncodeCommand), errors among them. kUnavailable: the server
  // has heard of none; kUnknown: of some, perhaps. The connection is of no use after either.
  absl::StatusOr<std::vector<Reply>> Run(std::span<const std::string> commands, Deadline deadline);
  // The same with each pipeline, at the same time: all servers are written to before one is waited
  // for. REQUIRES: no connection is in two of them.
  static void RunTogether(std::span<Pipeline> pipelines, Deadline deadline);

  // Nothing went wrong so far, and the server has not hung up.
  bool IsUsable();

 private:
  explicit Connection(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}

  absl::Status LogIn(const ServerAddress& address, Deadline deadline);
  absl::Status SendChunk(std::span<const std::string_view> commands, Deadline deadline);
  // Appends `count` replies.
  absl::Status ReadChunk(std::size_t count, std::vector<Reply>& replies, Deadline deadline);
  absl::StatusOr<Reply> ReadReply(Deadline deadline);

  const std::unique_ptr<Stream> stream_;
  ReplyReader reader_;
  bool is_broken_ = false;
};

struct Pipeline {
  Connection* connection = nullptr;
  std::vector<std::string_view> commands;  // EncodeCommand
  std::vector<Reply> replies = {};         // one for each, when `status` is OK
  absl::Status status = {};                // as Connection::Run() has it
};

}  // namespace once::redis
