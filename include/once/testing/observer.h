// A SimulationObserver sees everything that the fakes do, at the instant they do it. Checkers are
// observers. All functions do nothing by default.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "once/claims.h"
#include "once/message_id.h"
#include "once/position.h"
#include "once/publisher.h"
#include "once/testing/seam.h"
#include "once/testing/store_state.h"

namespace once::testing {

class Process;

class SimulationObserver {
 public:
  virtual ~SimulationObserver() = default;

  // -- Store. `known` says what the caller was told: OK, or kUnknown and so on. --

  virtual void OnTake(const Process& /*process*/, const PartitionKey& /*key*/,
                      const PositionStamp& /*current*/, const absl::Status& /*known*/) {}
  // Before anything else happens in Begin.
  virtual void OnBegin(const Process& /*process*/, std::span<const PositionLock> /*locks*/) {}
  // A transaction with these locks has ended for its owner.
  virtual void OnCommit(const Process& /*process*/, std::span<const PositionLock> /*locks*/,
                        const StoreChange& /*change*/, const absl::Status& /*known*/) {}
  // The commit of the process with that number becomes visible now, in one step: `before` is what
  // the store held until this instant, `state` what it holds from now on.
  virtual void OnApply(int /*process*/, std::span<const PositionLock> /*locks*/,
                       const StoreChange& /*change*/, const StoreState& /*before*/) {}
  virtual void OnApplied(const StoreChange& /*change*/, const StoreState& /*state*/) {}
  // All that is committed now survives a store that keeps what is synced.
  virtual void OnSynced(const StoreState& /*state*/) {}
  // The store lost its last commits.
  virtual void OnLost(const StoreState& /*before*/, const StoreState& /*state*/) {}
  // A claim call has ended for its caller. `outcomes` mean nothing unless `known` is OK.
  virtual void OnTryClaim(const Process& /*process*/, std::span<const ClaimRequest> /*requests*/,
                          std::span<const ClaimResult> /*results*/, const absl::Status& /*known*/) {
  }
  virtual void OnClaimCall(const Process& /*process*/, Seam /*call*/,
                           std::span<const Claim> /*claims*/,
                           std::span<const absl::Status> /*outcomes*/,
                           const absl::Status& /*known*/) {}
  // The caller broke the contract of the store, e.g. went on after a failed call.
  virtual void OnMisuse(const Process& /*process*/, std::string_view /*what*/) {}

  // -- Log --

  // The broker has taken `offset` as the group's position.
  virtual void OnAcknowledge(const Process& /*process*/, const TopicPartition& /*partition*/,
                             std::int64_t /*offset*/) {}

  // -- Queue --

  // The broker has forgotten the message with that number.
  virtual void OnQueueAck(const Process& /*process*/, std::int64_t /*number*/) {}

  // -- Publisher --

  virtual void OnPublish(const Process& /*process*/, const OutgoingMessage& /*message*/) {}
};

}  // namespace once::testing
