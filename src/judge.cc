// The table behind Judge().
#include "src/judge.h"

namespace once {

Judgement Judge(const IdRecord& record, const Fingerprint& fingerprint, int max_attempts,
                absl::Time now) {
  if (record.state == IdState::kAbsent) return Judgement::kHandle;
  if (!record.fingerprint.Matches(fingerprint)) return Judgement::kConflict;
  switch (record.state) {
    case IdState::kCompleted:
      return Judgement::kDuplicate;
    case IdState::kDead:
    case IdState::kDiscarded:
    case IdState::kUncertain:
      return Judgement::kSettled;
    case IdState::kRetrying:
      if (record.attempt >= max_attempts) return Judgement::kExhausted;
      return record.not_before > now ? Judgement::kWait : Judgement::kHandle;
    case IdState::kClaimed:
    case IdState::kDying:  // of a plain handler under the same scope: it has not settled anything
      return Judgement::kWait;
    case IdState::kAbsent:
      break;
  }
  return Judgement::kHandle;
}

}  // namespace once
