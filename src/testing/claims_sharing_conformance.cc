// The conformance tests of claims beside others: many claimers, transactions over the same ids,
// reopening and crashes.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/claim_bench.h"

namespace once::testing {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Gt;
using ::testing::Le;
using namespace std::string_view_literals;

void LinkSharingChecks() {}

namespace {

// The requests are views of `ids`, which must outlive them.
std::vector<ClaimRequest> RequestsFor(ClaimStore& claims, std::vector<std::string>&& ids) = delete;
std::vector<ClaimRequest> RequestsFor(ClaimStore& claims, const std::vector<std::string>& ids) {
  std::vector<ClaimRequest> requests;
  for (const std::string& id : ids) {
    requests.push_back(
        {.key = {.scope = kScope, .id = id}, .fingerprint = kPrint, .fence = claims.NewFence()});
  }
  return requests;
}

// Repeats the very same request while the store has no time for it.
absl::Status TryClaimPatiently(ClaimStore& claims, std::span<const ClaimRequest> requests,
                               std::span<ClaimResult> results) {
  absl::Status claimed;
  do {
    claimed = claims.TryClaim(requests, kLongLease, results);
  } while (absl::IsUnavailable(claimed));
  return claimed;
}

// ---- Many at once ----

CLAIM_CHECK(FiveHundredIdsAreClaimedAndCompletedInOneCallEach) {
  std::vector<std::string> ids;
  for (int i = 0; i < 500; ++i) ids.push_back(absl::StrCat("id ", i));
  const std::vector<ClaimRequest> requests = RequestsFor(claims(), ids);
  std::vector<ClaimResult> results(ids.size());
  ASSERT_TRUE(claims().TryClaim(requests, kLongLease, results).ok());
  std::vector<Claim> held;
  std::vector<CompletedClaim> completed;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ASSERT_EQ(results[i].verdict, ClaimVerdict::kFresh) << i;
    held.push_back({.key = requests[i].key, .fence = requests[i].fence});
    completed.push_back({.claim = held.back(), .result = ids[i]});
  }
  std::vector<absl::Status> outcomes(ids.size(), absl::InternalError("not answered"));
  ASSERT_TRUE(claims().Begun(held, outcomes).ok());
  EXPECT_THAT(outcomes, Each(absl::OkStatus()));
  outcomes.assign(ids.size(), absl::InternalError("not answered"));
  ASSERT_TRUE(claims().Complete(completed, outcomes).ok());
  EXPECT_THAT(outcomes, Each(absl::OkStatus()));
  ASSERT_TRUE(claims().Sync().ok());
  ASSERT_TRUE(claims().TryClaim(RequestsFor(claims(), ids), kLongLease, results).ok());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ASSERT_EQ(results[i].verdict, ClaimVerdict::kDuplicate) << i;
    ASSERT_EQ(results[i].result, ids[i]);
  }
}

CLAIM_CHECK(OfManyClaimersExactlyOneGetsAnId) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  constexpr int kThreads = 4;
  constexpr int kRounds = 50;
  std::vector<std::atomic<int>> granted(kRounds);
  const auto work = [&] {
    for (int i = 0; i < kRounds; ++i) {
      const std::vector<std::string> ids = {absl::StrCat("id ", i)};
      const std::vector<ClaimRequest> requests = RequestsFor(claims(), ids);
      ClaimResult result;
      const absl::Status claimed = TryClaimPatiently(claims(), requests, {&result, 1});
      ASSERT_TRUE(claimed.ok()) << claimed;
      if (result.verdict == ClaimVerdict::kFresh) {
        ++granted[static_cast<std::size_t>(i)];
      } else {
        EXPECT_EQ(result.verdict, ClaimVerdict::kInProgress);
      }
    }
  };
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  for (const std::atomic<int>& times : granted) EXPECT_EQ(times, 1);
}

// Its row is there already: what keeps two apart is a lock, not the uniqueness of a new row.
CLAIM_CHECK(OfManyClaimersExactlyOneGetsAnIdThatHasFailedBefore) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  constexpr int kThreads = 4;
  constexpr int kRounds = 30;
  for (int i = 0; i < kRounds; ++i) EXPECT_TRUE(Fail(Ask(absl::StrCat("id ", i))).ok());
  std::vector<std::atomic<int>> granted(kRounds);
  const auto work = [&] {
    for (int i = 0; i < kRounds; ++i) {
      const std::vector<std::string> ids = {absl::StrCat("id ", i)};
      const std::vector<ClaimRequest> requests = RequestsFor(claims(), ids);
      ClaimResult result;
      const absl::Status claimed = TryClaimPatiently(claims(), requests, {&result, 1});
      ASSERT_TRUE(claimed.ok()) << claimed;
      if (result.verdict != ClaimVerdict::kInProgress) {
        EXPECT_EQ(result.verdict, ClaimVerdict::kFresh);
        EXPECT_EQ(result.attempt, 2);
        ++granted[static_cast<std::size_t>(i)];
      }
    }
  };
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  for (const std::atomic<int>& times : granted) EXPECT_EQ(times, 1);
}

CLAIM_CHECK(ClaimersOnManyThreadsCompleteEveryIdOnce) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  constexpr int kThreads = 4;
  constexpr int kIds = 25;
  constexpr int kAskedMax = 1'000'000;
  std::atomic<int> handled = 0;
  const auto work = [&] {
    for (int i = 0, asked = 0; i < kIds; ++asked) {
      ASSERT_LT(asked, kAskedMax) << "nobody gives the claims back";
      const std::vector<std::string> ids = {absl::StrCat("id ", i)};
      const std::vector<ClaimRequest> requests = RequestsFor(claims(), ids);
      ClaimResult result;
      ASSERT_TRUE(TryClaimPatiently(claims(), requests, {&result, 1}).ok());
      if (result.verdict == ClaimVerdict::kInProgress) continue;
      ++i;
      if (result.verdict == ClaimVerdict::kDuplicate) continue;
      ASSERT_EQ(result.verdict, ClaimVerdict::kFresh);
      ++handled;
      const CompletedClaim completed{.claim = {.key = requests[0].key, .fence = requests[0].fence}};
      absl::Status outcome;
      absl::Status call;
      do {
        call = claims().Complete({&completed, 1}, {&outcome, 1});
      } while (absl::IsUnavailable(call));
      ASSERT_TRUE(call.ok()) << call;
      ASSERT_TRUE(outcome.ok()) << outcome;
    }
  };
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(handled, kIds);
}

// ---- Beside transactions ----

CLAIM_CHECK(AClaimerMeetsWhatATransactionWrote) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  const absl::Time first = absl::FromUnixSeconds(1'700'000'000);
  PutInTransaction("completed", {.state = IdState::kCompleted, .fingerprint = kPrint});
  PutInTransaction("dead", {.state = IdState::kDead, .fingerprint = kPrint, .attempt = 2});
  PutInTransaction("discarded", {.state = IdState::kDiscarded, .fingerprint = kPrint});
  PutInTransaction("uncertain", {.state = IdState::kUncertain, .fingerprint = kPrint});
  PutInTransaction(
      "retrying",
      {.state = IdState::kRetrying, .fingerprint = kPrint, .attempt = 2, .first_failed_at = first});
  PutInTransaction("later", {.state = IdState::kRetrying,
                             .fingerprint = kPrint,
                             .attempt = 2,
                             .not_before = absl::InfiniteFuture()});
  EXPECT_EQ(Ask("completed").result.verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask("completed").result.result, "");
  EXPECT_EQ(Ask("dead").result.verdict, ClaimVerdict::kDead);
  EXPECT_EQ(Ask("discarded").result.verdict, ClaimVerdict::kDiscarded);
  EXPECT_EQ(Ask("uncertain").result.verdict, ClaimVerdict::kUncertain);
  EXPECT_EQ(Ask("later").result.verdict, ClaimVerdict::kNotBefore);
  EXPECT_EQ(Ask("completed", kLongLease, kOtherPrint).result.verdict, ClaimVerdict::kConflict);
  const Holder holder = Ask("retrying");
  EXPECT_EQ(holder.result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(holder.result.attempt, 3);
  EXPECT_EQ(holder.result.first_failed_at, first);
}

CLAIM_CHECK(ATransactionMeetsWhatAClaimRecorded) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  const absl::Time first = absl::FromUnixSeconds(1'700'000'000);
  LeaveCompleted("completed");
  LeaveDead("dead");
  LeaveDiscarded("discarded");
  LeaveUncertain("uncertain");
  EXPECT_TRUE(Fail(Ask("retrying"), absl::ZeroDuration(), first).ok());
  Ask("claimed");
  EXPECT_TRUE(Dying(Ask("dying")).ok());
  EXPECT_TRUE(Release(Ask("released")).ok());

  EXPECT_EQ(FindInTransaction("completed").state, IdState::kCompleted);
  EXPECT_EQ(FindInTransaction("completed").fingerprint, kPrint);
  EXPECT_EQ(FindInTransaction("dead").state, IdState::kDead);
  EXPECT_EQ(FindInTransaction("dead").attempt, 1);
  EXPECT_EQ(FindInTransaction("discarded").state, IdState::kDiscarded);
  EXPECT_EQ(FindInTransaction("uncertain").state, IdState::kUncertain);
  EXPECT_EQ(FindInTransaction("claimed").state, IdState::kClaimed);
  EXPECT_EQ(FindInTransaction("claimed").fingerprint, kPrint);
  EXPECT_EQ(FindInTransaction("dying").state, IdState::kDying);
  EXPECT_EQ(FindInTransaction("released"), IdRecord{});
  const IdRecord retrying = FindInTransaction("retrying");
  EXPECT_EQ(retrying.state, IdState::kRetrying);
  EXPECT_EQ(retrying.fingerprint, kPrint);
  EXPECT_EQ(retrying.attempt, 1);
  EXPECT_EQ(retrying.first_failed_at, first);
}

// Or a transactional consumer would wait for ever for a plain one that is no more.
CLAIM_CHECK(AClaimWhoseLeaseHasEndedIsNoObstacleToATransaction) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  const Holder begun = LoseBegun("begun");
  const Holder unbegun = LoseUnbegun("unbegun");
  LoseUnbegun("later");
  AskUntilFree("later");
  const IdRecord lost = FindInTransaction("begun");
  EXPECT_EQ(lost.state, IdState::kRetrying);
  EXPECT_EQ(lost.attempt, 1);
  EXPECT_EQ(lost.fingerprint, kPrint);
  EXPECT_EQ(FindInTransaction("unbegun"), IdRecord{});
  for (const Holder* former : {&begun, &unbegun}) {
    PutInTransaction(former->id, {.state = IdState::kCompleted, .fingerprint = kPrint});
    const absl::Status failed = Fail(*former);
    EXPECT_TRUE(absl::IsAborted(failed)) << failed;
    EXPECT_EQ(Ask(former->id).result.verdict, ClaimVerdict::kDuplicate);
  }
}

// The transaction has found the id absent: nobody may claim it until the transaction has ended, or
// the transaction must not commit it.
CLAIM_CHECK(AnIdThatAnOpenTransactionLookedUpIsNotClaimedAndCommittedToo) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  auto begun = transactions().Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  const IdKey key{.scope = kScope, .id = "id"};
  IdRecord record;
  ASSERT_TRUE(begun->transaction->FindIds({&key, 1}, {&record, 1}).ok());
  ASSERT_EQ(record, IdRecord{});

  const std::vector<std::string> ids = {"id"};
  const std::vector<ClaimRequest> requests = RequestsFor(claims(), ids);
  ClaimResult result;
  const absl::Status claimed = claims().TryClaim(requests, kLongLease, {&result, 1});
  EXPECT_TRUE(claimed.ok() || absl::IsUnavailable(claimed)) << claimed;
  const bool is_granted = claimed.ok() && result.verdict == ClaimVerdict::kFresh;

  const IdWrite write{.key = key, .record = {.state = IdState::kCompleted}};
  const bool is_committed = begun->transaction->PutIds({&write, 1}).ok() &&
                            begun->transaction->Commit(Durability::kMachine).ok();
  EXPECT_NE(is_granted, is_committed);
  if (is_committed) {
    EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDuplicate);
  }
}

CLAIM_CHECK(ClaimsGoOnWhenAnOpenTransactionHasEnded) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  const Holder holder = Ask("id");
  auto begun = transactions().Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  const CompletedClaim completed{.claim = holder.claim()};
  absl::Status outcome;
  const absl::Status call = claims().Complete({&completed, 1}, {&outcome, 1});
  // Waited for as Begin waits, or not in its way.
  EXPECT_TRUE(call.ok() || absl::IsUnavailable(call)) << call;
  begun->transaction->Rollback();
  const absl::Status again = Complete(holder);
  EXPECT_TRUE(again.ok() || (call.ok() && absl::IsAborted(again))) << again;
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDuplicate);
}

// ---- Reopening and crashing ----

CLAIM_CHECK(WhatClaimsRecordedSurvivesReopen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  const absl::Time first = absl::FromUnixMicros(1'700'000'000'123'456);
  LeaveCompleted("completed", "result\0with a zero"sv);
  LeaveDead("dead");
  LeaveUncertain("uncertain");
  LeaveDiscarded("discarded");
  EXPECT_TRUE(Fail(Ask("retrying"), absl::ZeroDuration(), first).ok());
  EXPECT_TRUE(Fail(Ask("later"), absl::Hours(1), first).ok());
  LoseBegun("in doubt");
  EXPECT_TRUE(Fail(AskUntilFree("in doubt")).ok());
  EXPECT_TRUE(claims().Sync().ok());

  const absl::Status reopened = fixture().Reopen();
  ASSERT_TRUE(reopened.ok()) << reopened;
  EXPECT_EQ(Ask("completed").result.verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask("completed").result.result, "result\0with a zero"sv);
  EXPECT_EQ(Ask("completed", kLongLease, kOtherPrint).result.verdict, ClaimVerdict::kConflict);
  EXPECT_EQ(Ask("dead").result.verdict, ClaimVerdict::kDead);
  EXPECT_EQ(Ask("uncertain").result.verdict, ClaimVerdict::kUncertain);
  EXPECT_EQ(Ask("discarded").result.verdict, ClaimVerdict::kDiscarded);
  EXPECT_EQ(Ask("later").result.verdict, ClaimVerdict::kNotBefore);
  EXPECT_THAT(Ask("later").result.wait, AllOf(Gt(absl::Minutes(30)), Le(absl::Hours(1))));
  const Holder retrying = AskUntilFree("retrying");
  EXPECT_EQ(retrying.result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(retrying.result.attempt, 2);
  EXPECT_EQ(retrying.result.first_failed_at, first);
  const Holder in_doubt = AskUntilFree("in doubt");
  EXPECT_EQ(in_doubt.result.verdict, ClaimVerdict::kTakeover);
  EXPECT_EQ(in_doubt.result.attempt, 3);
}

// What the next opening is told of claims that were held when the store was left.
void ExpectTakenOver(const Holder& unbegun, const Holder& begun, const Holder& dying) {
  EXPECT_EQ(unbegun.result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(unbegun.result.attempt, 1);
  EXPECT_EQ(begun.result.verdict, ClaimVerdict::kTakeover);
  EXPECT_EQ(begun.result.attempt, 2);
  EXPECT_EQ(dying.result.verdict, ClaimVerdict::kPublish);
  EXPECT_EQ(dying.result.disposition, Disposition::kUncertain);
  EXPECT_EQ(dying.result.attempt, 3);
}

// An embedded store knows that its former owner is dead; a shared one waits for the lease.
CLAIM_CHECK(ClaimsOfAFormerOpeningAreTakenOver) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  const Holder unbegun = Ask("unbegun");
  const Holder begun = Ask("begun");
  EXPECT_TRUE(Begun(begun).ok());
  const Holder dying = Ask("dying");
  EXPECT_TRUE(Dying(dying, Disposition::kUncertain, 3).ok());

  ASSERT_TRUE(fixture().Reopen().ok());
  EXPECT_NE(claims().NewFence(), unbegun.fence);
  if (fixture().store().traits().is_shared) {
    for (const std::string_view id : {"unbegun", "begun", "dying"}) {
      EXPECT_EQ(Ask(id).result.verdict, ClaimVerdict::kInProgress);
    }
    return;
  }
  ExpectTakenOver(Ask("unbegun"), Ask("begun"), Ask("dying"));
  for (const Holder* former : {&unbegun, &begun, &dying}) {
    for (const Call& call : EveryCall()) {
      const absl::Status said = (this->*call.run)(*former);
      EXPECT_TRUE(absl::IsAborted(said)) << call.name << " of " << former->id << ": " << said;
    }
  }
}

// What was answered OK survives the process without Sync().
CLAIM_CHECK(ClaimsOfAProcessThatDiedAreTakenOver) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_crash);
  Ask("unbegun");
  EXPECT_TRUE(Begun(Ask("begun")).ok());
  EXPECT_TRUE(Dying(Ask("dying"), Disposition::kUncertain, 3).ok());
  LeaveCompleted("completed", "result");
  LeaveRetrying("retrying");
  LeaveDead("dead");

  const absl::Status crashed = fixture().Crash();
  ASSERT_TRUE(crashed.ok()) << crashed;
  EXPECT_EQ(Ask("completed").result.verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask("completed").result.result, "result");
  EXPECT_EQ(AskUntilFree("retrying").result.attempt, 2);
  EXPECT_EQ(Ask("dead").result.verdict, ClaimVerdict::kDead);
  if (fixture().store().traits().is_shared) return;
  ExpectTakenOver(Ask("unbegun"), Ask("begun"), Ask("dying"));
}

CLAIM_CHECK(ATransactionIsNotHeldUpByAFormerOpeningsClaims) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  Ask("unbegun");
  EXPECT_TRUE(Begun(Ask("begun")).ok());
  ASSERT_TRUE(fixture().Reopen().ok());
  if (fixture().store().traits().is_shared) return;
  EXPECT_EQ(FindInTransaction("unbegun"), IdRecord{});
  EXPECT_EQ(FindInTransaction("begun").state, IdState::kRetrying);
  EXPECT_EQ(FindInTransaction("begun").attempt, 1);
}

}  // namespace
}  // namespace once::testing
