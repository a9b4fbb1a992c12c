// The claims of one batch: asking for them, what the answers say, giving back, syncing. Control
// flow lives in Run() and Settle().
#include "src/claim_batch.h"

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "once/abseil.h"
#include "src/claim_steps.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// An id that somebody else works on is looked at again so soon: it may be through long before its
// lease ends.
constexpr absl::Duration kOpenClaimRecheck = absl::Seconds(1);

}  // namespace

void ClaimBatch::Run() {
  Prepare();
  error_ = ClaimAll();
  bool is_first = true;
  for (ClaimCandidate& candidate : candidates_) {
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
      ClaimCandidate& candidate = candidates_.emplace_back();
      candidate.partition = &partition;
      candidate.item = &item;
      Identify(item.delivery.message(), context_.id, context_.fingerprint, candidate.identity);
    }
  }
}

absl::Status ClaimBatch::ClaimAll() {
  std::map<std::pair<std::string_view, std::string_view>, ClaimCandidate*> first;
  std::vector<ClaimCandidate*> asking;
  for (ClaimCandidate& candidate : candidates_) {
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
  for (ClaimCandidate* candidate : asking) {
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
  ONCE_KILL_POINT("claim.claimed");
  // Not OK: it may have been applied; the same fences are used again.
  if (!claimed.ok()) return Annotate(claimed, "claiming");
  for (std::size_t i = 0; i < asking.size(); ++i) {
    ApplyResult(*asking[i], std::move(results[i]));
  }
  return absl::OkStatus();
}

void ClaimBatch::ApplyResult(ClaimCandidate& candidate, ClaimResult result) {
  const bool is_lease_short =
      result.verdict == ClaimVerdict::kInProgress && result.wait < context_.claims.lease;
  if (is_lease_short && ONCE_PLANTED_BUG("lease-trusted-too-early")) {
    result = {.verdict = ClaimVerdict::kTakeover, .attempt = 2};
  }
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

bool ClaimBatch::Settle(ClaimCandidate& candidate) {
  WorkPartition& partition = *candidate.partition;
  const bool is_blocked = partition.not_before > now_ || !partition.stop.ok();
  if (is_blocked && !ONCE_PLANTED_BUG("waiting-claim-holds-nothing-back")) return true;
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

bool ClaimBatch::SettleVerdict(ClaimCandidate& candidate) {
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
    return BuryExhausted(candidate, "all attempts were used up earlier");
  }
  return Invoke(candidate);
}

// The first message of this id has had its turn in this batch, or waits.
void ClaimBatch::SettleCopy(ClaimCandidate& candidate) {
  const ClaimCandidate& former = *candidate.former;
  // Of a former message that does not own the id itself nothing follows.
  const bool is_owner =
      former.item->verdict != Verdict::kUnsettled && former.item->verdict != Verdict::kConflict;
  const bool is_conflict =
      is_owner && !former.identity.fingerprint.Matches(candidate.identity.fingerprint);
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
    case Verdict::kUnsettled:
      if (ONCE_PLANTED_BUG("copy-of-waiting-is-duplicate")) {
        Settled(candidate, Verdict::kDuplicate);
        return;
      }
      [[fallthrough]];
    case Verdict::kConflict:  // another one owns the id: the store must say what becomes of us
      WaitUntil(candidate, former.partition->not_before);
      return;
  }
}

// What was claimed and had no turn is given back, so that a copy elsewhere need not wait.
void ClaimBatch::ReleaseUnused() {
  std::vector<ClaimCandidate*> unused;
  std::vector<Claim> claims;
  for (ClaimCandidate& candidate : candidates_) {
    if (!candidate.is_granted) continue;
    candidate.held()->lease = {};
    unused.push_back(&candidate);
    claims.push_back(candidate.claim());
  }
  if (claims.empty()) return;
  std::vector<absl::Status> outcomes(claims.size());
  // Not known to be released: the same fence is used again, and meets its own claim.
  if (!context_.store.Release(claims, outcomes).ok()) return;
  ONCE_KILL_POINT("claim.released");
  for (ClaimCandidate* candidate : unused) candidate->held().reset();
}

// False when what was recorded in this batch may be lost.
bool ClaimBatch::Sync() {
  absl::Status synced;
  for (int attempt = 0; attempt < kRecordAttempts; ++attempt) {
    ONCE_KILL_POINT("claim.before_sync");
    synced = context_.store.Sync();
    ONCE_KILL_POINT("claim.synced");
    if (synced.code() != absl::StatusCode::kUnknown) break;
  }
  if (synced.ok()) return true;
  error_ = Annotate(synced, "syncing");
  has_lost_records_ = true;
  return false;
}

void ClaimBatch::SyncAll() {
  const bool is_anything_settled =
      std::any_of(candidates_.begin(), candidates_.end(), [](const ClaimCandidate& candidate) {
        return candidate.item->verdict != Verdict::kUnsettled;
      });
  if (!is_anything_settled) return;
  const bool is_unsynced = ONCE_PLANTED_BUG("acknowledged-before-sync");
  if (has_lost_records_ || (!is_unsynced && !Sync())) return;
  for (WorkPartition& partition : order_.partitions) partition.is_committed = true;
}

// In this very batch nothing overtakes it, even where the time has come.
void ClaimBatch::WaitUntil(ClaimCandidate& candidate, absl::Time time) {
  absl::Time& not_before = candidate.partition->not_before;
  not_before = std::max({not_before, time, now_ + absl::Nanoseconds(1)});
}

void ClaimBatch::Note(LogLevel level, std::string_view action, std::string message,
                      const ClaimCandidate& candidate) {
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

void SettleClaims(const ClaimContext& context, WorkOrder& order) {
  ClaimBatch(context, order).Run();
}

}  // namespace once
