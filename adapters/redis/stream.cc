// Sockets that never block: every wait is a poll() with what is left of the deadline.
#include "adapters/redis/stream.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

std::string ErrorText(int error) { return std::system_category().message(error); }

// Milliseconds for poll(), rounded up so that nobody spins through the last one.
int MillisecondsLeft(Deadline deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
}

bool HasPassed(Deadline deadline) { return std::chrono::steady_clock::now() >= deadline; }

class SocketStream final : public Stream {
 public:
  explicit SocketStream(int socket) : socket_(socket) {}
  ~SocketStream() override { close(socket_); }
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;

  absl::Status Send(std::string_view bytes, Deadline deadline) override {
    std::size_t sent = 0;
    const auto fail = [&sent](std::string_view reason) {
      const auto code = sent == 0 ? absl::StatusCode::kUnavailable : absl::StatusCode::kUnknown;
      return absl::Status(code, absl::StrCat("sending: ", ToAbsl(reason)));
    };
    while (sent < bytes.size()) {
      const ssize_t size = send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (size > 0) {
        sent += static_cast<std::size_t>(size);
      } else if (errno == EAGAIN) {
        if (!Wait(POLLOUT, deadline)) return fail("no progress in time");
      } else if (errno != EINTR) {
        return fail(ErrorText(errno));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::size_t> Receive(std::span<char> into, Deadline deadline) override {
    while (true) {
      const ssize_t size = recv(socket_, into.data(), into.size(), 0);
      if (size >= 0) return static_cast<std::size_t>(size);
      if (errno == EAGAIN) {
        if (!Wait(POLLIN, deadline)) return absl::UnavailableError("no answer in time");
      } else if (errno != EINTR) {
        return absl::UnavailableError(absl::StrCat("receiving: ", ErrorText(errno)));
      }
    }
  }

  bool IsQuiet() override {
    pollfd ready = {.fd = socket_, .events = POLLIN, .revents = 0};
    return poll(&ready, 1, 0) == 0;
  }

  // False when the deadline passes first.
  bool Wait(short events, Deadline deadline) const {
    while (true) {
      pollfd ready = {.fd = socket_, .events = events, .revents = 0};
      if (poll(&ready, 1, MillisecondsLeft(deadline)) > 0) return true;
      if (HasPassed(deadline)) return false;
    }
  }

  // OK when the connect() that was begun has succeeded.
  absl::Status FinishConnect(Deadline deadline) const {
    if (!Wait(POLLOUT, deadline)) return absl::UnavailableError("no answer in time");
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size);
    return error == 0 ? absl::OkStatus() : absl::UnavailableError(ErrorText(error));
  }

 private:
  const int socket_;
};

absl::StatusOr<std::unique_ptr<Stream>> ConnectTo(const sockaddr* address, socklen_t size,
                                                  Deadline deadline) {
  const int made = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) return absl::UnavailableError(absl::StrCat("socket: ", ErrorText(errno)));
  auto stream = std::make_unique<SocketStream>(made);
  if (address->sa_family != AF_UNIX) {
    const int on = 1;
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // A peer that vanished without a word is noticed also while nothing is asked of it.
    setsockopt(made, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  if (connect(made, address, size) != 0) {
    if (errno != EINPROGRESS) return absl::UnavailableError(ErrorText(errno));
    if (absl::Status done = stream->FinishConnect(deadline); !done.ok()) return done;
  }
  return stream;
}

absl::StatusOr<std::unique_ptr<Stream>> ConnectUnix(const std::string& path, Deadline deadline) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError("the path of the socket is too long for the system");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return ConnectTo(reinterpret_cast<const sockaddr*>(&address), sizeof address, deadline);
}

absl::StatusOr<std::unique_ptr<Stream>> ConnectTcp(const std::string& host, int port,
                                                   Deadline deadline) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string service = absl::StrCat(port);
  if (const int error = getaddrinfo(host.c_str(), service.c_str(), &hints, &found); error != 0) {
    return absl::UnavailableError(absl::StrCat("looking the host up: ", gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  absl::Status failure = absl::UnavailableError("the host has no address");
  for (const addrinfo* each = addresses.get(); each != nullptr; each = each->ai_next) {
    auto stream = ConnectTo(each->ai_addr, each->ai_addrlen, deadline);
    if (stream.ok()) return stream;
    failure = stream.status();
  }
  return failure;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Stream>> ConnectSocket(const ServerAddress& address,
                                                      Deadline deadline) {
  if (!address.socket_path.empty()) return ConnectUnix(address.socket_path, deadline);
  return ConnectTcp(address.host, address.port, deadline);
}

}  // namespace once::redis
