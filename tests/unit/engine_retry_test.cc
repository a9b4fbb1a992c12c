// Failing messages: retries that wait without blocking others, verdicts that end them, and attempts
// that are counted whatever happens around them.
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class EngineRetry : public EngineTest {
 protected:
  IdRecord RecordOf(std::string_view id) {
    return store_->FindId(GroupTopicScope("billing", "orders"), id);
  }
};

// A handler that fails the first `times` calls, each time after writing something.
auto FailingFirst(int times, Outcome outcome) {
  return [left = std::make_shared<int>(times), outcome](const Message& message,
                                                        Transaction& transaction) -> Outcome {
    if ((*left)-- > 0) {
      AppendEffect(transaction, "half of " + std::string(message.id()));
      return outcome;
    }
    AppendEffect(transaction, message.id());
    return Done();
  };
}

TEST_F(EngineRetry, AFailedMessageIsTriedAgainAfterTheBackoff) {
  When("a", FailingFirst(1, Retry("down")));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), IsEmpty());
  EXPECT_EQ(RecordOf("a").attempt, 1);

  Advance(absl::Milliseconds(999));
  Settle();
  EXPECT_THAT(invoked(), SizeIs(1));

  Advance(absl::Milliseconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_EQ(stats().retried, 1U);
  EXPECT_EQ(PositionOf(kOrders0), 1);
}

TEST_F(EngineRetry, TheSecondBackoffIsLonger) {
  When("a", FailingFirst(2, Retry("down")));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_EQ(RecordOf("a").attempt, 2);
  Advance(absl::Milliseconds(1999));
  Settle();
  EXPECT_THAT(effects(), IsEmpty());
  Advance(absl::Milliseconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineRetry, AWaitingMessageHoldsItsPartitionAndNoOther) {
  When("a", FailingFirst(1, Retry("down")));
  Send(kOrders0, "a");
  Send(kOrders0, "behind a");
  Send(kOrders1, "elsewhere");
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(effects(), ElementsAre("elsewhere"));
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("elsewhere", "a", "behind a"));
}

TEST_F(EngineRetry, NeighboursInFrontOfAFailingMessageCommitWithItsPartitionsPosition) {
  When("c", FailingFirst(1, Retry("down")));
  for (const char* id : {"a", "b", "c", "d"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(PositionOf(kOrders0), 2);
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
}

TEST_F(EngineRetry, AnInvocationThatFailedIsDecidedUponAndNotRepeatedInTheSameBatch) {
  When("b", FailingFirst(1, Retry("down")));
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), ElementsAre("a", "b", "a"));
}

TEST_F(EngineRetry, SeveralFailingMessagesInOneBatchAreEachChargedOnce) {
  std::vector<TopicPartition> partitions;
  for (int p = 0; p < 6; ++p) {
    partitions.push_back({"orders", p});
    const std::string id = "bad" + std::to_string(p);
    When(id, FailingFirst(1, Retry("down")));
    Send({"orders", p}, "good" + std::to_string(p));
    Send({"orders", p}, id);
  }
  StartAndSettle(partitions);
  EXPECT_THAT(effects(), SizeIs(6));
  for (int p = 0; p < 6; ++p) EXPECT_EQ(RecordOf("bad" + std::to_string(p)).attempt, 1) << p;
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), SizeIs(12));
}

TEST_F(EngineRetry, RetryAfterWaitsAsLongAsTheHandlerSays) {
  When("a", FailingFirst(1, RetryAfter(absl::Minutes(10))));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Advance(absl::Minutes(10) - absl::Milliseconds(1));
  Settle();
  EXPECT_THAT(effects(), IsEmpty());
  Advance(absl::Milliseconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineRetry, RetryAfterZeroIsTriedAgainInTheNextBatch) {
  When("a", FailingFirst(2, RetryAfter(absl::ZeroDuration())));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Advance(absl::Nanoseconds(1));
  Settle();
  Advance(absl::Nanoseconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineRetry, AfterTheLastAttemptTheMessageIsDeadLettered) {
  When("a", FailingFirst(9, Retry("ledger says no")));
  Send(kOrders0, "a", "10 EUR");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  for (int i = 0; i < 3; ++i) {
    Advance(absl::Seconds(5));
    Settle();
  }
  EXPECT_THAT(effects(), ElementsAre("b"));
  EXPECT_EQ(stats().retried, 2U);
  EXPECT_EQ(stats().dead_lettered, 1U);
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  const OutgoingMessage letter = publisher_->published()[0];
  EXPECT_EQ(letter.value, "10 EUR");
  EXPECT_EQ(HeaderOf(letter, "once-disposition"), "retries-exhausted");
  EXPECT_EQ(HeaderOf(letter, "once-attempt"), "3");
  EXPECT_EQ(HeaderOf(letter, "once-error-message"), "ledger says no");
  EXPECT_EQ(HeaderOf(letter, "once-error-code"), "UNAVAILABLE");
  EXPECT_EQ(HeaderOf(letter, "once-first-failed-at"), "2023-11-14T22:13:20+00:00");
  EXPECT_EQ(HeaderOf(letter, "once-last-failed-at"), "2023-11-14T22:13:30+00:00");
}

TEST_F(EngineRetry, ACopyOfADeadMessageIsDiscardedWithoutASecondLetter) {
  When("a", [](const Message&, Transaction&) { return Reject("no such account"); });
  Send(kOrders0, "a");
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Send(kOrders0, "a");
  Settle();
  EXPECT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(stats().dead_lettered, 1U);
  EXPECT_EQ(stats().discarded, 2U);
  EXPECT_EQ(PositionOf(kOrders0), 3);
}

TEST_F(EngineRetry, MaxElapsedEndsTheRetriesEarly) {
  options_.retry.max_attempts = 100;
  options_.retry.max_elapsed = absl::Seconds(2);
  When("a", FailingFirst(99, Retry("down")));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Advance(absl::Seconds(1));
  Settle();
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "retries-exhausted");
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-attempt"), "2");
}

TEST_F(EngineRetry, RejectIsDeadLetteredAtOnce) {
  When("a", FailingFirst(9, Reject("no such account")));
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("b"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "rejected");
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-attempt"), "1");
  EXPECT_EQ(RecordOf("a").state, IdState::kDead);
}

TEST_F(EngineRetry, APermanentStatusIsARejection) {
  When("a", FailingFirst(9, absl::NotFoundError("no such account")));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-error-code"), "NOT_FOUND");
}

TEST_F(EngineRetry, SkipSettlesWithoutEffectOnRecord) {
  When("a", FailingFirst(9, Skip("test order")));
  Send(kOrders0, "a");
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("b"));
  EXPECT_THAT(publisher_->published(), IsEmpty());
  EXPECT_EQ(stats().discarded, 2U);
  EXPECT_EQ(RecordOf("a").state, IdState::kDiscarded);
}

TEST_F(EngineRetry, WhereGivingUpMeansToDiscardThereIsNoLetterAndTheNextMessageGoesOn) {
  options_.retry.give_up = GiveUp::kDiscard;
  options_.dead_letters = {};
  When("a", FailingFirst(9, Reject("no such account")));
  When("b", FailingFirst(9, Retry("down")));
  Send(kOrders0, "a");
  Send(kOrders0, "b");
  Send(kOrders0, "c");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  for (int i = 0; i < 3; ++i) {
    Advance(absl::Seconds(5));
    Settle();
  }
  EXPECT_THAT(effects(), ElementsAre("c"));
  EXPECT_THAT(publisher_->published(), IsEmpty());
  EXPECT_EQ(stats().discarded, 3U);
  EXPECT_EQ(stats().dead_lettered, 0U);
  EXPECT_EQ(RecordOf("a").state, IdState::kDiscarded);
  EXPECT_EQ(RecordOf("b").state, IdState::kDiscarded);
  EXPECT_EQ(PositionOf(kOrders0), 4);
}

TEST_F(EngineRetry, UsedUpAttemptsAreDiscardedTooWhereGivingUpMeansThat) {
  When("a", FailingFirst(9, Retry("down")));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  options_.retry.max_attempts = 1;
  options_.retry.give_up = GiveUp::kDiscard;
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), SizeIs(1));
  EXPECT_THAT(publisher_->published(), IsEmpty());
  EXPECT_EQ(RecordOf("a").state, IdState::kDiscarded);
  EXPECT_EQ(PositionOf(kOrders0), 1);
}

TEST_F(EngineRetry, PauseStopsThePartitionAndSettlesNothing) {
  When("b", FailingFirst(9, Pause("ledger is closed")));
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  Send(kOrders1, "elsewhere");
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(effects(), ::testing::UnorderedElementsAre("a", "elsewhere"));
  EXPECT_EQ(PositionOf(kOrders0), 1);
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  const StoppedPartition stopped = consumer_->stopped_partitions()[0];
  EXPECT_EQ(stopped.partition, kOrders0);
  EXPECT_EQ(stopped.position, 1);
  EXPECT_THAT(std::string(stopped.reason.message()), HasSubstr("ledger is closed"));
  EXPECT_EQ(RecordOf("b").state, IdState::kAbsent);
}

TEST_F(EngineRetry, AfterAPauseARestartedConsumerTakesTheMessageAgain) {
  When("a", FailingFirst(1, Pause("ledger is closed")));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineRetry, AttemptsSurviveARestart) {
  When("a", FailingFirst(9, Retry("down")));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  for (int restart = 0; restart < 2; ++restart) {
    ASSERT_TRUE(consumer_->Stop().ok());
    Advance(absl::Seconds(10));
    StartAndSettle({kOrders0});
  }
  EXPECT_THAT(invoked(), SizeIs(3));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-attempt"), "3");
}

TEST_F(EngineRetry, TheWaitSurvivesARestart) {
  When("a", FailingFirst(1, RetryAfter(absl::Hours(1))));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), SizeIs(1));
  Advance(absl::Hours(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineRetry, AMessageWhoseAttemptsAreUsedUpIsDeadLetteredWithoutAnotherInvocation) {
  When("a", FailingFirst(9, Retry("down")));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  options_.retry.max_attempts = 1;
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), SizeIs(1));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "retries-exhausted");
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-attempt"), "1");
}

TEST_F(EngineRetry, ACopyOfAMessageThatDiedOfUsedUpAttemptsGetsNoLetterOfItsOwn) {
  When("a", FailingFirst(9, Retry("down")));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  options_.retry.max_attempts = 1;
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(RecordOf("a").state, IdState::kDead);
  EXPECT_EQ(stats().discarded, 1U);
}

}  // namespace
}  // namespace once
