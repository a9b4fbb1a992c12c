// A Turnstile lets one user at a time through, in the order in which they came, and nobody waits
// longer than they said. Fair on purpose: a worker that begins its next transaction right after its
// last one would otherwise keep the relay out for ever.
// Thread-safety: safe for concurrent use.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

#include "absl/time/time.h"

namespace once::stores {

class Turnstile {
 public:
  // True when it is our turn; then Leave() follows. False when it was not within `timeout`.
  bool Enter(absl::Duration timeout);
  void Leave();

  // How many are in Enter() at this moment.
  std::size_t CountWaiting() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool is_taken_ = false;
  std::uint64_t last_ticket_ = 0;
  std::deque<std::uint64_t> waiting_;
};

}  // namespace once::stores
