// The public suite for claims: its vocabulary, and the list of its tests. Compiled once: whoever
// instantiates the suite links them.
#include "once/testing/claims_conformance.h"

#include <utility>

#include <gmock/gmock.h>

#include "absl/time/clock.h"
#include "src/testing/claim_bench.h"

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ClaimStoreConformance);

namespace once::testing {
namespace {

// How long a test asks for what must come to pass by itself.
constexpr absl::Duration kPatience = absl::Seconds(10);

std::vector<StoreCheck>& ListedChecks() {
  static auto* const checks = new std::vector<StoreCheck>;
  return *checks;
}

// The outcome of a call that was about one claim.
absl::Status Single(const absl::Status& call, const absl::Status& outcome, std::string_view name) {
  if (!call.ok()) {
    ADD_FAILURE() << name << ": " << call;
    return call;
  }
  return outcome;
}

}  // namespace

bool ListClaimCheck(std::string_view name, void (*run)(const StoreUnderTest&)) {
  ListedChecks().push_back({.name = std::string(name), .run = run});
  return true;
}

bool LinkClaimSuite() {
  LinkVerdictChecks();
  LinkFenceChecks();
  LinkLeaseChecks();
  LinkSharingChecks();
  return true;
}

std::vector<StoreCheck> ClaimChecks() {
  LinkClaimSuite();
  return ListedChecks();
}

ClaimBench::ClaimBench(const StoreUnderTest& under_test)
    : capabilities_(under_test.capabilities), fixture_(under_test.make()) {
  has_clock_ = fixture_->AdvanceClock(absl::ZeroDuration()).ok();
}

bool ClaimBench::CanRun() {
  EXPECT_NE(fixture_->store().claims(), nullptr) << "the store has no claims";
  return fixture_->store().claims() != nullptr;
}

ClaimResult ClaimBench::TryClaim(std::string_view id, const Fence& fence, absl::Duration lease,
                                 const Fingerprint& print) {
  const ClaimRequest request{
      .key = {.scope = kScope, .id = id}, .fingerprint = print, .fence = fence};
  // Not what any store should leave there.
  ClaimResult result{.verdict = ClaimVerdict::kUncertain, .attempt = -1};
  const absl::Status claimed = claims().TryClaim({&request, 1}, lease, {&result, 1});
  EXPECT_TRUE(claimed.ok()) << "claim of " << id << ": " << claimed;
  return result;
}

Holder ClaimBench::Ask(std::string_view id, absl::Duration lease, const Fingerprint& print) {
  Holder holder{.id = std::string(id), .fence = claims().NewFence(), .result = {}};
  holder.result = TryClaim(id, holder.fence, lease, print);
  return holder;
}

Holder ClaimBench::AskUntilFree(std::string_view id, absl::Duration lease) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (true) {
    Holder holder = Ask(id, lease);
    const bool must_wait = holder.result.verdict == ClaimVerdict::kInProgress ||
                           holder.result.verdict == ClaimVerdict::kNotBefore;
    if (!must_wait) return holder;
    // A clock that stands still frees nothing more.
    if (has_clock_ || absl::Now() > deadline) {
      ADD_FAILURE() << id << " is still not free, for another " << holder.result.wait;
      return holder;
    }
  }
}

absl::Duration ClaimBench::ShortLease() const {
  return has_clock_ ? absl::Seconds(10) : absl::Milliseconds(50);
}

void ClaimBench::PassLease() {
  if (!has_clock_) return;  // AskUntilFree() asks until it has passed by itself
  const absl::Status advanced = fixture_->AdvanceClock(ShortLease());
  EXPECT_TRUE(advanced.ok()) << advanced;
}

Holder ClaimBench::LoseBegun(std::string_view id) {
  Holder holder = AskUntilFree(id, ShortLease());
  EXPECT_TRUE(Begun(holder).ok());
  PassLease();
  return holder;
}

Holder ClaimBench::LoseUnbegun(std::string_view id) {
  Holder holder = AskUntilFree(id, ShortLease());
  PassLease();
  return holder;
}

void ClaimBench::LeaveCompleted(std::string_view id, std::string_view result) {
  const Holder holder = Ask(id);
  EXPECT_TRUE(Begun(holder).ok());
  const absl::Status completed = Complete(holder, result);
  EXPECT_TRUE(completed.ok()) << completed;
}

void ClaimBench::LeaveRetrying(std::string_view id) {
  const Holder holder = Ask(id);
  EXPECT_TRUE(Begun(holder).ok());
  const absl::Status failed = Fail(holder);
  EXPECT_TRUE(failed.ok()) << failed;
}

void ClaimBench::LeaveDead(std::string_view id) {
  const Holder holder = Ask(id);
  EXPECT_TRUE(Begun(holder).ok());
  const absl::Status dying = Dying(holder);
  EXPECT_TRUE(dying.ok()) << dying;
  const absl::Status killed = Kill(holder);
  EXPECT_TRUE(killed.ok()) << killed;
}

void ClaimBench::LeaveUncertain(std::string_view id) {
  const Holder holder = Ask(id);
  const absl::Status dying = Dying(holder, Disposition::kUncertain);
  EXPECT_TRUE(dying.ok()) << dying;
  const absl::Status killed = Kill(holder);
  EXPECT_TRUE(killed.ok()) << killed;
}

void ClaimBench::LeaveDiscarded(std::string_view id) {
  const Holder holder = Ask(id);
  const absl::Status discarded = Discard(holder);
  EXPECT_TRUE(discarded.ok()) << discarded;
}

absl::Status ClaimBench::Begun(const Holder& holder) {
  const Claim claim = holder.claim();
  absl::Status outcome;
  return Single(claims().Begun({&claim, 1}, {&outcome, 1}), outcome, "begun");
}

absl::Status ClaimBench::Renew(const Holder& holder, absl::Duration lease) {
  const Claim claim = holder.claim();
  absl::Status outcome;
  return Single(claims().Renew({&claim, 1}, lease, {&outcome, 1}), outcome, "renew");
}

absl::Status ClaimBench::Complete(const Holder& holder, std::string_view result) {
  const CompletedClaim completed{.claim = holder.claim(), .result = result};
  absl::Status outcome;
  return Single(claims().Complete({&completed, 1}, {&outcome, 1}), outcome, "complete");
}

absl::Status ClaimBench::Fail(const Holder& holder, absl::Duration delay,
                              absl::Time first_failed_at) {
  const FailedClaim failed{
      .claim = holder.claim(), .delay = delay, .first_failed_at = first_failed_at};
  absl::Status outcome;
  return Single(claims().Fail({&failed, 1}, {&outcome, 1}), outcome, "fail");
}

absl::Status ClaimBench::Dying(const Holder& holder, Disposition disposition, int attempt) {
  const DyingClaim dying{.claim = holder.claim(), .disposition = disposition, .attempt = attempt};
  absl::Status outcome;
  return Single(claims().Dying({&dying, 1}, {&outcome, 1}), outcome, "dying");
}

absl::Status ClaimBench::Kill(const Holder& holder) {
  const Claim claim = holder.claim();
  absl::Status outcome;
  return Single(claims().Kill({&claim, 1}, {&outcome, 1}), outcome, "kill");
}

absl::Status ClaimBench::Discard(const Holder& holder) {
  const Claim claim = holder.claim();
  absl::Status outcome;
  return Single(claims().Discard({&claim, 1}, {&outcome, 1}), outcome, "discard");
}

absl::Status ClaimBench::Release(const Holder& holder) {
  const Claim claim = holder.claim();
  absl::Status outcome;
  return Single(claims().Release({&claim, 1}, {&outcome, 1}), outcome, "release");
}

std::span<const ClaimBench::Call> ClaimBench::EveryCall() {
  static constexpr Call kCalls[] = {
      {.name = "begun", .run = &ClaimBench::Begun},
      {.name = "renew", .run = &ClaimBench::RenewLong},
      {.name = "complete", .run = &ClaimBench::CompleteEmpty},
      {.name = "fail", .run = &ClaimBench::FailNow},
      {.name = "dying", .run = &ClaimBench::DyingRejected},
      {.name = "kill", .run = &ClaimBench::Kill},
      {.name = "discard", .run = &ClaimBench::Discard},
      {.name = "release", .run = &ClaimBench::Release},
  };
  return kCalls;
}

IdRecord ClaimBench::FindInTransaction(std::string_view id) {
  const auto begun = transactions().Begin({});
  if (!begun.ok() || !begun->transaction) {
    ADD_FAILURE() << "begin: " << begun.status();
    return {};
  }
  const IdKey key{.scope = kScope, .id = id};
  IdRecord record;
  const absl::Status found = begun->transaction->FindIds({&key, 1}, {&record, 1});
  EXPECT_TRUE(found.ok()) << found;
  begun->transaction->Rollback();
  return record;
}

void ClaimBench::PutInTransaction(std::string_view id, const IdRecord& record) {
  const auto begun = transactions().Begin({});
  if (!begun.ok() || !begun->transaction) {
    ADD_FAILURE() << "begin: " << begun.status();
    return;
  }
  const IdWrite write{.key = {.scope = kScope, .id = id}, .record = record};
  const absl::Status put = begun->transaction->PutIds({&write, 1});
  EXPECT_TRUE(put.ok()) << put;
  const absl::Status committed = begun->transaction->Commit(Durability::kMachine);
  EXPECT_TRUE(committed.ok()) << committed;
}

}  // namespace once::testing
