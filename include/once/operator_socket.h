// The operators' socket: the way to a store that only one process may have open. The owner serves
// its StoreOperations, its StoreMaintenance and its OutgoingOperations on a Unix domain socket
// beside the store; the `once` command is its client.
//
// Only the owner's own user is served (mode 0600 and SO_PEERCRED, on both sides). One JSON document
// per line, at most kOperatorLineBytesMax long; the protocol is private to one version of once and
// says so when the versions differ.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/maintenance.h"
#include "once/operations.h"
#include "once/outgoing_operations.h"

namespace once {

// The socket of the store at PATH is PATH + this.
inline constexpr std::string_view kOperatorSocketSuffix = ".once-socket";

// Longest request and longest answer. It bounds what a letter that is redriven may weigh.
inline constexpr std::size_t kOperatorLineBytesMax = 64 * 1024 * 1024;

// Clients served at a time; one more takes the place of the one that has been silent for longest.
inline constexpr std::size_t kOperatorClientsMax = 16;

struct OperatorServerOptions {
  // How long a client may take to send a request, or to read its answer.
  absl::Duration patience = absl::Seconds(10);
  std::shared_ptr<Executor> executor = SystemExecutor();
};

// What is served. All of them outlive the server; all but the first may be null.
struct OperatorTargets {
  StoreOperations& operations;
  StoreMaintenance* maintenance = nullptr;
  OutgoingOperations* outgoing = nullptr;
};

// Serves until it is destroyed, which takes as long as the call at hand, asks a long job to give
// up, and removes the socket.
class OperatorServer {
 public:
  // Replaces whatever lies at `path`: a process that died left it there. The path may be of any
  // length. kInvalidArgument, kPermissionDenied, kUnavailable: the file system's or system's words.
  // REQUIRES: the caller holds the store's lock.
  static absl::StatusOr<std::unique_ptr<OperatorServer>> Start(const std::string& path,
                                                               OperatorTargets targets,
                                                               OperatorServerOptions options = {});
  OperatorServer() = default;
  OperatorServer(const OperatorServer&) = delete;
  OperatorServer& operator=(const OperatorServer&) = delete;
  virtual ~OperatorServer() = default;
};

struct OwnerOptions {
  // For connecting, and for each call.
  absl::Duration timeout = absl::Seconds(30);
  std::shared_ptr<Executor> executor = SystemExecutor();
};

struct StoreOwner {
  pid_t process = 0;
  // The owner's, called through the socket. By the contract of executor.h: kUnknown when a change
  // was sent and no answer came. Safe for concurrent use.
  std::unique_ptr<StoreOperations> operations;
  // What takes long runs on at the owner when its caller gives up here.
  std::unique_ptr<StoreMaintenance> maintenance;
  // kUnimplemented, where the owner has none. MeasureBytes() is not served.
  std::unique_ptr<OutgoingOperations> outgoing;
};

// Greets the owner at `path`. kNotFound: no socket; kUnavailable: nobody listens any more, so the
// owner is dead; kDeadlineExceeded: it does not answer; kPermissionDenied: it is another user's;
// kFailedPrecondition: it speaks another version.
absl::StatusOr<StoreOwner> ConnectToOwner(const std::string& path, OwnerOptions options = {});

}  // namespace once
