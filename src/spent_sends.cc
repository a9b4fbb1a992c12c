// A list of objects that are used again.
#include "src/spent_sends.h"

#include <utility>

namespace once {
namespace {

constexpr std::size_t kSpentMax = 10'000;
constexpr std::size_t kSpentBytesMax = 4 * 1024 * 1024;

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
    }
  }
  if (taken == nullptr) return std::make_shared<PendingSend>();
  taken->Renew();
  return taken;
}

void SpentSends::Keep(std::vector<std::shared_ptr<PendingSend>>& told) {
  {
    const std::lock_guard lock(mutex_);
    for (std::shared_ptr<PendingSend>& one : told) {
      if (one->has_ticket() || one->place == PendingSend::Place::kLate) continue;
      if (sends_.size() >= kSpentMax || bytes_ + one->bytes > kSpentBytesMax) break;
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
