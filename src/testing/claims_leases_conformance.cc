// The conformance tests of leases: claims whose owner is gone, and what the next one is told.
#include <string>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/claim_bench.h"

namespace once::testing {

using ::testing::AllOf;
using ::testing::Gt;
using ::testing::Le;

void LinkLeaseChecks() {}

namespace {

CLAIM_CHECK(AClaimThatNeverBeganChargesNobody) {
  for (int i = 0; i < 3; ++i) LoseUnbegun("id");
  const Holder next = AskUntilFree("id");
  EXPECT_EQ(next.result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(next.result.attempt, 1);
  EXPECT_EQ(next.result.first_failed_at, absl::InfinitePast());
}

CLAIM_CHECK(AnIdThatNobodyBeganMayComeBackWithAnotherValue) {
  LoseUnbegun("id");
  LoseUnbegun("later");
  AskUntilFree("later");
  EXPECT_EQ(Ask("id", kLongLease, kOtherPrint).result.verdict, ClaimVerdict::kFresh);
}

CLAIM_CHECK(AnIdThatSomebodyBeganKeepsItsFingerprint) {
  LoseBegun("id");
  LoseUnbegun("later");
  AskUntilFree("later");
  EXPECT_EQ(Ask("id", kLongLease, kOtherPrint).result.verdict, ClaimVerdict::kConflict);
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kTakeover);
}

CLAIM_CHECK(ABegunClaimThatIsLostIsATakeoverAndAnAttempt) {
  LoseBegun("id");
  const Holder next = AskUntilFree("id");
  EXPECT_EQ(next.result.verdict, ClaimVerdict::kTakeover);
  EXPECT_EQ(next.result.attempt, 2);
}

CLAIM_CHECK(EveryLostInvocationCounts) {
  for (int i = 0; i < 3; ++i) LoseBegun("id");
  const Holder next = AskUntilFree("id");
  EXPECT_EQ(next.result.verdict, ClaimVerdict::kTakeover);
  EXPECT_EQ(next.result.attempt, 4);
}

CLAIM_CHECK(FailedAndLostInvocationsCountTogether) {
  const absl::Time first = absl::FromUnixSeconds(1'700'000'000);
  const Holder failing = Ask("id");
  EXPECT_TRUE(Begun(failing).ok());
  EXPECT_TRUE(Fail(failing, absl::ZeroDuration(), first).ok());
  LoseBegun("id");
  LoseUnbegun("id");
  const Holder next = AskUntilFree("id");
  EXPECT_EQ(next.result.verdict, ClaimVerdict::kTakeover);
  EXPECT_EQ(next.result.attempt, 3);
  EXPECT_EQ(next.result.first_failed_at, first);
}

// Whether it ran is not known by trying again.
CLAIM_CHECK(ATakeoverStaysOneAfterItFailed) {
  LoseBegun("id");
  for (int attempt = 2; attempt < 5; ++attempt) {
    const Holder holder = AskUntilFree("id");
    EXPECT_EQ(holder.result.verdict, ClaimVerdict::kTakeover);
    EXPECT_EQ(holder.result.attempt, attempt);
    EXPECT_TRUE(Begun(holder).ok());
    EXPECT_TRUE(Fail(holder).ok());
  }
}

CLAIM_CHECK(ATakeoverStaysOneAfterItWasReleased) {
  LoseBegun("id");
  for (int i = 0; i < 3; ++i) {
    const Holder holder = AskUntilFree("id");
    EXPECT_EQ(holder.result.verdict, ClaimVerdict::kTakeover);
    EXPECT_EQ(holder.result.attempt, 2);
    EXPECT_TRUE(Release(holder).ok());
  }
}

CLAIM_CHECK(ATakeoverStaysOneAfterItWasLostWithoutBeginning) {
  LoseBegun("id");
  for (int i = 0; i < 3; ++i) {
    const Holder holder = LoseUnbegun("id");
    EXPECT_EQ(holder.result.verdict, ClaimVerdict::kTakeover);
    EXPECT_EQ(holder.result.attempt, 2);
  }
  EXPECT_EQ(AskUntilFree("id").result.attempt, 2);
}

CLAIM_CHECK(ATakeoverEndsLikeAnyOtherClaim) {
  for (const std::string_view id : {"completed", "dead", "discarded"}) LoseBegun(id);
  EXPECT_TRUE(Complete(AskUntilFree("completed"), "result").ok());
  const Holder dying = AskUntilFree("dead");
  EXPECT_TRUE(Dying(dying).ok());
  EXPECT_TRUE(Kill(dying).ok());
  EXPECT_TRUE(Discard(AskUntilFree("discarded")).ok());
  EXPECT_EQ(Ask("completed").result.verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask("completed").result.result, "result");
  EXPECT_EQ(Ask("dead").result.verdict, ClaimVerdict::kDead);
  EXPECT_EQ(Ask("discarded").result.verdict, ClaimVerdict::kDiscarded);
}

CLAIM_CHECK(RenewingKeepsAClaim) {
  const Holder holder = Ask("id", ShortLease());
  const absl::Status renewed = Renew(holder, kLongLease);
  EXPECT_TRUE(renewed.ok()) << renewed;
  PassLease();
  const Holder other = Ask("id");
  EXPECT_EQ(other.result.verdict, ClaimVerdict::kInProgress);
  EXPECT_THAT(other.result.wait, AllOf(Gt(kLongLease / 2), Le(kLongLease)));
}

CLAIM_CHECK(ALeaseIsCountedFromItsRenewal) {
  const Holder holder = Ask("id", kLongLease);
  EXPECT_TRUE(Renew(holder, absl::Minutes(10)).ok());
  EXPECT_THAT(Ask("id").result.wait, AllOf(Gt(absl::Minutes(5)), Le(absl::Minutes(10))));
}

CLAIM_CHECK(RenewingKeepsADyingClaimToo) {
  const Holder holder = Ask("id", ShortLease());
  EXPECT_TRUE(Dying(holder).ok());
  EXPECT_TRUE(Renew(holder, kLongLease).ok());
  PassLease();
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kInProgress);
}

// Only the fence decides who may speak; the lease decides who may take.
CLAIM_CHECK(AClaimWhoseLeaseHasEndedIsItsOwnersUntilSomebodyTakesIt) {
  const Holder begun = LoseBegun("completed");
  const absl::Status completed = Complete(begun, "late");
  EXPECT_TRUE(completed.ok()) << completed;
  EXPECT_EQ(Ask("completed").result.result, "late");

  const Holder renewed = LoseUnbegun("renewed");
  EXPECT_TRUE(Renew(renewed, kLongLease).ok());
  EXPECT_EQ(Ask("renewed").result.verdict, ClaimVerdict::kInProgress);

  const Holder asked = LoseUnbegun("asked again");
  EXPECT_EQ(TryClaim("asked again", asked.fence).verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(Ask("asked again").result.verdict, ClaimVerdict::kInProgress);
}

CLAIM_CHECK(WhoeverAsksInVainTakesNothing) {
  const Holder begun = LoseBegun("begun");
  const Holder waiting = LoseBegun("waiting");
  for (const std::string_view id : {"begun", "waiting"}) {
    EXPECT_EQ(Ask(id, kLongLease, kOtherPrint).result.verdict, ClaimVerdict::kConflict);
  }
  const absl::Status completed = Complete(begun, "late");
  EXPECT_TRUE(completed.ok()) << completed;
  EXPECT_EQ(Ask("begun").result.result, "late");
  const absl::Status renewed = Renew(waiting, kLongLease);
  EXPECT_TRUE(renewed.ok()) << renewed;
  EXPECT_EQ(Ask("waiting").result.verdict, ClaimVerdict::kInProgress);
}

CLAIM_CHECK(WhoeverTakesADyingIdOnlyPublishesIt) {
  for (const Disposition disposition : {Disposition::kRejected, Disposition::kUncertain}) {
    const std::string id = absl::StrCat("id ", static_cast<int>(disposition));
    const Holder former = Ask(id, ShortLease());
    EXPECT_TRUE(Begun(former).ok());
    EXPECT_TRUE(Dying(former, disposition, 5).ok());
    PassLease();
    // Lost once more, between publishing and Kill().
    for (int i = 0; i < 2; ++i) {
      const Holder holder = AskUntilFree(id, ShortLease());
      EXPECT_EQ(holder.result.verdict, ClaimVerdict::kPublish);
      EXPECT_EQ(holder.result.disposition, disposition);
      EXPECT_EQ(holder.result.attempt, 5) << "invocations so far; there is no further one";
      PassLease();
    }
    const Holder last = AskUntilFree(id);
    EXPECT_TRUE(absl::IsAborted(Kill(former)));
    EXPECT_TRUE(Dying(last, disposition, 5).ok()) << "saying it again changes nothing";
    EXPECT_TRUE(Kill(last).ok());
    EXPECT_EQ(Ask(id).result.verdict, disposition == Disposition::kUncertain
                                          ? ClaimVerdict::kUncertain
                                          : ClaimVerdict::kDead);
  }
}

CLAIM_CHECK(ALeaseThatHasEndedIsNoMatterForOtherIds) {
  LoseBegun("lost");
  const Holder held = Ask("held");
  AskUntilFree("lost");
  EXPECT_EQ(Ask("held").result.verdict, ClaimVerdict::kInProgress);
  EXPECT_TRUE(Complete(held).ok());
}

}  // namespace
}  // namespace once::testing
