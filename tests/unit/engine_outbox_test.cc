// Dead letters on their way out: consumers without a sink, an outbox that is full, a broker that
// does not acknowledge, and rows that a restart finds.
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class EngineOutbox : public EngineTest {
 protected:
  void RejectAll(const std::vector<std::string>& ids) {
    for (const std::string& id : ids) {
      When(id, [](const Message&, Transaction&) { return Reject("no"); });
    }
  }
};

TEST_F(EngineOutbox, WithoutASinkThePartitionStopsInFrontOfTheLetterAndOthersGoOn) {
  options_.dead_letters = {};
  RejectAll({"bad"});
  for (const char* id : {"a", "bad", "c"}) Send(kOrders0, id);
  Send(kOrders1, "elsewhere");
  StartAndSettle({kOrders0, kOrders1});
  Send(kOrders0, "d");
  Send(kOrders1, "elsewhere too");
  Settle();
  EXPECT_THAT(effects(), UnorderedElementsAre("a", "elsewhere", "elsewhere too"));
  EXPECT_EQ(PositionOf(kOrders0), 1);
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  const StoppedPartition stopped = consumer_->stopped_partitions()[0];
  EXPECT_EQ(stopped.partition, kOrders0);
  EXPECT_EQ(stopped.position, 1);
  const std::string reason(stopped.reason.message());
  EXPECT_THAT(reason, HasSubstr("orders[0] offset 1"));
  EXPECT_THAT(reason, HasSubstr("rejected"));
  EXPECT_THAT(reason, HasSubstr("ConsumerOptions::dead_letters"));
}

TEST_F(EngineOutbox, WithoutASinkNothingBeyondTheLetterIsCommittedAtTheBroker) {
  options_.dead_letters = {};
  RejectAll({"bad"});
  for (const char* id : {"a", "bad", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  Advance(absl::Seconds(5));
  Settle();
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_LE(log_->committed(kOrders0).value_or(0), 1);
}

TEST_F(EngineOutbox, WithoutASinkAMessageWithoutAnIdStopsThePartitionToo) {
  options_.dead_letters = {};
  log_->Append(kOrders0, {.value = "no id"});
  StartAndSettle({kOrders0});
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_THAT(std::string(consumer_->stopped_partitions()[0].reason.message()), HasSubstr("no-id"));
}

TEST_F(EngineOutbox, ARestartWithASinkGoesOnWhereThePartitionStopped) {
  options_.dead_letters = {};
  RejectAll({"bad"});
  for (const char* id : {"a", "bad", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  options_.dead_letters = {.publisher = publisher_};
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "c"));
  EXPECT_THAT(publisher_->published(), SizeIs(1));
}

TEST_F(EngineOutbox, TheLastFailureCountsAlsoWhereItsLetterHadNowhereToGo) {
  options_.dead_letters = {};
  options_.retry.max_attempts = 1;
  When("a", [](const Message&, Transaction&) { return Retry("down"); });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  ASSERT_TRUE(consumer_->Stop().ok());
  options_.dead_letters = {.publisher = publisher_};
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), SizeIs(1));
  EXPECT_THAT(publisher_->published(), SizeIs(1));
}

TEST_F(EngineOutbox, AnUnacknowledgedLetterStaysPendingAndItsMessageSettled) {
  publisher_->AnswerWith(absl::UnavailableError("no leader"));
  RejectAll({"bad"});
  Send(kOrders0, "bad");
  StartAndSettle({kOrders0});
  EXPECT_EQ(PositionOf(kOrders0), 1);
  EXPECT_EQ(stats().dead_lettered, 1U);
  EXPECT_EQ(stats().published, 0U);
  EXPECT_THAT(store_->PendingLetters(), SizeIs(1));

  publisher_->AnswerWith(absl::OkStatus());
  Settle();
  EXPECT_THAT(store_->PendingLetters(), IsEmpty());
  EXPECT_EQ(stats().published, 1U);
}

TEST_F(EngineOutbox, ALetterIsPublishedOnlyAfterItsCommit) {
  store_->OnCommit([](const auto&) { return CommitFate::kTrouble; });
  RejectAll({"bad"});
  Send(kOrders0, "bad");
  StartAndSettle({kOrders0});
  EXPECT_THAT(publisher_->published(), IsEmpty());
}

TEST_F(EngineOutbox, ARestartPublishesWhatTheFormerConsumerCommitted) {
  publisher_->AnswerWith(absl::UnavailableError("no leader"));
  RejectAll({"bad"});
  Send(kOrders0, "bad");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  publisher_->AnswerWith(absl::OkStatus());
  StartConsumer();
  Settle(1);
  EXPECT_THAT(publisher_->published(), SizeIs(1));
}

TEST_F(EngineOutbox, AFullOutboxPausesUntilTheBrokerAcknowledges) {
  options_.limits.outbox_rows_max = 2;
  publisher_->AnswerWith(absl::UnavailableError("no leader"));
  RejectAll({"x", "y", "z"});
  for (const char* id : {"x", "y", "z", "d"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(store_->PendingLetters(), SizeIs(2));
  EXPECT_EQ(PositionOf(kOrders0), 2);

  publisher_->AnswerWith(absl::OkStatus());
  Settle();
  EXPECT_EQ(PositionOf(kOrders0), 4);
  EXPECT_THAT(publisher_->published(), SizeIs(3));
  EXPECT_THAT(effects(), ElementsAre("d"));
}

TEST_F(EngineOutbox, WhileTheOutboxIsFullThePollingThreadSleepsInsteadOfSpinning) {
  options_.limits.outbox_rows_max = 1;
  publisher_->AnswerWith(absl::UnavailableError("no leader"));
  RejectAll({"x"});
  for (const char* id : {"x", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_GT(log_->polls().back().deadline, clock_->Now());
}

TEST_F(EngineOutbox, LettersOfOthersDoNotStallAConsumerThatCannotPublishThem) {
  options_.limits.outbox_rows_max = 1;
  publisher_->AnswerWith(absl::UnavailableError("no leader"));
  RejectAll({"x"});
  Send(kOrders0, "x");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  options_.dead_letters = {};
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("b"));
  EXPECT_THAT(events_->actions(), ::testing::Contains("outbox_waiting"));
}

TEST_F(EngineOutbox, TheSinkChoosesTheTopic) {
  options_.dead_letters.topic = [](std::string_view topic, std::string_view group) {
    return std::string(group) + "/" + std::string(topic);
  };
  RejectAll({"bad"});
  Send(kOrders0, "bad");
  StartAndSettle({kOrders0});
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(publisher_->published()[0].topic, "billing/orders");
}

TEST_F(EngineOutbox, ALetterKeepsKeyValueAndForeignHeadersAndForgedOnesAreReplaced) {
  RejectAll({"bad"});
  log_->Append(
      kOrders0,
      {.key = "account-1",
       .value = std::nullopt,
       .headers = {{"id", "bad"}, {"trace", "1"}, {"once-attempt", "-99"}, {"trace", "2"}}});
  StartAndSettle({kOrders0});
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  const OutgoingMessage letter = publisher_->published()[0];
  EXPECT_EQ(letter.key, "account-1");
  EXPECT_EQ(letter.value, std::nullopt);
  EXPECT_EQ(HeaderOf(letter, "once-attempt"), "1");
  EXPECT_EQ(letter.headers[1], (OwnedHeader{"trace", "1"}));
  EXPECT_EQ(letter.headers[2], (OwnedHeader{"trace", "2"}));
}

TEST_F(EngineOutbox, AnOperatorFindsALetterByItsId) {
  When("bad", [](const Message&, Transaction&) -> Outcome { return Reject("never"); });
  Send(kOrders0, "bad");
  log_->Append(kOrders0, {.value = "no id"});
  StartAndSettle({kOrders0});
  const auto failures = store_->operations()->FindFailures({});
  ASSERT_TRUE(failures.ok()) << failures.status();
  ASSERT_THAT(*failures, SizeIs(2));
  EXPECT_EQ(failures->at(0).id, "bad");
  EXPECT_EQ(failures->at(0).scope, GroupTopicScope("billing", "orders"));
  EXPECT_EQ(failures->at(0).state, IdState::kDead);
  EXPECT_EQ(failures->at(1).id, "");
}

}  // namespace
}  // namespace once
