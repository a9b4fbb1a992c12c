// ClaimBatch is one batch order of a plain handler while it is being settled. Private to
// SettleClaims: claim_batch.cc has the claims and what they say, claim_outcomes.cc what becomes of
// a message whose claim is ours. Every word to the store goes through Record(), which repeats it
// while its answer is lost. Thread-safety: none.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "src/claim_batch.h"
#include "src/held_claim.h"
#include "src/identify.h"

namespace once {

// A word to the store whose answer is lost is repeated so often at once; then in a later batch.
inline constexpr int kRecordAttempts = 3;

struct ClaimCandidate {
  WorkPartition* partition = nullptr;
  WorkItem* item = nullptr;
  Identity identity;
  ClaimResult result;                // what TryClaim said, unless …
  ClaimCandidate* former = nullptr;  // … an earlier message of this batch has the same id …
  bool is_resumed = false;           // … or a former batch left steps to be made good
  bool is_granted = false;           // claimed by us, and its handler has not begun

  std::unique_ptr<HeldClaim>& held() const { return item->delivery.held(); }
  const Message& message() const { return item->delivery.message(); }
  IdKey key() const { return {.scope = partition->scope, .id = identity.id}; }
  Claim claim() const { return {.key = key(), .fence = item->delivery.held()->fence}; }
};

enum class Recorded : std::uint8_t {
  kYes,
  kLost,     // the fence no longer matches: the claim is somebody else's, or was settled
  kTrouble,  // the store did not answer, or refused: error_ says why
};

class ClaimBatch {
 public:
  ClaimBatch(const ClaimContext& context, WorkOrder& work)
      : context_(context),
        work_(work),
        order_(*work.batch),
        now_(context.executor.Now()),
        deadline_(now_ + context.batch_max_duration) {}

  void Run();

 private:
  using Call = absl::FunctionRef<absl::Status(std::span<absl::Status> outcomes)>;

  void Prepare();
  absl::Status ClaimAll();
  void ApplyResult(ClaimCandidate& candidate, ClaimResult result);
  // The next two: false when the store is in trouble and the batch must end.
  bool Settle(ClaimCandidate& candidate);
  bool SettleVerdict(ClaimCandidate& candidate);
  void SettleCopy(ClaimCandidate& candidate);
  bool TakeOver(ClaimCandidate& candidate);
  bool Invoke(ClaimCandidate& candidate);
  bool ApplyOutcome(ClaimCandidate& candidate, const Outcome& outcome);
  bool Discard(ClaimCandidate& candidate, std::string reason);
  bool BuryExhausted(ClaimCandidate& candidate, const char* reason);
  bool Die(ClaimCandidate& candidate, Disposition disposition, const absl::Status& error,
           int attempt);
  void BuryUnclaimed(ClaimCandidate& candidate, Disposition disposition, const absl::Status& error);
  bool Advance(ClaimCandidate& candidate);
  Recorded RecordStage(ClaimCandidate& candidate);
  Recorded Record(Call call);
  bool Publish(ClaimCandidate& candidate, const OutgoingMessage& letter);
  void Lose(ClaimCandidate& candidate);
  void Settled(ClaimCandidate& candidate, Verdict verdict);
  void ReleaseUnused();
  bool Sync();
  void SyncAll();
  void WaitUntil(ClaimCandidate& candidate, absl::Time time);
  void Note(LogLevel level, std::string_view action, std::string message,
            const ClaimCandidate& candidate);

  const ClaimContext& context_;
  WorkOrder& work_;
  BatchOrder& order_;
  const absl::Time now_;
  const absl::Time deadline_;
  std::deque<ClaimCandidate> candidates_;  // ids may point into them: they must not move
  absl::Status error_;
  bool has_lost_records_ = false;
};

}  // namespace once
