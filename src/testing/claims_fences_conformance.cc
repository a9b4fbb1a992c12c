// The conformance tests of fences: who may speak for an id, and calls that are repeated.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/testing/claim_bench.h"

namespace once::testing {

using ::testing::Gt;
using ::testing::SizeIs;

void LinkFenceChecks() {}

namespace {

CLAIM_CHECK(NoFenceIsGivenTwice) {
  std::set<std::pair<std::uint64_t, std::uint64_t>> fences;
  for (int i = 0; i < 1000; ++i) {
    const Fence fence = claims().NewFence();
    fences.emplace(fence.incarnation, fence.counter);
  }
  EXPECT_THAT(fences, SizeIs(1000));
}

CLAIM_CHECK(AFormerOwnersWordIsVoid) {
  for (const Call& call : EveryCall()) {
    SCOPED_TRACE(call.name);
    const std::string id = absl::StrCat("id of ", ToAbsl(call.name));
    const Holder former = LoseBegun(id);
    const Holder owner = AskUntilFree(id);
    EXPECT_EQ(owner.result.verdict, ClaimVerdict::kTakeover);
    const absl::Status said = (this->*call.run)(former);
    EXPECT_TRUE(absl::IsAborted(said)) << said;
    // Nothing of it is left: the owner goes on as if nobody had spoken.
    EXPECT_EQ(Ask(id).result.verdict, ClaimVerdict::kInProgress);
    EXPECT_TRUE(Begun(owner).ok());
    EXPECT_TRUE(Fail(owner).ok());
    const Holder next = AskUntilFree(id);
    EXPECT_EQ(next.result.verdict, ClaimVerdict::kTakeover);
    EXPECT_EQ(next.result.attempt, 3);
  }
}

CLAIM_CHECK(AFormerOwnersWordIsVoidAfterTheIdWasSettled) {
  for (const Call& call : EveryCall()) {
    SCOPED_TRACE(call.name);
    const std::string id = absl::StrCat("id of ", ToAbsl(call.name));
    const Holder former = LoseBegun(id);
    const Holder owner = AskUntilFree(id);
    EXPECT_TRUE(Complete(owner, "by the owner").ok());
    const absl::Status said = (this->*call.run)(former);
    EXPECT_TRUE(absl::IsAborted(said)) << said;
    const Holder next = Ask(id);
    EXPECT_EQ(next.result.verdict, ClaimVerdict::kDuplicate);
    EXPECT_EQ(next.result.result, "by the owner");
  }
}

CLAIM_CHECK(AFormerOwnersWordIsVoidWhileTheIdDies) {
  for (const Call& call : EveryCall()) {
    SCOPED_TRACE(call.name);
    const std::string id = absl::StrCat("id of ", ToAbsl(call.name));
    const Holder former = LoseBegun(id);
    const Holder owner = AskUntilFree(id);
    EXPECT_TRUE(Dying(owner, Disposition::kUncertain).ok());
    const absl::Status said = (this->*call.run)(former);
    EXPECT_TRUE(absl::IsAborted(said)) << said;
    EXPECT_TRUE(Kill(owner).ok());
    EXPECT_EQ(Ask(id).result.verdict, ClaimVerdict::kUncertain);
  }
}

CLAIM_CHECK(WhoeverWasRefusedHoldsNothing) {
  const Holder owner = Ask("id");
  const Holder refused = Ask("id");
  for (const Call& call : EveryCall()) {
    const absl::Status said = (this->*call.run)(refused);
    EXPECT_TRUE(absl::IsAborted(said)) << call.name << ": " << said;
  }
  EXPECT_TRUE(Complete(owner).ok());
}

CLAIM_CHECK(AFenceThatNeverClaimedIsRefusedAndLeavesNoTrace) {
  for (const Call& call : EveryCall()) {
    const std::string id = absl::StrCat("id of ", ToAbsl(call.name));
    const Holder nobody{.id = id, .fence = claims().NewFence(), .result = {}};
    const absl::Status said = (this->*call.run)(nobody);
    EXPECT_TRUE(absl::IsAborted(said)) << call.name << ": " << said;
    const Holder first = Ask(id, kLongLease, kOtherPrint);
    EXPECT_EQ(first.result.verdict, ClaimVerdict::kFresh) << call.name;
    EXPECT_EQ(first.result.attempt, 1) << call.name;
  }
}

CLAIM_CHECK(BothPartsOfAFenceCount) {
  Holder owner = Ask("id");
  // Of a store that numbers its openings, the two parts may be equal by chance.
  if (owner.fence.incarnation == owner.fence.counter) {
    ASSERT_TRUE(Release(owner).ok());
    owner = Ask("id");
  }
  for (const Fence fence : {Fence{owner.fence.incarnation + 1, owner.fence.counter},
                            Fence{owner.fence.incarnation, owner.fence.counter + 1},
                            Fence{owner.fence.counter, owner.fence.incarnation}, Fence{}}) {
    const Holder other{.id = "id", .fence = fence, .result = {}};
    const absl::Status completed = Complete(other);
    EXPECT_TRUE(absl::IsAborted(completed)) << completed;
  }
  EXPECT_TRUE(Complete(owner).ok());
}

CLAIM_CHECK(AFenceSpeaksForTheIdThatItClaimedOnly) {
  const Holder one = Ask("one");
  const Holder two = Ask("two");
  const Holder crossed{.id = "two", .fence = one.fence, .result = {}};
  const absl::Status completed = Complete(crossed);
  EXPECT_TRUE(absl::IsAborted(completed)) << completed;
  Holder elsewhere = one;
  elsewhere.scope = "another scope";
  EXPECT_TRUE(absl::IsAborted(Complete(elsewhere)));
  EXPECT_TRUE(Complete(one).ok());
  EXPECT_TRUE(Complete(two).ok());
}

// A claim is asked for again when the first answer got lost.
CLAIM_CHECK(ARepeatedTryClaimMeetsItsOwnClaim) {
  const Holder holder = Ask("id", absl::Minutes(10));
  for (int i = 0; i < 2; ++i) {
    const ClaimResult again = TryClaim("id", holder.fence, absl::Hours(10));
    EXPECT_EQ(again.verdict, ClaimVerdict::kFresh);
    EXPECT_EQ(again.attempt, 1);
    EXPECT_THAT(Ask("id").result.wait, Gt(absl::Hours(9))) << "the lease is the new one";
  }
  EXPECT_TRUE(Begun(holder).ok());
  EXPECT_EQ(TryClaim("id", holder.fence).verdict, ClaimVerdict::kFresh);
  EXPECT_TRUE(Complete(holder).ok());
  EXPECT_EQ(TryClaim("id", holder.fence).verdict, ClaimVerdict::kDuplicate);
}

CLAIM_CHECK(ARepeatedTryClaimOfARetryOrATakeoverAnswersTheSame) {
  const absl::Time first = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_TRUE(Fail(Ask("retry"), absl::ZeroDuration(), first).ok());
  const Holder retry = AskUntilFree("retry");
  LoseBegun("takeover");
  const Holder takeover = AskUntilFree("takeover");
  for (const Holder* holder : {&retry, &takeover}) {
    for (int i = 0; i < 2; ++i) {
      const ClaimResult again = TryClaim(holder->id, holder->fence);
      EXPECT_EQ(again.verdict, holder->result.verdict);
      EXPECT_EQ(again.attempt, 2);
      EXPECT_EQ(again.first_failed_at, holder->result.first_failed_at);
    }
  }
  EXPECT_EQ(retry.result.first_failed_at, first);
  EXPECT_EQ(takeover.result.verdict, ClaimVerdict::kTakeover);
}

CLAIM_CHECK(ARepeatedTryClaimOfADyingIdAnswersTheSame) {
  const Holder lost = Ask("id", ShortLease());
  EXPECT_TRUE(Dying(lost, Disposition::kManual, 3).ok());
  PassLease();
  const Holder holder = AskUntilFree("id");
  EXPECT_EQ(holder.result.verdict, ClaimVerdict::kPublish);
  const ClaimResult again = TryClaim("id", holder.fence);
  EXPECT_EQ(again.verdict, ClaimVerdict::kPublish);
  EXPECT_EQ(again.disposition, Disposition::kManual);
  EXPECT_EQ(again.attempt, holder.result.attempt);
}

CLAIM_CHECK(AClaimGoesOnAfterItWasSaidTwice) {
  const Holder holder = Ask("id");
  for (int i = 0; i < 2; ++i) {
    const absl::Status renewed = Renew(holder);
    EXPECT_TRUE(renewed.ok()) << renewed;
    const absl::Status begun = Begun(holder);
    EXPECT_TRUE(begun.ok()) << begun;
  }
  for (int i = 0; i < 2; ++i) {
    const absl::Status dying = Dying(holder);
    EXPECT_TRUE(dying.ok()) << dying;
  }
  EXPECT_TRUE(Kill(holder).ok());
}

CLAIM_CHECK(ACallThatEndsAClaimIsHarmlessWhenRepeated) {
  const auto repeat = [](const Holder& holder, auto&& call) {
    for (int i = 0; i < 3; ++i) {
      const absl::Status outcome = call(holder);
      EXPECT_TRUE(outcome.ok() || (i > 0 && absl::IsAborted(outcome))) << outcome;
    }
  };
  repeat(Ask("completed"), [this](const Holder& holder) { return Complete(holder, "result"); });
  repeat(Ask("failed"), [this](const Holder& holder) { return Fail(holder); });
  repeat(Ask("discarded"), [this](const Holder& holder) { return Discard(holder); });
  repeat(Ask("released"), [this](const Holder& holder) { return Release(holder); });
  const Holder dying = Ask("dead");
  EXPECT_TRUE(Dying(dying).ok());
  repeat(dying, [this](const Holder& holder) { return Kill(holder); });

  EXPECT_EQ(Ask("completed").result.result, "result");
  EXPECT_EQ(AskUntilFree("failed").result.attempt, 2) << "one failure, not three";
  EXPECT_EQ(Ask("discarded").result.verdict, ClaimVerdict::kDiscarded);
  EXPECT_EQ(Ask("released").result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(Ask("dead").result.verdict, ClaimVerdict::kDead);
}

CLAIM_CHECK(ARepeatedCallMeetsNobodyElsesClaim) {
  const Holder holder = Ask("id");
  EXPECT_TRUE(Fail(holder).ok());
  const Holder next = AskUntilFree("id");
  EXPECT_EQ(next.result.attempt, 2);
  EXPECT_FALSE(Fail(holder).ok()) << "the first one was applied";
  EXPECT_TRUE(Complete(next).ok());
}

CLAIM_CHECK(EachClaimOfACallHasAnOutcomeOfItsOwn) {
  const Holder lost = LoseBegun("lost");
  const Holder owner = AskUntilFree("lost");
  const Holder held = Ask("held");
  const Holder nobody{.id = "nobody", .fence = claims().NewFence(), .result = {}};
  const Holder also_held = Ask("also held");
  const CompletedClaim completed[] = {{.claim = lost.claim(), .result = "lost"},
                                      {.claim = held.claim(), .result = "held"},
                                      {.claim = nobody.claim(), .result = "nobody"},
                                      {.claim = also_held.claim(), .result = "also held"}};
  // Not what any store should leave there.
  std::vector<absl::Status> outcomes(4, absl::InternalError("not answered"));
  const absl::Status call = claims().Complete(completed, outcomes);
  ASSERT_TRUE(call.ok()) << call;
  EXPECT_TRUE(absl::IsAborted(outcomes[0])) << outcomes[0];
  EXPECT_TRUE(outcomes[1].ok()) << outcomes[1];
  EXPECT_TRUE(absl::IsAborted(outcomes[2])) << outcomes[2];
  EXPECT_TRUE(outcomes[3].ok()) << outcomes[3];
  EXPECT_EQ(Ask("held").result.result, "held");
  EXPECT_EQ(Ask("also held").result.result, "also held");
  EXPECT_TRUE(Complete(owner).ok());
}

CLAIM_CHECK(EachRequestOfACallHasAVerdictOfItsOwn) {
  LeaveCompleted("completed", "result");
  LeaveRetrying("retrying");
  LeaveDead("dead");
  Ask("held");
  const std::string_view ids[] = {"held", "fresh", "completed", "retrying", "dead", "fresh too"};
  std::vector<ClaimRequest> requests;
  for (const std::string_view id : ids) {
    requests.push_back(
        {.key = {.scope = kScope, .id = id}, .fingerprint = kPrint, .fence = claims().NewFence()});
  }
  std::vector<ClaimResult> results(requests.size(), {.verdict = ClaimVerdict::kUncertain,
                                                     .attempt = 77,
                                                     .wait = absl::Hours(77),
                                                     .result = "stale"});
  ASSERT_TRUE(claims().TryClaim(requests, kLongLease, results).ok());
  EXPECT_EQ(results[0].verdict, ClaimVerdict::kInProgress);
  EXPECT_EQ(results[1].verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(results[1].attempt, 1);
  EXPECT_EQ(results[1].result, "");
  EXPECT_EQ(results[2].verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(results[2].result, "result");
  EXPECT_EQ(results[3].verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(results[3].attempt, 2);
  EXPECT_EQ(results[4].verdict, ClaimVerdict::kDead);
  EXPECT_EQ(results[5].verdict, ClaimVerdict::kFresh);
}

CLAIM_CHECK(CallsAboutNothingAreFine) {
  EXPECT_TRUE(claims().TryClaim({}, kLongLease, {}).ok());
  EXPECT_TRUE(claims().Begun({}, {}).ok());
  EXPECT_TRUE(claims().Renew({}, kLongLease, {}).ok());
  EXPECT_TRUE(claims().Complete({}, {}).ok());
  EXPECT_TRUE(claims().Fail({}, {}).ok());
  EXPECT_TRUE(claims().Dying({}, {}).ok());
  EXPECT_TRUE(claims().Kill({}, {}).ok());
  EXPECT_TRUE(claims().Discard({}, {}).ok());
  EXPECT_TRUE(claims().Release({}, {}).ok());
  for (int i = 0; i < 2; ++i) {
    const absl::Status synced = claims().Sync();
    EXPECT_TRUE(synced.ok()) << synced;
  }
}

}  // namespace
}  // namespace once::testing
