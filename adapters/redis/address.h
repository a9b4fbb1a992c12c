// Where a Redis server is, parsed from a URL. Pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace once::redis {

struct ServerAddress {
  std::string host;  // name or number; empty: a socket
  int port = 6379;
  std::string socket_path;  // empty: TCP
  bool is_tls = false;
  int database = 0;
  std::string user;
  std::string password;

  // "redis://host:6379/0": for messages, so without user and password.
  std::string Describe() const;
};

// kInvalidArgument, without quoting the URL: it may hold a password.
absl::StatusOr<ServerAddress> ParseUrl(std::string_view url);

}  // namespace once::redis
