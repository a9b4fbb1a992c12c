// Wrong claim stores, and wrong uses of right ones: each breaks one rule of the claim protocol.
#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/wrapped_seams.h"

namespace once::testing {
namespace {

// Watermill's and Redpanda's deduplicators: whoever failed was there, and is a duplicate.
class FailedIsDuplicate : public OtherVerdict {
 public:
  using OtherVerdict::OtherVerdict;

 private:
  void Change(ClaimResult& result) const override {
    if (result.attempt > 1) result.verdict = ClaimVerdict::kDuplicate;
  }
};

// One key for in progress and done.
class InProgressIsDuplicate : public OtherVerdict {
 public:
  using OtherVerdict::OtherVerdict;

 private:
  void Change(ClaimResult& result) const override {
    if (result.verdict == ClaimVerdict::kInProgress) result.verdict = ClaimVerdict::kDuplicate;
  }
};

class TakeoverForgetsAttempt : public OtherVerdict {
 public:
  using OtherVerdict::OtherVerdict;

 private:
  void Change(ClaimResult& result) const override {
    if (result.verdict == ClaimVerdict::kTakeover) result.attempt = 1;
  }
};

class FingerprintsIgnored : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    std::vector<ClaimRequest> blind(requests.begin(), requests.end());
    for (ClaimRequest& request : blind) request.fingerprint = {};
    return inner_.TryClaim(blind, lease, results);
  }
};

absl::Status SayOk(std::span<absl::Status> outcomes) {
  std::fill(outcomes.begin(), outcomes.end(), absl::OkStatus());
  return absl::OkStatus();
}

class BegunSkipped : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Begun(std::span<const Claim>, std::span<absl::Status> outcomes) override {
    return SayOk(outcomes);
  }
};

class NeverRenewed : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Renew(std::span<const Claim>, absl::Duration,
                     std::span<absl::Status> outcomes) override {
    return SayOk(outcomes);
  }
};

// Twice in a lease, by a clock that the store does not share.
class RenewedHalfAsOften : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Renew(std::span<const Claim> claims, absl::Duration lease,
                     std::span<absl::Status> outcomes) override {
    is_left_out_ = !is_left_out_;
    return is_left_out_ ? SayOk(outcomes) : inner_.Renew(claims, lease, outcomes);
  }

 private:
  bool is_left_out_ = false;
};

class SyncSkipped : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Sync() override { return absl::OkStatus(); }
};

// A store that has lost words and found a server that serves: all is well again, it says.
class LossUnsaid : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Sync() override {
    const absl::Status synced = inner_.Sync();
    const bool is_definite = !synced.ok() && synced.code() != absl::StatusCode::kUnknown;
    return is_definite ? inner_.Sync() : synced;
  }
};

class DyingSkipped : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Dying(std::span<const DyingClaim>, std::span<absl::Status> outcomes) override {
    return SayOk(outcomes);
  }
};

class KilledBeforePublished : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Dying(std::span<const DyingClaim> claims,
                     std::span<absl::Status> outcomes) override {
    const absl::Status status = inner_.Dying(claims, outcomes);
    std::vector<Claim> dying;
    for (const DyingClaim& one : claims) dying.push_back(one.claim);
    std::vector<absl::Status> killed(dying.size());
    (void)inner_.Kill(dying, killed);
    return status;
  }
};

// Gives back what has begun, as if nothing had happened.
class FailIsRelease : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Fail(std::span<const FailedClaim> claims,
                    std::span<absl::Status> outcomes) override {
    std::vector<Claim> failed;
    for (const FailedClaim& one : claims) failed.push_back(one.claim);
    return inner_.Release(failed, outcomes);
  }
};

class UnknownCompleteIsFailure : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Complete(std::span<const CompletedClaim> claims,
                        std::span<absl::Status> outcomes) override {
    const absl::Status status = inner_.Complete(claims, outcomes);
    if (status.code() != absl::StatusCode::kUnknown) return status;
    std::vector<FailedClaim> failed;
    for (const CompletedClaim& one : claims) failed.push_back({.claim = one.claim});
    (void)inner_.Fail(failed, outcomes);
    std::fill(outcomes.begin(), outcomes.end(), absl::AbortedError("taken for a failure"));
    return absl::OkStatus();
  }
};

class UnknownCompleteIsOk : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Complete(std::span<const CompletedClaim> claims,
                        std::span<absl::Status> outcomes) override {
    const absl::Status status = inner_.Complete(claims, outcomes);
    return status.code() == absl::StatusCode::kUnknown ? SayOk(outcomes) : status;
  }
};

// A broker whose lost answers are taken for acknowledgements.
class UnknownPublishIsOk : public ForwardingPublisher {
 public:
  using ForwardingPublisher::ForwardingPublisher;
  void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
               std::span<absl::Status> outcomes) override {
    inner_->Publish(messages, deadline, outcomes);
    for (absl::Status& outcome : outcomes) {
      if (outcome.code() == absl::StatusCode::kUnknown) outcome = absl::OkStatus();
    }
  }
};

void PlantPublisher(Scenario& scenario) {
  scenario.wrap_publisher = [](std::shared_ptr<Publisher> inner) -> std::shared_ptr<Publisher> {
    return std::make_shared<UnknownPublishIsOk>(std::move(inner));
  };
}

}  // namespace

const std::vector<PlantedBug>& PlantedClaimBugs() {
  constexpr Budget kNone = {};
  constexpr Budget kOne = {.faults = 1};
  static const std::vector<PlantedBug>* const bugs = new std::vector<PlantedBug>{
      {"failed-claim-is-duplicate", "an id that failed once counts as done",
       PlantClaims<FailedIsDuplicate>,         //
       "plain-letters", kNone, Check::kOrder,  //
       "plain-letters", kNone, Check::kOrder},
      {"in-progress-is-duplicate", "an id that somebody works on counts as done",
       PlantClaims<InProgressIsDuplicate>,                 //
       "plain-one-partition", kOne, Check::kAcknowledged,  //
       "plain-one-partition", kOne, Check::kAcknowledged},
      {"fence-ignored", "a former owner may record an outcome",
       [](Scenario& scenario) { scenario.compares_fences = false; },  //
       "plain-one-partition", kOne, Check::kFencedEffect,             //
       "plain-one-partition", kOne, Check::kOneEffect},
      {"takeover-forgets-attempt", "every takeover is a first attempt",
       PlantClaims<TakeoverForgetsAttempt>,          //
       "plain-poison", kNone, Check::kHandledAgain,  //
       "plain-poison", kNone, Check::kAttempts},
      {"takeover-is-fresh", "nobody is told that the handler may have run",
       PlantClaims<TakeoverIsFresh>,                 //
       "plain-parked", kNone, Check::kHandledAgain,  //
       "plain-parked", kNone, Check::kRightOutcome},
      {"fingerprints-ignored", "another value under one id counts as a duplicate",
       PlantClaims<FingerprintsIgnored>,             //
       "plain-conflict", kNone, Check::kOneOutcome,  //
       "plain-conflict", kNone, Check::kOneOutcome},
      {"begun-skipped", "a handler runs without a record of it", PlantClaims<BegunSkipped>,
       "plain-poison", kNone, Check::kBegun,  //
       "plain-poison", kNone, Check::kAttempts},
      {"never-renewed", "a handler takes longer than its lease", PlantClaims<NeverRenewed>,
       "plain-slow", kNone, Check::kRightOutcome,  //
       "plain-slow", kNone, Check::kRightOutcome},
      {"renewed-half-as-often", "a renewal comes too late for a store whose clock is fast",
       PlantClaims<RenewedHalfAsOften>,                  //
       "plain-store-fast", kNone, Check::kRightOutcome,  //
       "plain-store-fast", kNone, Check::kRightOutcome},
      {"sync-skipped", "what is acknowledged does not survive the machine",
       PlantClaims<SyncSkipped>,                            //
       "plain-one-partition", kNone, Check::kAcknowledged,  //
       "plain-one-partition", kNone, Check::kAcknowledged},
      {"loss-unsaid", "a store that lost words after a failover says OK to the next sync",
       PlantClaims<LossUnsaid>,                       //
       "plain-failover", kOne, Check::kAcknowledged,  //
       "plain-failover", kOne, Check::kAcknowledged},
      {"word-torn", "a word that broke off has ended its claim and left the outcome unsaid",
       [](Scenario& scenario) { scenario.tears_words = true; },  //
       "plain-pipelined", kOne, Check::kOneEffect,               //
       "plain-pipelined", kOne, Check::kOneEffect},
      {"dying-skipped", "a letter is published of a message that somebody may yet handle",
       PlantClaims<DyingSkipped>,                  //
       "plain-letters", kNone, Check::kPublished,  //
       "plain-letters", kNone, Check::kPublished},
      {"killed-before-published", "a message is dead before its letter is out",
       PlantClaims<KilledBeforePublished>,      //
       "plain-letters", kNone, Check::kAtomic,  //
       "plain-letters", kNone, Check::kAtomic},
      {"fail-is-release", "a failed claim is given back", PlantClaims<FailIsRelease>,
       "plain-letters", kNone, Check::kMisuse,  //
       "plain-letters", kNone, Check::kRightOutcome},
      {"unknown-complete-is-failure", "a lost answer to Complete is taken for failure",
       PlantClaims<UnknownCompleteIsFailure>,              //
       "plain-one-partition", kOne, Check::kRightOutcome,  //
       "plain-one-partition", kOne, Check::kRightOutcome},
      {"unknown-complete-is-ok", "a lost answer to Complete is taken for success",
       PlantClaims<UnknownCompleteIsOk>,                   //
       "plain-one-partition", kOne, Check::kAcknowledged,  //
       "plain-one-partition", kOne, Check::kAcknowledged},
      {"unknown-publish-is-ok", "a lost answer of the broker is taken for its acknowledgement",
       PlantPublisher,                         //
       "plain-letters", kOne, Check::kAtomic,  //
       "plain-letters", kOne, Check::kAtomic},
  };
  return *bugs;
}

}  // namespace once::testing
