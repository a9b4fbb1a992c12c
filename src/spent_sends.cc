// A list of objects that are used again.
#include "src/spent_sends.h"

#include <utility>

namespace once {
namespace {

constexpr std::size_t kFetchedAhead = 3;

}  // namespace

std::shared_ptr<PendingSend> SpentSends::Take() {
  std::shared_ptr<PendingSend> taken;
  {
    const std::lock_guard lock(mutex_);
    is_used_ = true;
    if (!sends_.empty()) {
      taken = std::move(sends_.back());
      sends_.pop_back();
      bytes_ -= taken->bytes;
      FetchNext();
    }
  }
  if (taken == nullptr) return std::make_shared<PendingSend>();
  taken->Renew();
  return taken;
}

// Those that are taken next are cold: the objects a little earlier than what they point at.
void SpentSends::FetchNext() const {
  const std::size_t count = sends_.size();
  if (count >= kFetchedAhead) PrefetchCookie(sends_[count - kFetchedAhead].get());
  if (count >= 1) sends_[count - 1]->PrefetchBytes();
}

void SpentSends::Keep(std::vector<std::shared_ptr<PendingSend>>& told) {
  {
    const std::lock_guard lock(mutex_);
    for (std::shared_ptr<PendingSend>& one : told) {
      if (one->has_ticket() || one->place == PendingSend::Place::kLate) continue;
      if (sends_.size() >= messages_max_ || bytes_ + one->bytes > bytes_max_) break;
      bytes_ += one->bytes;
      sends_.push_back(std::move(one));
    }
  }
  for (std::shared_ptr<PendingSend>& one : told) {
    if (one == nullptr) continue;
    one->DropValue();
    one = nullptr;
  }
}

void SpentSends::Clear() {
  std::vector<std::shared_ptr<PendingSend>> cleared;
  const std::lock_guard lock(mutex_);
  cleared.swap(sends_);
  bytes_ = 0;
}

bool SpentSends::TakeUse() {
  const std::lock_guard lock(mutex_);
  return std::exchange(is_used_, false);
}

}  // namespace once
