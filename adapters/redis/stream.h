// A byte stream to a server, with a deadline on every wait: a socket, or TLS over one.
// Thread-safety: one thread at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/address.h"

namespace once::redis {

using Deadline = std::chrono::steady_clock::time_point;

class Stream {
 public:
  virtual ~Stream() = default;

  // OK: all of `bytes` is on its way. kUnavailable: none of it is; kUnknown: some of it may be.
  virtual absl::Status Send(std::string_view bytes, Deadline deadline) = 0;
  // Waits until there is something; 0 when the other side has ended the stream.
  virtual absl::StatusOr<std::size_t> Receive(std::span<char> into, Deadline deadline) = 0;
  // Nothing has arrived, not even the end. Does not wait.
  virtual bool IsQuiet() = 0;
};

// kUnavailable: nobody answers there by the deadline. Looking a host's name up may take longer
// than that: the system offers no deadline.
absl::StatusOr<std::unique_ptr<Stream>> ConnectSocket(const ServerAddress& address,
                                                      Deadline deadline);

}  // namespace once::redis
