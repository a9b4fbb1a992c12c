// Sockets of the file system, for servers and clients that tests play themselves.
// Thread-safety: safe for concurrent use.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace once::postgres::testing {

// Where libpq looks for a server of the usual port.
inline std::string SocketIn(const std::string& folder) { return folder + "/.s.PGSQL.5432"; }

inline sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) throw std::runtime_error(path + " is too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// A socket that listens at `path`, and is the caller's to close.
inline int ListenAt(const std::string& path) {
  const sockaddr_un address = AddressOf(path);
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  constexpr int kWaiting = 16;
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      listen(listener, kWaiting) == 0) {
    return listener;
  }
  close(listener);
  throw std::runtime_error("nobody can listen at " + path);
}

// A socket that is connected to `path`, and is the caller's to close; -1: nobody listens there.
inline int ConnectTo(const std::string& path) {
  const sockaddr_un address = AddressOf(path);
  const int connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(connected, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return connected;
  }
  close(connected);
  return -1;
}

// False: the other side is gone.
inline bool SendAll(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace once::postgres::testing
