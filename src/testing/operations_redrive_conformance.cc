// The conformance tests of what operators decide about one message: redrive, discard, resolve.
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "once/abseil.h"
#include "once/dead_letter.h"
#include "src/testing/operations_bench.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

void LinkRedriveChecks() {}

namespace {

// What transactions may leave an id in; claims add kClaimed and kDying.
constexpr IdState kSettledStates[] = {IdState::kCompleted, IdState::kRetrying, IdState::kDead,
                                      IdState::kDiscarded, IdState::kUncertain};

// The record of `id` under the bench's scope, or an absent one.
IdRecord RecordOf(StoreOperations& operations, std::string_view id) {
  const auto found = operations.FindId(std::string(id));
  EXPECT_TRUE(found.ok()) << found.status();
  return found.ok() && found->size() == 1 ? found->front().record : IdRecord{};
}

// ---- Redrive ----

OPERATIONS_CHECK(ARedrivenMessageGoesOutAgainWithAllAttemptsBeforeIt) {
  CommitLetter(Letter(5, "id"));
  PublishPending();
  const StoredFailure failure = FailureOf("id");
  const absl::Status redriven = Redrive(failure);
  ASSERT_TRUE(redriven.ok()) << redriven;
  const IdRecord record = RecordOf(operations(), "id");
  EXPECT_EQ(record.state, IdState::kRetrying);
  EXPECT_EQ(record.attempt, 0);
  EXPECT_EQ(record.fingerprint, kPrint);
  EXPECT_EQ(record.first_failed_at, absl::InfinitePast());

  const auto rows = outbox().FindPending(10);
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_THAT(*rows, SizeIs(1));
  const OutgoingMessage& message = rows->front().message;
  EXPECT_EQ(message.topic, "orders");
  EXPECT_EQ(message.partition, 3);
  EXPECT_EQ(message.key, "key");
  EXPECT_EQ(message.value, "value at 5");
  EXPECT_TRUE(message == MakeRedrive(failure.letter, failure.origin.key.partition,
                                     "redrive of " + std::to_string(failure.number), 1));
}

OPERATIONS_CHECK(ARedrivenMessageIsAFailureUntilItHasCompleted) {
  CommitLetter(Letter(5, "id"));
  PublishPending();
  const StoredFailure before = FailureOf("id");
  ASSERT_TRUE(Redrive(before).ok());
  for (int i = 0; i < 2; ++i) {
    const StoredFailure failure = FailureOf("id");
    EXPECT_EQ(failure.number, before.number);
    EXPECT_EQ(failure.state, IdState::kRetrying);
    EXPECT_EQ(failure.redrives, 1);
    EXPECT_TRUE(failure.letter == before.letter);
    PublishPending();
  }
  PutInTransaction("id", {.state = IdState::kCompleted, .fingerprint = kPrint});
  EXPECT_THAT(Failures(), IsEmpty());
}

OPERATIONS_CHECK(ALetterIsRedrivenBeforeTheBrokerHasIt) {
  CommitLetter(Letter(5, "id"));
  ASSERT_TRUE(Redrive(FailureOf("id")).ok());
  EXPECT_THAT(PublishPending(), ElementsAre("value at 5", "value at 5")) << "letter and redrive";
  EXPECT_TRUE(FailureOf("id").is_published);
}

OPERATIONS_CHECK(AParkedLetterCanBeRedriven) {
  CommitLetter(Letter(5, "id"));
  ASSERT_TRUE(outbox()
                  .Park(outbox().FindPending(1).value().at(0).sequence,
                        absl::InvalidArgumentError("no such topic"))
                  .ok());
  ASSERT_TRUE(Redrive(FailureOf("id")).ok());
  EXPECT_THAT(PublishPending(), ElementsAre("value at 5"));
}

OPERATIONS_CHECK(AnUncertainMessageCanBeRedriven) {
  CommitLetter(Letter(5, "id"), IdState::kUncertain);
  const absl::Status redriven = Redrive(FailureOf("id"));
  EXPECT_TRUE(redriven.ok()) << redriven;
  EXPECT_EQ(RecordOf(operations(), "id").state, IdState::kRetrying);
  EXPECT_EQ(RecordOf(operations(), "id").attempt, 0);
}

OPERATIONS_CHECK(AMessageIsRedrivenOnce) {
  CommitLetter(Letter(5, "id"));
  PublishPending();
  const StoredFailure failure = FailureOf("id");
  ASSERT_TRUE(Redrive(failure).ok());
  ExpectRefusal(Redrive(failure), IdState::kRetrying);
  EXPECT_THAT(PublishPending(), SizeIs(1));
  EXPECT_EQ(FailureOf("id").redrives, 1);
}

OPERATIONS_CHECK(AMessageThatFailsAgainIsRedrivenAgain) {
  CommitLetter(Letter(5, "id"));
  PublishPending();
  for (int redrives = 0; redrives < 3; ++redrives) {
    const StoredFailure failure = FailureOf("id");
    EXPECT_EQ(failure.redrives, redrives);
    const absl::Status redriven = Redrive(failure);
    ASSERT_TRUE(redriven.ok()) << redriven;
    EXPECT_THAT(PublishPending(), SizeIs(1)) << "a row of its own each time";
    // Under its old delivery, so that there is no newer letter.
    CommitLetter(Letter(5, "id"));
    EXPECT_THAT(PublishPending(), IsEmpty());
  }
}

OPERATIONS_CHECK(AMessageThatFailsAgainElsewhereHasANewLetter) {
  CommitLetter(Letter(5, "id"));
  PublishPending();
  const StoredFailure first = FailureOf("id");
  ASSERT_TRUE(Redrive(first).ok());
  PublishPending();
  CommitLetter(Letter(100, "id"));
  PublishPending();
  const StoredFailure second = FailureOf("id");
  EXPECT_EQ(second.origin.offset, 100);
  EXPECT_EQ(second.redrives, 1) << "of the message, not of the letter";
  const absl::Status old = Redrive(first);
  EXPECT_TRUE(absl::IsNotFound(old)) << old;
  EXPECT_THAT(PublishPending(), IsEmpty());
  EXPECT_EQ(RecordOf(operations(), "id").state, IdState::kDead);
  const absl::Status again = Redrive(second);
  EXPECT_TRUE(again.ok()) << again;
  EXPECT_THAT(PublishPending(), ElementsAre("value at 100"));
}

OPERATIONS_CHECK(WhatIsNeitherDeadNorUncertainIsNotRedriven) {
  for (const IdState state : kSettledStates) {
    if (state == IdState::kDead || state == IdState::kUncertain) continue;
    SCOPED_TRACE(ToString(state));
    const std::string id(ToString(state));
    const auto offset = static_cast<std::int64_t>(state);
    CommitLetter(Letter(offset, id));
    PublishPending();
    const StoredFailure failure = FailureOf(id);
    PutInTransaction(id, {.state = state, .fingerprint = kPrint, .attempt = 2});
    const absl::Status redriven = Redrive(failure);
    // A letter whose message has completed or was discarded need not be kept.
    if (state == IdState::kRetrying || !absl::IsNotFound(redriven)) {
      ExpectRefusal(redriven, state);
    }
    EXPECT_EQ(RecordOf(operations(), id).state, state);
    EXPECT_THAT(PublishPending(), IsEmpty());
  }
}

OPERATIONS_CHECK(ALetterWithoutAnIdIsNotRedriven) {
  CommitLetter(Letter(5, ""));
  PublishPending();
  ASSERT_THAT(Failures(), SizeIs(1));
  const absl::Status redriven = Redrive(Failures()[0]);
  EXPECT_TRUE(absl::IsFailedPrecondition(redriven) || absl::IsNotFound(redriven)) << redriven;
  EXPECT_THAT(PublishPending(), IsEmpty());
  EXPECT_THAT(Failures(), SizeIs(1));
}

OPERATIONS_CHECK(ALetterThatDoesNotExistIsNotRedriven) {
  CommitLetter(Letter(5, "id"));
  StoredFailure failure = FailureOf("id");
  failure.number += 1000;
  const absl::Status redriven = Redrive(failure);
  EXPECT_TRUE(absl::IsNotFound(redriven)) << redriven;
  EXPECT_EQ(RecordOf(operations(), "id").state, IdState::kDead);
}

OPERATIONS_CHECK(ARedriveTouchesItsOwnScopeOnly) {
  OutboxRow elsewhere = Letter(1, "id");
  elsewhere.scope = "another scope";
  CommitRow(elsewhere);
  CommitLetter(Letter(2, "id"));
  const std::vector<StoredFailure> ours = Failures({.id = "id", .scope = std::string(kScope)});
  ASSERT_THAT(ours, SizeIs(1));
  ASSERT_TRUE(Redrive(ours[0]).ok());
  const std::vector<StoredFailure> theirs = Failures({.scope = "another scope"});
  ASSERT_THAT(theirs, SizeIs(1));
  EXPECT_EQ(theirs[0].redrives, 0);
}

OPERATIONS_CHECK(RedrivesSurviveReopen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  CommitLetter(Letter(5, "id"));
  PublishPending();
  ASSERT_TRUE(Redrive(FailureOf("id")).ok());
  ASSERT_TRUE(fixture().Reopen().ok());
  EXPECT_EQ(FailureOf("id").redrives, 1);
  EXPECT_EQ(FailureOf("id").state, IdState::kRetrying);
  EXPECT_THAT(PublishPending(), SizeIs(1));
}

// ---- Redrive and claims ----

OPERATIONS_CHECK(ARedrivenIdIsClaimedAsIfForTheFirstTime) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_claims);
  CommitLetter(Letter(5, "id"));
  ASSERT_TRUE(Redrive(FailureOf("id")).ok());
  const Holder holder = Ask("id");
  EXPECT_EQ(holder.result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(holder.result.attempt, 1);
  EXPECT_EQ(holder.result.first_failed_at, absl::InfinitePast());
  EXPECT_TRUE(Complete(holder).ok());
  EXPECT_THAT(Failures(), IsEmpty());
}

// The operator vouches for it; else a policy that parks takeovers would park it once more.
OPERATIONS_CHECK(ARedriveEndsTheDoubtWhetherTheHandlerRan) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_claims);
  LoseBegun("id");
  const Holder parked = AskUntilFree("id");
  ASSERT_EQ(parked.result.verdict, ClaimVerdict::kTakeover);
  const OutboxRow letter = Letter(5, "id");
  const DyingClaim dying{.claim = parked.claim(),
                         .disposition = Disposition::kUncertain,
                         .attempt = 1,
                         .letter = &letter};
  absl::Status outcome;
  ASSERT_TRUE(claims().Dying({&dying, 1}, {&outcome, 1}).ok());
  ExpectRefusal(Redrive(FailureOf("id")), IdState::kDying);
  ASSERT_TRUE(Kill(parked).ok());
  EXPECT_EQ(FailureOf("id").state, IdState::kUncertain);
  ASSERT_TRUE(Redrive(FailureOf("id")).ok());
  const Holder holder = Ask("id");
  EXPECT_EQ(holder.result.verdict, ClaimVerdict::kFresh);
  EXPECT_EQ(holder.result.attempt, 1);
}

OPERATIONS_CHECK(ARedrivenMessageThatFailsForGoodUnderAClaimKeepsANewLetter) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_claims);
  CommitLetter(Letter(5, "id"));
  PublishPending();
  ASSERT_TRUE(Redrive(FailureOf("id")).ok());
  PublishPending();
  const OutboxRow letter = Letter(100, "id");
  const Holder holder = Ask("id");
  const DyingClaim dying{.claim = holder.claim(), .attempt = 1, .letter = &letter};
  absl::Status outcome;
  ASSERT_TRUE(claims().Dying({&dying, 1}, {&outcome, 1}).ok());
  ASSERT_TRUE(Kill(holder).ok());
  const StoredFailure failure = FailureOf("id");
  EXPECT_EQ(failure.origin.offset, 100);
  EXPECT_EQ(failure.redrives, 1);
  EXPECT_EQ(failure.state, IdState::kDead);
  EXPECT_TRUE(Redrive(failure).ok());
}

OPERATIONS_CHECK(AnIdThatSomebodyHoldsIsLeftToItsHolder) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_claims);
  CommitLetter(Letter(5, "id"));
  ASSERT_TRUE(Redrive(FailureOf("id")).ok());
  const Holder holder = Ask("id");
  ASSERT_EQ(FailureOf("id").state, IdState::kClaimed);
  ExpectRefusal(Redrive(FailureOf("id")), IdState::kClaimed);
  ExpectRefusal(DiscardId("id"), IdState::kClaimed);
  ExpectRefusal(ResolveId("id"), IdState::kClaimed);
  EXPECT_TRUE(Dying(holder).ok());
  ExpectRefusal(Redrive(FailureOf("id")), IdState::kDying);
  ExpectRefusal(ResolveId("id"), IdState::kDying);
  EXPECT_TRUE(Kill(holder).ok());
}

// Its letter may be one that no retry can publish: then this is the only way out.
OPERATIONS_CHECK(ADyingIdIsDiscardedAndItsHolderHasLostItsClaim) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_claims);
  CommitLetter(Letter(5, "id"));
  ASSERT_TRUE(Redrive(FailureOf("id")).ok());
  const Holder holder = Ask("id");
  ASSERT_TRUE(Dying(holder).ok());
  EXPECT_TRUE(DiscardId("id").ok());
  EXPECT_FALSE(Kill(holder).ok());
  EXPECT_EQ(RecordOf(operations(), "id").state, IdState::kDiscarded);
}

// ---- Discard ----

OPERATIONS_CHECK(DeadUncertainAndRetryingIdsAreDiscarded) {
  for (const IdState state : {IdState::kDead, IdState::kUncertain, IdState::kRetrying}) {
    SCOPED_TRACE(ToString(state));
    const std::string id(ToString(state));
    CommitLetter(Letter(static_cast<std::int64_t>(state), id), state);
    PublishPending();
    const absl::Status discarded = DiscardId(id);
    EXPECT_TRUE(discarded.ok()) << discarded;
    EXPECT_EQ(RecordOf(operations(), id).state, IdState::kDiscarded);
    EXPECT_EQ(RecordOf(operations(), id).fingerprint, kPrint);
    EXPECT_THAT(Failures(), IsEmpty());
    ExpectRefusal(DiscardId(id), IdState::kDiscarded);
  }
}

OPERATIONS_CHECK(AnIdWithoutALetterIsDiscardedToo) {
  PutInTransaction("id", {.state = IdState::kRetrying,
                          .fingerprint = kPrint,
                          .attempt = 2,
                          .not_before = absl::InfiniteFuture()});
  EXPECT_TRUE(DiscardId("id").ok());
  EXPECT_EQ(FindInTransaction("id").state, IdState::kDiscarded);
}

OPERATIONS_CHECK(ALetterThatIsNotPublishedYetIsPublishedThoughItsIdIsDiscarded) {
  CommitLetter(Letter(5, "id"));
  EXPECT_TRUE(DiscardId("id").ok());
  EXPECT_THAT(PublishPending(), ElementsAre("value at 5"));
  EXPECT_THAT(Failures(), IsEmpty());
}

OPERATIONS_CHECK(ACompletedIdIsNotDiscarded) {
  PutInTransaction("id", {.state = IdState::kCompleted, .fingerprint = kPrint});
  ExpectRefusal(DiscardId("id"), IdState::kCompleted);
  EXPECT_EQ(RecordOf(operations(), "id").state, IdState::kCompleted);
}

OPERATIONS_CHECK(AnUnknownIdIsNotFound) {
  PutInTransaction("id", {.state = IdState::kDead, .fingerprint = kPrint});
  for (const IdKey& key : {IdKey{kScope, "other"}, IdKey{"another scope", "id"}}) {
    const absl::Status discarded = operations().Discard(key);
    EXPECT_TRUE(absl::IsNotFound(discarded)) << discarded;
    const absl::Status resolved = operations().Resolve(key);
    EXPECT_TRUE(absl::IsNotFound(resolved)) << resolved;
  }
  EXPECT_EQ(RecordOf(operations(), "id").state, IdState::kDead);
  EXPECT_EQ(StateOf("other"), IdState::kAbsent);
}

OPERATIONS_CHECK(ADiscardedIdIsNoWorkForAClaimer) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_claims);
  LeaveRetrying("id");
  EXPECT_TRUE(DiscardId("id").ok());
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDiscarded);
}

// ---- Resolve ----

OPERATIONS_CHECK(AnUncertainIdThatDidHappenIsCompleted) {
  CommitLetter(Letter(5, "id"), IdState::kUncertain);
  PublishPending();
  const absl::Status resolved = ResolveId("id");
  EXPECT_TRUE(resolved.ok()) << resolved;
  EXPECT_EQ(RecordOf(operations(), "id").state, IdState::kCompleted);
  EXPECT_EQ(RecordOf(operations(), "id").fingerprint, kPrint);
  EXPECT_THAT(Failures(), IsEmpty());
  ExpectRefusal(ResolveId("id"), IdState::kCompleted);
}

OPERATIONS_CHECK(AResolvedIdIsADuplicateForAClaimer) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_claims);
  LeaveUncertain("id");
  EXPECT_TRUE(ResolveId("id").ok());
  EXPECT_EQ(Ask("id").result.verdict, ClaimVerdict::kDuplicate);
  EXPECT_EQ(Ask("id", kLongLease, kOtherPrint).result.verdict, ClaimVerdict::kConflict);
}

OPERATIONS_CHECK(OnlyWhatIsUncertainIsResolved) {
  for (const IdState state : kSettledStates) {
    if (state == IdState::kUncertain) continue;
    const std::string id(ToString(state));
    PutInTransaction(id, {.state = state, .fingerprint = kPrint, .attempt = 1});
    ExpectRefusal(ResolveId(id), state);
    EXPECT_EQ(RecordOf(operations(), id).state, state);
  }
}

// ---- Beside transactions ----

OPERATIONS_CHECK(DecisionsWaitForTheOpenTransaction) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_exclusion);
  CommitLetter(Letter(5, "id"), IdState::kUncertain);
  const StoredFailure failure = FailureOf("id");
  const auto begun = transactions().Begin({});
  ASSERT_TRUE(begun.ok() && begun->transaction) << begun.status();
  const IdKey key{kScope, "id"};
  IdRecord record;
  ASSERT_TRUE(begun->transaction->FindIds({&key, 1}, {&record, 1}).ok());
  EXPECT_TRUE(absl::IsUnavailable(Redrive(failure)));
  EXPECT_TRUE(absl::IsUnavailable(DiscardId("id")));
  EXPECT_TRUE(absl::IsUnavailable(ResolveId("id")));
  begun->transaction->Rollback();
  EXPECT_EQ(RecordOf(operations(), "id").state, IdState::kUncertain);
  EXPECT_TRUE(ResolveId("id").ok());
}

OPERATIONS_CHECK(ATransactionMeetsWhatAnOperatorDecided) {
  CommitLetter(Letter(5, "redriven"));
  ASSERT_TRUE(Redrive(FailureOf("redriven")).ok());
  PutInTransaction("discarded", {.state = IdState::kDead, .fingerprint = kPrint, .attempt = 2});
  ASSERT_TRUE(DiscardId("discarded").ok());
  PutInTransaction("resolved", {.state = IdState::kUncertain, .fingerprint = kPrint});
  ASSERT_TRUE(ResolveId("resolved").ok());
  const IdRecord redriven = FindInTransaction("redriven");
  EXPECT_EQ(redriven.state, IdState::kRetrying);
  EXPECT_EQ(redriven.attempt, 0);
  EXPECT_EQ(redriven.fingerprint, kPrint);
  EXPECT_EQ(redriven.first_failed_at, absl::InfinitePast());
  EXPECT_EQ(FindInTransaction("discarded").state, IdState::kDiscarded);
  EXPECT_EQ(FindInTransaction("resolved").state, IdState::kCompleted);
}

}  // namespace
}  // namespace once::testing
