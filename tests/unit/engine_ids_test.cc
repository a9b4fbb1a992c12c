// What the engine makes of ids: one effect per id, duplicates wherever they turn up, conflicts, and
// messages without a usable id.
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAreArray;

class EngineIds : public EngineTest {};

TEST_F(EngineIds, EveryMessageHasItsEffectOnceAndInOrder) {
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(PositionOf(kOrders0), 3);
  EXPECT_EQ(stats().processed, 3U);
  EXPECT_EQ(stats().commits, 1U);
  EXPECT_EQ(stats().rollbacks, 0U);
}

TEST_F(EngineIds, ASecondCopyInTheSameBatchIsADuplicate) {
  for (const char* id : {"a", "a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(stats().duplicates, 1U);
  EXPECT_EQ(PositionOf(kOrders0), 3);
}

TEST_F(EngineIds, ACopyInALaterBatchIsADuplicate) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Send(kOrders0, "a");
  Settle();
  EXPECT_THAT(invoked(), ElementsAre("a"));
  EXPECT_EQ(stats().duplicates, 1U);
  EXPECT_EQ(PositionOf(kOrders0), 2);
}

TEST_F(EngineIds, ACopyInAnotherPartitionIsADuplicate) {
  Send(kOrders0, "a");
  Send(kOrders1, "a");
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_EQ(stats().duplicates, 1U);
  EXPECT_EQ(PositionOf(kOrders0), 1);
  EXPECT_EQ(PositionOf(kOrders1), 1);
}

TEST_F(EngineIds, ACopyOfAFailedMessageInTheSameBatchIsNoDuplicateBeforeTheFirstHasCompleted) {
  int calls = 0;
  When("a", [&](const Message& message, Transaction& transaction) -> Outcome {
    return ++calls == 1 ? Retry("not yet") : Book(message, transaction);
  });
  Send(kOrders0, "a");
  Send(kOrders1, "a");
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(effects(), IsEmpty());
  EXPECT_EQ(PositionOf(kOrders0), 0);
  EXPECT_EQ(PositionOf(kOrders1), 0);

  Advance(absl::Seconds(2));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_EQ(stats().duplicates, 1U);
}

TEST_F(EngineIds, ACopyMetByAnotherConsumerOfTheSameStoreIsADuplicate) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), ElementsAre("a"));
  EXPECT_EQ(stats().duplicates, 1U);
}

TEST_F(EngineIds, TwoTopicsHaveIdsOfTheirOwn) {
  Send(kOrders0, "7");
  Send({"refunds", 0}, "7");
  StartAndSettle({kOrders0, {"refunds", 0}});
  EXPECT_THAT(effects(), ElementsAre("7", "7"));
}

TEST_F(EngineIds, ANamedScopeMergesTopics) {
  options_.scope = "money";
  Send(kOrders0, "7");
  Send({"refunds", 0}, "7");
  StartAndSettle({kOrders0, {"refunds", 0}});
  EXPECT_THAT(effects(), ElementsAre("7"));
}

TEST_F(EngineIds, ANewScopeReprocessesOnPurpose) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  options_.scope = "second run";
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "a"));
}

TEST_F(EngineIds, TheHandlerSeesIdScopeAndAttempt) {
  std::string seen;
  When("a", [&](const Message& message, Transaction&) -> Outcome {
    seen = std::string(message.scope()) + " " + std::string(message.id()) + " " +
           std::to_string(message.attempt());
    return Done();
  });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_EQ(seen, GroupTopicScope("billing", "orders") + " a 1");
}

TEST_F(EngineIds, AnotherValueUnderAKnownIdIsAConflictAndDeadLettered) {
  Send(kOrders0, "a", "10 EUR");
  Send(kOrders0, "a", "99 EUR");
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(stats().conflicts, 1U);
  EXPECT_EQ(stats().dead_lettered, 1U);
  const std::vector<OutgoingMessage> letters = publisher_->published();
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(HeaderOf(letters[0], "once-disposition"), "conflict");
  EXPECT_EQ(HeaderOf(letters[0], "once-id"), "a");
  EXPECT_EQ(letters[0].value, "99 EUR");
  EXPECT_EQ(store_->FindId(GroupTopicScope("billing", "orders"), "a").state, IdState::kCompleted);
}

TEST_F(EngineIds, AConflictWithARetryingMessageLeavesItsRecordAlone) {
  When("a", [](const Message&, Transaction&) { return Retry("down"); });
  Send(kOrders0, "a", "10 EUR");
  StartAndSettle({kOrders0});
  Send(kOrders1, "a", "99 EUR");
  log_->Assign({kOrders1});
  Settle();
  EXPECT_EQ(stats().conflicts, 1U);
  const IdRecord record = store_->FindId(GroupTopicScope("billing", "orders"), "a");
  EXPECT_EQ(record.state, IdState::kRetrying);
  EXPECT_EQ(record.attempt, 1);
}

TEST_F(EngineIds, WithoutFingerprintsAnotherValueIsADuplicate) {
  options_.fingerprint = NoFingerprint();
  Send(kOrders0, "a", "10 EUR");
  Send(kOrders0, "a", "99 EUR");
  StartAndSettle({kOrders0});
  EXPECT_EQ(stats().duplicates, 1U);
  EXPECT_EQ(stats().conflicts, 0U);
}

TEST_F(EngineIds, AMessageWithoutAnIdIsDeadLetteredAndNeverHandled) {
  log_->Append(kOrders0, {.key = "k", .value = "v"});
  Send(kOrders0, "b");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), ElementsAre("b"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  const OutgoingMessage letter = publisher_->published()[0];
  EXPECT_EQ(letter.topic, "orders.billing.dlq");
  EXPECT_EQ(letter.key, "k");
  EXPECT_EQ(HeaderOf(letter, "once-disposition"), "no-id");
  EXPECT_EQ(HeaderOf(letter, "once-origin-offset"), "0");
  EXPECT_EQ(HeaderOf(letter, "once-id"), "(none)");
}

TEST_F(EngineIds, TwoMessagesWithoutAnIdGetALetterEach) {
  log_->Append(kOrders0, {.value = "same"});
  log_->Append(kOrders0, {.value = "same"});
  StartAndSettle({kOrders0});
  ASSERT_THAT(publisher_->published(), SizeIs(2));
  EXPECT_EQ(stats().dead_lettered, 2U);
}

TEST_F(EngineIds, AnIdThatIsEmptyOrTooLongIsDeadLetteredAsInvalid) {
  Send(kOrders0, std::string(kMessageIdBytesMax + 1, 'x'));
  Send(kOrders0, "");
  Send(kOrders0, std::string(kMessageIdBytesMax, 'x'));
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre(std::string(kMessageIdBytesMax, 'x')));
  ASSERT_THAT(publisher_->published(), SizeIs(2));
  for (const OutgoingMessage& letter : publisher_->published()) {
    EXPECT_EQ(HeaderOf(letter, "once-disposition"), "invalid-id");
  }
}

TEST_F(EngineIds, ALetterWrittenBeforeTheStoresAnswerWasLostIsNotWrittenTwice) {
  log_->Append(kOrders0, {.value = "no id"});
  int commits = 0;
  store_->OnCommit([&](const auto&) {
    return ++commits == 1 ? CommitFate::kUnknownDone : CommitFate::kHappens;
  });
  StartAndSettle({kOrders0});
  Advance(absl::Seconds(2));
  Settle();
  EXPECT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(PositionOf(kOrders0), 1);
}

TEST_F(EngineIds, ManyDuplicatesOverManyPartitionsLeaveOneEffectEach) {
  options_.limits.batch_messages_max = 7;
  std::vector<TopicPartition> partitions;
  std::vector<std::string> expected;
  for (int p = 0; p < 5; ++p) partitions.push_back({"orders", p});
  for (int i = 0; i < 40; ++i) {
    for (int p = 0; p < 5; ++p) Send({"orders", p}, std::to_string((i * (p + 1)) % 40));
    expected.push_back(std::to_string(i));
  }
  log_->Assign(partitions);
  StartConsumer();
  Settle(60);
  EXPECT_THAT(effects(), UnorderedElementsAreArray(expected));
  EXPECT_EQ(stats().processed + stats().duplicates, 200U);
}

}  // namespace
}  // namespace once
