// The conformance tests of dead letters as operators find them: what is kept, and until when.
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "src/testing/operations_bench.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

void LinkLetterChecks() {}

namespace {

std::vector<std::string> IdsOf(const std::vector<StoredFailure>& failures) {
  std::vector<std::string> ids;
  for (const StoredFailure& failure : failures) ids.push_back(failure.id);
  return ids;
}

OPERATIONS_CHECK(NothingHasFailedAtFirst) {
  EXPECT_THAT(Failures(), IsEmpty());
  EXPECT_EQ(StateOf("id"), IdState::kAbsent);
}

OPERATIONS_CHECK(ALetterIsFoundWithAllThatIsKnownOfIt) {
  const OutboxRow letter = Letter(5, "id");
  CommitLetter(letter);
  const std::vector<StoredFailure> failures = Failures();
  ASSERT_THAT(failures, SizeIs(1));
  EXPECT_EQ(failures[0].origin, letter.origin);
  EXPECT_EQ(failures[0].scope, kScope);
  EXPECT_EQ(failures[0].id, "id");
  EXPECT_EQ(failures[0].state, IdState::kDead);
  EXPECT_FALSE(failures[0].is_published);
  EXPECT_EQ(failures[0].parked_reason, "");
  EXPECT_EQ(failures[0].redrives, 0);
  EXPECT_TRUE(failures[0].letter == letter.message);
  EXPECT_GT(failures[0].number, 0);
}

OPERATIONS_CHECK(APublishedLetterIsKeptWithItsPayload) {
  const OutboxRow letter = Letter(5, "id");
  CommitLetter(letter);
  EXPECT_THAT(PublishPending(), ElementsAre("value at 5"));
  const StoredFailure failure = FailureOf("id");
  EXPECT_TRUE(failure.is_published);
  EXPECT_TRUE(failure.letter == letter.message);
  EXPECT_EQ(failure.origin, letter.origin);
  EXPECT_THAT(PublishPending(), IsEmpty());
}

OPERATIONS_CHECK(AParkedLetterSaysWhy) {
  CommitLetter(Letter(5, "id"));
  const std::int64_t sequence = outbox().FindPending(1).value().at(0).sequence;
  ASSERT_TRUE(outbox().Park(sequence, absl::InvalidArgumentError("no such topic")).ok());
  const StoredFailure failure = FailureOf("id");
  EXPECT_THAT(failure.parked_reason, HasSubstr("no such topic"));
  EXPECT_FALSE(failure.is_published);
  EXPECT_EQ(failure.letter.value, "value at 5");
}

OPERATIONS_CHECK(WhatAHandlerPublishesIsNoFailure) {
  OutboxRow row = Letter(5, "");
  row.origin.ordinal = 1;
  CommitRow(row);
  EXPECT_THAT(Failures(), IsEmpty());
  EXPECT_THAT(PublishPending(), SizeIs(1));
  EXPECT_THAT(Failures(), IsEmpty());
}

OPERATIONS_CHECK(AnUncommittedLetterIsNotFound) {
  const auto begun = transactions().Begin({});
  ASSERT_TRUE(begun.ok() && begun->transaction) << begun.status();
  const OutboxRow letter = Letter(5, "");
  ASSERT_TRUE(begun->transaction->PutOutgoing({&letter, 1}).ok());
  EXPECT_THAT(Failures(), IsEmpty());
}

OPERATIONS_CHECK(FailuresComeOldestFirstAndInPages) {
  for (const char* id : {"e", "d", "c", "b", "a"}) CommitLetter(Letter(*id, id));
  EXPECT_THAT(IdsOf(Failures()), ElementsAre("e", "d", "c", "b", "a"));
  const std::vector<StoredFailure> first = Failures({.letters_max = 2});
  EXPECT_THAT(IdsOf(first), ElementsAre("e", "d"));
  ASSERT_THAT(first, SizeIs(2));
  EXPECT_LT(first[0].number, first[1].number);
  const std::vector<StoredFailure> rest = Failures({.after = first[1].number, .letters_max = 2});
  EXPECT_THAT(IdsOf(rest), ElementsAre("c", "b"));
  EXPECT_THAT(IdsOf(Failures({.after = rest.back().number})), ElementsAre("a"));
  EXPECT_THAT(Failures({.letters_max = 0}), IsEmpty());
}

// A page is full of failures, not of letters that turn out to be none.
OPERATIONS_CHECK(APageIsNotShortenedByMessagesThatHaveCompleted) {
  for (const char* id : {"a", "b", "c", "d"}) CommitLetter(Letter(*id, id));
  PutInTransaction("a", {.state = IdState::kCompleted, .fingerprint = kPrint});
  PutInTransaction("b", {.state = IdState::kDiscarded, .fingerprint = kPrint});
  EXPECT_THAT(IdsOf(Failures({.letters_max = 2})), ElementsAre("c", "d"));
}

OPERATIONS_CHECK(FailuresAreFoundByIdAndByScope) {
  OutboxRow elsewhere = Letter(1, "id");
  elsewhere.scope = "another scope";
  CommitRow(elsewhere);
  CommitLetter(Letter(2, "id"));
  CommitLetter(Letter(3, "other"));
  EXPECT_THAT(Failures({.id = "id"}), SizeIs(2));
  EXPECT_THAT(IdsOf(Failures({.scope = std::string(kScope)})), ElementsAre("id", "other"));
  const std::vector<StoredFailure> one =
      Failures({.id = "id", .scope = std::string("another scope")});
  ASSERT_THAT(one, SizeIs(1));
  EXPECT_EQ(one[0].origin.offset, 1);
  EXPECT_THAT(Failures({.id = "i"}), IsEmpty());
  EXPECT_THAT(Failures({.scope = ""}), IsEmpty());
}

OPERATIONS_CHECK(AFailureIsOneNoMoreWhenItsMessageHasCompleted) {
  CommitLetter(Letter(1, "completed"));
  CommitLetter(Letter(2, "discarded"));
  CommitLetter(Letter(3, "dead"));
  PutInTransaction("completed", {.state = IdState::kCompleted, .fingerprint = kPrint});
  PutInTransaction("discarded", {.state = IdState::kDiscarded, .fingerprint = kPrint});
  EXPECT_THAT(IdsOf(Failures()), ElementsAre("dead"));
}

OPERATIONS_CHECK(OnlyTheNewestLetterOfAnIdIsFound) {
  CommitLetter(Letter(1, "id"));
  PublishPending();
  const StoredFailure first = FailureOf("id");
  CommitLetter(Letter(9, "other"));
  CommitLetter(Letter(2, "id"));
  const StoredFailure second = FailureOf("id");
  EXPECT_GT(second.number, first.number);
  EXPECT_EQ(second.origin.offset, 2);
  EXPECT_THAT(IdsOf(Failures()), ElementsAre("other", "id"));
  EXPECT_THAT(PublishPending(), ElementsAre("value at 9", "value at 2"));
}

// Its letter is void for operators, and still promised to the broker.
OPERATIONS_CHECK(ALetterThatGaveWayIsPublishedAllTheSame) {
  CommitLetter(Letter(1, "id"));
  CommitLetter(Letter(2, "id"));
  EXPECT_THAT(PublishPending(), ElementsAre("value at 1", "value at 2"));
  EXPECT_EQ(FailureOf("id").origin.offset, 2);
}

OPERATIONS_CHECK(LettersWithoutAnIdAreAllFound) {
  CommitLetter(Letter(1, ""));
  CommitLetter(Letter(2, ""));
  const std::vector<StoredFailure> failures = Failures();
  ASSERT_THAT(failures, SizeIs(2));
  for (const StoredFailure& failure : failures) {
    EXPECT_EQ(failure.id, "");
    EXPECT_EQ(failure.state, IdState::kAbsent);
  }
}

OPERATIONS_CHECK(ADroppedLetterIsForgotten) {
  CommitLetter(Letter(1, ""));
  CommitLetter(Letter(2, ""));
  PublishPending();
  const std::vector<StoredFailure> failures = Failures();
  ASSERT_THAT(failures, SizeIs(2));
  const absl::Status dropped = operations().DropLetter(failures[0].number);
  EXPECT_TRUE(dropped.ok()) << dropped;
  const std::vector<StoredFailure> left = Failures();
  ASSERT_THAT(left, SizeIs(1));
  EXPECT_EQ(left[0].number, failures[1].number);
  EXPECT_TRUE(absl::IsNotFound(operations().DropLetter(failures[0].number)));
  CommitRow(Letter(1, ""));
  EXPECT_THAT(PublishPending(), IsEmpty()) << "one delivery has one letter, also a dropped one";
}

OPERATIONS_CHECK(ADroppedLetterIsPublishedAllTheSame) {
  CommitLetter(Letter(1, ""));
  ASSERT_THAT(Failures(), SizeIs(1));
  EXPECT_TRUE(operations().DropLetter(Failures()[0].number).ok());
  EXPECT_THAT(Failures(), IsEmpty());
  EXPECT_THAT(PublishPending(), ElementsAre("value at 1"));
  EXPECT_THAT(Failures(), IsEmpty());
}

OPERATIONS_CHECK(TheLetterOfAnIdIsNotDropped) {
  CommitLetter(Letter(1, "id"));
  ExpectRefusal(operations().DropLetter(FailureOf("id").number), IdState::kDead);
  EXPECT_EQ(FailureOf("id").letter.value, "value at 1");
  EXPECT_TRUE(absl::IsNotFound(operations().DropLetter(FailureOf("id").number + 1000)));
}

OPERATIONS_CHECK(AnIdIsFoundUnderEveryScopeThatKnowsIt) {
  PutInTransaction("id", {.state = IdState::kDead, .fingerprint = kPrint, .attempt = 3});
  const auto begun = transactions().Begin({});
  ASSERT_TRUE(begun.ok() && begun->transaction) << begun.status();
  const IdRecord elsewhere = {.state = IdState::kCompleted, .fingerprint = kOtherPrint};
  const IdWrite writes[] = {{{"another scope", "id"}, elsewhere}, {{"another scope", "xid"}, {}}};
  ASSERT_TRUE(begun->transaction->PutIds(writes).ok());
  ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
  const auto found = operations().FindId("id");
  ASSERT_TRUE(found.ok()) << found.status();
  std::vector<std::string> scopes;
  for (const StoreOperations::FoundId& one : *found) {
    scopes.push_back(one.scope);
    const bool is_elsewhere = one.scope == "another scope";
    EXPECT_EQ(one.record.state, is_elsewhere ? IdState::kCompleted : IdState::kDead);
    EXPECT_EQ(one.record.fingerprint, is_elsewhere ? kOtherPrint : kPrint);
  }
  EXPECT_THAT(scopes, UnorderedElementsAre("another scope", std::string(kScope)));
}

OPERATIONS_CHECK(LettersSurviveReopen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  CommitLetter(Letter(1, "published"));
  PublishPending();
  CommitLetter(Letter(2, "parked"));
  ASSERT_TRUE(outbox()
                  .Park(outbox().FindPending(1).value().at(0).sequence,
                        absl::InvalidArgumentError("no such topic"))
                  .ok());
  CommitLetter(Letter(3, "pending"));
  const std::vector<StoredFailure> before = Failures();
  ASSERT_THAT(before, SizeIs(3));
  const absl::Status reopened = fixture().Reopen();
  ASSERT_TRUE(reopened.ok()) << reopened;
  const std::vector<StoredFailure> after = Failures();
  ASSERT_THAT(after, SizeIs(3));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(after[i].number, before[i].number);
    EXPECT_EQ(after[i].origin, before[i].origin);
    EXPECT_EQ(after[i].scope, before[i].scope);
    EXPECT_EQ(after[i].id, before[i].id);
    EXPECT_EQ(after[i].state, before[i].state);
    EXPECT_EQ(after[i].is_published, before[i].is_published);
    EXPECT_EQ(after[i].parked_reason, before[i].parked_reason);
    EXPECT_TRUE(after[i].letter == before[i].letter);
  }
}

// ---- Letters of plain handlers ----

// Dying() with the letter, as a consumer says it.
#define SKIP_WITHOUT_CLAIMS() SKIP_UNLESS_EMPTY(capabilities().why_no_claims)

OPERATIONS_CHECK(ALetterOfADyingClaimIsKeptAndNotPublishedByTheRelay) {
  SKIP_WITHOUT_CLAIMS();
  const OutboxRow letter = Letter(5, "id");
  const Holder holder = Ask("id");
  for (int i = 0; i < 2; ++i) {  // said twice, kept once
    const DyingClaim dying{.claim = holder.claim(), .attempt = 3, .letter = &letter};
    absl::Status outcome;
    ASSERT_TRUE(claims().Dying({&dying, 1}, {&outcome, 1}).ok());
    EXPECT_TRUE(outcome.ok()) << outcome;
  }
  EXPECT_THAT(PublishPending(), IsEmpty());
  const StoredFailure dying = FailureOf("id");
  EXPECT_EQ(dying.state, IdState::kDying);
  EXPECT_FALSE(dying.is_published);
  EXPECT_EQ(dying.origin, letter.origin);
  EXPECT_TRUE(dying.letter == letter.message);

  EXPECT_TRUE(Kill(holder).ok());
  const StoredFailure dead = FailureOf("id");
  EXPECT_EQ(dead.state, IdState::kDead);
  EXPECT_TRUE(dead.is_published);
  EXPECT_EQ(dead.number, dying.number);
  EXPECT_THAT(PublishPending(), IsEmpty());
}

OPERATIONS_CHECK(ALostOwnersLetterIsNotKept) {
  SKIP_WITHOUT_CLAIMS();
  const Holder former = LoseBegun("id");
  AskUntilFree("id");
  const OutboxRow letter = Letter(5, "id");
  const DyingClaim dying{.claim = former.claim(), .attempt = 1, .letter = &letter};
  absl::Status outcome;
  ASSERT_TRUE(claims().Dying({&dying, 1}, {&outcome, 1}).ok());
  EXPECT_TRUE(absl::IsAborted(outcome)) << outcome;
  EXPECT_THAT(Failures(), IsEmpty());
}

OPERATIONS_CHECK(ALetterOfAClaimSurvivesReopen) {
  SKIP_WITHOUT_CLAIMS();
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  const OutboxRow letter = Letter(5, "id");
  const Holder holder = Ask("id");
  const DyingClaim dying{.claim = holder.claim(), .attempt = 3, .letter = &letter};
  absl::Status outcome;
  ASSERT_TRUE(claims().Dying({&dying, 1}, {&outcome, 1}).ok());
  ASSERT_TRUE(outcome.ok()) << outcome;
  ASSERT_TRUE(Kill(holder).ok());
  ASSERT_TRUE(claims().Sync().ok());
  ASSERT_TRUE(fixture().Reopen().ok());
  const StoredFailure failure = FailureOf("id");
  EXPECT_TRUE(failure.is_published);
  EXPECT_TRUE(failure.letter == letter.message);
  EXPECT_THAT(PublishPending(), IsEmpty());
}

}  // namespace
}  // namespace once::testing
