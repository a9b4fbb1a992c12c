// Where a partition begins, and what happens when the broker no longer has what the position names.
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class EngineRange : public EngineTest {
 protected:
  // Handles and commits a, b, c at offsets 0 to 2, then stops.
  void HandleThreeAndStop() {
    for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
    StartAndSettle({kOrders0});
    ASSERT_TRUE(consumer_->Stop().ok());
  }
  // A position beyond the end is asked for again before it is believed.
  void SettleThroughBackoffs() {
    for (int i = 0; i < 8; ++i) {
      Advance(absl::Seconds(10));
      Settle(4);
    }
  }
};

TEST_F(EngineRange, ANewGroupBeginsAtTheOldestMessage) {
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
}

TEST_F(EngineRange, ANewGroupMayBeginAtTheEnd) {
  options_.start = StartAt::kLatest;
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  Send(kOrders0, "c");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("c"));
  EXPECT_EQ(PositionOf(kOrders0), 3);
}

TEST_F(EngineRange, TheEndIsChosenOnceAndKeptOverARestart) {
  options_.start = StartAt::kLatest;
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("b"));
}

TEST_F(EngineRange, AGroupWithACommittedOffsetAndNoRowBeginsThere) {
  for (const StartAt start : {StartAt::kEarliest, StartAt::kLatest}) {
    options_.start = start;
    store_->RollBackTo(0);
    log_->Recreate(kOrders0);
    for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
    log_->SetCommitted(kOrders0, 1);
    StartAndSettle({kOrders0});
    EXPECT_THAT(effects(), ElementsAre("b", "c"));
    ASSERT_TRUE(consumer_->Stop().ok());
  }
}

TEST_F(EngineRange, MessagesDeletedBeforeTheyWereHandledStopThePartitionWithAFinding) {
  HandleThreeAndStop();
  for (const char* id : {"d", "e", "f"}) Send(kOrders0, id);
  log_->DeleteBelow(kOrders0, 5);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(stats().gaps, 1U);
  EXPECT_EQ(PositionOf(kOrders0), 3);
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  const std::string reason(consumer_->stopped_partitions()[0].reason.message());
  EXPECT_THAT(reason, HasSubstr("offsets 3 to 4"));
  EXPECT_THAT(reason, HasSubstr("OutOfRange::kEarliest"));
}

TEST_F(EngineRange, OnRequestItGoesOnWithTheOldestMessageAndReportsTheGap) {
  options_.out_of_range = OutOfRange::kEarliest;
  HandleThreeAndStop();
  for (const char* id : {"d", "e", "f"}) Send(kOrders0, id);
  log_->DeleteBelow(kOrders0, 5);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "f"));
  EXPECT_EQ(stats().gaps, 1U);
  EXPECT_EQ(PositionOf(kOrders0), 6);
  EXPECT_THAT(consumer_->stopped_partitions(), IsEmpty());
}

TEST_F(EngineRange, APositionBeyondTheEndStopsThePartition) {
  HandleThreeAndStop();
  log_->Recreate(kOrders0);
  Send(kOrders0, "new");
  StartAndSettle({kOrders0});
  SettleThroughBackoffs();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_THAT(std::string(consumer_->stopped_partitions()[0].reason.message()),
              HasSubstr("beyond the log's end 1"));
}

TEST_F(EngineRange, OnRequestARecreatedTopicIsReadFromItsBeginning) {
  options_.out_of_range = OutOfRange::kEarliest;
  HandleThreeAndStop();
  log_->Recreate(kOrders0);
  Send(kOrders0, "new");
  StartAndSettle({kOrders0});
  SettleThroughBackoffs();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "new"));
  EXPECT_EQ(PositionOf(kOrders0), 1);
}

TEST_F(EngineRange, AnEndThatIsOnlyLateInBeingKnownStopsNothing) {
  HandleThreeAndStop();
  log_->Recreate(kOrders0);
  log_->Assign({kOrders0});
  StartConsumer();
  Settle(3);
  for (const char* id : {"a", "b", "c", "d"}) Send(kOrders0, id);
  SettleThroughBackoffs();
  EXPECT_THAT(consumer_->stopped_partitions(), IsEmpty());
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(stats().gaps, 0U);
}

TEST_F(EngineRange, AFetchThatFallsOutOfTheLogIsDecidedLikeAnAssignment) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Send(kOrders0, "b");
  Send(kOrders0, "c");
  log_->DeleteBelow(kOrders0, 2);
  log_->FailPartition(kOrders0, absl::OutOfRangeError("offset 1"));
  Settle();
  EXPECT_EQ(stats().gaps, 1U);
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineRange, AFalseAlarmAboutTheRangeLosesNothingThatWasBuffered) {
  When("a", [calls = 0](const Message& message, Transaction& transaction) mutable -> Outcome {
    if (++calls == 1) return Retry("down");
    AppendEffect(transaction, message.id());
    return Done();
  });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  log_->FailPartition(kOrders0, absl::OutOfRangeError("offset 3"));
  Settle();
  Advance(absl::Seconds(5));
  Settle();
  Send(kOrders0, "d");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(PositionOf(kOrders0), 4);
}

TEST_F(EngineRange, APartitionThatCannotBeReadStopsAloneWithTheSourcesError) {
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartAndSettle({kOrders0, kOrders1});
  log_->FailPartition(kOrders0, absl::PermissionDeniedError("topic authorization failed"));
  Send(kOrders0, "c");
  Send(kOrders1, "d");
  Settle();
  EXPECT_THAT(effects(), ::testing::UnorderedElementsAre("a", "b", "d"));
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_THAT(
      std::string(consumer_->stopped_partitions()[0].reason.message()),
      AllOf(HasSubstr("authorization"), HasSubstr("`once position set --store STORE orders 0 1")));
}

TEST_F(EngineRange, ABrokerThatCannotDescribeIsAskedAgain) {
  log_->AnswerNextDescribeWith(absl::UnavailableError("no leader"));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), IsEmpty());
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineRange, APartitionWithoutALeaderDoesNotHoldTheOthers) {
  log_->AnswerDescriptionsOf(kOrders0, absl::UnavailableError("no leader"));
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(effects(), ElementsAre("b"));
  log_->AnswerDescriptionsOf(kOrders0, absl::OkStatus());
  SettleThroughBackoffs();
  EXPECT_THAT(effects(), ElementsAre("b", "a"));
}

TEST_F(EngineRange, AStartThatFailsIsTriedAgain) {
  log_->AnswerNextStartWith(absl::UnavailableError("seek timed out"));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), IsEmpty());
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_THAT(log_->calls(), Contains("start orders[0]@0"));
}

}  // namespace
}  // namespace once
