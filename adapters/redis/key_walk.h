// A KeyWalk visits keys of all servers that fit a pattern, a page at a time: no page holds a server
// up, and none is larger than a reply may be. A key that is there all the time, at one server, is
// visited at least once; one that comes, goes or moves meanwhile perhaps.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/cluster.h"

namespace once::redis {

class KeyWalk {
 public:
  // REQUIRES: `cluster` outlives it.
  KeyWalk(Cluster& cluster, std::string pattern);

  // Until is_over(). A page may be empty. kUnavailable: a server was replaced in between, or slots
  // have moved, and the walk must begin anew.
  absl::StatusOr<std::vector<std::string>> NextPage();
  // Whose page that is. REQUIRES: !is_over().
  Server& server() const { return *servers_[at_]; }
  bool is_over() const { return at_ == servers_.size(); }
  // About so many keys, of anybody's, were passed.
  std::int64_t passed() const { return passed_; }

 private:
  Cluster& cluster_;
  const std::string pattern_;
  const std::uint64_t changes_;  // of the cluster when the walk began
  const std::vector<Server*> servers_;
  std::size_t at_ = 0;  // of `servers_`
  std::string cursor_ = "0";
  std::int64_t passed_ = 0;
};

}  // namespace once::redis
