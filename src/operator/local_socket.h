// Unix domain sockets at paths of any length. The address of a socket has room for 108 bytes only;
// what does not fit is reached through the handle of its folder, or of the socket itself, below
// /proc/self/fd.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace once::operators {

// A file descriptor that is closed with the object.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();

  int number() const { return number_; }
  bool is_open() const { return number_ >= 0; }

 private:
  int number_ = -1;
};

// Where a socket lies: a handle of its folder, and its name there.
struct SocketPlace {
  Descriptor folder;
  std::string name;
  std::string path;  // for messages
};

absl::StatusOr<SocketPlace> FindPlace(const std::string& path);

// Listens at `place` with mode 0600, atomically in place of whatever was there: until then a client
// meets the former socket, from then on one that answers. Not blocking.
absl::StatusOr<Descriptor> ListenAt(const SocketPlace& place);

// kNotFound: nothing is there; kUnavailable: nobody listens; kDeadlineExceeded: somebody listens
// and accepts nobody; kFailedPrecondition: it is no socket. Not blocking.
absl::StatusOr<Descriptor> ConnectTo(const SocketPlace& place);

// Who is at the other end, as the kernel says.
struct Peer {
  pid_t process = 0;
  uid_t user = 0;
};
absl::StatusOr<Peer> FindPeer(const Descriptor& connection);

// OK when `user` is the one this process acts for.
absl::Status CheckSameUser(uid_t user, const std::string& whose);

}  // namespace once::operators
