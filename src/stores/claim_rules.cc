// Claims that are over, and what they leave.
#include "src/stores/claim_rules.h"

#include <utility>

namespace once::stores {

bool IsHeld(const ClaimRow& claim, const LeaseClock& clock) {
  const bool may_be_alive =
      claim.fence && (clock.is_shared || claim.fence->incarnation == clock.incarnation);
  return may_be_alive && claim.lease_end > clock.now;
}

bool SaysNothing(const ClaimRow& claim) {
  return !claim.fence && !claim.may_have_run && !claim.disposition;
}

IdRows WithoutEndedClaim(IdRows rows, const LeaseClock& clock) {
  if (!rows.claim || IsHeld(*rows.claim, clock)) return rows;
  ClaimRow& claim = *rows.claim;
  claim.fence.reset();
  claim.lease_end = absl::InfinitePast();
  if (claim.disposition) return rows;
  if (std::exchange(claim.is_begun, false)) {
    claim.may_have_run = true;
    rows.record.state = IdState::kRetrying;
    ++rows.record.attempt;
    rows.record.not_before = absl::InfinitePast();
    if (!rows.record.fingerprint.is_set()) rows.record.fingerprint = claim.fingerprint;
  }
  if (!claim.may_have_run) rows.claim.reset();
  return rows;
}

std::optional<ClaimRow> AfterWriting(const ClaimRow& claim, const IdRecord& record) {
  // A redriven message begins anew, with all attempts before it.
  const bool keeps_doubt = record.state == IdState::kRetrying && record.attempt > 0;
  if (!keeps_doubt || !(claim.may_have_run || claim.is_begun)) return std::nullopt;
  return ClaimRow{.may_have_run = true};
}

IdRecord VisibleRecord(const IdRows& rows, const LeaseClock& clock) {
  IdRows seen = WithoutEndedClaim(rows, clock);
  if (seen.claim && seen.claim->fence && !seen.claim->disposition) {
    seen.record.state = IdState::kClaimed;
    if (!seen.record.fingerprint.is_set()) seen.record.fingerprint = seen.claim->fingerprint;
  }
  return seen.record;
}

}  // namespace once::stores
