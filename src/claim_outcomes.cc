// Of messages whose claim is ours: taking over, invoking, recording what came of it, burying.
#include <span>
#include <string>
#include <utility>

#include "once/abseil.h"
#include "src/claim_steps.h"
#include "src/invoke_handler.h"
#include "src/letter.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// So long a partition waits whose dead letter the broker has not acknowledged, or whose reconcile
// callback threw.
constexpr absl::Duration kOutsideRecheck = absl::Seconds(1);

}  // namespace

// An invocation was begun and nobody knows how it ended.
bool ClaimBatch::TakeOver(ClaimCandidate& candidate) {
  ++order_.claims.taken_over;
  const ClaimResult& result = candidate.result;
  Reconciled answer = Reconciled::kUnknown;
  switch (context_.claims.on_lost) {
    case LostClaim::kRerun:
      answer = Reconciled::kNotHappened;
      break;
    case LostClaim::kPark:
      break;
    case LostClaim::kReconcile: {
      Message& message = candidate.item->delivery.message();
      message.SetContext({.id = candidate.identity.id,
                          .scope = candidate.partition->scope,
                          .attempt = result.attempt,
                          .maybe_repeated = true});
      const absl::Status asked = CatchExceptions(
          "ClaimOptions::reconcile", [&] { answer = context_.claims.reconcile(message); });
      message.SetContext({});
      if (!asked.ok()) {
        Note(LogLevel::kWarning, "not_reconciled", asked.ToString(), candidate);
        WaitUntil(candidate, now_ + kOutsideRecheck);
        return true;
      }
      break;
    }
  }
  if (answer == Reconciled::kHappened) {
    candidate.is_granted = false;
    candidate.held()->stage = ClaimStage::kCompleted;
    candidate.held()->verdict = Verdict::kDuplicate;
    return Advance(candidate);
  }
  if (answer == Reconciled::kUnknown) {
    return Die(candidate, Disposition::kUncertain,
               absl::AbortedError("its handler had begun when its claim was lost; resolve it with "
                                  "`once resolve`"),
               result.attempt - 1);
  }
  const bool is_exhausted =
      result.attempt > context_.retry.max_attempts && !ONCE_PLANTED_BUG("exhausted-claim-invoked");
  if (is_exhausted) {
    return BuryExhausted(candidate,
                         "all attempts were used up, the last of them by a process that died");
  }
  return Invoke(candidate);
}

bool ClaimBatch::Invoke(ClaimCandidate& candidate) {
  if (!candidate.identity.fingerprint_error.ok()) {
    return Die(candidate, Disposition::kRejected, candidate.identity.fingerprint_error,
               candidate.result.attempt - 1);
  }
  const Claim claim = candidate.claim();
  const Recorded begun = Record([&](std::span<absl::Status> outcomes) {
    return context_.store.Begun(std::span(&claim, 1), outcomes);
  });
  ONCE_KILL_POINT("claim.begun");
  // Not given back: it may be begun. Asked again with this fence, it is what it was.
  candidate.is_granted = false;
  if (begun == Recorded::kTrouble) return false;
  if (begun == Recorded::kLost) {
    Lose(candidate);
    return true;
  }
  Message& message = candidate.item->delivery.message();
  const std::stop_token& token = work_.cancellation.Begin(context_.executor.Now());
  context_.keeper.Watch(claim.fence, work_.cancellation.source());
  message.SetContext({.id = candidate.identity.id,
                      .scope = candidate.partition->scope,
                      .attempt = candidate.result.attempt,
                      // Also after a reconciliation: a stalled invocation may yet have its effect.
                      .maybe_repeated = candidate.result.verdict == ClaimVerdict::kTakeover,
                      .cancellation = &token});
  const Outcome outcome = InvokeHandler([&] { return context_.handler(message); });
  ONCE_KILL_POINT("claim.handled");
  message.SetContext({});
  work_.cancellation.End();
  context_.keeper.Watch(claim.fence, std::stop_source(std::nostopstate));
  return ApplyOutcome(candidate, outcome);
}

bool ClaimBatch::ApplyOutcome(ClaimCandidate& candidate, const Outcome& outcome) {
  HeldClaim& held = *candidate.held();
  const ClaimResult& result = candidate.result;
  const absl::Time now = context_.executor.Now();
  held.first_failed_at =
      result.first_failed_at == absl::InfinitePast() ? now : result.first_failed_at;
  constexpr double kRandomRange = 18446744073709551616.0;  // 2^64: Next() becomes [0, 1)
  RetryDecision decision = {.action = RetryAction::kPause};
  const absl::Status decided = CatchExceptions("RetryPolicy::classify", [&] {
    decision = Decide(context_.retry, outcome,
                      {.attempt = result.attempt,
                       .first_failed_at = held.first_failed_at,
                       .now = now,
                       .random = static_cast<double>(context_.random.Next()) / kRandomRange});
  });
  const std::string reason(ToStd(outcome.status().message()));
  switch (decision.action) {
    case RetryAction::kDone:
      held.stage = ClaimStage::kCompleted;
      held.verdict = Verdict::kProcessed;
      return Advance(candidate);
    case RetryAction::kSkip:
      return Discard(candidate, DescribeSkip(outcome));
    case RetryAction::kDeadLetter:
      return Die(candidate, decision.disposition, outcome.status(), result.attempt);
    case RetryAction::kRetry:
      ++order_.retries;
      Note(LogLevel::kInfo, "retry_scheduled",
           "attempt " + std::to_string(result.attempt) + " failed: " + reason, candidate);
      break;
    case RetryAction::kPause:
      held.is_charged = false;
      candidate.partition->stop =
          decided.ok() ? Annotate(outcome.status(),
                                  "the handler asked for a pause; remove the cause and restart")
                       : Annotate(decided, "mend RetryPolicy::classify and restart");
      break;
  }
  held.stage = ClaimStage::kFailed;
  held.delay = decision.delay;
  WaitUntil(candidate, now + decision.delay);
  return Advance(candidate);
}

bool ClaimBatch::Discard(ClaimCandidate& candidate, std::string reason) {
  HeldClaim& held = *candidate.held();
  held.stage = ClaimStage::kDiscarded;
  held.verdict = Verdict::kDiscarded;
  Note(LogLevel::kInfo, "discarded", std::move(reason), candidate);
  return Advance(candidate);
}

bool ClaimBatch::BuryExhausted(ClaimCandidate& candidate, const char* reason) {
  const RetryDecision decision = GiveUpAs(context_.retry, Disposition::kRetriesExhausted);
  if (decision.action == RetryAction::kSkip) return Discard(candidate, reason);
  return Die(candidate, decision.disposition, absl::ResourceExhaustedError(reason),
             candidate.result.attempt - 1);
}

// Fenced first, then published, then recorded: no message is both dead and done.
bool ClaimBatch::Die(ClaimCandidate& candidate, Disposition disposition, const absl::Status& error,
                     int attempt) {
  HeldClaim& held = *candidate.held();
  const absl::Time first = candidate.result.first_failed_at == absl::InfinitePast()
                               ? now_
                               : candidate.result.first_failed_at;
  const DeadLetterReason reason{.disposition = disposition,
                                .id = candidate.identity.id,
                                .scope = candidate.partition->scope,
                                .attempt = attempt,
                                .first_failed_at = first,
                                .last_failed_at = now_,
                                .error = error};
  absl::StatusOr<OutboxRow> letter = MakeLetter({.sink = context_.dead_letters,
                                                 .origin = candidate.partition->lock.key,
                                                 .message = candidate.message(),
                                                 .reason = reason});
  if (!letter.ok()) {
    candidate.partition->stop = letter.status();
    if (candidate.is_granted) return true;  // its handler has not begun: it is released
    // The attempt was made, and counts after a restart.
    held.stage = ClaimStage::kFailed;
    return Advance(candidate);
  }
  candidate.is_granted = false;
  held.stage = ClaimStage::kDying;
  held.verdict = Verdict::kDeadLettered;
  held.disposition = disposition;
  held.attempt = attempt;
  held.letter = *std::move(letter);
  Note(LogLevel::kWarning, "dead_lettered",
       std::string(ToString(disposition)) + ": " + std::string(ToStd(error.message())), candidate);
  return Advance(candidate);
}

// The letter of a message that owns no claim: published, and published again should this process
// die before the message is acknowledged.
void ClaimBatch::BuryUnclaimed(ClaimCandidate& candidate, Disposition disposition,
                               const absl::Status& error) {
  const DeadLetterReason reason{.disposition = disposition,
                                .id = candidate.identity.id,
                                .scope = candidate.partition->scope,
                                .first_failed_at = now_,
                                .last_failed_at = now_,
                                .error = error};
  const absl::StatusOr<OutboxRow> letter = MakeLetter({.sink = context_.dead_letters,
                                                       .origin = candidate.partition->lock.key,
                                                       .message = candidate.message(),
                                                       .reason = reason});
  if (!letter.ok()) {
    candidate.partition->stop = letter.status();
    return;
  }
  const bool is_conflict = disposition == Disposition::kConflict;
  // The owner of the id may have completed in this very batch: its claim to it must be durable.
  if (is_conflict && !Sync()) return;
  if (!Publish(candidate, letter->message)) return;
  Note(LogLevel::kWarning, "dead_lettered",
       std::string(ToString(disposition)) + ": " + std::string(ToStd(error.message())), candidate);
  Settled(candidate, is_conflict ? Verdict::kConflict : Verdict::kDeadLettered);
}

// Takes a held claim through the steps that it still owes.
bool ClaimBatch::Advance(ClaimCandidate& candidate) {
  HeldClaim& held = *candidate.held();
  if (held.stage == ClaimStage::kDying) {
    const bool is_skipped = ONCE_PLANTED_BUG("dying-not-recorded");
    const Recorded dying = is_skipped ? Recorded::kYes : RecordStage(candidate);
    ONCE_KILL_POINT("claim.dying");
    if (dying == Recorded::kTrouble) return false;
    if (dying == Recorded::kLost) {
      Lose(candidate);
      return true;
    }
    // Only now, and only what survives the machine: or the message might yet be handled elsewhere.
    if (!ONCE_PLANTED_BUG("letter-before-sync") && !Sync()) return false;
    if (!Publish(candidate, held.letter->message)) return true;
    held.stage = ClaimStage::kPublished;
  }
  const Recorded recorded = RecordStage(candidate);
  if (held.stage == ClaimStage::kCompleted) ONCE_KILL_POINT("claim.completed");
  if (held.stage == ClaimStage::kDiscarded) ONCE_KILL_POINT("claim.discarded");
  if (held.stage == ClaimStage::kFailed) ONCE_KILL_POINT("claim.failed");
  if (held.stage == ClaimStage::kPublished) ONCE_KILL_POINT("claim.killed");
  if (recorded == Recorded::kTrouble) return false;
  if (recorded == Recorded::kLost && !ONCE_PLANTED_BUG("lost-claim-settles")) {
    Lose(candidate);
    return true;
  }
  const bool is_uncertain =
      held.stage == ClaimStage::kPublished && held.disposition == Disposition::kUncertain;
  order_.claims.uncertain += is_uncertain ? 1 : 0;
  if (held.stage == ClaimStage::kFailed) {
    WaitUntil(candidate, now_);  // a failure of a former batch too
    candidate.held().reset();
    return true;
  }
  Settled(candidate, held.verdict);
  return true;
}

Recorded ClaimBatch::RecordStage(ClaimCandidate& candidate) {
  const HeldClaim& held = *candidate.held();
  const Claim claim = candidate.claim();
  return Record([&](std::span<absl::Status> outcomes) {
    switch (held.stage) {
      case ClaimStage::kCompleted: {
        const CompletedClaim completed{.claim = claim};
        return context_.store.Complete(std::span(&completed, 1), outcomes);
      }
      case ClaimStage::kFailed: {
        const FailedClaim failed{.claim = claim,
                                 .delay = held.delay,
                                 .first_failed_at = held.first_failed_at,
                                 .is_charged = held.is_charged};
        return context_.store.Fail(std::span(&failed, 1), outcomes);
      }
      case ClaimStage::kDiscarded:
        return context_.store.Discard(std::span(&claim, 1), outcomes);
      case ClaimStage::kDying: {
        const DyingClaim dying{.claim = claim,
                               .disposition = held.disposition,
                               .attempt = held.attempt,
                               .letter = &*held.letter};
        return context_.store.Dying(std::span(&dying, 1), outcomes);
      }
      case ClaimStage::kPublished:
        return context_.store.Kill(std::span(&claim, 1), outcomes);
      case ClaimStage::kAsked:
        break;
    }
    return absl::OkStatus();
  });
}

Recorded ClaimBatch::Record(Call call) {
  absl::Status said;
  for (int attempt = 0; attempt < kRecordAttempts; ++attempt) {
    absl::Status outcome;
    said = call(std::span(&outcome, 1));
    if (said.ok()) return outcome.ok() ? Recorded::kYes : Recorded::kLost;
    if (said.code() != absl::StatusCode::kUnknown) break;
  }
  error_ = Annotate(said, "recording a claim");
  return Recorded::kTrouble;
}

// False when the partition must wait, or stop.
bool ClaimBatch::Publish(ClaimCandidate& candidate, const OutgoingMessage& letter) {
  absl::Status outcome = absl::UnknownError("not published");
  ONCE_KILL_POINT("claim.before_publish");
  context_.dead_letters.publisher->Publish(std::span(&letter, 1),
                                           context_.executor.Now() + context_.publish_timeout,
                                           std::span(&outcome, 1));
  ONCE_KILL_POINT("claim.published");
  if (outcome.ok()) {
    ++order_.claims.published;
    return true;
  }
  if (outcome.code() == absl::StatusCode::kInvalidArgument) {
    const bool held_by_us = candidate.held() != nullptr;
    candidate.partition->stop = Annotate(
        outcome,
        "no retry can publish the dead letter of " +
            ToString(candidate.partition->lock.key.partition) + " offset " +
            std::to_string(candidate.message().offset()) +
            (held_by_us ? "; mend the dead-letter topic and restart, or discard the message "
                          "with `once discard` and restart"
                        : "; mend the dead-letter topic and restart, or move the group's "
                          "offset past the message"));
    return false;
  }
  Note(LogLevel::kWarning, "dead_letter_delayed", outcome.ToString(), candidate);
  WaitUntil(candidate, context_.executor.Now() + kOutsideRecheck);
  return false;
}

// The claim is not ours any more: nothing is acknowledged. The message goes back to TryClaim, with
// a new fence, as long as it is assigned to us: nobody else would redeliver it.
void ClaimBatch::Lose(ClaimCandidate& candidate) {
  ++order_.claims.lease_lost;
  Note(LogLevel::kWarning, "lease_lost",
       "the claim was somebody else's, or its outcome recorded before; it is claimed again",
       candidate);
  candidate.held().reset();
  WaitUntil(candidate, now_);
}

// Nothing more is owed to the store. Acknowledged once Sync() is through; should that fail, the
// store may have died and lost what it had recorded, and the id is asked for again.
void ClaimBatch::Settled(ClaimCandidate& candidate, Verdict verdict) {
  candidate.held().reset();
  candidate.item->verdict = verdict;
}

}  // namespace once
