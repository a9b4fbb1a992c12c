// A KeyWalk visits keys of the server that fit a pattern, a page at a time: no page holds the
// server up, and none is larger than a reply may be. A key that is there all the time is visited at
// least once; one that comes or goes meanwhile perhaps.
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/server.h"

namespace once::redis {

class KeyWalk {
 public:
  // REQUIRES: `server` outlives it.
  KeyWalk(Server& server, std::string pattern);

  // Until is_over(). A page may be empty. kUnavailable: the server was replaced in between, and the
  // walk must begin anew.
  absl::StatusOr<std::vector<std::string>> NextPage();
  bool is_over() const { return is_over_; }
  // About so many keys of the server, of anybody's, were passed.
  std::int64_t passed() const { return passed_; }

 private:
  Server& server_;
  const std::string pattern_;
  std::uint64_t losses_ = 0;  // of the server when the walk began
  std::string cursor_ = "0";
  std::int64_t passed_ = 0;
  bool is_over_ = false;
};

}  // namespace once::redis
