// The claim protocol over the rows of a durable store. Every call is one transaction for all of its
// claims, written but not synced: it survives the process, and with Sync() the machine.
// Thread-safety: safe for concurrent use, as the store's transactions are.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/claims.h"
#include "src/stores/rows.h"

namespace once::stores {

class FencedClaims final : public ClaimStore {
 public:
  // REQUIRES: `transactions` outlives it.
  explicit FencedClaims(RowTransactions& transactions) : transactions_(transactions) {}

  Fence NewFence() override { return transactions_.NewFence(); }
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
  absl::Status Sync() override { return transactions_.Sync(); }

 private:
  RowTransactions& transactions_;
};

}  // namespace once::stores
