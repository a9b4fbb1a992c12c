// Plain handlers, message by message: claims, outcomes, retries, dead letters, copies.
#include "tests/unit/engine_claims_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;

class EngineClaims : public EngineClaimsTest {};

TEST_F(EngineClaims, AMessageIsClaimedBegunHandledCompletedAndSyncedBeforeItIsAcknowledged) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(claims().calls(), ElementsAre("try a", "begun a", "handle a", "complete a", "sync"));
  EXPECT_EQ(RecordOf("a").state, IdState::kCompleted);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 1);
  EXPECT_EQ(stats().processed, 1u);
}

TEST_F(EngineClaims, ARedeliveredMessageIsADuplicateForTheNextProcess) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  consumer_.reset();
  log_->SetCommitted(kOrders0, 0);  // the broker never heard of it
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_EQ(stats().duplicates, 1u);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 1);
}

TEST_F(EngineClaims, ItBeginsAtTheGroupsCommittedOffset) {
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  log_->SetCommitted(kOrders0, 2);
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, ElementsAre("c#1"));
}

TEST_F(EngineClaims, NothingIsAcknowledgedBeforeASyncSucceeds) {
  claims().Script("sync", {ClaimFate::kRefused, ClaimFate::kRefused});
  Send(kOrders0, "a");
  log_->Assign({kOrders0});
  StartConsumer();
  Settle(4);
  EXPECT_EQ(stats().processed, 0u);
  for (int i = 0; i < 2; ++i) SettleAfter(absl::Seconds(10));
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_EQ(stats().duplicates, 1u) << "asked again: the store might have lost the completion";
  EXPECT_EQ(StopAndReadOffset(kOrders0), 1);
}

TEST_F(EngineClaims, AStopBeforeTheSyncAcknowledgesNothing) {
  claims().Script("sync", std::vector<ClaimFate>(50, ClaimFate::kRefused));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_EQ(StopAndReadOffset(kOrders0), 0);
}

TEST_F(EngineClaims, AFailedMessageWaitsAndSeesItsAttempt) {
  When("a", [](const Message& message) -> Outcome {
    if (message.attempt() < 3) return absl::UnavailableError("not yet");
    return Done();
  });
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_EQ(RecordOf("a").state, IdState::kRetrying);
  SettleAfter(absl::Seconds(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1", "a#2"));
  SettleAfter(absl::Seconds(2));
  EXPECT_THAT(invoked_, ElementsAre("a#1", "a#2", "a#3", "b#1"));
  EXPECT_EQ(stats().retried, 2u);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 2);
}

TEST_F(EngineClaims, AFailureThatIsRecordedLateIsNotOvertaken) {
  When("a", [](const Message& message) -> Outcome {
    if (message.attempt() < 2) return absl::UnavailableError("not yet");
    return Done();
  });
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  claims().Script("fail", {ClaimFate::kRefused});
  StartAndSettle({kOrders0});
  SettleAfter(absl::Seconds(2));  // longer than the delay, which begins when it is recorded
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  SettleAfter(absl::Seconds(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1", "a#2", "b#1"));
}

TEST_F(EngineClaims, AttemptsAreCountedAcrossProcesses) {
  When("a", [](const Message&) -> Outcome { return absl::UnavailableError("never"); });
  Send(kOrders0, "a");
  for (int process = 0; process < 3; ++process) {
    StartAndSettle({kOrders0});
    consumer_.reset();
    clock_->Advance(absl::Minutes(1));
  }
  EXPECT_THAT(invoked_, ElementsAre("a#1", "a#2", "a#3"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "retries-exhausted");
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-attempt"), "3");
}

TEST_F(EngineClaims, ADeadLetterIsFencedAndSyncedBeforeItIsPublishedAndRecordedAfterwards) {
  When("a", [](const Message&) { return Reject("no such account"); });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(claims().calls(),
              ElementsAre("try a", "begun a", "handle a", "dying a", "sync", "kill a", "sync"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-id"), "a");
  EXPECT_EQ(RecordOf("a").state, IdState::kDead);
  EXPECT_EQ(stats().dead_lettered, 1u);
  EXPECT_EQ(stats().published, 1u);
  EXPECT_EQ(StopAndReadOffset(kOrders0), 1);
}

TEST_F(EngineClaims, ACopyOfADeadMessageIsAcknowledgedWithoutASecondLetter) {
  When("a", [](const Message&) { return Reject("no"); });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Send(kOrders0, "a");
  Settle();
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(stats().discarded, 1u);
}

TEST_F(EngineClaims, ALetterThatIsNotAcknowledgedHoldsItsPartitionAndIsSentAgain) {
  When("a", [](const Message&) { return Reject("no"); });
  publisher_->AnswerWith(absl::UnavailableError("broker away"));
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_EQ(RecordOf("a").state, IdState::kDying);
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  publisher_->AnswerWith(absl::OkStatus());
  SettleAfter(absl::Seconds(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1", "b#1"));
  EXPECT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(RecordOf("a").state, IdState::kDead);
}

TEST_F(EngineClaims, ALetterThatNoRetryCanPublishStopsThePartitionAndSaysWhatToDo) {
  When("a", [](const Message&) { return Reject("no"); });
  publisher_->AnswerWith(absl::InvalidArgumentError("message too large"));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  const std::string reason(consumer_->stopped_partitions()[0].reason.ToString());
  EXPECT_THAT(reason, HasSubstr("message too large"));
  EXPECT_THAT(reason, HasSubstr("once discard"));
  EXPECT_EQ(StopAndReadOffset(kOrders0), 0);
}

TEST_F(EngineClaims, WhoTakesOverADyingMessageOnlyPublishes) {
  When("a", [](const Message&) { return Reject("no"); });
  publisher_->AnswerWith(absl::UnavailableError("broker away"));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  consumer_.reset();
  publisher_->AnswerWith(absl::OkStatus());
  clock_->Advance(absl::Minutes(1));
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "rejected");
  EXPECT_EQ(RecordOf("a").state, IdState::kDead);
}

TEST_F(EngineClaims, WithoutDeadLettersThePartitionStopsAndTheAttemptCounts) {
  options_.dead_letters.publisher = nullptr;
  When("a", [](const Message&) { return Reject("no"); });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_THAT(consumer_->stopped_partitions()[0].reason.ToString(), HasSubstr("dead_letters"));
  EXPECT_EQ(RecordOf("a").state, IdState::kRetrying);
  EXPECT_EQ(RecordOf("a").attempt, 1);
}

TEST_F(EngineClaims, ASkippedMessageIsRecordedAndItsCopiesAreAcknowledged) {
  When("a", [](const Message&) { return Skip("a test order"); });
  Send(kOrders0, "a");
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_EQ(RecordOf("a").state, IdState::kDiscarded);
  EXPECT_EQ(stats().discarded, 2u);
}

TEST_F(EngineClaims, WhereGivingUpMeansToDiscardThereIsNoLetter) {
  options_.retry.give_up = GiveUp::kDiscard;
  When("a", [](const Message&) -> Outcome { return absl::UnavailableError("never"); });
  Send(kOrders0, "a");
  for (int process = 0; process < 3; ++process) {
    StartAndSettle({kOrders0});
    if (process < 2) consumer_.reset();
    clock_->Advance(absl::Minutes(1));
  }
  EXPECT_THAT(invoked_, ElementsAre("a#1", "a#2", "a#3"));
  EXPECT_THAT(publisher_->published(), IsEmpty());
  EXPECT_EQ(RecordOf("a").state, IdState::kDiscarded);
  EXPECT_EQ(stats().discarded, 1u);
}

TEST_F(EngineClaims, APauseStopsThePartitionAndKeepsTheMessage) {
  When("b", [](const Message&) { return Pause("ledger closed"); });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_EQ(consumer_->stopped_partitions()[0].position, 1);
  EXPECT_THAT(invoked_, ElementsAre("a#1", "b#1"));
  EXPECT_EQ(RecordOf("b").state, IdState::kRetrying);
  EXPECT_EQ(RecordOf("b").attempt, 0) << "an outage says nothing about the message";
  EXPECT_THAT(consumer_->stopped_partitions()[0].reason.ToString(), HasSubstr("restart"));
}

TEST_F(EngineClaims, AConflictIsPublishedOnlyOnceTheOwnersCompletionIsSynced) {
  Send(kOrders0, "a", "v");
  Send(kOrders0, "a", "another value");
  claims().Script("sync", std::vector<ClaimFate>(3, ClaimFate::kRefused));
  log_->Assign({kOrders0});
  StartConsumer();
  Settle(3);
  EXPECT_THAT(publisher_->published(), IsEmpty());
  for (int i = 0; i < 4; ++i) SettleAfter(absl::Seconds(5));
  EXPECT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
}

TEST_F(EngineClaims, ANewGroupThatBeginsWithTheLatestCommitsWhereBeforeItHandlesAnything) {
  options_.start = StartAt::kLatest;
  Send(kOrders0, "old");
  log_->Assign({kOrders0});
  StartConsumer();
  Settle();
  EXPECT_EQ(log_->committed(kOrders0), 1);
  EXPECT_THAT(log_->calls(), Contains("verify orders[0]@1"));
}

TEST_F(EngineClaims, AConflictIsDeadLetteredAndTheOwnerOfTheIdIsNotTouched) {
  Send(kOrders0, "a", "v");
  StartAndSettle({kOrders0});
  Send(kOrders0, "a", "another value");
  Settle();
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "conflict");
  EXPECT_EQ(RecordOf("a").state, IdState::kCompleted);
  EXPECT_EQ(stats().conflicts, 1u);
}

TEST_F(EngineClaims, ACopyInTheSameBatchWithAnotherValueIsAConflict) {
  Send(kOrders0, "a", "v");
  Send(kOrders0, "a", "another value");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_EQ(stats().conflicts, 1u);
}

TEST_F(EngineClaims, ACopyBehindAConflictIsJudgedByTheStoreAndNotByTheConflict) {
  Send(kOrders0, "a", "v");
  StartAndSettle({kOrders0});
  consumer_.reset();
  log_->SetCommitted(kOrders0, 1);
  Send(kOrders0, "a", "another value");
  Send(kOrders1, "a", "v");
  StartAndSettle({kOrders0, kOrders1});
  SettleAfter(absl::Seconds(1));
  EXPECT_EQ(stats().conflicts, 1u);
  EXPECT_EQ(stats().duplicates, 1u);
  EXPECT_THAT(publisher_->published(), SizeIs(1));
}

TEST_F(EngineClaims, CopiesInOneBatchSettleWithTheFirst) {
  Send(kOrders0, "a");
  Send(kOrders0, "a");
  Send(kOrders1, "a");
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  EXPECT_EQ(stats().duplicates, 2u);
}

TEST_F(EngineClaims, CopiesOfAFailedMessageWaitInTheirOwnPartitions) {
  int calls = 0;
  When("a", [&](const Message&) -> Outcome {
    return ++calls == 1 ? Outcome(absl::UnavailableError("not yet")) : Done();
  });
  Send(kOrders0, "a");
  Send(kOrders1, "a");
  Send(kOrders1, "b");
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
  SettleAfter(absl::Seconds(1));
  EXPECT_THAT(invoked_, ElementsAre("a#1", "a#2", "b#1"));
  EXPECT_EQ(stats().duplicates, 1u);
}

TEST_F(EngineClaims, AMessageWithoutAnIdIsDeadLettered) {
  log_->Append(kOrders0, {.value = "v"});
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "no-id");
  EXPECT_THAT(invoked_, ElementsAre("a#1"));
}

TEST_F(EngineClaims, AnExceptionIsAFailedAttempt) {
  int calls = 0;
  When("a", [&](const Message&) -> Outcome {
    if (++calls == 1) throw std::runtime_error("parser broke");
    return Done();
  });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_EQ(RecordOf("a").attempt, 1);
  SettleAfter(absl::Seconds(1));
  EXPECT_EQ(RecordOf("a").state, IdState::kCompleted);
}

TEST_F(EngineClaims, ALateBatchGivesBackWhatHadNoTurnAndClaimsLessTheNextTime) {
  options_.limits.batch_max_duration = absl::Seconds(1);
  for (int i = 0; i < 6; ++i) {
    const std::string id = std::to_string(i);
    When(id, [this](const Message&) {
      clock_->Advance(absl::Milliseconds(600));
      return Done();
    });
    Send(kOrders0, id);
  }
  log_->Assign({kOrders0});
  StartConsumer();
  Settle(30);
  EXPECT_THAT(invoked_, ElementsAre("0#1", "1#1", "2#1", "3#1", "4#1", "5#1"));
  EXPECT_THAT(claims().calls(), IsSupersetOf({"try 0 1 2 3 4 5", "release 2 3 4 5", "try 2 3"}));
}

TEST_F(EngineClaims, TheIdempotencyKeyNamesScopeAndIdAndStaysTheSame) {
  std::vector<std::string> keys;
  When("a", [&](const Message& message) -> Outcome {
    keys.push_back(message.idempotency_key());
    return keys.size() == 1 ? Outcome(absl::UnavailableError("again")) : Done();
  });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  SettleAfter(absl::Seconds(1));
  const std::string scope = GroupTopicScope("billing", "orders");
  const std::string expected = IdempotencyKey({.scope = scope, .id = "a"});
  EXPECT_THAT(keys, ElementsAre(expected, expected));
  EXPECT_THAT(expected, SizeIs(64));
}

TEST_F(EngineClaims, PositionsOutOfTheLogAreReportedAsGaps) {
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  log_->SetCommitted(kOrders0, 1);
  log_->DeleteBelow(kOrders0, 2);
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked_, IsEmpty());
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_EQ(consumer_->stopped_partitions()[0].reason.code(), absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace once
