// Errands are commands on their way to the owners of their keys: where a key has moved its command
// follows, once or for good; a script that a server does not know is loaded first.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "adapters/redis/masters.h"
#include "adapters/redis/reply.h"
#include "adapters/redis/scripts.h"
#include "adapters/redis/server.h"

namespace once::redis {

struct Errand {
  std::string_view bytes;  // EncodeCommand; outlives the errand
  int slot = 0;
  // Said right behind it wherever that goes, on the same connection; empty: nothing.
  std::string_view next = {};

  // What has become of it.
  bool is_done = false;
  Reply reply = {};  // when it is not done, an error that says why
  Server* answered_by = nullptr;
  std::uint64_t generation = 0;  // of that server, then
  Reply next_reply = {};
  // How it goes on.
  Server* asked_once = nullptr;  // not the slot's owner, this time
  bool needs_script = false;
};

struct Load {
  const Script* script = nullptr;  // that the commands run; null: none
  bool are_words = false;          // of owners, to be synced
};

// Until each has a reply, which may be an error; an error too where nobody can be found in time who
// would do it. kUnavailable: none was done; kUnknown: some may have been.
// Thread-safety: safe for concurrent use.
absl::Status Carry(Masters& masters, std::span<Errand> errands, const Load& load);

}  // namespace once::redis
