// A claim store in a Redis server, or in a Redis Cluster: who works on an id now, and what became
// of it. Several consumers in several processes may share it.
//
//   auto store = once::redis::OpenStore({.url = "redis://localhost:6379/0"});
//
// For plain handlers and Wrap() only: Redis has no transaction that could cover a handler's effect,
// and a failover may take back what it has answered. It spares repeated work; it is never the guard
// of an effect that must not happen twice. adapters/redis/README.md says what is lost when.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"

namespace once::redis {

// When the server syncs its append-only file, by the names of its setting `appendfsync`.
enum class AppendFsync : std::uint8_t { kAlways, kEverySecond, kNever };

struct StoreOptions {
  // redis://[user:password@]host[:port][/database], rediss://… for TLS, or
  // unix:/path/of/socket[?database=n]. Escape what is special in a URL by %xx. Any node of a
  // cluster leads to all of it.
  std::string url;
  // Those of the URL when empty. An empty user is the server's `default`.
  std::string user = {};
  std::string password = {};
  // In front of every key of this store; stores of different prefixes know nothing of each other.
  std::string key_prefix = "once:";
  // How long a completed or discarded id is remembered after that; a copy that comes later is
  // handled again. Anything else is kept until it is settled. Infinite: for ever.
  absl::Duration retention = absl::InfiniteDuration();
  // For one call, its connection included; then kUnavailable, or kUnknown where the server may have
  // heard of it.
  absl::Duration call_timeout = absl::Seconds(5);
  // Calls at the same time to one server; more of them wait for each other.
  int connections_max = 4;
  // How often the server is asked whether it is still the same and set as before; also with every
  // new connection. Asked along with calls: a store that nobody uses asks nothing.
  absl::Duration inspection_interval = absl::Seconds(10);
  // kNotFound instead of a new store. Set it once the store is in service.
  bool must_exist = false;

  // TLS: the server's certificate must be valid for the URL's host, by these authorities or, when
  // empty, the system's; in a cluster each node's, for the host that it announces. A certificate of
  // one's own where the server asks for one.
  std::string tls_ca_file = {};
  std::string tls_certificate_file = {};
  std::string tls_key_file = {};
  bool is_tls_verified = true;  // false: anybody may answer in the server's place

  // Opens a server whose maxmemory-policy may evict claims. The guarantee falls to at-least-once.
  bool accept_eviction = false;
  // What the server's `appendfsync` is, where its users may not ask (CONFIG GET is forbidden).
  std::optional<AppendFsync> appendfsync = std::nullopt;
  // Added to the server's clock, on which leases and delays run. For tests. Null: nothing.
  std::function<absl::Duration()> clock_skew = nullptr;
};

// kInvalidArgument: options; kUnavailable: no server, or it is a replica or still loading;
// kPermissionDenied: user, password, rights, or a certificate that is not the server's;
// kFailedPrecondition: maxmemory-policy is not noeviction, too old a server, a newer format;
// kNotFound: no store there and must_exist. Every message names the server and the way out.
// Thread-safety: as DedupStore says. Do not use the store in a forked child.
absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(StoreOptions options);

}  // namespace once::redis
