// The transaction form of a guarded call: look the id up, run the function, write the id, commit.
// A function that fails is rolled back, and its failure recorded in a transaction of its own.
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "once/abseil.h"
#include "src/guarded_call.h"
#include "src/invoke_handler.h"
#include "src/judge.h"
#include "src/store_errors.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// A call needs one transaction, two when the function or the commit fails, and more only while
// answers to commits are lost.
constexpr int kTransactionsMax = 8;

// How soon an id that a claim holds is worth asking for again.
constexpr absl::Duration kOpenClaimRecheck = absl::Seconds(1);

// As the store will give it back.
absl::Time ToMicros(absl::Time time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return time;
  return absl::FromUnixMicros(absl::ToUnixMicros(time));
}

// Whether what a commit without an answer has written is in the store: as it was written, or below
// the failures that other processes have counted on top of it.
bool IsCounted(const IdRecord& written, const IdRecord& found) {
  if (found == written) return true;
  return written.state == IdState::kRetrying && found.state == IdState::kRetrying &&
         found.first_failed_at == written.first_failed_at && found.attempt > written.attempt;
}

class TransactionalCall {
 public:
  TransactionalCall(const CallContext& context, TransactionalStore& store,
                    const IdentifiedCall& call)
      : context_(context), store_(store), call_(call) {}

  absl::StatusOr<CallAnswer> Run();

 private:
  // What a transaction writes for the id, and what the call is answered once it has committed.
  struct Ending {
    IdRecord record;
    CallAnswer answer;
  };
  // nullopt: another transaction is needed.
  using Pass = absl::StatusOr<std::optional<CallAnswer>>;

  absl::StatusOr<std::unique_ptr<StoreTransaction>> Begin();
  Pass RunTransaction(StoreTransaction& transaction);
  Pass Handle(StoreTransaction& transaction, const IdRecord& record);
  Pass Commit(StoreTransaction& transaction, Ending ending);
  Pass Confirm(StoreTransaction& transaction, CallAnswer answer);
  Ending EndFailed(const IdRecord& record, const Outcome& outcome) const;
  std::optional<CallAnswer> AnswerOf(const IdRecord& record, Judgement judgement,
                                     absl::Time now) const;
  // Adds what the caller must know: nothing has happened, or nobody knows yet, or all but a sync.
  absl::Status Trouble(const absl::Status& error) const;

  const CallContext& context_;
  TransactionalStore& store_;
  const IdentifiedCall& call_;
  // The outcome of an invocation that was rolled back: decided upon, not repeated.
  std::optional<Outcome> failed_;
  // What a commit without an answer has written, if it happened.
  std::optional<Ending> unknown_;
  bool is_only_unsynced_ = false;  // what is settled is there, and could not be synced
};

absl::StatusOr<CallAnswer> TransactionalCall::Run() {
  for (int i = 0; i < kTransactionsMax; ++i) {
    absl::StatusOr<std::unique_ptr<StoreTransaction>> transaction = Begin();
    if (!transaction.ok()) return Trouble(transaction.status());
    Pass pass = RunTransaction(**transaction);
    if (!pass.ok()) return Trouble(pass.status());
    if (*pass) return **std::move(pass);
  }
  return Trouble(absl::UnavailableError("the store loses the answer to every commit"));
}

absl::StatusOr<std::unique_ptr<StoreTransaction>> TransactionalCall::Begin() {
  std::unique_ptr<StoreTransaction> transaction;
  const bool is_owed = unknown_ || failed_;
  const StoreAnswer begun =
      AskStore(context_.executor, is_owed ? Patience::kAnyTrouble : Patience::kLostAnswers, [&] {
        absl::StatusOr<BeginResult> result = store_.Begin({});
        if (result.ok()) transaction = std::move(result->transaction);
        return result.status();
      });
  if (!begun.status.ok()) return begun.status;
  if (transaction == nullptr) {
    return absl::InternalError("the store opened no transaction, though no position was locked");
  }
  return transaction;
}

TransactionalCall::Pass TransactionalCall::RunTransaction(StoreTransaction& transaction) {
  const IdKey key{.scope = context_.scope, .id = call_.id};
  IdRecord record;
  // Holds the id until the transaction ends, which also waits out a commit still in flight.
  absl::Status found = transaction.FindIds(std::span(&key, 1), std::span(&record, 1));
  if (!found.ok()) return found;
  ONCE_KILL_POINT("wrap.begun");
  if (unknown_ && IsCounted(unknown_->record, record)) {
    return Confirm(transaction, unknown_->answer);
  }
  unknown_.reset();
  const absl::Time now = context_.executor.Now();
  const Judgement judgement = Judge(record, call_.fingerprint, context_.retry.max_attempts, now);
  if (std::optional<CallAnswer> answer = AnswerOf(record, judgement, now)) {
    return Confirm(transaction, *std::move(answer));
  }
  if (judgement == Judgement::kExhausted) {
    const bool is_discarded =
        GiveUpAs(context_.retry, Disposition::kRetriesExhausted).action == RetryAction::kSkip;
    Ending end{.record = record,
               .answer = SettledEarlier(is_discarded ? CallVerdict::kDiscarded : CallVerdict::kDead,
                                        call_)};
    end.record.state = is_discarded ? IdState::kDiscarded : IdState::kDead;
    return Commit(transaction, std::move(end));
  }
  if (failed_) return Commit(transaction, EndFailed(record, *failed_));
  return Handle(transaction, record);
}

TransactionalCall::Pass TransactionalCall::Handle(StoreTransaction& transaction,
                                                  const IdRecord& record) {
  const Invocation invocation{
      .id = call_.id, .scope = context_.scope, .attempt = record.attempt + 1};
  Outcome outcome = InvokeHandler(
      [&] { return context_.functions.transactional(call_.arg, transaction, invocation).outcome; });
  ONCE_KILL_POINT("wrap.handled");
  if (const absl::Status open = transaction.CheckOpen(); !open.ok()) {
    // Whatever ran after the end of our transaction is not in it. A store that ended it by itself
    // is in trouble; a function that did has failed.
    if (open.code() != absl::StatusCode::kFailedPrecondition) return open;
    // One that says so itself when a statement of it has failed is judged by its word.
    if (outcome.is_done()) outcome = Reject(ToStd(open.message()));
  }
  if (outcome.kind() == OutcomeKind::kPause) {
    transaction.Rollback();
    return CallAnswer{
        .verdict = CallVerdict::kFailed, .status = outcome.status(), .attempt = invocation.attempt};
  }
  if (!outcome.is_done()) {
    failed_ = std::move(outcome);
    transaction.Rollback();
    return std::nullopt;
  }
  return Commit(transaction,
                {.record = {.state = IdState::kCompleted,
                            .fingerprint = call_.fingerprint,
                            .attempt = invocation.attempt},
                 .answer = {.verdict = CallVerdict::kDone, .attempt = invocation.attempt}});
}

TransactionalCall::Pass TransactionalCall::Commit(StoreTransaction& transaction, Ending ending) {
  const IdWrite write{.key = {.scope = context_.scope, .id = call_.id}, .record = ending.record};
  absl::Status status = transaction.PutIds(std::span(&write, 1));
  if (status.ok()) status = transaction.CheckOpen();
  if (!status.ok()) return status;
  ONCE_KILL_POINT("wrap.before_commit");
  // A failure that is forgotten with the machine is tried once more than it would have been.
  status =
      transaction.Commit(ending.answer.is_settled() ? Durability::kMachine : Durability::kProcess);
  ONCE_KILL_POINT("wrap.committed");
  if (status.ok()) return std::optional(std::move(ending.answer));
  if (status.code() == absl::StatusCode::kUnknown) {
    unknown_ = std::move(ending);
    return std::nullopt;
  }
  // Refused because of what is in it: a deferred constraint, say. That is the function's failure.
  if (IsRefusal(status) && ending.answer.verdict == CallVerdict::kDone) {
    failed_ = Outcome(OutcomeKind::kRetry, status);
    return std::nullopt;
  }
  return status;
}

// What is found settled may be the commit of a consumer that syncs it only later, or one whose own
// sync has failed. A caller goes on for good with a settled answer, so it must survive the machine:
// a commit that is to be synced syncs also what it has read.
TransactionalCall::Pass TransactionalCall::Confirm(StoreTransaction& transaction,
                                                   CallAnswer answer) {
  if (!answer.is_settled()) return std::optional(std::move(answer));
  const absl::Status synced = transaction.Commit(Durability::kMachine);
  if (synced.ok()) return std::optional(std::move(answer));
  // Whether it is still there is asked anew.
  if (synced.code() == absl::StatusCode::kUnknown) return std::nullopt;
  is_only_unsynced_ = true;
  return synced;
}

TransactionalCall::Ending TransactionalCall::EndFailed(const IdRecord& record,
                                                       const Outcome& outcome) const {
  const int attempt = record.attempt + 1;
  const FailurePlan plan = PlanFailure(context_, outcome, attempt, record.first_failed_at);
  Ending ending{
      .record = {.state = IdState::kRetrying,
                 .fingerprint = call_.fingerprint,
                 .attempt = attempt,
                 .first_failed_at = ToMicros(plan.first_failed_at)},
      .answer = {.verdict = CallVerdict::kFailed, .status = outcome.status(), .attempt = attempt}};
  switch (plan.decision.action) {
    case RetryAction::kDeadLetter:
      ending.record.state = IdState::kDead;
      ending.answer.verdict = CallVerdict::kDead;
      break;
    case RetryAction::kSkip:
      ending.record.state = IdState::kDiscarded;
      ending.answer.verdict = CallVerdict::kDiscarded;
      break;
    default:
      ending.answer.wait = plan.decision.delay;
      ending.record.not_before = ToMicros(context_.executor.Now() + plan.decision.delay);
      break;
  }
  return ending;
}

std::optional<CallAnswer> TransactionalCall::AnswerOf(const IdRecord& record, Judgement judgement,
                                                      absl::Time now) const {
  switch (judgement) {
    case Judgement::kDuplicate:
      return CallAnswer{.verdict = CallVerdict::kDuplicate};
    case Judgement::kConflict:
      return SettledEarlier(CallVerdict::kConflict, call_);
    case Judgement::kWait:
      return record.state == IdState::kRetrying
                 ? NotNow(CallVerdict::kNotYet, record.not_before - now, call_)
                 : NotNow(CallVerdict::kInProgress, kOpenClaimRecheck, call_);
    case Judgement::kSettled:
      return SettledEarlier(record.state == IdState::kDead        ? CallVerdict::kDead
                            : record.state == IdState::kDiscarded ? CallVerdict::kDiscarded
                                                                  : CallVerdict::kUncertain,
                            call_);
    case Judgement::kHandle:
    case Judgement::kExhausted:
      break;
  }
  return std::nullopt;
}

absl::Status TransactionalCall::Trouble(const absl::Status& error) const {
  if (is_only_unsynced_) return Annotate(error, NameOf(call_) + ": not durable yet; call again");
  const std::string what = unknown_ ? "whether " + NameOf(call_) +
                                          " was committed is not known; call again, the answer "
                                          "will be right"
                                    : NameOf(call_) + ": nothing was committed; call again";
  return Annotate(error, what);
}

}  // namespace

absl::StatusOr<CallAnswer> CallInTransaction(const CallContext& context, TransactionalStore& store,
                                             const IdentifiedCall& call) {
  return TransactionalCall(context, store, call).Run();
}

}  // namespace once
