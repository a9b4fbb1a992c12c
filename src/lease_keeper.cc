// The task that renews leases.
#include "src/lease_keeper.h"

#include <set>
#include <string_view>

namespace once {
namespace {

// Two renewals may fail before a lease ends.
constexpr int kRenewalsPerLease = 3;

// Below it, three renewals are too close together to tell a stalled process from a busy one.
constexpr absl::Duration kLeaseMin = absl::Seconds(1);
// After a crash nobody waits longer than that for a message on a shared store.
constexpr absl::Duration kLeaseMax = absl::Hours(24);

}  // namespace

absl::Status ValidateLease(absl::Duration lease) {
  if (lease >= kLeaseMin && lease <= kLeaseMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "must be between a second and a day; it is renewed while the work lasts, so it need not be "
      "longer than that");
}

LeaseKeeper::LeaseKeeper(const LeaseKeeperOptions& options)
    : options_(options), wake_(options.executor.NewEvent()) {}

void LeaseKeeper::Start() {
  task_ = options_.executor.Spawn("once-leases", [this] { RunTask(); });
}

void LeaseKeeper::Stop() {
  is_stopping_ = true;
  wake_->Set();
  task_.reset();
}

LeaseKeeper::Hold LeaseKeeper::Keep(const Claim& claim) {
  bool is_first = false;
  {
    const std::lock_guard lock(mutex_);
    is_first = kept_.empty();
    kept_[claim.fence.counter] = {.scope = std::string(claim.key.scope),
                                  .id = std::string(claim.key.id),
                                  .fence = claim.fence};
  }
  if (is_first && task_ != nullptr) wake_->Set();
  return {*this, claim.fence.counter};
}

void LeaseKeeper::Watch(const Fence& fence, std::stop_source lost) {
  const std::lock_guard lock(mutex_);
  const auto kept = kept_.find(fence.counter);
  if (kept != kept_.end()) kept->second.lost = std::move(lost);
}

void LeaseKeeper::Forget(std::uint64_t counter) {
  const std::lock_guard lock(mutex_);
  kept_.erase(counter);
}

void LeaseKeeper::RunTask() {
  while (!is_stopping_) {
    bool is_idle = false;
    {
      const std::lock_guard lock(mutex_);
      is_idle = kept_.empty();
    }
    const absl::Time next = is_idle ? absl::InfiniteFuture()
                                    : options_.executor.Now() + options_.lease / kRenewalsPerLease;
    const bool is_woken = wake_->WaitUntil(next);
    if (is_stopping_) return;
    // Woken: the first claim is kept, and fresh. Not woken without a deadline: the process is to be
    // taken for dead.
    if (!is_woken && is_idle) return;
    if (!is_woken) RenewAll();
  }
}

void LeaseKeeper::RenewAll() {
  std::vector<Kept> kept;
  {
    const std::lock_guard lock(mutex_);
    kept.reserve(kept_.size());
    // The newest claim of an id only: an older one was lost, and its owner has yet to find out.
    std::set<std::pair<std::string_view, std::string_view>> ids;
    for (auto it = kept_.rbegin(); it != kept_.rend(); ++it) {
      if (ids.emplace(it->second.scope, it->second.id).second) kept.push_back(it->second);
    }
  }
  if (kept.empty()) return;
  std::vector<Claim> claims;
  claims.reserve(kept.size());
  for (const Kept& claim : kept) {
    claims.push_back({.key = {.scope = claim.scope, .id = claim.id}, .fence = claim.fence});
  }
  std::vector<absl::Status> outcomes(claims.size());
  const absl::Status renewed = options_.store.Renew(claims, options_.lease, outcomes);
  if (renewed.ok()) {
    TellLost(claims, outcomes);
    return;
  }
  options_.log.Log(
      {.level = LogLevel::kWarning,
       .time = options_.executor.Now(),
       .action = "leases_not_renewed",
       .message = std::to_string(claims.size()) +
                  " claims could not be renewed, will be tried again: " + renewed.ToString()});
}

void LeaseKeeper::TellLost(std::span<const Claim> claims, std::span<const absl::Status> outcomes) {
  std::vector<std::stop_source> lost;
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < claims.size(); ++i) {
      if (outcomes[i].ok()) continue;
      const auto kept = kept_.find(claims[i].fence.counter);
      if (kept != kept_.end()) lost.push_back(kept->second.lost);
    }
  }
  for (std::stop_source& source : lost) source.request_stop();
}

}  // namespace once
