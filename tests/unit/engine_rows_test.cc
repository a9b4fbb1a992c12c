// Position rows: taken at assignment, guarded against other writers, and noticed when the store has
// lost its tail or the row itself.
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class EngineRows : public EngineTest {
 protected:
  void SettleLater() {
    Advance(absl::Seconds(10));
    Settle();
  }
};

TEST_F(EngineRows, TheStoresPositionBeatsTheBrokersCommittedOffset) {
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  Send(kOrders0, "d");
  log_->SetCommitted(kOrders0, 1);
  log_->ForgetCalls();
  StartAndSettle({kOrders0});
  EXPECT_THAT(log_->calls(), Contains("start orders[0]@2")) << "the last applied one, to compare";
  EXPECT_EQ(stats().duplicates, 0U);
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
}

TEST_F(EngineRows, AnotherWriterIsBelievedOnlyAfterAVerifiedCommit) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  store_->LetAnotherTake(KeyOf(kOrders0));
  log_->ForgetCalls();
  Send(kOrders0, "b");
  Settle();
  EXPECT_THAT(log_->calls(), Contains("verify orders[0]@1"));
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_THAT(invoked(), ElementsAre("a", "b"));
  EXPECT_EQ(stats().fenced, 1U);
  EXPECT_NE(store_->Row(KeyOf(kOrders0))->writer, 999U);
}

TEST_F(EngineRows, WithoutTheBrokersConfirmationTheRowIsNotTakenBack) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  store_->LetAnotherTake(KeyOf(kOrders0));
  log_->AnswerVerifiedCommitsWith(absl::FailedPreconditionError("unknown member"));
  Send(kOrders0, "b");
  for (int i = 0; i < 5; ++i) SettleLater();
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_EQ(store_->Row(KeyOf(kOrders0))->writer, 999U);
  EXPECT_THAT(events_->actions(), Contains("not_verified"));

  log_->AnswerVerifiedCommitsWith(absl::OkStatus());
  SettleLater();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
}

TEST_F(EngineRows, AZombieStopsWithoutAnEffectWhenItLearnsOfItsRevocation) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  store_->LetAnotherTake(KeyOf(kOrders0));
  log_->AnswerVerifiedCommitsWith(absl::FailedPreconditionError("unknown member"));
  Send(kOrders0, "b");
  log_->Revoke({kOrders0}, Revocation::kLost);
  for (int i = 0; i < 3; ++i) SettleLater();
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_EQ(store_->Row(KeyOf(kOrders0))->writer, 999U);
}

TEST_F(EngineRows, WhileVerificationIsRefusedTheBufferStaysBounded) {
  options_.limits = {.batch_messages_max = 5, .inflight_messages_max = 10};
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  store_->LetAnotherTake(KeyOf(kOrders0));
  log_->AnswerVerifiedCommitsWith(absl::FailedPreconditionError("unknown member"));
  for (int i = 0; i < 200; ++i) Send(kOrders0, std::to_string(i));
  Settle(100);
  EXPECT_THAT(log_->calls(), Contains("pause orders[0]"));
  EXPECT_LE(log_->pinned_batches(), 10U);
}

TEST_F(EngineRows, TheOtherPartitionsOfAFencedBatchGoOn) {
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartAndSettle({kOrders0, kOrders1});
  store_->LetAnotherTake(KeyOf(kOrders0));
  log_->AnswerVerifiedCommitsWith(absl::FailedPreconditionError("unknown member"));
  Send(kOrders0, "c");
  Send(kOrders1, "d");
  Settle();
  EXPECT_THAT(effects(), UnorderedElementsAre("a", "b", "d"));
}

TEST_F(EngineRows, AStoreThatLostItsTailIsReplayedFromItsOwnPosition) {
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  const std::size_t before = store_->recorded_calls();
  for (const char* id : {"c", "d"}) Send(kOrders0, id);
  Settle();
  ASSERT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  store_->RollBackTo(before);
  ASSERT_THAT(effects(), ElementsAre("a", "b"));
  log_->ForgetCalls();
  Send(kOrders0, "e");
  Settle();
  EXPECT_THAT(log_->calls(), Contains("start orders[0]@2"));
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_THAT(events_->actions(), Contains("store_rolled_back"));
  EXPECT_EQ(stats().fenced, 0U);
}

TEST_F(EngineRows, AStoreRolledBackToBeforeThisOwnerIsVerifiedAndReplayed) {
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  const std::size_t before = store_->recorded_calls();
  Send(kOrders0, "c");
  StartAndSettle({kOrders0});
  ASSERT_THAT(effects(), ElementsAre("a", "b", "c"));
  store_->RollBackTo(before);
  Send(kOrders0, "d");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
}

TEST_F(EngineRows, TheIdleAuditNoticesARollbackWithoutTraffic) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  const std::size_t before = store_->recorded_calls();
  Send(kOrders0, "b");
  Settle();
  store_->RollBackTo(before);
  Advance(options_.times.idle_audit - absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
}

TEST_F(EngineRows, TheIdleAuditIsNotStarvedByTrafficOnAnotherPartition) {
  Send(kOrders0, "a");
  Send(kOrders1, "x");
  StartAndSettle({kOrders0, kOrders1});
  const std::size_t before = store_->recorded_calls();
  Send(kOrders0, "b");
  Settle();
  store_->RollBackTo(before);
  for (int i = 0; i < 100; ++i) {
    Advance(absl::Seconds(1));
    Send(kOrders1, std::to_string(i));  // never a step without a batch
    Settle(1);
  }
  EXPECT_THAT(effects(), Contains("b"));
  EXPECT_EQ(PositionOf(kOrders0), 2);
}

TEST_F(EngineRows, WithoutAnAuditARollbackIsNoticedWithTheNextMessage) {
  options_.times.idle_audit = absl::ZeroDuration();
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  const std::size_t before = store_->recorded_calls();
  Send(kOrders0, "b");
  Settle();
  store_->RollBackTo(before);
  Advance(absl::Hours(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
  Send(kOrders0, "c");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineRows, AnAuditThatCannotReadIsTriedAgain) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  const std::size_t before = store_->recorded_calls();
  Send(kOrders0, "b");
  Settle();
  store_->RollBackTo(before);
  store_->OnRead([reads = 0]() mutable {
    return ++reads == 1 ? absl::UnavailableError("down") : absl::OkStatus();
  });
  for (int i = 0; i < 3; ++i) {
    Advance(options_.times.idle_audit);
    Settle();
  }
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
}

TEST_F(EngineRows, TheAuditOfAnUntouchedRowChangesNothing) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  const std::size_t before = store_->recorded_calls();
  log_->ForgetCalls();
  Advance(absl::Minutes(10));
  Settle();
  EXPECT_EQ(store_->recorded_calls(), before);
  EXPECT_THAT(log_->calls(), Not(Contains(::testing::HasSubstr("start"))));
}

TEST_F(EngineRows, ALostRowIsReplayedFromWhereThisConsumerMadeIt) {
  for (const char* id : {"skipped", "a", "b"}) Send(kOrders0, id);
  log_->SetCommitted(kOrders0, 1);
  StartAndSettle({kOrders0});
  ASSERT_THAT(effects(), ElementsAre("a", "b"));
  store_->RollBackTo(0);
  ASSERT_THAT(effects(), IsEmpty());
  Advance(options_.times.idle_audit);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_THAT(events_->actions(), Contains("row_lost"));
  // Whoever comes next without a row must begin there too.
  EXPECT_THAT(log_->calls(), Contains("verify orders[0]@1"));
}

TEST_F(EngineRows, ALostRowThatSomebodyElseMadeIsReplayedFromTheOldestMessage) {
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  StartAndSettle({kOrders0});
  store_->RollBackTo(0);
  Send(kOrders0, "c");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineRows, ALostRowIsReplayedFromItsBeginningAlsoAfterTheFetchBroke) {
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  SettleLater();  // commits the hint 2
  log_->FailPartition(kOrders0, absl::OutOfRangeError("offset 2"));
  SettleLater();
  store_->RollBackTo(0);
  Send(kOrders0, "c");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineRows, RollbacksAtEveryMomentLoseNothingAndRepeatNothing) {
  options_.limits.batch_messages_max = 2;
  std::vector<std::string> expected;
  for (int i = 0; i < 24; ++i) {
    Send({"orders", i % 3}, std::to_string(i));
    expected.push_back(std::to_string(i));
  }
  StartAndSettle({kOrders0, kOrders1, {"orders", 2}});
  for (std::size_t lost = 0; lost < 12; ++lost) {
    store_->RollBackTo(store_->recorded_calls() - std::min(lost, store_->recorded_calls()));
    Advance(options_.times.idle_audit);
    Settle(40);
    SettleLater();
    EXPECT_THAT(effects(), ::testing::UnorderedElementsAreArray(expected)) << lost;
  }
}

}  // namespace
}  // namespace once
