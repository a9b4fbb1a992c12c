// The claim protocol of FakeConnection: every call is one change of the ids it names, unsynced.
#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/testing/fake_connection.h"

namespace once::testing {
namespace {

absl::Status LeaseLost() { return absl::AbortedError("fake store: the lease is lost"); }

// Outcomes of a call that did not say OK mean nothing; this is what a caller sees who looks.
absl::Status Meaningless() { return absl::InternalError("fake store: the call did not say OK"); }

std::vector<Claim> ClaimsOf(const auto& claims) {
  std::vector<Claim> plain;
  for (const auto& one : claims) plain.push_back(one.claim);
  return plain;
}

// The end of a claim. Whether it may have run is of no matter once it is settled.
void EndClaim(IdEntry& entry, IdState state) {
  entry.record.state = state;
  entry.record.not_before = absl::InfinitePast();
  entry.claim = {.maybe_ran = state == IdState::kRetrying && entry.claim.maybe_ran};
}

bool IsHeld(const IdEntry& entry) {
  const IdState state = entry.record.state;
  const bool is_open = state == IdState::kClaimed || state == IdState::kDying;
  return is_open && entry.claim.fence != Fence{};
}

// What is left of a claim whose owner was never heard of again: the invocation counts if it was
// begun, and may have run.
void EndHold(IdEntry& entry) {
  ClaimRecord& claim = entry.claim;
  if (entry.record.state == IdState::kDying) {
    claim.fence = {};
    return;
  }
  if (claim.is_begun) {
    entry.record.state = IdState::kRetrying;
    entry.record.not_before = absl::InfinitePast();
    ++entry.record.attempt;
    claim.maybe_ran = true;
  } else {
    entry.record = claim.released;
  }
  claim = {.maybe_ran = claim.maybe_ran};
}

ClaimResult AnswerHolder(const IdEntry& entry) {
  const IdRecord& record = entry.record;
  if (record.state == IdState::kDying) {
    return {.verdict = ClaimVerdict::kPublish,
            .attempt = record.attempt,
            .first_failed_at = record.first_failed_at,
            .disposition = entry.claim.disposition};
  }
  return {.verdict = entry.claim.maybe_ran ? ClaimVerdict::kTakeover : ClaimVerdict::kFresh,
          .attempt = record.attempt + 1,
          .first_failed_at = record.first_failed_at};
}

}  // namespace

Fence FakeConnection::NewFence() { return {.incarnation = incarnation_, .counter = ++fences_}; }

void FakeConnection::Misuse(Seam seam, std::string_view what) {
  store_.observer_->OnMisuse(*process_, absl::StrCat(ToAbsl(ToString(seam)), ": ", ToAbsl(what)));
}

// A claim that somebody else may take.
bool FakeStore::IsOver(const ClaimRecord& claim) const {
  const bool is_of_the_dead = options_.has_one_owner && claim.fence.incarnation != Incarnation();
  return claim.lease_end <= Now() || is_of_the_dead;
}

// What a transaction sees of an id: a claim that is over is no obstacle.
IdRecord FakeStore::Find(const std::string& key) const {
  const auto it = state_.ids.find(key);
  if (it == state_.ids.end()) return {};
  IdEntry entry = it->second;
  if (IsHeld(entry) && IsOver(entry.claim)) EndHold(entry);
  return entry.record;
}

absl::Status FakeConnection::ChangeIds(Seam seam, std::span<const Claim> claims,
                                       const StepFunction& step) {
  const Fault fault = store_.gate_.Pass(*process_, seam);
  if (process_->is_dead()) return StoreDead();
  if (fault == Fault::kFailure) return StoreFailed();
  if (store_.Lose(fault)) return StoreSessionLost();
  if (store_.IsFull(fault)) return StoreFull();
  const FakeStore::TransactionId id = ++store_.last_id_;
  const FakeStore::Waiter waiter{*process_, id, nullptr};
  absl::Status status = store_.LockWriter(waiter);
  std::vector<std::string> keys;
  for (const Claim& claim : claims) keys.push_back(EncodeIdKey(claim.key));
  std::vector<std::string> sorted = keys;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    Misuse(seam, "the same id twice");
  }
  for (const std::string& key : sorted) {
    if (status.ok()) status = store_.LockId(waiter, key);
  }
  if (!status.ok()) {
    store_.Release(id);
    return status;
  }
  StoreChange change{.durability = Durability::kProcess};
  for (std::size_t i = 0; i < claims.size(); ++i) {
    const auto it = store_.state_.ids.find(keys[i]);
    const IdEntry before = it == store_.state_.ids.end() ? IdEntry{} : it->second;
    IdEntry entry = before;
    step({.index = i, .now = store_.Now(), .entry = entry});
    if (entry == before) continue;
    change.ids.push_back({.key = keys[i], .entry = std::move(entry), .by = claims[i].fence});
  }
  return Finish(fault, id, change);
}

absl::Status FakeConnection::ChangeHeld(Seam seam, std::span<const Claim> claims,
                                        std::span<absl::Status> outcomes,
                                        std::initializer_list<IdState> states,
                                        const StepFunction& step) {
  assert(claims.size() == outcomes.size());
  std::vector<absl::Status> answers(claims.size());
  for (const Claim& claim : claims) {
    const auto asked = asked_.find(claim.fence.counter);
    const bool is_ours = claim.fence.incarnation == incarnation_ && asked != asked_.end() &&
                         asked->second == EncodeIdKey(claim.key);
    if (!is_ours && !process_->is_dead()) Misuse(seam, "a claim that TryClaim was never asked for");
  }
  absl::Status status = ChangeIds(seam, claims, [&](const Step& one) {
    const IdState state = one.entry.record.state;
    const bool is_foreign = one.entry.claim.fence != claims[one.index].fence;
    if (!IsHeld(one.entry) || (is_foreign && store_.options_.compares_fences)) {
      answers[one.index] = LeaseLost();
      return;
    }
    if (std::find(states.begin(), states.end(), state) == states.end()) {
      answers[one.index] = absl::FailedPreconditionError(
          absl::StrCat("fake store: ", ToAbsl(ToString(seam)), ": the record is ",
                       state == IdState::kDying ? "" : "not ", "dying"));
      // A store that lost its tail may have gone back behind the caller.
      if (store_.losses_ == 0) Misuse(seam, ToStd(answers[one.index].message()));
      return;
    }
    if (seam == Seam::kRelease && one.entry.claim.is_begun) {
      answers[one.index] = absl::FailedPreconditionError("fake store: release: it has begun");
      return;
    }
    step(one);
  });
  for (std::size_t i = 0; i < claims.size(); ++i) {
    outcomes[i] = status.ok() ? answers[i] : Meaningless();
  }
  if (!process_->is_dead()) {
    store_.observer_->OnClaimCall(*process_, seam, claims, outcomes, status);
  }
  return status;
}

// What one request is told. Its id's entry changes only when the claim is granted.
ClaimResult FakeConnection::ClaimOne(const ClaimRequest& request, absl::Duration lease,
                                     const Step& step) const {
  IdEntry entry = step.entry;
  if (IsHeld(entry) && entry.claim.fence == request.fence) {
    step.entry.claim.lease_end = step.now + lease;
    return AnswerHolder(entry);
  }
  if (IsHeld(entry) && store_.IsOver(entry.claim)) EndHold(entry);
  const IdRecord& record = entry.record;
  if (record.state != IdState::kAbsent && !record.fingerprint.Matches(request.fingerprint)) {
    return {.verdict = ClaimVerdict::kConflict};
  }
  if (IsHeld(entry)) {
    return {.verdict = ClaimVerdict::kInProgress, .wait = entry.claim.lease_end - step.now};
  }
  switch (record.state) {
    case IdState::kCompleted:
      return {.verdict = ClaimVerdict::kDuplicate, .result = entry.claim.result};
    case IdState::kDead:
      return {.verdict = ClaimVerdict::kDead};
    case IdState::kDiscarded:
      return {.verdict = ClaimVerdict::kDiscarded};
    case IdState::kUncertain:
      return {.verdict = ClaimVerdict::kUncertain};
    case IdState::kRetrying:
      if (record.not_before > step.now) {
        return {.verdict = ClaimVerdict::kNotBefore, .wait = record.not_before - step.now};
      }
      break;
    case IdState::kAbsent:
    case IdState::kDying:
    case IdState::kClaimed:
      break;
  }
  entry.claim.released = record;
  entry.claim.fence = request.fence;
  entry.claim.lease_end = step.now + lease;
  if (record.state != IdState::kDying) entry.record.state = IdState::kClaimed;
  if (!record.fingerprint.is_set()) entry.record.fingerprint = request.fingerprint;
  step.entry = entry;
  return AnswerHolder(entry);
}

absl::Status FakeConnection::TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                                      std::span<ClaimResult> results) {
  assert(requests.size() == results.size());
  std::vector<Claim> claims;
  for (const ClaimRequest& request : requests) {
    claims.push_back({.key = request.key, .fence = request.fence});
    const auto [asked, is_new] =
        asked_.try_emplace(request.fence.counter, EncodeIdKey(request.key));
    const bool is_valid = request.fence.incarnation == incarnation_ &&
                          request.fence.counter <= fences_ &&
                          asked->second == EncodeIdKey(request.key);
    if (!is_valid && !process_->is_dead()) {
      Misuse(Seam::kTryClaim, "a fence that is not of NewFence, or of another claim");
    }
  }
  std::vector<ClaimResult> answers(requests.size());
  absl::Status status = ChangeIds(Seam::kTryClaim, claims, [&](const Step& step) {
    answers[step.index] = ClaimOne(requests[step.index], lease, step);
  });
  for (std::size_t i = 0; i < requests.size(); ++i) {
    results[i] = status.ok() ? std::move(answers[i]) : ClaimResult{};
  }
  if (!process_->is_dead()) store_.observer_->OnTryClaim(*process_, requests, results, status);
  return status;
}

absl::Status FakeConnection::Begun(std::span<const Claim> claims,
                                   std::span<absl::Status> outcomes) {
  return ChangeHeld(Seam::kBegun, claims, outcomes, {IdState::kClaimed},
                    [](const Step& step) { step.entry.claim.is_begun = true; });
}

absl::Status FakeConnection::Renew(std::span<const Claim> claims, absl::Duration lease,
                                   std::span<absl::Status> outcomes) {
  return ChangeHeld(Seam::kRenew, claims, outcomes, {IdState::kClaimed, IdState::kDying},
                    [lease](const Step& step) { step.entry.claim.lease_end = step.now + lease; });
}

absl::Status FakeConnection::Complete(std::span<const CompletedClaim> claims,
                                      std::span<absl::Status> outcomes) {
  return ChangeHeld(Seam::kComplete, ClaimsOf(claims), outcomes, {IdState::kClaimed},
                    [claims](const Step& step) {
                      step.entry.record.attempt += step.entry.claim.is_begun ? 1 : 0;
                      EndClaim(step.entry, IdState::kCompleted);
                      step.entry.claim.result = claims[step.index].result;
                    });
}

absl::Status FakeConnection::Fail(std::span<const FailedClaim> claims,
                                  std::span<absl::Status> outcomes) {
  return ChangeHeld(Seam::kFail, ClaimsOf(claims), outcomes, {IdState::kClaimed},
                    [claims](const Step& step) {
                      const FailedClaim& failed = claims[step.index];
                      IdRecord& record = step.entry.record;
                      if (failed.is_charged) ++record.attempt;
                      if (failed.is_charged && record.first_failed_at == absl::InfinitePast()) {
                        record.first_failed_at = failed.first_failed_at;
                      }
                      EndClaim(step.entry, IdState::kRetrying);
                      record.not_before = step.now + failed.delay;
                    });
}

absl::Status FakeConnection::Dying(std::span<const DyingClaim> claims,
                                   std::span<absl::Status> outcomes) {
  return ChangeHeld(Seam::kDying, ClaimsOf(claims), outcomes, {IdState::kClaimed, IdState::kDying},
                    [claims](const Step& step) {
                      // Said once more: what was recorded first stands.
                      if (step.entry.record.state == IdState::kDying) return;
                      const DyingClaim& dying = claims[step.index];
                      step.entry.record.state = IdState::kDying;
                      step.entry.record.attempt = dying.attempt;
                      step.entry.claim.is_begun = false;  // `attempt` counts it
                      step.entry.claim.disposition = dying.disposition;
                    });
}

absl::Status FakeConnection::Kill(std::span<const Claim> claims, std::span<absl::Status> outcomes) {
  return ChangeHeld(Seam::kKill, claims, outcomes, {IdState::kDying}, [](const Step& step) {
    const bool is_uncertain = step.entry.claim.disposition == Disposition::kUncertain;
    EndClaim(step.entry, is_uncertain ? IdState::kUncertain : IdState::kDead);
  });
}

absl::Status FakeConnection::Discard(std::span<const Claim> claims,
                                     std::span<absl::Status> outcomes) {
  return ChangeHeld(Seam::kDiscard, claims, outcomes, {IdState::kClaimed}, [](const Step& step) {
    step.entry.record.attempt += step.entry.claim.is_begun ? 1 : 0;
    EndClaim(step.entry, IdState::kDiscarded);
  });
}

absl::Status FakeConnection::Release(std::span<const Claim> claims,
                                     std::span<absl::Status> outcomes) {
  return ChangeHeld(Seam::kRelease, claims, outcomes, {IdState::kClaimed, IdState::kDying},
                    [](const Step& step) { EndHold(step.entry); });
}

absl::Status FakeConnection::Sync() {
  const Fault fault = store_.gate_.Pass(*process_, Seam::kSync);
  if (process_->is_dead()) return StoreDead();
  if (fault == Fault::kFailure) return StoreFailed();
  store_.Lose(fault);
  if (store_.IsFull(fault)) return StoreFull();
  // What was answered before may be gone: no later OK may speak for it.
  if (std::exchange(losses_, store_.losses_) != store_.losses_) return StoreSessionLost();
  if (fault != Fault::kUnknownNotApplied) store_.MarkSynced();
  if (fault == Fault::kCrashAfter) {
    store_.gate_.Crash(*process_);
    return StoreDead();
  }
  return fault == Fault::kNone ? absl::OkStatus() : StoreUnknown();
}

}  // namespace once::testing
