// What both forms of a guarded call need: answers, the decision after a failure, and patience.
#include "src/guarded_call.h"

#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "once/abseil.h"
#include "src/invoke_handler.h"
#include "src/store_errors.h"

namespace once {
namespace {

// 10 + 20 + … + 640 ms.
constexpr int kAsksMax = 8;
constexpr absl::Duration kFirstPause = absl::Milliseconds(10);

}  // namespace

std::string NameOf(const IdentifiedCall& call) {
  return "id \"" + absl::CHexEscape(ToAbsl(call.id)) + "\"";
}

CallAnswer SettledEarlier(CallVerdict verdict, const IdentifiedCall& call) {
  const std::string name = NameOf(call);
  switch (verdict) {
    case CallVerdict::kConflict:
      return {.verdict = verdict,
              .status = absl::AlreadyExistsError(
                  name + " belongs to another call: the fingerprints differ; this one needs an id "
                         "of its own")};
    case CallVerdict::kDead:
      return {.verdict = verdict,
              .status = absl::FailedPreconditionError(
                  name + " failed for good earlier; a further try needs another id")};
    case CallVerdict::kDiscarded:
      return {.verdict = verdict, .status = absl::CancelledError(name + " was skipped on record")};
    case CallVerdict::kUncertain:
      return {.verdict = verdict,
              .status = absl::UnknownError(
                  name + " may have taken effect; find out, then settle it with `once resolve ID "
                         "--happened` or `once discard ID`")};
    default:
      return {.verdict = verdict};
  }
}

CallAnswer NotNow(CallVerdict verdict, absl::Duration wait, const IdentifiedCall& call) {
  const char* why = verdict == CallVerdict::kInProgress
                        ? " is at work in another call; call again in "
                        : " failed earlier and may run again in ";
  return {.verdict = verdict,
          .status =
              absl::UnavailableError(NameOf(call) + why + std::string(absl::FormatDuration(wait))),
          .wait = wait};
}

FailurePlan PlanFailure(const CallContext& context, const Outcome& outcome, int attempt,
                        absl::Time first_failed_at) {
  const absl::Time now = context.executor.Now();
  FailurePlan plan{
      .decision = {.action = RetryAction::kRetry},
      .first_failed_at = first_failed_at == absl::InfinitePast() ? now : first_failed_at};
  constexpr double kRandomRange = 18446744073709551616.0;  // 2^64: Next() becomes [0, 1)
  const absl::Status decided = CatchExceptions("RetryPolicy::classify", [&] {
    plan.decision = Decide(context.retry, outcome,
                           {.attempt = attempt,
                            .first_failed_at = plan.first_failed_at,
                            .now = now,
                            .random = static_cast<double>(context.random.Next()) / kRandomRange});
  });
  if (!decided.ok()) {
    context.log.Log({.level = LogLevel::kError,
                     .time = now,
                     .action = "classification_failed",
                     .message = "a failed call may be repeated, since " +
                                std::string(ToStd(decided.message()))});
  }
  return plan;
}

StoreAnswer AskStore(Executor& executor, Patience patience,
                     const std::function<absl::Status()>& ask) {
  StoreAnswer answer;
  absl::Duration pause = kFirstPause;
  for (int i = 1;; ++i) {
    answer.status = ask();
    const bool is_lost = answer.status.code() == absl::StatusCode::kUnknown;
    const bool is_worth_it =
        is_lost || (patience == Patience::kAnyTrouble && IsTransientTrouble(answer.status));
    if (answer.status.ok() || !is_worth_it || i == kAsksMax) return answer;
    answer.was_lost = answer.was_lost || is_lost;
    executor.NewEvent()->WaitUntil(executor.Now() + pause);
    pause *= 2;
  }
}

}  // namespace once
