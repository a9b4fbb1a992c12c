// Claims on ids in the same file as everything else. Every call is one transaction for all of its
// claims, written but not synced: it survives the process, and with Sync() the machine.
// Thread-safety: safe for concurrent use; calls take turns with the open transaction.
#pragma once

#include <memory>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "adapters/sqlite/database.h"
#include "once/claims.h"

namespace once::sqlite {

class SqliteClaims final : public ClaimStore {
 public:
  explicit SqliteClaims(std::shared_ptr<Database> database) : database_(std::move(database)) {}

  Fence NewFence() override { return database_->NewFence(); }
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
  absl::Status Sync() override { return database_->Sync(); }

 private:
  const std::shared_ptr<Database> database_;
};

}  // namespace once::sqlite
