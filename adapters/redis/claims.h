// The claim protocol in Redis: every word is a script about one id, every call a pipeline of them
// to each server that it concerns. A call is no transaction: a connection that breaks in the middle
// leaves some of its words said (kUnknown), which repeating the call mends.
// Thread-safety: safe for concurrent use.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "adapters/redis/cluster.h"
#include "adapters/redis/keys.h"
#include "adapters/redis/scope_book.h"
#include "once/claims.h"

namespace once::redis {

class ScriptedClaims final : public ClaimStore {
 public:
  // REQUIRES: `cluster` outlives it.
  ScriptedClaims(Cluster& cluster, const StoreOptions& options);

  Fence NewFence() override;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override;
  absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Renew(std::span<const Claim> claims, absl::Duration lease,
                     std::span<absl::Status> outcomes) override;
  absl::Status Complete(std::span<const CompletedClaim> claims,
                        std::span<absl::Status> outcomes) override;
  absl::Status Fail(std::span<const FailedClaim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Dying(std::span<const DyingClaim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Discard(std::span<const Claim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) override;
  absl::Status Sync() override { return cluster_.Sync(); }

 private:
  // What every word of an owner begins with.
  ScriptCall CallOf(const Claim& claim) const;
  // Says `word` of all claims; `arguments(claim, call)` appends what is beside the fence.
  // `refusal` is what kNotPermitted means.
  template <typename C, typename Arguments>
  absl::Status Say(ScriptName word, std::string_view operation, std::string_view refusal,
                   std::span<const C> claims, std::span<absl::Status> outcomes,
                   Arguments arguments);

  Cluster& cluster_;
  const KeyNames keys_;
  ScopeBook scopes_;
  const std::string retention_;  // milliseconds; "0": for ever
  const std::function<absl::Duration()> clock_skew_;
  std::atomic<std::uint64_t> fences_ = 0;
};

}  // namespace once::redis
