// Which topic and which store this is: a recreated topic is not read on in silence, a store that is
// not the one the group's offsets belong to is not trusted with them, and whoever stops a partition
// over it names a way on that works.
#include "src/store_mark.h"
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class EngineIdentity : public EngineTest {
 protected:
  EngineIdentity() { store_->SetIdentity("mine"); }

  // Handles and commits a, b, c at offsets 0 to 2, tells the broker, then stops.
  void HandleThreeAndStop() {
    for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
    StartAndSettle({kOrders0});
    ASSERT_TRUE(consumer_->Stop().ok());
    ASSERT_EQ(log_->committed(kOrders0), 3);
  }
  // Another store, empty, in the place of the one that worked the partition so far.
  void ReplaceStore(std::string id) {
    consumer_.reset();
    store_ = std::make_shared<FaultyStore>();
    store_->SetIdentity(std::move(id));
  }
  void Order(PositionDirective directive, std::int64_t position = 0) {
    ASSERT_TRUE(store_->operations()
                    ->OrderPosition({.key = KeyOf(kOrders0),
                                     .directive = directive,
                                     .position = position,
                                     .writer = 4711})
                    .ok());
  }
  // What an operator's order needs to be noticed.
  void SettleAudit() {
    Advance(options_.times.idle_audit);
    Settle();
  }
  // A position beyond the end is asked for again before it is believed.
  void SettleThroughBackoffs() {
    for (int i = 0; i < 8; ++i) {
      Advance(absl::Seconds(10));
      Settle(4);
    }
  }
  std::string MarkAtBroker() const { return log_->committed_metadata(kOrders0); }
};

TEST_F(EngineIdentity, TheLastAppliedRecordIsReadOnceMoreAndNotHandledAgain) {
  HandleThreeAndStop();
  log_->ForgetCalls();
  Send(kOrders0, "d");
  StartAndSettle({kOrders0});
  EXPECT_THAT(log_->calls(), Contains("start orders[0]@2"));
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(stats().duplicates, 0U);
  EXPECT_EQ(stats().processed, 1U);
}

TEST_F(EngineIdentity, ARecreatedTopicWithAsManyMessagesStopsThePartition) {
  HandleThreeAndStop();
  log_->Recreate(kOrders0);
  for (const char* id : {"x", "y", "z", "u"}) Send(kOrders0, id, "other");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  EXPECT_THAT(StopReason(), HasSubstr("offset 2 is not the one that was handled there"));
  EXPECT_THAT(StopReason(), HasSubstr("`once position set --store STORE orders 0 earliest"));
  EXPECT_EQ(metrics_->counter("once_start_findings_total other_topic"), 1);
  EXPECT_EQ(PositionOf(kOrders0), 3);
}

TEST_F(EngineIdentity, TheSameValueAtAnotherTimeIsAnotherTopicToo) {
  HandleThreeAndStop();
  log_->Recreate(kOrders0);
  for (const char* id : {"x", "y", "z"}) {
    log_->Append(kOrders0, {.value = "v", .headers = {{"id", id}}, .timestamp_ms = 1});
  }
  StartAndSettle({kOrders0});
  EXPECT_THAT(StopReason(), HasSubstr("at another time"));
}

TEST_F(EngineIdentity, ARecreatedTopicIsReadFromItsBeginningOnOrder) {
  HandleThreeAndStop();
  log_->Recreate(kOrders0);
  for (const char* id : {"x", "y", "z", "u"}) Send(kOrders0, id, "other");
  StartAndSettle({kOrders0});
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  Order(PositionDirective::kEarliest);
  SettleAudit();
  EXPECT_THAT(consumer_->stopped_partitions(), IsEmpty());
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "x", "y", "z", "u"));
  EXPECT_EQ(store_->FindRow(KeyOf(kOrders0)).directive, PositionDirective::kNone);
}

TEST_F(EngineIdentity, ARecreatedTopicIsReadOnWhereTheRowSaysOnOrder) {
  HandleThreeAndStop();
  log_->Recreate(kOrders0);
  for (const char* id : {"x", "y", "z", "u"}) Send(kOrders0, id, "other");
  StartAndSettle({kOrders0});
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  Order(PositionDirective::kSet, 3);
  SettleAudit();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "u"));
  ASSERT_TRUE(consumer_->Stop().ok());
  StartAndSettle({kOrders0});
  EXPECT_THAT(consumer_->stopped_partitions(), IsEmpty()) << "settled for good";
}

TEST_F(EngineIdentity, AGreaterOffsetInItsPlaceProvesNothing) {
  HandleThreeAndStop();
  Send(kOrders0, "d");
  log_->Assign({kOrders0});
  StartConsumer();
  // Described while offset 2 is still there, fetched after it is gone.
  log_->OnNextStart([this] { log_->DeleteBelow(kOrders0, 3); });
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(consumer_->stopped_partitions(), IsEmpty());
}

TEST_F(EngineIdentity, TheComparisonSurvivesAPause) {
  HandleThreeAndStop();
  log_->Recreate(kOrders0);
  for (const char* id : {"x", "y", "z", "u"}) Send(kOrders0, id, "other");
  Send(kOrders1, "slow");
  When("slow", [](const Message&, Transaction&) -> Outcome { return Retry("later"); });
  options_.limits = {.batch_messages_max = 1, .inflight_messages_max = 1};
  StartAndSettle({kOrders1, kOrders0});
  for (int i = 0; i < 10; ++i) {
    Advance(absl::Seconds(10));
    Settle();
  }
  EXPECT_THAT(StopReason(), HasSubstr("not the one that was handled there"));
  EXPECT_THAT(effects(), Not(Contains("u")));
}

TEST_F(EngineIdentity, CommitsNameTheStoreAndWhereItBegan) {
  store_->SetIdentity("mine", 7);
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  log_->SetCommitted(kOrders0, 1);
  StartAndSettle({kOrders0});
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_EQ(MarkAtBroker(), "once/1 open=7 began=1 store=mine") << "a hint";
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(MarkAtBroker(), "once/1 open=7 began=1 store=mine") << "the last word";
  store_->SetIdentity("mine", 8);
  Send(kOrders0, "c");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(MarkAtBroker(), "once/1 open=8 began=1 store=mine") << "the next process";
}

TEST_F(EngineIdentity, AHintIsTheRowsPositionAndNoHoleBehindIt) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  log_->DeliverStray(kOrders0, 7, 1, {.value = "v", .headers = {{"id", "b"}}});
  store_->OnBegin([] { return absl::UnavailableError("down"); });
  Advance(absl::Seconds(5));
  Settle();
  EXPECT_EQ(log_->committed(kOrders0), 1) << "the watermark is at 7";
}

TEST_F(EngineIdentity, AStoreThatIsMissingItsTailAtTheStartSaysSoAndReplays) {
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  const std::size_t before = store_->recorded_calls();
  for (const char* id : {"c", "d"}) Send(kOrders0, id);
  Settle();
  ASSERT_TRUE(consumer_->Stop().ok());
  store_->RollBackTo(before);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(events_->messages(), Contains(HasSubstr("store_rolled_back: the group's offset is 4, "
                                                      "and this store has handled the messages "
                                                      "below 2 only")));
  EXPECT_EQ(metrics_->counter("once_start_findings_total store_rolled_back"), 1);
}

TEST_F(EngineIdentity, AStoreRestoredToBeforeItsFirstCommitReplaysFromWhereItBegan) {
  for (const char* id : {"of another system", "a", "b"}) Send(kOrders0, id);
  log_->SetCommitted(kOrders0, 1);
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  store_->RollBackTo(0);
  ASSERT_THAT(effects(), IsEmpty());
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(metrics_->counter("once_start_findings_total row_lost"), 1);
}

TEST_F(EngineIdentity, AnotherStoreIsRefusedAndChangesNothing) {
  HandleThreeAndStop();
  const std::string mark = MarkAtBroker();
  ReplaceStore("other");
  Send(kOrders0, "d");
  StartAndSettle({kOrders0});
  Advance(absl::Seconds(5));
  Settle();
  EXPECT_THAT(invoked(), ElementsAre("a", "b", "c"));
  EXPECT_THAT(StopReason(),
              HasSubstr("handled with another store, mine, not with this one, other"));
  EXPECT_THAT(StopReason(), HasSubstr("`once position adopt --store STORE orders 0"));
  EXPECT_THAT(StopReason(), HasSubstr("ForeignStore::kReplay"));
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(log_->committed(kOrders0), 3);
  EXPECT_EQ(MarkAtBroker(), mark) << "the stores's word is still there to be read";
  EXPECT_EQ(PositionOf(kOrders0), -1);
}

TEST_F(EngineIdentity, AnotherStoreMayAdopt) {
  HandleThreeAndStop();
  ReplaceStore("other");
  options_.foreign_store = ForeignStore::kAdopt;
  Send(kOrders0, "d");
  log_->ForgetCalls();
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("d"));
  EXPECT_EQ(log_->calls().front(), "verify orders[0]@3") << "before anything else";
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(MarkAtBroker(), "once/1 open=1 began=3 store=other");
}

TEST_F(EngineIdentity, AnAdoptionThatTheBrokerDoesNotConfirmIsNotCarriedOut) {
  HandleThreeAndStop();
  ReplaceStore("other");
  options_.foreign_store = ForeignStore::kAdopt;
  log_->AnswerVerifiedCommitsWith(absl::FailedPreconditionError("unknown member"));
  Send(kOrders0, "d");
  StartAndSettle({kOrders0});
  SettleThroughBackoffs();
  EXPECT_THAT(effects(), IsEmpty());
  EXPECT_EQ(PositionOf(kOrders0), -1);
  log_->AnswerVerifiedCommitsWith(absl::OkStatus());
  SettleThroughBackoffs();
  EXPECT_THAT(effects(), ElementsAre("d"));
}

TEST_F(EngineIdentity, AnAdoptionIsFinishedByTheNextProcess) {
  HandleThreeAndStop();
  // A row of its own at 1, from an earlier time; the process dies before the row is moved to 3.
  ReplaceStore("other");
  Order(PositionDirective::kSet, 1);
  store_->LetAnotherTake(KeyOf(kOrders0));
  store_->LetAnotherWrite({.key = KeyOf(kOrders0), .position = 1, .reach = 1});
  options_.foreign_store = ForeignStore::kAdopt;
  log_->OnNextVerifiedCommit([this] { store_->Die(); });
  log_->Assign({kOrders0});
  StartConsumer();
  ASSERT_TRUE(StepUntilDeath());
  ASSERT_EQ(PositionOf(kOrders0), 1);
  options_.foreign_store = ForeignStore::kRefuse;
  Send(kOrders0, "d");
  Restart({kOrders0});
  Settle();
  EXPECT_THAT(effects(), ElementsAre("d"));
  EXPECT_EQ(PositionOf(kOrders0), 4);
}

TEST_F(EngineIdentity, AnotherStoreMayReplay) {
  HandleThreeAndStop();
  ReplaceStore("other");
  options_.foreign_store = ForeignStore::kReplay;
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(MarkAtBroker(), "once/1 open=1 began=0 store=other");
}

TEST_F(EngineIdentity, ARefusedStoreAdoptsOnOrder) {
  HandleThreeAndStop();
  ReplaceStore("other");
  Send(kOrders0, "d");
  StartAndSettle({kOrders0});
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  Order(PositionDirective::kAdopt);
  SettleAudit();
  EXPECT_THAT(consumer_->stopped_partitions(), IsEmpty());
  EXPECT_THAT(effects(), ElementsAre("d"));
}

TEST_F(EngineIdentity, ARefusedStoreWithARowOfItsOwnAdoptsOnOrder) {
  HandleThreeAndStop();
  ReplaceStore("other");
  Order(PositionDirective::kSet, 0);
  store_->LetAnotherTake(KeyOf(kOrders0));
  store_->LetAnotherWrite({.key = KeyOf(kOrders0), .position = 0, .reach = 0});
  Send(kOrders0, "d");
  StartAndSettle({kOrders0});
  ASSERT_THAT(StopReason(), HasSubstr("another store"));
  Order(PositionDirective::kAdopt);
  SettleAudit();
  EXPECT_THAT(effects(), ElementsAre("d")) << "the broker's offset, not the row's";
}

TEST_F(EngineIdentity, AnOperatorsResetOfTheGroupsOffsetsIsReportedWithTheCommandThatMovesTheRow) {
  HandleThreeAndStop();
  log_->SetCommitted(kOrders0, 1);
  Send(kOrders0, "d");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(stats().duplicates, 0U);
  EXPECT_THAT(events_->messages(),
              Contains(HasSubstr("offsets_reset: somebody set the group's offset to 1")));
  EXPECT_THAT(events_->messages(),
              Contains(HasSubstr("`once position set --store STORE orders 0 1")));
  EXPECT_EQ(metrics_->counter("once_start_findings_total offsets_reset"), 1);
}

TEST_F(EngineIdentity, AGroupOfAnotherSystemIsTakenOverWhereItStands) {
  for (const char* id : {"old", "a"}) Send(kOrders0, id);
  log_->SetCommitted(kOrders0, 1, "consumer of another library");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_EQ(metrics_->counter("once_start_findings_total offsets_adopted"), 1);
}

TEST_F(EngineIdentity, AfterAFailoverToAnotherClusterPositionsStartAnewAndIdsProtect) {
  store_->LetAnotherTake({.cluster = "cluster-0", .group = "billing", .partition = kOrders0});
  HandleThreeAndStop();
  EXPECT_THAT(events_->messages(), Contains(HasSubstr("failover: this store knows the partition "
                                                      "from another cluster, cluster-0")));
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineIdentity, AnOrderMovesARunningPartition) {
  HandleThreeAndStop();
  StartAndSettle({kOrders0});
  for (const char* id : {"d", "e", "f"}) Send(kOrders0, id);
  Order(PositionDirective::kSet, 5);
  SettleAudit();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "f"));
  EXPECT_EQ(metrics_->counter("once_start_findings_total order_obeyed"), 1);
}

TEST_F(EngineIdentity, AnOrderForTheNextMessageToComeIsObeyedAtOneMoment) {
  HandleThreeAndStop();
  Order(PositionDirective::kLatest);
  Send(kOrders0, "skipped");
  StartAndSettle({kOrders0});
  EXPECT_EQ(PositionOf(kOrders0), 4) << "without a message";
  ASSERT_TRUE(consumer_->Stop().ok());
  Send(kOrders0, "e");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "e"));
}

TEST_F(EngineIdentity, AnOrderWhoseMoveFailsIsObeyedLater) {
  HandleThreeAndStop();
  for (const CommitFate fate :
       {CommitFate::kTrouble, CommitFate::kUnknownUndone, CommitFate::kUnknownDone}) {
    Order(PositionDirective::kEarliest);
    store_->OnCommit([fate, commits = 0](const auto&) mutable {
      return ++commits == 1 ? fate : CommitFate::kHappens;
    });
    StartAndSettle({kOrders0});
    SettleThroughBackoffs();
    EXPECT_EQ(PositionOf(kOrders0), 3);
    EXPECT_EQ(stats().duplicates, 3U) << "read again from the beginning";
    EXPECT_EQ(store_->FindRow(KeyOf(kOrders0)).directive, PositionDirective::kNone);
    ASSERT_TRUE(consumer_->Stop().ok());
  }
}

TEST_F(EngineIdentity, AnOrderOutsideOfTheLogStopsWithAFinding) {
  HandleThreeAndStop();
  Order(PositionDirective::kSet, 50);
  log_->Assign({kOrders0});
  StartConsumer();
  Settle();
  log_->FailPartition(kOrders0, absl::OutOfRangeError("offset 50"));
  Settle();
  SettleThroughBackoffs();
  EXPECT_THAT(StopReason(), HasSubstr("position 50 lies beyond the log's end 3"));
}

TEST_F(EngineIdentity, AStoppedPartitionIsWokenByAnOrderAndByNothingElse) {
  options_.dead_letters = {};
  When("b", [](const Message&, Transaction&) -> Outcome { return Reject("never"); });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(StopReason(), HasSubstr("offset 1 must be dead-lettered"));
  EXPECT_THAT(StopReason(), HasSubstr("`once position set --store STORE orders 0 2"));
  for (int i = 0; i < 3; ++i) SettleAudit();
  EXPECT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_THAT(effects(), ElementsAre("a"));
  Order(PositionDirective::kSet, 2);
  SettleAudit();
  EXPECT_THAT(consumer_->stopped_partitions(), IsEmpty());
  EXPECT_THAT(effects(), ElementsAre("a", "c"));
  EXPECT_THAT(events_->actions(), Contains("woken"));
}

TEST_F(EngineIdentity, APausedPartitionGoesOnWithTheSameMessageOnOrder) {
  bool is_out = true;
  When("b", [&is_out](const Message& message, Transaction& transaction) -> Outcome {
    return is_out ? Pause("the downstream is out") : Book(message, transaction);
  });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(StopReason(), HasSubstr("the downstream is out"));
  EXPECT_THAT(StopReason(), HasSubstr("`once position set --store STORE orders 0 1"));
  is_out = false;
  Order(PositionDirective::kSet, 1);
  SettleAudit();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineIdentity, AWokenPartitionIsTakenOnlyWithTheBrokersConfirmation) {
  options_.dead_letters = {};
  When("b", [](const Message&, Transaction&) -> Outcome { return Reject("never"); });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  store_->LetAnotherTake(KeyOf(kOrders0));
  log_->AnswerVerifiedCommitsWith(absl::FailedPreconditionError("unknown member"));
  SettleAudit();
  SettleThroughBackoffs();
  EXPECT_EQ(store_->Row(KeyOf(kOrders0))->writer, 999U);
}

}  // namespace
}  // namespace once
