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
      FetchNext();
    }
  }
  if (taken == nullptr) return std::make_shared<PendingSend>();
  taken->Renew();
  return taken;
}

// Those that are taken next are cold.
void SpentSends::FetchNext() const {
  const std::size_t count = sends_.size();
  if (count >= kFetchedAhead) PrefetchCookie(sends_[count - kFetchedAhead].get());
}

void SpentSends::Keep(std::vector<std::shared_ptr<PendingSend>>& told) {
  // Of one that is late the client may still send what it holds.
  const auto is_late = [](const PendingSend& one) {
    return one.place == PendingSend::Place::kLate;
  };
  for (const std::shared_ptr<PendingSend>& one : told) {
    if (!is_late(*one)) one->DropMessage();
  }
  {
    const std::lock_guard lock(mutex_);
    for (std::shared_ptr<PendingSend>& one : told) {
      if (one->has_ticket() || is_late(*one)) continue;
      if (sends_.size() >= messages_max_) break;
      sends_.push_back(std::move(one));
    }
  }
  for (std::shared_ptr<PendingSend>& one : told) one = nullptr;
}

void SpentSends::Clear() {
  std::vector<std::shared_ptr<PendingSend>> cleared;
  const std::lock_guard lock(mutex_);
  cleared.swap(sends_);
}

bool SpentSends::TakeUse() {
  const std::lock_guard lock(mutex_);
  return std::exchange(is_used_, false);
}

}  // namespace once
