// Claims in trouble: words that find no space, words that fail or whose answer is lost, and what a
// power failure leaves of claims.
#include <array>
#include <string>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/store_words.h"
#include "src/testing/trouble_bench.h"

namespace once::testing {
namespace {

// Every word an owner may say of its claim. `proof` tells, of the same fence, that the word was not
// heard: it succeeds on a claim that is as before and is refused on one that has heard it.
struct Word {
  const char* name;
  absl::Status (*say)(ClaimStore& store, const Claim& claim, absl::Status& outcome);
  absl::Status (*proof)(ClaimStore& store, const Claim& claim, absl::Status& outcome);
  ClaimVerdict verdict;  // for another fence, after `say`
  bool is_of_the_dying = false;
};

absl::Status Begin(ClaimStore& store, const Claim& claim, absl::Status& outcome) {
  return store.Begun({&claim, 1}, {&outcome, 1});
}
absl::Status Renew(ClaimStore& store, const Claim& claim, absl::Status& outcome) {
  return store.Renew({&claim, 1}, 2 * kLongLease, {&outcome, 1});
}
absl::Status Complete(ClaimStore& store, const Claim& claim, absl::Status& outcome) {
  const CompletedClaim completed{.claim = claim, .result = "result"};
  return store.Complete({&completed, 1}, {&outcome, 1});
}
absl::Status Fail(ClaimStore& store, const Claim& claim, absl::Status& outcome) {
  const FailedClaim failed{.claim = claim};
  return store.Fail({&failed, 1}, {&outcome, 1});
}
absl::Status Condemn(ClaimStore& store, const Claim& claim, absl::Status& outcome) {
  const DyingClaim dying{.claim = claim, .attempt = 1};
  return store.Dying({&dying, 1}, {&outcome, 1});
}
absl::Status Kill(ClaimStore& store, const Claim& claim, absl::Status& outcome) {
  return store.Kill({&claim, 1}, {&outcome, 1});
}
absl::Status Discard(ClaimStore& store, const Claim& claim, absl::Status& outcome) {
  return store.Discard({&claim, 1}, {&outcome, 1});
}
absl::Status Release(ClaimStore& store, const Claim& claim, absl::Status& outcome) {
  return store.Release({&claim, 1}, {&outcome, 1});
}

constexpr auto kInProgress = ClaimVerdict::kInProgress;
constexpr std::array kWords = {
    Word{"begun", Begin, Release, kInProgress},
    Word{"renew", Renew, Renew, kInProgress},  // no word tells how long a lease still is
    Word{"complete", Complete, Complete, ClaimVerdict::kDuplicate},
    Word{"fail", Fail, Fail, ClaimVerdict::kFresh},
    Word{"dying", Condemn, Complete, kInProgress},
    Word{"kill", Kill, Kill, ClaimVerdict::kDead, true},
    Word{"discard", Discard, Discard, ClaimVerdict::kDiscarded},
    Word{"release", Release, Release, ClaimVerdict::kFresh},
};

class ClaimTroubleBench : public TroubleBench {
 public:
  using TroubleBench::TroubleBench;

 protected:
  // A claim to say `word` of.
  Holder Prepare(const Word& word, std::string_view id) {
    Holder holder = Ask(id);
    EXPECT_EQ(holder.result.verdict, ClaimVerdict::kFresh);
    if (word.is_of_the_dying) {
      EXPECT_TRUE(Dying(holder).ok());
    }
    return holder;
  }
  // Both the call and its outcome must be OK.
  void MustSay(absl::Status (*say)(ClaimStore&, const Claim&, absl::Status&),
               const Holder& holder) {
    absl::Status outcome;
    const absl::Status said = say(claims(), holder.claim(), outcome);
    EXPECT_TRUE(said.ok()) << said;
    EXPECT_TRUE(outcome.ok()) << outcome;
  }
  // What the next owner of `id` is told.
  ClaimVerdict VerdictAfterLoss(std::string_view id) { return AskUntilFree(id).result.verdict; }
};

#define CLAIM_TROUBLE_CHECK(check_name) \
  STORE_CHECK(StoreTroubleConformance, ClaimTroubleBench, ListTroubleCheck, check_name)

// ---- No space ----

CLAIM_TROUBLE_CHECK(WithoutSpaceNothingIsClaimed) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  const Fence fence = claims().NewFence();
  const ClaimRequest request{
      .key = {.scope = kScope, .id = "id"}, .fingerprint = kPrint, .fence = fence};
  ClaimResult result;
  FillUp();
  const absl::Status refused = claims().TryClaim({&request, 1}, kLongLease, {&result, 1});
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EndTrouble();
  if (capabilities().why_no_transactions.empty()) {
    EXPECT_EQ(FindInTransaction("id").state, IdState::kAbsent);
  }
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kFresh);
}

CLAIM_TROUBLE_CHECK(TheFenceOfAClaimThatFoundNoSpaceServesAfterwards) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  const Fence fence = claims().NewFence();
  const ClaimRequest request{
      .key = {.scope = kScope, .id = "id"}, .fingerprint = kPrint, .fence = fence};
  ClaimResult result;
  FillUp();
  claims().TryClaim({&request, 1}, kLongLease, {&result, 1}).IgnoreError();
  EndTrouble();
  EXPECT_EQ(TryClaim("id", fence).verdict, ClaimVerdict::kFresh);
  MustSay(kWords[2].say, {.id = "id", .fence = fence, .result = {}});
}

CLAIM_TROUBLE_CHECK(AWordThatFindsNoSpaceIsNotHeardAndTheSameFenceServesAfterwards) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  SKIP_UNLESS_EMPTY(capabilities().why_words_need_no_space);
  for (const Word& word : kWords) {
    SCOPED_TRACE(word.name);
    const Holder holder = Prepare(word, word.name);
    absl::Status outcome;
    FillUp();
    const absl::Status refused = word.say(claims(), holder.claim(), outcome);
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    EndTrouble();
    MustSay(word.proof, holder);
  }
}

CLAIM_TROUBLE_CHECK(WithoutSpaceNoSyncIsPromisedThatAPowerFailureWouldBreak) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  LeaveCompleted("id");
  FillUp();
  const absl::Status synced = claims().Sync();
  EXPECT_TRUE(synced.ok() || absl::IsResourceExhausted(synced)) << synced;
  EndTrouble();
  if (!synced.ok()) {
    EXPECT_TRUE(claims().Sync().ok());
  }
  LosePower();
  EXPECT_EQ(VerdictAfterLoss("id"), ClaimVerdict::kDuplicate);
}

// ---- Words that fail ----

CLAIM_TROUBLE_CHECK(AWordThatFailedMayBeSaidAgain) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_broken_writes);
  int failures = 0;
  for (const Word& word : kWords) {
    for (int way = 0;; ++way) {
      SCOPED_TRACE(absl::StrCat(word.name, " in way ", way));
      const Holder holder = Prepare(word, absl::StrCat(word.name, way));
      absl::Status outcome;
      if (!BreakNextWrite(way)) break;
      const absl::Status first = word.say(claims(), holder.claim(), outcome);
      EndTrouble();
      if (!first.ok()) {
        ++failures;
        const absl::Status second = word.say(claims(), holder.claim(), outcome);
        EXPECT_TRUE(second.ok()) << second;
        const bool may_be_over = absl::IsUnknown(first) && absl::IsAborted(outcome);
        EXPECT_TRUE(outcome.ok() || may_be_over) << outcome << ", after " << first;
      }
      EXPECT_EQ(Ask(holder.id).result.verdict, word.verdict) << first;
    }
  }
  EXPECT_GT(failures, 0) << "nothing was broken";
}

CLAIM_TROUBLE_CHECK(AWordThatFailedForCertainWasNotHeard) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_broken_writes);
  for (const Word& word : kWords) {
    for (int way = 0;; ++way) {
      SCOPED_TRACE(absl::StrCat(word.name, " in way ", way));
      const Holder holder = Prepare(word, absl::StrCat(word.name, way));
      absl::Status outcome;
      if (!BreakNextWrite(way)) break;
      const absl::Status first = word.say(claims(), holder.claim(), outcome);
      EndTrouble();
      if (IsDefinite(first)) MustSay(word.proof, holder);
    }
  }
}

CLAIM_TROUBLE_CHECK(AClaimWhoseAnswerWasLostMeetsItself) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_broken_writes);
  for (int way = 0;; ++way) {
    SCOPED_TRACE(way);
    const std::string id = absl::StrCat(way);
    const Fence fence = claims().NewFence();
    const ClaimRequest request{
        .key = {.scope = kScope, .id = id}, .fingerprint = kPrint, .fence = fence};
    ClaimResult result;
    if (!BreakNextWrite(way)) break;
    claims().TryClaim({&request, 1}, kLongLease, {&result, 1}).IgnoreError();
    EndTrouble();
    EXPECT_EQ(TryClaim(id, fence).verdict, ClaimVerdict::kFresh);
    EXPECT_EQ(Ask(id).result.verdict, kInProgress);
  }
}

// ---- Power failures ----

CLAIM_TROUBLE_CHECK(WhatWasSyncedOfClaimsIsThereAfterAPowerFailure) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  LeaveCompleted("completed", "result");
  LeaveDead("dead");
  const Holder begun = Ask("begun", ShortLease());
  EXPECT_TRUE(Begun(begun).ok());
  const Holder dying = Ask("dying", ShortLease());
  EXPECT_TRUE(Dying(dying).ok());
  EXPECT_TRUE(claims().Sync().ok());
  LosePower();
  PassLease();
  EXPECT_EQ(Ask("completed").result.result, "result");
  EXPECT_EQ(Ask("dead").result.verdict, ClaimVerdict::kDead);
  EXPECT_EQ(VerdictAfterLoss("begun"), ClaimVerdict::kTakeover);
  EXPECT_EQ(VerdictAfterLoss("dying"), ClaimVerdict::kPublish);
  // Their former owner may have been somewhere else, and still be there.
  EXPECT_TRUE(absl::IsAborted(ClaimBench::Complete(begun)));
  EXPECT_TRUE(absl::IsAborted(ClaimBench::Kill(dying)));
}

CLAIM_TROUBLE_CHECK(TheWordOfAClaimThatWasLostIsRefused) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  const Holder lost = Ask("id");
  EXPECT_TRUE(Begun(lost).ok());
  LosePower();
  const Holder next = AskUntilFree("id", ShortLease());
  EXPECT_EQ(next.result.attempt, next.result.verdict == ClaimVerdict::kTakeover ? 2 : 1);
  for (const Word& word : kWords) {
    absl::Status outcome;
    const absl::Status said = word.say(claims(), lost.claim(), outcome);
    EXPECT_TRUE(said.ok() && absl::IsAborted(outcome)) << word.name << ": " << said << outcome;
  }
  MustSay(kWords[2].say, next);
}

CLAIM_TROUBLE_CHECK(ASyncAfterOneThatFailedSpeaksForWhatWasSaidBeforeBoth) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_broken_writes);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  int failures = 0;
  for (int way = 0;; ++way) {
    const std::string id = absl::StrCat(way);
    LeaveCompleted(id);
    if (!BreakNextWrite(way)) break;
    const absl::Status first = claims().Sync();
    EndTrouble();
    if (!first.ok()) ++failures;
    const absl::Status second = claims().Sync();
    EXPECT_TRUE(second.ok()) << second;
    LosePower();
    EXPECT_EQ(VerdictAfterLoss(id), ClaimVerdict::kDuplicate) << way << ": " << first;
  }
  EXPECT_GT(failures, 0) << "nothing was broken";
}

}  // namespace

void LinkClaimTroubles() {}

}  // namespace once::testing
