// The claims of one batch. Control flow lives in Run() and Settle(); every word to the store goes
// through Record(), which repeats it while its answer is lost.
#include "src/claim_batch.h"

#include <algorithm>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "once/abseil.h"
#include "src/identify.h"
#include "src/invoke_handler.h"
#include "src/letter.h"

namespace once {
namespace {

// An id that somebody else works on is looked at again so soon: it may be through long before its
// lease ends.
constexpr absl::Duration kOpenClaimRecheck = absl::Seconds(1);
// So long a partition waits whose dead letter the broker has not acknowledged, or whose reconcile
// callback threw.
constexpr absl::Duration kOutsideRecheck = absl::Seconds(1);
// A word to the store whose answer is lost is repeated so often at once; then in a later batch.
constexpr int kRecordAttempts = 3;

struct Candidate {
  WorkPartition* partition = nullptr;
  WorkItem* item = nullptr;
  Identity identity;
  ClaimResult result;           // what TryClaim said, unless …
  Candidate* former = nullptr;  // … an earlier message of this batch has the same id …
  bool is_resumed = false;      // … or a former batch left steps to be made good
  bool is_granted = false;      // claimed by us, and its handler has not begun

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
  void ApplyResult(Candidate& candidate, ClaimResult result);
  // The next two: false when the store is in trouble and the batch must end.
  bool Settle(Candidate& candidate);
  bool SettleVerdict(Candidate& candidate);
  void SettleCopy(Candidate& candidate);
  bool TakeOver(Candidate& candidate);
  bool Invoke(Candidate& candidate);
  bool ApplyOutcome(Candidate& candidate, const Outcome& outcome);
  bool Die(Candidate& candidate, Disposition disposition, const absl::Status& error, int attempt);
  void BuryUnclaimed(Candidate& candidate, Disposition disposition, const absl::Status& error);
  bool Advance(Candidate& candidate);
  Recorded RecordStage(Candidate& candidate);
  Recorded Record(Call call);
  bool Publish(Candidate& candidate, const OutgoingMessage& letter);
  void Lose(Candidate& candidate);
  void Settled(Candidate& candidate, Verdict verdict);
  void ReleaseUnused();
  bool Sync();
  void SyncAll();
  static void WaitUntil(Candidate& candidate, absl::Time time);
  void Note(LogLevel level, std::string_view action, std::string message,
            const Candidate& candidate);

  const ClaimContext& context_;
  WorkOrder& work_;
  BatchOrder& order_;
  const absl::Time now_;
  const absl::Time deadline_;
  std::deque<Candidate> candidates_;  // ids may point into them: they must not move
  absl::Status error_;
  bool has_lost_records_ = false;
};

void ClaimBatch::Run() {
  Prepare();
  error_ = ClaimAll();
  bool is_first = true;
  for (Candidate& candidate : candidates_) {
    if (!error_.ok() || work_.doomed) break;
    // However late it is, at least one message per batch; and what a former batch owes the store
    // is made good first of all.
    const bool is_late = !is_first && context_.executor.Now() >= deadline_;
    order_.is_cut_short = order_.is_cut_short || is_late;
    if ((work_.finish_early || is_late) && !candidate.is_resumed) break;
    is_first = false;
    if (!Settle(candidate)) break;
  }
  ReleaseUnused();
  SyncAll();
  order_.error = error_;
  order_.end = error_.ok() ? BatchEnd::kCommitted : BatchEnd::kStoreTrouble;
}

void ClaimBatch::Prepare() {
  for (WorkPartition& partition : order_.partitions) {
    for (WorkItem& item : partition.items) {
      item.verdict = Verdict::kUnsettled;
      Candidate& candidate = candidates_.emplace_back();
      candidate.partition = &partition;
      candidate.item = &item;
      Identify(item.delivery.message(), context_.id, context_.fingerprint, candidate.identity);
    }
  }
}

absl::Status ClaimBatch::ClaimAll() {
  std::map<std::pair<std::string_view, std::string_view>, Candidate*> first;
  std::vector<Candidate*> asking;
  for (Candidate& candidate : candidates_) {
    std::unique_ptr<HeldClaim>& held = candidate.held();
    candidate.is_resumed = held != nullptr && held->stage != ClaimStage::kAsked;
    if (!candidate.identity.id_error.ok()) continue;
    const auto [copy, is_first] = first.try_emplace(
        std::pair(std::string_view(candidate.partition->scope), candidate.identity.id), &candidate);
    if (candidate.is_resumed) continue;
    if (is_first) {
      asking.push_back(&candidate);
      continue;
    }
    candidate.former = copy->second;
    // Two fences of one process would be renewed for one id, and wait for each other. A fence is
    // of one value: under it the store looks at no other.
    const bool is_same = candidate.former->identity.fingerprint == candidate.identity.fingerprint;
    if (is_same && candidate.former->held() == nullptr) {
      candidate.former->held() = std::move(held);
    }
    held.reset();
  }
  std::vector<ClaimRequest> requests;
  for (Candidate* candidate : asking) {
    std::unique_ptr<HeldClaim>& held = candidate->held();
    if (held == nullptr) {
      held = std::make_unique<HeldClaim>(HeldClaim{.fence = context_.store.NewFence()});
    }
    requests.push_back({.key = candidate->key(),
                        .fingerprint = candidate->identity.fingerprint,
                        .fence = held->fence});
  }
  if (requests.empty()) return absl::OkStatus();
  std::vector<ClaimResult> results(requests.size());
  absl::Status claimed = context_.store.TryClaim(requests, context_.claims.lease, results);
  // Not OK: it may have been applied; the same fences are used again.
  if (!claimed.ok()) return Annotate(claimed, "claiming");
  for (std::size_t i = 0; i < asking.size(); ++i) {
    ApplyResult(*asking[i], std::move(results[i]));
  }
  return absl::OkStatus();
}

void ClaimBatch::ApplyResult(Candidate& candidate, ClaimResult result) {
  candidate.is_granted = result.verdict == ClaimVerdict::kFresh ||
                         result.verdict == ClaimVerdict::kTakeover ||
                         result.verdict == ClaimVerdict::kPublish;
  if (candidate.is_granted) {
    candidate.held()->lease = {};  // a former hold on the same fence ends first
    candidate.held()->lease = context_.keeper.Keep(candidate.claim());
  } else {
    candidate.held().reset();
  }
  candidate.result = std::move(result);
}

bool ClaimBatch::Settle(Candidate& candidate) {
  WorkPartition& partition = *candidate.partition;
  const bool is_blocked = partition.not_before > now_ || !partition.stop.ok();
  if (is_blocked) return true;
  if (candidate.is_resumed) return Advance(candidate);
  const absl::Status& id_error = candidate.identity.id_error;
  if (!id_error.ok()) {
    const bool is_missing = id_error.code() == absl::StatusCode::kNotFound;
    BuryUnclaimed(candidate, is_missing ? Disposition::kNoId : Disposition::kInvalidId, id_error);
    return true;
  }
  if (candidate.former != nullptr) {
    SettleCopy(candidate);
    return true;
  }
  return SettleVerdict(candidate);
}

bool ClaimBatch::SettleVerdict(Candidate& candidate) {
  const ClaimResult& result = candidate.result;
  const bool is_exhausted = result.attempt > context_.retry.max_attempts;
  switch (result.verdict) {
    case ClaimVerdict::kDuplicate:
      Settled(candidate, Verdict::kDuplicate);
      return true;
    case ClaimVerdict::kDead:
    case ClaimVerdict::kDiscarded:
    case ClaimVerdict::kUncertain:
      Settled(candidate, Verdict::kDiscarded);
      return true;
    case ClaimVerdict::kConflict:
      BuryUnclaimed(candidate, Disposition::kConflict,
                    absl::AlreadyExistsError("another message has this id and a different value"));
      return true;
    case ClaimVerdict::kNotBefore:
      WaitUntil(candidate, now_ + result.wait);
      return true;
    case ClaimVerdict::kInProgress:
      WaitUntil(candidate, now_ + std::min(result.wait, kOpenClaimRecheck));
      return true;
    case ClaimVerdict::kPublish:
      return Die(candidate, result.disposition,
                 absl::AbortedError("its former owner died before its dead letter was published"),
                 result.attempt);
    case ClaimVerdict::kTakeover:
      return TakeOver(candidate);
    case ClaimVerdict::kFresh:
      break;
  }
  if (is_exhausted) {
    return Die(candidate, Disposition::kRetriesExhausted,
               absl::ResourceExhaustedError("all attempts were used up earlier"),
               result.attempt - 1);
  }
  return Invoke(candidate);
}

// An invocation was begun and nobody knows how it ended.
bool ClaimBatch::TakeOver(Candidate& candidate) {
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
  if (result.attempt > context_.retry.max_attempts) {
    return Die(candidate, Disposition::kRetriesExhausted,
               absl::ResourceExhaustedError(
                   "all attempts were used up, the last of them by a process that died"),
               result.attempt - 1);
  }
  return Invoke(candidate);
}

// The first message of this id has had its turn in this batch, or waits.
void ClaimBatch::SettleCopy(Candidate& candidate) {
  const Candidate& former = *candidate.former;
  const bool is_conflict = !former.identity.fingerprint.Matches(candidate.identity.fingerprint) &&
                           former.item->verdict != Verdict::kUnsettled;
  if (is_conflict) {
    BuryUnclaimed(candidate, Disposition::kConflict,
                  absl::AlreadyExistsError("another message has this id and a different value"));
    return;
  }
  switch (former.item->verdict) {
    case Verdict::kProcessed:
    case Verdict::kDuplicate:
      Settled(candidate, Verdict::kDuplicate);
      return;
    case Verdict::kDeadLettered:
    case Verdict::kDiscarded:
      Settled(candidate, Verdict::kDiscarded);
      return;
    case Verdict::kConflict:  // another one owns the id: the store must say what becomes of us
    case Verdict::kUnsettled:
      WaitUntil(candidate, std::max(former.partition->not_before, now_ + absl::Nanoseconds(1)));
      return;
  }
}

bool ClaimBatch::Invoke(Candidate& candidate) {
  if (!candidate.identity.fingerprint_error.ok()) {
    return Die(candidate, Disposition::kRejected, candidate.identity.fingerprint_error,
               candidate.result.attempt - 1);
  }
  const Claim claim = candidate.claim();
  const Recorded begun = Record([&](std::span<absl::Status> outcomes) {
    return context_.store.Begun(std::span(&claim, 1), outcomes);
  });
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
                      .maybe_repeated = candidate.result.verdict == ClaimVerdict::kTakeover,
                      .cancellation = &token});
  const Outcome outcome = InvokeHandler([&] { return context_.handler(message); });
  message.SetContext({});
  work_.cancellation.End();
  context_.keeper.Watch(claim.fence, std::stop_source(std::nostopstate));
  return ApplyOutcome(candidate, outcome);
}

bool ClaimBatch::ApplyOutcome(Candidate& candidate, const Outcome& outcome) {
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
      held.stage = ClaimStage::kDiscarded;
      held.verdict = Verdict::kDiscarded;
      Note(LogLevel::kInfo, "discarded", "skipped by the handler: " + reason, candidate);
      return Advance(candidate);
    case RetryAction::kDeadLetter:
      return Die(candidate, decision.disposition, outcome.status(), result.attempt);
    case RetryAction::kRetry:
      ++order_.retries;
      Note(LogLevel::kInfo, "retry_scheduled",
           "attempt " + std::to_string(result.attempt) + " failed: " + reason, candidate);
      break;
    case RetryAction::kPause:
      candidate.partition->stop =
          decided.ok() ? Annotate(outcome.status(), "the handler asked for a pause") : decided;
      break;
  }
  held.stage = ClaimStage::kFailed;
  held.delay = decision.delay;
  // Later copies in this very batch wait too, even where the delay is zero.
  WaitUntil(candidate, std::max(now + decision.delay, now_ + absl::Nanoseconds(1)));
  return Advance(candidate);
}

// Fenced first, then published, then recorded: no message is both dead and done.
bool ClaimBatch::Die(Candidate& candidate, Disposition disposition, const absl::Status& error,
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
void ClaimBatch::BuryUnclaimed(Candidate& candidate, Disposition disposition,
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
  if (!Publish(candidate, letter->message)) return;
  const bool is_conflict = disposition == Disposition::kConflict;
  Note(LogLevel::kWarning, "dead_lettered",
       std::string(ToString(disposition)) + ": " + std::string(ToStd(error.message())), candidate);
  Settled(candidate, is_conflict ? Verdict::kConflict : Verdict::kDeadLettered);
}

// Takes a held claim through the steps that it still owes.
bool ClaimBatch::Advance(Candidate& candidate) {
  HeldClaim& held = *candidate.held();
  if (held.stage == ClaimStage::kDying) {
    const Recorded dying = RecordStage(candidate);
    if (dying == Recorded::kTrouble) return false;
    if (dying == Recorded::kLost) {
      Lose(candidate);
      return true;
    }
    // Only now, and only what survives the machine: or the message might yet be handled elsewhere.
    if (!Sync()) return false;
    if (!Publish(candidate, held.letter->message)) return true;
    held.stage = ClaimStage::kPublished;
  }
  if (held.stage != ClaimStage::kRecorded) {
    const Recorded recorded = RecordStage(candidate);
    if (recorded == Recorded::kTrouble) return false;
    if (recorded == Recorded::kLost) {
      Lose(candidate);
      return true;
    }
  }
  const bool is_uncertain =
      held.stage == ClaimStage::kPublished && held.disposition == Disposition::kUncertain;
  order_.claims.uncertain += is_uncertain ? 1 : 0;
  if (held.stage == ClaimStage::kFailed) {
    candidate.held().reset();
    return true;
  }
  Settled(candidate, held.verdict);
  return true;
}

Recorded ClaimBatch::RecordStage(Candidate& candidate) {
  const HeldClaim& held = *candidate.held();
  const Claim claim = candidate.claim();
  return Record([&](std::span<absl::Status> outcomes) {
    switch (held.stage) {
      case ClaimStage::kCompleted: {
        const CompletedClaim completed{.claim = claim};
        return context_.store.Complete(std::span(&completed, 1), outcomes);
      }
      case ClaimStage::kFailed: {
        const FailedClaim failed{
            .claim = claim, .delay = held.delay, .first_failed_at = held.first_failed_at};
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
      case ClaimStage::kRecorded:
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
bool ClaimBatch::Publish(Candidate& candidate, const OutgoingMessage& letter) {
  absl::Status outcome = absl::UnknownError("not published");
  context_.dead_letters.publisher->Publish(std::span(&letter, 1),
                                           context_.executor.Now() + context_.publish_timeout,
                                           std::span(&outcome, 1));
  if (outcome.ok()) {
    ++order_.claims.published;
    return true;
  }
  if (outcome.code() == absl::StatusCode::kInvalidArgument) {
    candidate.partition->stop = Annotate(
        outcome, "no retry can publish the dead letter of " +
                     ToString(candidate.partition->lock.key.partition) + " offset " +
                     std::to_string(candidate.message().offset()) +
                     "; mend the dead-letter topic and restart, or discard the message with `once "
                     "discard`");
    return false;
  }
  Note(LogLevel::kWarning, "dead_letter_delayed", outcome.ToString(), candidate);
  WaitUntil(candidate, context_.executor.Now() + kOutsideRecheck);
  return false;
}

// The claim is not ours any more: nothing is acknowledged. The message goes back to TryClaim, with
// a new fence, as long as it is assigned to us: nobody else would redeliver it.
void ClaimBatch::Lose(Candidate& candidate) {
  ++order_.claims.lease_lost;
  Note(LogLevel::kWarning, "lease_lost",
       "the claim was somebody else's, or its outcome recorded before; it is claimed again",
       candidate);
  candidate.held().reset();
  WaitUntil(candidate, now_ + absl::Nanoseconds(1));
}

// Acknowledged once Sync() is through; kept until then.
void ClaimBatch::Settled(Candidate& candidate, Verdict verdict) {
  std::unique_ptr<HeldClaim>& held = candidate.held();
  if (held == nullptr) held = std::make_unique<HeldClaim>();
  held->stage = ClaimStage::kRecorded;
  held->verdict = verdict;
  held->lease = {};
  candidate.item->verdict = verdict;
}

// What was claimed and had no turn is given back, so that a copy elsewhere need not wait.
void ClaimBatch::ReleaseUnused() {
  std::vector<Candidate*> unused;
  std::vector<Claim> claims;
  for (Candidate& candidate : candidates_) {
    if (!candidate.is_granted) continue;
    candidate.held()->lease = {};
    unused.push_back(&candidate);
    claims.push_back(candidate.claim());
  }
  if (claims.empty()) return;
  std::vector<absl::Status> outcomes(claims.size());
  // Not known to be released: the same fence is used again, and meets its own claim.
  if (!context_.store.Release(claims, outcomes).ok()) return;
  for (Candidate* candidate : unused) candidate->held().reset();
}

// False when what was recorded in this batch may be lost.
bool ClaimBatch::Sync() {
  absl::Status synced;
  for (int attempt = 0; attempt < kRecordAttempts; ++attempt) {
    synced = context_.store.Sync();
    if (synced.code() != absl::StatusCode::kUnknown) break;
  }
  if (synced.ok()) return true;
  error_ = Annotate(synced, "syncing");
  has_lost_records_ = true;
  return false;
}

void ClaimBatch::SyncAll() {
  const bool is_anything_settled = std::any_of(
      candidates_.begin(), candidates_.end(),
      [](const Candidate& candidate) { return candidate.item->verdict != Verdict::kUnsettled; });
  if (!is_anything_settled) return;
  if (has_lost_records_ || !Sync()) {
    // The store may have died and lost what it had recorded: each id is asked for again.
    for (Candidate& candidate : candidates_) {
      if (candidate.item->verdict != Verdict::kUnsettled) candidate.held().reset();
    }
    return;
  }
  for (WorkPartition& partition : order_.partitions) partition.is_committed = true;
  for (Candidate& candidate : candidates_) {
    if (candidate.item->verdict != Verdict::kUnsettled) candidate.held().reset();
  }
}

void ClaimBatch::WaitUntil(Candidate& candidate, absl::Time time) {
  absl::Time& not_before = candidate.partition->not_before;
  not_before = std::max(not_before, time);
}

void ClaimBatch::Note(LogLevel level, std::string_view action, std::string message,
                      const Candidate& candidate) {
  if (level < context_.log.level()) return;
  const TopicPartition& origin = candidate.partition->lock.key.partition;
  context_.log.Log(
      {.level = level,
       .time = context_.executor.Now(),
       .action = action,
       .message = std::move(message),
       .fields = {{"once.id", std::string(candidate.identity.id)},
                  {"messaging.destination.name", origin.topic},
                  {"messaging.destination.partition.id", std::to_string(origin.partition)},
                  {"messaging.kafka.offset", std::to_string(candidate.message().offset())}}});
}

}  // namespace

void SettleClaims(const ClaimContext& context, WorkOrder& order) {
  ClaimBatch(context, order).Run();
}

}  // namespace once
