// First come, first served, by tickets.
#include "src/stores/turnstile.h"

#include <algorithm>
#include <cassert>

namespace once::stores {

bool Turnstile::Enter(absl::Duration timeout) {
  std::unique_lock lock(mutex_);
  const std::uint64_t ticket = ++last_ticket_;
  waiting_.push_back(ticket);
  const bool is_our_turn = changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout), [&] {
    return !is_taken_ && waiting_.front() == ticket;
  });
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), ticket));
  if (is_our_turn) {
    is_taken_ = true;
  } else {
    changed_.notify_all();  // whoever is behind us may be first now
  }
  return is_our_turn;
}

void Turnstile::Leave() {
  {
    std::lock_guard lock(mutex_);
    assert(is_taken_);
    is_taken_ = false;
  }
  changed_.notify_all();
}

std::size_t Turnstile::CountWaiting() const {
  std::lock_guard lock(mutex_);
  return waiting_.size();
}

}  // namespace once::stores
