// Binding beside the final name and renaming, so that a socket appears whole or not at all.
#include "src/operator/local_socket.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/message_id.h"

namespace once::operators {
namespace {

// Clients that wait to be accepted.
constexpr int kBacklog = 16;

absl::Status SystemError(int error, std::string_view operation, const std::string& path) {
  const std::string text =
      absl::StrCat("operators' socket: ", ToAbsl(operation), " ", path, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case EAGAIN:  // of connect: more clients wait than may
      return absl::DeadlineExceededError(text);
    default:
      return absl::UnavailableError(text);
  }
}

// "/proc/self/fd/7" or "/proc/self/fd/7/name": always short enough.
struct sockaddr_un AddressOf(const Descriptor& handle, const std::string& name) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = absl::StrCat("/proc/self/fd/", handle.number(), name);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

template <typename Call>
int CallWithAddress(const struct sockaddr_un& address, Call call) {
  return call(reinterpret_cast<const struct sockaddr*>(&address),
              static_cast<socklen_t>(sizeof address));
}

absl::StatusOr<Descriptor> NewSocket(const std::string& path) {
  Descriptor made(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.is_open()) return SystemError(errno, "make", path);
  return made;
}

// Of a fixed length, and no other socket's: two stores of one folder may begin at once.
std::string TemporaryName(const std::string& name) {
  const Fingerprint hash = Fingerprint::Of(name);
  return absl::StrCat(".once-", absl::Hex(hash.high, absl::kZeroPad16),
                      absl::Hex(hash.low, absl::kZeroPad16));
}

}  // namespace

Descriptor::Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

absl::StatusOr<SocketPlace> FindPlace(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
  SocketPlace place{.folder = Descriptor(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
                    .name = slash == std::string::npos ? path : path.substr(slash + 1),
                    .path = path};
  if (!place.folder.is_open()) return SystemError(errno, "open the folder of", path);
  if (place.name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("operators' socket: \"", path, "\" names no file"));
  }
  return place;
}

absl::StatusOr<Descriptor> ListenAt(const SocketPlace& place) {
  absl::StatusOr<Descriptor> listener = NewSocket(place.path);
  if (!listener.ok()) return listener;
  const std::string name = TemporaryName(place.name);
  const int folder = place.folder.number();
  ::unlinkat(folder, name.c_str(), 0);  // of a process that died in the middle of this
  const struct sockaddr_un address = AddressOf(place.folder, absl::StrCat("/", name));
  const int bound = CallWithAddress(address, [&](const struct sockaddr* to, socklen_t size) {
    return ::bind(listener->number(), to, size);
  });
  if (bound != 0) return SystemError(errno, "bind", place.path);
  absl::Status listening;
  if (::fchmodat(folder, name.c_str(), S_IRUSR | S_IWUSR, 0) != 0) {
    listening = SystemError(errno, "protect", place.path);
  } else if (::listen(listener->number(), kBacklog) != 0) {
    listening = SystemError(errno, "listen at", place.path);
  } else if (::renameat(folder, name.c_str(), folder, place.name.c_str()) != 0) {
    listening = SystemError(errno, "name", place.path);
  }
  if (listening.ok()) return listener;
  ::unlinkat(folder, name.c_str(), 0);
  return listening;
}

absl::StatusOr<Descriptor> ConnectTo(const SocketPlace& place) {
  const Descriptor target(
      ::openat(place.folder.number(), place.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!target.is_open()) return SystemError(errno, "find", place.path);
  struct stat status = {};
  if (::fstat(target.number(), &status) != 0) return SystemError(errno, "look at", place.path);
  if (!S_ISSOCK(status.st_mode)) {
    return absl::FailedPreconditionError(
        absl::StrCat("operators' socket: ", place.path, " is no socket; move it away"));
  }
  absl::StatusOr<Descriptor> connection = NewSocket(place.path);
  if (!connection.ok()) return connection;
  const struct sockaddr_un address = AddressOf(target, "");
  const int connected = CallWithAddress(address, [&](const struct sockaddr* to, socklen_t size) {
    return ::connect(connection->number(), to, size);
  });
  if (connected != 0) return SystemError(errno, "connect to", place.path);
  return connection;
}

absl::StatusOr<Peer> FindPeer(const Descriptor& connection) {
  struct ucred credentials = {};
  socklen_t size = sizeof credentials;
  if (::getsockopt(connection.number(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return SystemError(errno, "ask who is at the other end of", "it");
  }
  return Peer{.process = credentials.pid, .user = credentials.uid};
}

absl::Status CheckSameUser(uid_t user, const std::string& whose) {
  if (user == ::geteuid()) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("operators' socket: ", whose, " is user ", user,
                                                  ", and this process is user ", ::geteuid(),
                                                  "; run the command as the store owner's user"));
}

}  // namespace once::operators
