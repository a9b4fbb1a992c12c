// Claim stores with one bug each: the in-memory store behind a wrapper that gets one thing wrong,
// as others have got it wrong. For the test that the conformance suite notices each of them.
// Thread-safety: safe for concurrent use.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "once/dedup_store.h"

namespace once {

// Passes everything on. A bug overrides what it gets wrong.
class ClaimsWrapper : public ClaimStore {
 public:
  explicit ClaimsWrapper(DedupStore& inner) : inner_(inner) {}

  Fence NewFence() override { return claims().NewFence(); }
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    return claims().TryClaim(requests, lease, results);
  }
  absl::Status Begun(std::span<const Claim> held, std::span<absl::Status> outcomes) override {
    return claims().Begun(held, outcomes);
  }
  absl::Status Renew(std::span<const Claim> held, absl::Duration lease,
                     std::span<absl::Status> outcomes) override {
    return claims().Renew(held, lease, outcomes);
  }
  absl::Status Complete(std::span<const CompletedClaim> completed,
                        std::span<absl::Status> outcomes) override {
    return claims().Complete(completed, outcomes);
  }
  absl::Status Fail(std::span<const FailedClaim> failed,
                    std::span<absl::Status> outcomes) override {
    return claims().Fail(failed, outcomes);
  }
  absl::Status Dying(std::span<const DyingClaim> dying, std::span<absl::Status> outcomes) override {
    return claims().Dying(dying, outcomes);
  }
  absl::Status Kill(std::span<const Claim> held, std::span<absl::Status> outcomes) override {
    return claims().Kill(held, outcomes);
  }
  absl::Status Discard(std::span<const Claim> held, std::span<absl::Status> outcomes) override {
    return claims().Discard(held, outcomes);
  }
  absl::Status Release(std::span<const Claim> held, std::span<absl::Status> outcomes) override {
    return claims().Release(held, outcomes);
  }
  absl::Status Sync() override { return claims().Sync(); }

 protected:
  DedupStore& inner() { return inner_; }
  ClaimStore& claims() { return *inner_.claims(); }

 private:
  DedupStore& inner_;
};

struct ClaimsBug {
  std::string name;
  std::unique_ptr<ClaimStore> (*plant)(DedupStore& inner);
};

// The first one is no bug: a wrapper that passes everything on.
std::vector<ClaimsBug> PlantedClaimsBugs();

}  // namespace once
