// FaultyClaims: a claim store whose answers a test chooses, call by call, over a real one. It
// writes down what was asked of it: "try a b", "begun a", "complete a", "sync", …
//
// Thread-safety: safe for concurrent use; calls() only while nothing runs.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "once/dedup_store.h"

namespace once {

enum class ClaimFate {
  kHappens,
  kRefused,        // kUnavailable, not applied
  kUnknownDone,    // kUnknown, applied
  kUnknownUndone,  // kUnknown, not applied
};

class FaultyClaims : public ClaimStore {
 public:
  explicit FaultyClaims(ClaimStore& inner) : inner_(inner) {}

  // The next calls of that name ("try", "begun", "renew", "complete", "fail", "dying", "kill",
  // "discard", "release", "sync") go as `fates` say, then well again.
  void Script(const std::string& name, std::vector<ClaimFate> fates) {
    const std::lock_guard lock(mutex_);
    fates_[name].insert(fates_[name].end(), fates.begin(), fates.end());
  }
  const std::vector<std::string>& calls() const { return calls_; }
  void ForgetCalls() { calls_.clear(); }
  void Note(std::string call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
  }

  Fence NewFence() override { return inner_.NewFence(); }

  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    std::string call = "try";
    for (const ClaimRequest& request : requests) call.append(" ").append(request.key.id);
    Note(std::move(call));
    return Play("try", [&] { return inner_.TryClaim(requests, lease, results); });
  }
  absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Pass("begun", claims, [&] { return inner_.Begun(claims, outcomes); });
  }
  absl::Status Renew(std::span<const Claim> claims, absl::Duration lease,
                     std::span<absl::Status> outcomes) override {
    return Pass("renew", claims, [&] { return inner_.Renew(claims, lease, outcomes); });
  }
  absl::Status Complete(std::span<const CompletedClaim> claims,
                        std::span<absl::Status> outcomes) override {
    return Pass("complete", claims, [&] { return inner_.Complete(claims, outcomes); });
  }
  absl::Status Fail(std::span<const FailedClaim> claims,
                    std::span<absl::Status> outcomes) override {
    return Pass("fail", claims, [&] { return inner_.Fail(claims, outcomes); });
  }
  absl::Status Dying(std::span<const DyingClaim> claims,
                     std::span<absl::Status> outcomes) override {
    return Pass("dying", claims, [&] { return inner_.Dying(claims, outcomes); });
  }
  absl::Status Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Pass("kill", claims, [&] { return inner_.Kill(claims, outcomes); });
  }
  absl::Status Discard(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Pass("discard", claims, [&] { return inner_.Discard(claims, outcomes); });
  }
  absl::Status Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    return Pass("release", claims, [&] { return inner_.Release(claims, outcomes); });
  }
  absl::Status Sync() override {
    Note("sync");
    return Play("sync", [&] { return inner_.Sync(); });
  }

 private:
  static std::string_view IdOf(const Claim& claim) { return claim.key.id; }
  template <typename C>
  static std::string_view IdOf(const C& claim) {
    return claim.claim.key.id;
  }

  template <typename C, typename F>
  absl::Status Pass(const std::string& name, std::span<const C> claims, F apply) {
    std::string call = name;
    for (const C& claim : claims) call.append(" ").append(IdOf(claim));
    Note(std::move(call));
    return Play(name, apply);
  }

  template <typename F>
  absl::Status Play(const std::string& name, F apply) {
    switch (NextFate(name)) {
      case ClaimFate::kRefused:
        return absl::UnavailableError("the store is not reachable");
      case ClaimFate::kUnknownUndone:
        return absl::UnknownError("connection lost");
      case ClaimFate::kUnknownDone:
        apply().IgnoreError();
        return absl::UnknownError("connection lost");
      case ClaimFate::kHappens:
        break;
    }
    return apply();
  }

  ClaimFate NextFate(const std::string& name) {
    const std::lock_guard lock(mutex_);
    std::deque<ClaimFate>& fates = fates_[name];
    if (fates.empty()) return ClaimFate::kHappens;
    const ClaimFate fate = fates.front();
    fates.pop_front();
    return fate;
  }

  ClaimStore& inner_;
  std::mutex mutex_;
  std::map<std::string, std::deque<ClaimFate>> fates_;
  std::vector<std::string> calls_;
};

// A store that offers nothing but those claims.
class ClaimsOnlyStore : public DedupStore {
 public:
  explicit ClaimsOnlyStore(std::shared_ptr<DedupStore> inner)
      : inner_(std::move(inner)), claims_(*inner_->claims()) {}

  StoreTraits traits() const override { return inner_->traits(); }
  ClaimStore* claims() override { return &claims_; }
  FaultyClaims& faulty() { return claims_; }

 private:
  const std::shared_ptr<DedupStore> inner_;
  FaultyClaims claims_;
};

}  // namespace once
