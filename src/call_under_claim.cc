// The claim form of a guarded call: claim the id, record that the function begins, run it, record
// how it ended. Every word to the store carries the fence of this call's claim.
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>

#include "once/abseil.h"
#include "src/guarded_call.h"
#include "src/invoke_handler.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// In front of a result that is kept with an id, so that an empty one differs from none.
constexpr char kResultMark = '=';

// How often one call asks what became of its claim; each time, answers of the store were lost.
constexpr int kQuestionsMax = 3;

using Answer = absl::StatusOr<CallAnswer>;

class ClaimedCall {
 public:
  ClaimedCall(const CallContext& context, const ClaimTerms& terms, const IdentifiedCall& call)
      : context_(context), terms_(terms), call_(call) {}

  Answer Run();

 private:
  // One call of the store about our claim.
  using Word = std::function<absl::Status(std::span<const Claim>, std::span<absl::Status>)>;
  // What the store said to it. `status` speaks of the store; where it is OK, `is_ours` says whether
  // the claim was still ours. After a lost answer "not ours" may also mean: applied before.
  struct Heard {
    absl::Status status;
    bool is_ours = false;
    bool was_lost = false;
  };

  absl::StatusOr<ClaimResult> TryClaim();
  Answer AnswerTo(const ClaimResult& claimed);
  Answer RunClaimed(const ClaimResult& claimed);
  // For an id whose earlier invocation was lost. nullopt: the function is to run.
  std::optional<Answer> SettleLost(const ClaimResult& claimed);
  Answer Invoke(const ClaimResult& claimed);
  Answer Complete(const std::optional<std::string>& result, CallAnswer answer);
  Answer RecordFailure(const ClaimResult& claimed, const Outcome& outcome);
  // `attempt`: invocations so far.
  Answer Discard(CallAnswer answer);
  Answer Bury(Disposition disposition, int attempt, CallAnswer answer);
  Answer Kill(CallAnswer answer);
  Answer Finish(const Heard& heard, CallAnswer answer);
  Answer AskWhatHappened(const CallAnswer& answer);

  Heard Tell(Patience patience, const Word& word) const;
  void Release();
  absl::Status LeaseLost() const;
  absl::Status Trouble(const absl::Status& error, std::string_view what) const;
  void Log(std::string_view action, std::string message) const;
  std::string Keepable(const std::optional<std::string>& result) const;

  const CallContext& context_;
  const ClaimTerms& terms_;
  const IdentifiedCall& call_;
  Claim claim_;
  int questions_ = 0;  // AskWhatHappened() so far
};

Answer ClaimedCall::Run() {
  const absl::StatusOr<ClaimResult> claimed = TryClaim();
  if (!claimed.ok()) return claimed.status();
  return AnswerTo(*claimed);
}

absl::StatusOr<ClaimResult> ClaimedCall::TryClaim() {
  claim_ = {.key = {.scope = context_.scope, .id = call_.id}, .fence = terms_.store.NewFence()};
  const ClaimRequest request{
      .key = claim_.key, .fingerprint = call_.fingerprint, .fence = claim_.fence};
  ClaimResult result;
  const StoreAnswer claimed = AskStore(context_.executor, Patience::kLostAnswers, [&] {
    return terms_.store.TryClaim(std::span(&request, 1), terms_.lease, std::span(&result, 1));
  });
  ONCE_KILL_POINT("wrapclaim.claimed");
  if (claimed.status.ok()) return result;
  // It may be ours after all; better than to let the next call wait for the end of its lease.
  if (claimed.was_lost || claimed.status.code() == absl::StatusCode::kUnknown) Release();
  return Trouble(claimed.status, "could not be claimed, and nothing ran");
}

Answer ClaimedCall::AnswerTo(const ClaimResult& claimed) {
  switch (claimed.verdict) {
    case ClaimVerdict::kFresh:
    case ClaimVerdict::kTakeover:
      return RunClaimed(claimed);
    case ClaimVerdict::kPublish:
      // A consumer of this scope may owe the letter to its topic: that is its to finish.
      Release();
      return Finish({.is_ours = true}, SettledEarlier(claimed.disposition == Disposition::kUncertain
                                                          ? CallVerdict::kUncertain
                                                          : CallVerdict::kDead,
                                                      call_));
    case ClaimVerdict::kInProgress:
      return NotNow(CallVerdict::kInProgress, claimed.wait, call_);
    case ClaimVerdict::kNotBefore:
      return NotNow(CallVerdict::kNotYet, claimed.wait, call_);
    case ClaimVerdict::kConflict:
      return SettledEarlier(CallVerdict::kConflict, call_);
    case ClaimVerdict::kDuplicate:
      break;
    case ClaimVerdict::kDead:
      return Finish({.is_ours = true}, SettledEarlier(CallVerdict::kDead, call_));
    case ClaimVerdict::kDiscarded:
      return Finish({.is_ours = true}, SettledEarlier(CallVerdict::kDiscarded, call_));
    case ClaimVerdict::kUncertain:
      return Finish({.is_ours = true}, SettledEarlier(CallVerdict::kUncertain, call_));
  }
  CallAnswer duplicate{.verdict = CallVerdict::kDuplicate};
  if (claimed.result.starts_with(kResultMark)) duplicate.result = claimed.result.substr(1);
  return Finish({.is_ours = true}, std::move(duplicate));
}

Answer ClaimedCall::RunClaimed(const ClaimResult& claimed) {
  const LeaseKeeper::Hold hold = terms_.keeper.Keep(claim_);
  if (claimed.verdict == ClaimVerdict::kTakeover) {
    if (std::optional<Answer> settled = SettleLost(claimed)) return *std::move(settled);
  }
  if (claimed.attempt > context_.retry.max_attempts) {
    const RetryDecision decision = GiveUpAs(context_.retry, Disposition::kRetriesExhausted);
    return decision.action == RetryAction::kSkip
               ? Discard(SettledEarlier(CallVerdict::kDiscarded, call_))
               : Bury(decision.disposition, claimed.attempt - 1,
                      SettledEarlier(CallVerdict::kDead, call_));
  }
  return Invoke(claimed);
}

std::optional<Answer> ClaimedCall::SettleLost(const ClaimResult& claimed) {
  Reconciled found = Reconciled::kUnknown;
  switch (terms_.on_lost) {
    case LostClaim::kRerun:
      return std::nullopt;
    case LostClaim::kPark:
      break;
    case LostClaim::kReconcile: {
      const absl::Status asked = CatchExceptions(
          "WrapOptions::reconcile", [&] { found = context_.functions.reconcile(call_.arg); });
      if (asked.ok()) break;
      Release();
      return Trouble(asked, "may have run, and asking about it failed");
    }
  }
  if (found == Reconciled::kHappened) {
    return Complete(std::nullopt, {.verdict = CallVerdict::kDuplicate});
  }
  if (found == Reconciled::kUnknown) {
    Log("uncertain", NameOf(call_) + " may have taken effect, and nobody knows");
    return Bury(Disposition::kUncertain, claimed.attempt - 1,
                SettledEarlier(CallVerdict::kUncertain, call_));
  }
  return std::nullopt;
}

Answer ClaimedCall::Invoke(const ClaimResult& claimed) {
  const Heard begun = Tell(Patience::kLostAnswers, [&](auto claims, auto outcomes) {
    return terms_.store.Begun(claims, outcomes);
  });
  if (!begun.status.ok()) {
    // After a lost answer it may be on record as begun: then the lease must end by itself.
    if (!begun.was_lost && begun.status.code() != absl::StatusCode::kUnknown) Release();
    return Trouble(begun.status, "was claimed, but nothing ran");
  }
  if (!begun.is_ours) return LeaseLost();
  ONCE_KILL_POINT("wrapclaim.begun");

  std::stop_source lost;
  terms_.keeper.Watch(claim_.fence, lost);
  const Invocation invocation{.id = call_.id,
                              .scope = context_.scope,
                              .attempt = claimed.attempt,
                              // Also after a reconciliation: what stalled may yet take effect.
                              .maybe_repeated = claimed.verdict == ClaimVerdict::kTakeover,
                              .cancellation = lost.get_token()};
  std::optional<std::string> result;
  const Outcome outcome = InvokeHandler([&] {
    CallEnd end = context_.functions.plain(call_.arg, invocation);
    result = std::move(end.result);
    return std::move(end.outcome);
  });
  ONCE_KILL_POINT("wrapclaim.handled");
  if (!outcome.is_done()) return RecordFailure(claimed, outcome);
  return Complete(result,
                  {.verdict = CallVerdict::kDone, .attempt = claimed.attempt, .result = result});
}

Answer ClaimedCall::Complete(const std::optional<std::string>& result, CallAnswer answer) {
  const std::string kept = Keepable(result);
  const CompletedClaim completed{.claim = claim_, .result = kept};
  return Finish(Tell(Patience::kAnyTrouble,
                     [&](auto, auto outcomes) {
                       return terms_.store.Complete(std::span(&completed, 1), outcomes);
                     }),
                std::move(answer));
}

Answer ClaimedCall::Discard(CallAnswer answer) {
  return Finish(
      Tell(Patience::kAnyTrouble,
           [&](auto claims, auto outcomes) { return terms_.store.Discard(claims, outcomes); }),
      std::move(answer));
}

Answer ClaimedCall::RecordFailure(const ClaimResult& claimed, const Outcome& outcome) {
  const FailurePlan plan = PlanFailure(context_, outcome, claimed.attempt, claimed.first_failed_at);
  CallAnswer answer{.verdict = CallVerdict::kFailed,
                    .status = outcome.status(),
                    .wait = plan.decision.delay,
                    .attempt = claimed.attempt};
  if (plan.decision.action == RetryAction::kDeadLetter) {
    answer.verdict = CallVerdict::kDead;
    return Bury(plan.decision.disposition, claimed.attempt, std::move(answer));
  }
  if (plan.decision.action == RetryAction::kSkip) {
    answer.verdict = CallVerdict::kDiscarded;
    return Discard(std::move(answer));
  }
  const FailedClaim failed{
      .claim = claim_, .delay = plan.decision.delay, .first_failed_at = plan.first_failed_at};
  const Heard heard = Tell(Patience::kAnyTrouble, [&](auto, auto outcomes) {
    return terms_.store.Fail(std::span(&failed, 1), outcomes);
  });
  if (!heard.status.ok()) return Trouble(heard.status, "failed, which could not be recorded");
  ONCE_KILL_POINT("wrapclaim.failed");
  // Not ours after a lost answer: recorded, or taken over. Both mean "call again later".
  if (!heard.is_ours && !heard.was_lost) return LeaseLost();
  return answer;
}

Answer ClaimedCall::Bury(Disposition disposition, int attempt, CallAnswer answer) {
  const DyingClaim dying{.claim = claim_, .disposition = disposition, .attempt = attempt};
  const Heard heard = Tell(Patience::kAnyTrouble, [&](auto, auto outcomes) {
    return terms_.store.Dying(std::span(&dying, 1), outcomes);
  });
  if (!heard.status.ok() || !heard.is_ours) return Finish(heard, std::move(answer));
  ONCE_KILL_POINT("wrapclaim.dying");
  // There is no letter to publish: the caller, who is told, keeps what it called with.
  return Kill(std::move(answer));
}

Answer ClaimedCall::Kill(CallAnswer answer) {
  return Finish(
      Tell(Patience::kAnyTrouble,
           [&](auto claims, auto outcomes) { return terms_.store.Kill(claims, outcomes); }),
      std::move(answer));
}

// The end of every settled call: the answer, once what it rests on is durable.
Answer ClaimedCall::Finish(const Heard& heard, CallAnswer answer) {
  if (!heard.status.ok()) {
    return Trouble(heard.status,
                   std::string(ToString(answer.verdict)) + ", which could not be recorded");
  }
  if (!heard.is_ours) return heard.was_lost ? AskWhatHappened(answer) : LeaseLost();
  ONCE_KILL_POINT("wrapclaim.recorded");
  // A store that failed to sync may have lost what it had recorded: only the id itself can tell.
  const StoreAnswer synced =
      AskStore(context_.executor, Patience::kLostAnswers, [&] { return terms_.store.Sync(); });
  ONCE_KILL_POINT("wrapclaim.synced");
  if (!synced.status.ok()) {
    return Trouble(synced.status,
                   std::string(ToString(answer.verdict)) + ", which is not durable yet");
  }
  return answer;
}

Answer ClaimedCall::AskWhatHappened(const CallAnswer& answer) {
  if (++questions_ > kQuestionsMax) {
    return Trouble(absl::UnavailableError("the store loses its answers"),
                   "has an end that is not known");
  }
  const absl::StatusOr<ClaimResult> claimed = TryClaim();
  if (!claimed.ok()) return claimed.status();
  if (claimed->verdict == ClaimVerdict::kFresh || claimed->verdict == ClaimVerdict::kTakeover) {
    // What was said is not on record: the claim had been lost before.
    Release();
    return LeaseLost();
  }
  Answer found = AnswerTo(*claimed);
  // The function ran in this call, and the id is completed.
  if (found.ok() && found->has_happened() && answer.verdict == CallVerdict::kDone) {
    found->verdict = CallVerdict::kDone;
    found->attempt = answer.attempt;
  }
  return found;
}

ClaimedCall::Heard ClaimedCall::Tell(Patience patience, const Word& word) const {
  absl::Status outcome;
  const StoreAnswer answer = AskStore(context_.executor, patience, [&] {
    outcome = absl::OkStatus();
    return word(std::span(&claim_, 1), std::span(&outcome, 1));
  });
  return {.status = answer.status, .is_ours = outcome.ok(), .was_lost = answer.was_lost};
}

void ClaimedCall::Release() {
  // Whatever comes of it: a claim that stays ends with its lease.
  Tell(Patience::kLostAnswers,
       [&](auto claims, auto outcomes) { return terms_.store.Release(claims, outcomes); });
}

absl::Status ClaimedCall::LeaseLost() const {
  Log("lease_lost", NameOf(call_) + ": the claim was lost before its end was recorded");
  return absl::AbortedError(NameOf(call_) +
                            ": the claim was lost to another call, nothing is recorded; call "
                            "again to learn what became of it");
}

absl::Status ClaimedCall::Trouble(const absl::Status& error, std::string_view what) const {
  return Annotate(error, NameOf(call_) + " " + std::string(what) + "; call again");
}

void ClaimedCall::Log(std::string_view action, std::string message) const {
  if (LogLevel::kWarning < context_.log.level()) return;
  context_.log.Log({.level = LogLevel::kWarning,
                    .time = context_.executor.Now(),
                    .action = action,
                    .message = std::move(message),
                    .fields = {{"once.scope", std::string(context_.scope)},
                               {"once.id", std::string(call_.id)}}});
}

std::string ClaimedCall::Keepable(const std::optional<std::string>& result) const {
  if (!result) return {};
  if (result->size() > kCallResultBytesMax) {
    Log("result_not_kept", NameOf(call_) + ": its result of " + std::to_string(result->size()) +
                               " bytes is not kept for later calls, at most " +
                               std::to_string(kCallResultBytesMax) + " are");
    return {};
  }
  return kResultMark + *result;
}

}  // namespace

absl::StatusOr<CallAnswer> CallUnderClaim(const CallContext& context, const ClaimTerms& terms,
                                          const IdentifiedCall& call) {
  return ClaimedCall(context, terms, call).Run();
}

}  // namespace once
