// A private redis-server for tests, in a scratch folder, on a socket there. It dies with this
// process, however that ends. ONCE_REDIS_SERVER names the program; otherwise it is looked for on
// PATH. Without one all tests of the adapter skip, or fail where CI=true.
// Thread-safety: one thread at a time.
#pragma once

#include <sys/types.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/reply.h"
#include "tests/scratch_folder.h"

namespace once::redis::testing {

class RedisServer {
 public:
  // `settings` are those of the command line, without their dashes: {"appendfsync everysec"}. What
  // is not said: append-only file, synced always. Throws std::runtime_error.
  explicit RedisServer(std::vector<std::string> settings = {});
  ~RedisServer() { Kill(); }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  // Returns when it serves. Its data are those that it was left with.
  void Start();
  // kill -9: nothing is written any more.
  void Kill();
  // It hangs, its connections open, …
  void Stop() const;
  // … and goes on.
  void Continue() const;

  std::string socket_path() const { return folder_.File("s"); }
  std::string url() const { return "unix:" + socket_path(); }
  std::string File(std::string_view name) const { return folder_.File(name); }

  // Of an operator, beside the store. Throws where the server does not answer.
  Reply Ask(std::initializer_list<std::string_view> command) const;

 private:
  once::testing::ScratchFolder folder_;
  const std::vector<std::string> settings_;
  pid_t pid_ = 0;
};

// Why this machine has no server; empty: it has.
std::string WhyNoServer();

// The one that tests share which leave it as it is; they use prefixes of their own.
RedisServer& SharedServer();
// A key_prefix that nobody else uses in this process.
std::string NewPrefix();

}  // namespace once::redis::testing
