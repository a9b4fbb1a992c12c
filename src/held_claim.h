// A HeldClaim is what this process owes the claim store, or the dead-letter topic, for one message
// that it has not settled yet: an answer that was lost, or a step that could not be taken, is made
// good in a later batch with the same fence instead of running the handler again. It goes with the
// message: a revoke or a stop in that state leaves a claim whose lease ends.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/time/time.h"
#include "once/claims.h"
#include "once/outbox.h"
#include "src/lease_keeper.h"
#include "src/verdict.h"

namespace once {

enum class ClaimStage : std::uint8_t {
  kAsked,      // TryClaim may have been applied: ask again with this fence
  kCompleted,  // the handler succeeded: Complete()
  kFailed,     // it failed and may be tried again: Fail()
  kDiscarded,  // it chose to skip: Discard()
  kDying,      // it failed for good: Dying(), then publish
  kPublished,  // the letter is acknowledged: Kill()
};

struct HeldClaim {
  Fence fence;
  ClaimStage stage = ClaimStage::kAsked;
  LeaseKeeper::Hold lease = {};
  Verdict verdict = Verdict::kUnsettled;  // what it becomes once the stage is through

  absl::Duration delay = absl::ZeroDuration();  // kFailed
  bool is_charged = true;                       // kFailed
  absl::Time first_failed_at = absl::InfinitePast();
  // kDying.
  Disposition disposition = Disposition::kRejected;
  int attempt = 0;
  std::optional<OutboxRow> letter;
};

}  // namespace once
