// The scopes that ids of the store were claimed under, kept in the server, so that an operator who
// knows nothing but an id finds it without looking at every key. A hint: whoever does not find a
// scope here may still have to look. (A server that lost its data lost scopes too.)
// Thread-safety: safe for concurrent use.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/cluster.h"

namespace once::redis {

// More of them, and longer ones, are not written down.
inline constexpr std::size_t kNotedScopesMax = 1000;
inline constexpr std::size_t kNotedScopeBytesMax = 512;

class ScopeBook {
 public:
  // REQUIRES: `cluster` outlives it.
  ScopeBook(Cluster& cluster, const std::string& key_prefix);

  // Before an id of `scope` is claimed. Writes it down once, and again after something changed:
  // then it is only tried, for what claims need is elsewhere.
  absl::Status Note(std::string_view scope);

  absl::StatusOr<std::vector<std::string>> Read();

 private:
  Cluster& cluster_;
  const std::string key_;
  std::mutex mutex_;
  std::uint64_t changes_ = 0;  // as many as there were when `noted_` was begun
  std::set<std::string, std::less<>> noted_;
  std::set<std::string, std::less<>> stale_;  // were noted before that
  // Of a stale one; the last one failed.
  std::chrono::steady_clock::time_point next_try_ = {};
};

}  // namespace once::redis
