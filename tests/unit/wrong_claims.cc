// One class for each bug.
#include "tests/unit/wrong_claims.h"

#include <algorithm>
#include <cassert>

#include "absl/time/time.h"

namespace once {
namespace {

// Remembers things of ids, from whatever thread.
template <typename T>
class Notes {
 public:
  void Write(const IdKey& key, T value) {
    std::lock_guard lock(mutex_);
    notes_.insert_or_assign(EncodeIdKey(key), std::move(value));
  }
  void Forget(const IdKey& key) {
    std::lock_guard lock(mutex_);
    notes_.erase(EncodeIdKey(key));
  }
  T ReadOr(const IdKey& key, T otherwise) {
    std::lock_guard lock(mutex_);
    const auto found = notes_.find(EncodeIdKey(key));
    return found == notes_.end() ? otherwise : found->second;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, T> notes_;
};

bool IsGranted(ClaimVerdict verdict) {
  return verdict == ClaimVerdict::kFresh || verdict == ClaimVerdict::kTakeover ||
         verdict == ClaimVerdict::kPublish;
}

// Whoever speaks of an id is taken for its owner: MassTransit, Powertools.
class FenceIsNotChecked final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const absl::Status claimed = ClaimsWrapper::TryClaim(requests, lease, results);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (IsGranted(results[i].verdict)) owners_.Write(requests[i].key, requests[i].fence);
    }
    return claimed;
  }
  absl::Status Complete(std::span<const CompletedClaim> completed,
                        std::span<absl::Status> outcomes) override {
    std::vector<CompletedClaim> owned(completed.begin(), completed.end());
    for (CompletedClaim& one : owned) {
      one.claim.fence = owners_.ReadOr(one.claim.key, one.claim.fence);
    }
    return ClaimsWrapper::Complete(owned, outcomes);
  }

 private:
  Notes<Fence> owners_;
};

// An id that was ever claimed counts as seen: what loses messages elsewhere.
class FailedIsADuplicate final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const absl::Status claimed = ClaimsWrapper::TryClaim(requests, lease, results);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (failed_.ReadOr(requests[i].key, false)) results[i].verdict = ClaimVerdict::kDuplicate;
    }
    return claimed;
  }
  absl::Status Fail(std::span<const FailedClaim> failed,
                    std::span<absl::Status> outcomes) override {
    for (const FailedClaim& one : failed) failed_.Write(one.claim.key, true);
    return ClaimsWrapper::Fail(failed, outcomes);
  }

 private:
  Notes<bool> failed_;
};

// A claim that is given back leaves no record, whatever was there before it.
class ReleaseForgetsTheAttempts final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status Release(std::span<const Claim> held, std::span<absl::Status> outcomes) override {
    const absl::Status released = ClaimsWrapper::Release(held, outcomes);
    for (std::size_t i = 0; i < held.size(); ++i) {
      if (outcomes[i].ok()) Erase(held[i].key);
    }
    return released;
  }

 private:
  void Erase(const IdKey& key) {
    const auto begun = inner().transactions()->Begin({});
    assert(begun.ok() && begun->transaction);
    const IdWrite write{.key = key, .record = {}};
    if (begun->transaction->PutIds({&write, 1}).ok()) {
      begun->transaction->Commit(Durability::kMachine).IgnoreError();
    }
  }
};

// The doubt whether the handler ran ends with the first takeover.
class TakeoverIsToldOnce final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const absl::Status claimed = ClaimsWrapper::TryClaim(requests, lease, results);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (results[i].verdict != ClaimVerdict::kTakeover) continue;
      const int told = told_.ReadOr(requests[i].key, 0);
      told_.Write(requests[i].key, results[i].attempt);
      if (told != 0 && told != results[i].attempt) results[i].verdict = ClaimVerdict::kFresh;
    }
    return claimed;
  }

 private:
  Notes<int> told_;
};

class CompleteIgnoresALostLease final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status Complete(std::span<const CompletedClaim> completed,
                        std::span<absl::Status> outcomes) override {
    const absl::Status call = ClaimsWrapper::Complete(completed, outcomes);
    std::fill(outcomes.begin(), outcomes.end(), absl::OkStatus());
    return call;
  }
};

class FingerprintIsIgnored final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    std::vector<ClaimRequest> unprinted(requests.begin(), requests.end());
    for (ClaimRequest& request : unprinted) request.fingerprint = {};
    return ClaimsWrapper::TryClaim(unprinted, lease, results);
  }
};

class BegunIsNotRecorded final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status Begun(std::span<const Claim> /*held*/, std::span<absl::Status> outcomes) override {
    std::fill(outcomes.begin(), outcomes.end(), absl::OkStatus());
    return absl::OkStatus();
  }
};

// The other extreme: every claim is taken for one whose handler ran.
class EveryClaimHasBegun final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const absl::Status claimed = ClaimsWrapper::TryClaim(requests, lease, results);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (!IsGranted(results[i].verdict)) continue;
      const Claim claim{.key = requests[i].key, .fence = requests[i].fence};
      absl::Status outcome;
      ClaimsWrapper::Begun({&claim, 1}, {&outcome, 1}).IgnoreError();
    }
    return claimed;
  }
};

class RenewIsNotRecorded final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status Renew(std::span<const Claim> held, absl::Duration /*lease*/,
                     std::span<absl::Status> outcomes) override {
    const absl::Status call = ClaimsWrapper::Begun(held, outcomes);  // for the outcomes
    return call;
  }
};

class LeaseNeverEnds final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration /*lease*/,
                        std::span<ClaimResult> results) override {
    return ClaimsWrapper::TryClaim(requests, absl::Hours(1'000'000), results);
  }
};

class DelayIsIgnored final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status Fail(std::span<const FailedClaim> failed,
                    std::span<absl::Status> outcomes) override {
    std::vector<FailedClaim> due(failed.begin(), failed.end());
    for (FailedClaim& one : due) one.delay = absl::ZeroDuration();
    return ClaimsWrapper::Fail(due, outcomes);
  }
};

class UncertainIsDead final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status Dying(std::span<const DyingClaim> dying, std::span<absl::Status> outcomes) override {
    std::vector<DyingClaim> rejected(dying.begin(), dying.end());
    for (DyingClaim& one : rejected) one.disposition = Disposition::kRejected;
    return ClaimsWrapper::Dying(rejected, outcomes);
  }
};

// Whoever takes over a dying id handles it.
class DyingIsFresh final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const absl::Status claimed = ClaimsWrapper::TryClaim(requests, lease, results);
    for (ClaimResult& result : results) {
      if (result.verdict == ClaimVerdict::kPublish) result.verdict = ClaimVerdict::kFresh;
    }
    return claimed;
  }
};

class ResultIsForgotten final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status Complete(std::span<const CompletedClaim> completed,
                        std::span<absl::Status> outcomes) override {
    std::vector<CompletedClaim> without(completed.begin(), completed.end());
    for (CompletedClaim& one : without) one.result = {};
    return ClaimsWrapper::Complete(without, outcomes);
  }
};

// A claim that is asked for again, because the first answer was lost, waits for itself.
class RepetitionMeetsAStranger final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const absl::Status claimed = ClaimsWrapper::TryClaim(requests, lease, results);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (!IsGranted(results[i].verdict)) continue;
      const Fence former = owners_.ReadOr(requests[i].key, {});
      owners_.Write(requests[i].key, requests[i].fence);
      if (former == requests[i].fence) results[i].verdict = ClaimVerdict::kInProgress;
    }
    return claimed;
  }

 private:
  Notes<Fence> owners_;
};

class FirstFailureIsForgotten final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const absl::Status claimed = ClaimsWrapper::TryClaim(requests, lease, results);
    for (ClaimResult& result : results) result.first_failed_at = absl::InfinitePast();
    return claimed;
  }
};

// One outcome for all claims of a call.
class LastOutcomeCounts final : public ClaimsWrapper {
 public:
  using ClaimsWrapper::ClaimsWrapper;
  absl::Status Complete(std::span<const CompletedClaim> completed,
                        std::span<absl::Status> outcomes) override {
    const absl::Status call = ClaimsWrapper::Complete(completed, outcomes);
    if (!outcomes.empty()) std::fill(outcomes.begin(), outcomes.end(), outcomes.back());
    return call;
  }
};

template <typename Bug>
std::unique_ptr<ClaimStore> Plant(DedupStore& inner) {
  return std::make_unique<Bug>(inner);
}

}  // namespace

std::vector<ClaimsBug> PlantedClaimsBugs() {
  return {{"nothing", Plant<ClaimsWrapper>},
          {"fence_is_not_checked", Plant<FenceIsNotChecked>},
          {"failed_is_a_duplicate", Plant<FailedIsADuplicate>},
          {"release_forgets_the_attempts", Plant<ReleaseForgetsTheAttempts>},
          {"takeover_is_told_once", Plant<TakeoverIsToldOnce>},
          {"complete_ignores_a_lost_lease", Plant<CompleteIgnoresALostLease>},
          {"fingerprint_is_ignored", Plant<FingerprintIsIgnored>},
          {"begun_is_not_recorded", Plant<BegunIsNotRecorded>},
          {"every_claim_has_begun", Plant<EveryClaimHasBegun>},
          {"renew_is_not_recorded", Plant<RenewIsNotRecorded>},
          {"lease_never_ends", Plant<LeaseNeverEnds>},
          {"delay_is_ignored", Plant<DelayIsIgnored>},
          {"uncertain_is_dead", Plant<UncertainIsDead>},
          {"dying_is_fresh", Plant<DyingIsFresh>},
          {"result_is_forgotten", Plant<ResultIsForgotten>},
          {"repetition_meets_a_stranger", Plant<RepetitionMeetsAStranger>},
          {"first_failure_is_forgotten", Plant<FirstFailureIsForgotten>},
          {"last_outcome_counts", Plant<LastOutcomeCounts>}};
}

}  // namespace once
