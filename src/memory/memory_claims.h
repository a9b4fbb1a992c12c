// The claims of the in-memory store. Private to src/memory.
// Thread-safety: safe for concurrent use.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/claims.h"
#include "src/memory/memory_store.h"

namespace once::memory {

class MemoryClaims final : public ClaimStore {
 public:
  explicit MemoryClaims(std::shared_ptr<MemoryData> data);

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
  // Nothing survives the machine, so nothing is owed to it.
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  const std::shared_ptr<MemoryData> data_;
  const std::uint64_t incarnation_;
  std::atomic<std::uint64_t> last_counter_ = 0;
};

}  // namespace once::memory
