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

// The end of a claim: what stays is the record and whether it may have run.
void EndClaim(IdEntry& entry, IdState state) {
  entry.record.state = state;
  entry.record.not_before = absl::InfinitePast();
  entry.claim = {.maybe_ran = entry.claim.maybe_ran};
}

// An owner that began and was never heard of again: the invocation counts, and may have run.
void ChargeLostOwner(IdEntry& entry) {
  if (!entry.claim.is_begun) return;
  ++entry.record.attempt;
  entry.claim.maybe_ran = true;
  entry.claim.is_begun = false;
  entry.claim.released = entry.record;
  entry.claim.released.state = IdState::kRetrying;
  entry.claim.released.not_before = absl::InfinitePast();
}

}  // namespace

Fence FakeConnection::NewFence() { return {.incarnation = incarnation_, .counter = ++fences_}; }

void FakeConnection::Misuse(Seam seam, std::string_view what) {
  store_.observer_->OnMisuse(*process_, absl::StrCat(ToAbsl(ToString(seam)), ": ", ToAbsl(what)));
}

// A claim that somebody else may take.
bool FakeConnection::IsOver(const ClaimRecord& claim, absl::Time now) const {
  const bool is_of_the_dead =
      store_.options_.has_one_owner && claim.fence.incarnation != incarnation_;
  return claim.lease_end <= now || is_of_the_dead;
}

absl::Status FakeConnection::ChangeIds(Seam seam, std::span<const Claim> claims,
                                       const StepFunction& step) {
  const Fault fault = store_.gate_.Pass(*process_, seam);
  if (process_->is_dead()) return StoreDead();
  if (fault == Fault::kFailure) return StoreFailed();
  if (store_.Lose(fault)) return StoreSessionLost();
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
    step({.index = i, .now = store_.gate_.scheduler().Now(), .entry = entry});
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
  const absl::Status status = ChangeIds(seam, claims, [&](const Step& one) {
    const IdState state = one.entry.record.state;
    const bool is_held = state == IdState::kClaimed || state == IdState::kDying;
    const bool is_foreign = one.entry.claim.fence != claims[one.index].fence;
    if (!is_held || (is_foreign && store_.options_.compares_fences)) {
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

// What one request is told, and what becomes of the id's entry.
ClaimResult FakeConnection::ClaimOne(const ClaimRequest& request, absl::Duration lease,
                                     const Step& step) const {
  IdEntry& entry = step.entry;
  IdRecord& record = entry.record;
  ClaimRecord& claim = entry.claim;
  const auto wait_until = [&](ClaimVerdict verdict, absl::Time time) {
    return ClaimResult{.verdict = verdict, .wait = time - step.now};
  };
  if (record.state != IdState::kAbsent && !record.fingerprint.Matches(request.fingerprint)) {
    return {.verdict = ClaimVerdict::kConflict};
  }
  const bool is_own = claim.fence == request.fence;
  switch (record.state) {
    case IdState::kCompleted:
      return {.verdict = ClaimVerdict::kDuplicate, .result = claim.result};
    case IdState::kDead:
      return {.verdict = ClaimVerdict::kDead};
    case IdState::kDiscarded:
      return {.verdict = ClaimVerdict::kDiscarded};
    case IdState::kUncertain:
      return {.verdict = ClaimVerdict::kUncertain};
    case IdState::kDying:
      if (!is_own && !IsOver(claim, step.now)) {
        return wait_until(ClaimVerdict::kInProgress, claim.lease_end);
      }
      claim.fence = request.fence;
      claim.lease_end = step.now + lease;
      return {.verdict = ClaimVerdict::kPublish,
              .attempt = record.attempt,
              .first_failed_at = record.first_failed_at,
              .disposition = claim.disposition};
    case IdState::kRetrying:
      if (record.not_before > step.now) {
        return wait_until(ClaimVerdict::kNotBefore, record.not_before);
      }
      claim.released = record;
      break;
    case IdState::kClaimed:
      if (is_own) break;
      if (!IsOver(claim, step.now)) return wait_until(ClaimVerdict::kInProgress, claim.lease_end);
      ChargeLostOwner(entry);
      break;
    case IdState::kAbsent:
      record.fingerprint = request.fingerprint;
      break;
  }
  record.state = IdState::kClaimed;
  record.not_before = absl::InfinitePast();
  claim.fence = request.fence;
  claim.lease_end = step.now + lease;
  return {.verdict = claim.maybe_ran ? ClaimVerdict::kTakeover : ClaimVerdict::kFresh,
          .attempt = record.attempt + 1,
          .first_failed_at = record.first_failed_at};
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
  const absl::Status status = ChangeIds(Seam::kTryClaim, claims, [&](const Step& step) {
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
                      ++record.attempt;
                      if (record.first_failed_at == absl::InfinitePast()) {
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
                      const DyingClaim& dying = claims[step.index];
                      step.entry.record.state = IdState::kDying;
                      step.entry.claim.is_begun = false;  // `attempt` counts it
                      step.entry.record.attempt = dying.attempt;
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
                    [](const Step& step) {
                      ClaimRecord& claim = step.entry.claim;
                      if (step.entry.record.state == IdState::kDying) {
                        claim.fence = {};
                        claim.lease_end = absl::InfinitePast();
                        return;
                      }
                      step.entry.record = claim.released;
                      claim = {.maybe_ran = claim.maybe_ran};
                    });
}

absl::Status FakeConnection::Sync() {
  const Fault fault = store_.gate_.Pass(*process_, Seam::kSync);
  if (process_->is_dead()) return StoreDead();
  if (fault == Fault::kFailure) return StoreFailed();
  store_.Lose(fault);
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
