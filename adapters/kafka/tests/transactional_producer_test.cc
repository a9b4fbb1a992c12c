// Transactions on a real broker: what readers see of them, what dooms them, where they end.
#include "once/kafka/transactional_producer.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_proxy.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "adapters/kafka/tests/transaction_scene.h"
#include "once/sequence.h"

namespace once::kafka {
namespace {

using testing::AwaitStored;
using testing::AwaitThat;
using testing::BeginOn;
using testing::CommitSoon;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::KafkaProxy;
using testing::OpenTransactional;
using testing::SendTo;
using ::testing::SizeIs;
using testing::UniqueName;
using ::testing::UnorderedElementsAre;
using testing::ValuesIn;

void ExpectCommitted(KafkaTransaction& transaction) {
  const absl::Status committed = CommitSoon(transaction);
  EXPECT_TRUE(committed.ok()) << committed;
}

TEST(KafkaTransactions, ACommitShowsAllOfItInEveryTopicAndPartition) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string orders = broker.NewTopic(3);
  const std::string stock = broker.NewTopic(1);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  KafkaTransaction transaction = BeginOn(*producer);
  for (std::int32_t i = 0; i < 3; ++i) {
    const auto sent =
        transaction.Send({.topic = orders, .partition = i, .value = absl::StrCat("order-", i)});
    ASSERT_TRUE(sent.ok()) << sent.status();
  }
  SendTo(transaction, stock, "item");
  ASSERT_TRUE(AwaitStored(broker, orders, 3));
  EXPECT_THAT(ValuesIn(broker, orders), IsEmpty());
  ASSERT_TRUE(CommitSoon(transaction).ok());
  EXPECT_THAT(ValuesIn(broker, orders), ElementsAre("order-0", "order-1", "order-2"));
  EXPECT_THAT(ValuesIn(broker, stock), ElementsAre("item"));
  EXPECT_THAT(transaction.failed_sends(), IsEmpty());
}

TEST(KafkaTransactions, AnAbortShowsNothingAndTheNextOneIsItsOwn) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  for (const std::string name : {"a", "b", "c"}) {
    KafkaTransaction transaction = BeginOn(*producer);
    SendTo(transaction, topic, name);
    if (name == "b") {
      ASSERT_TRUE(AwaitStored(broker, topic, 2));
      EXPECT_TRUE(transaction.Abort().ok());
    } else {
      EXPECT_TRUE(CommitSoon(transaction).ok());
    }
  }
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("a", "c"));
  EXPECT_THAT(ValuesIn(broker, topic, "read_uncommitted"), ElementsAre("a", "b", "c"));
}

TEST(KafkaTransactions, OneThatIsDroppedIsAbortedAndHoldsNoReaderUp) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  {
    KafkaTransaction dropped = BeginOn(*producer);
    SendTo(dropped, topic, "dropped");
    ASSERT_TRUE(AwaitStored(broker, topic, 1));
  }
  // Readers get to what lies behind it although its timeout has not passed.
  broker.Produce({{.topic = topic, .partition = 0, .value = "behind"}});
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("behind"));
}

TEST(KafkaTransactions, OneThatIsOverwrittenIsAborted) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto first = OpenTransactional(broker.brokers(), UniqueName("tx"));
  const auto second = OpenTransactional(broker.brokers(), UniqueName("tx"));
  KafkaTransaction transaction = BeginOn(*first);
  SendTo(transaction, topic, "first");
  transaction = BeginOn(*second);
  SendTo(transaction, topic, "second");
  ASSERT_TRUE(CommitSoon(transaction).ok());
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("second"));
  EXPECT_TRUE(first->Begin().ok());
}

TEST(KafkaTransactions, OneIsOpenAtATimeAndAfterItsEndItIsOver) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  KafkaTransaction transaction = BeginOn(*producer);
  EXPECT_TRUE(absl::IsFailedPrecondition(producer->Begin().status()));
  SendTo(transaction, topic, "once");
  ASSERT_TRUE(CommitSoon(transaction).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(CommitSoon(transaction)));
  EXPECT_TRUE(absl::IsFailedPrecondition(transaction.Abort()));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(transaction.Send({.topic = topic, .value = "late"}).status()));
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("once"));
  EXPECT_TRUE(producer->Begin().ok());
}

TEST(KafkaTransactions, OneWithoutMessagesCommits) {
  ONCE_REQUIRE_KAFKA(broker);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  KafkaTransaction transaction = BeginOn(*producer);
  EXPECT_TRUE(CommitSoon(transaction).ok());
}

TEST(KafkaTransactions, OneOutlivesItsProducer) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  KafkaTransaction transaction = BeginOn(*producer);
  producer.reset();
  SendTo(transaction, topic, "still");
  EXPECT_TRUE(CommitSoon(transaction).ok());
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("still"));
}

TEST(KafkaTransactions, EveryMessageHasAnIdAndNoStamp) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  KafkaTransaction transaction = BeginOn(*producer);
  const std::string stamp =
      EncodeStamp(StreamName(topic, 0, {.producer = "p", .epoch = 1}), 7, /*is_from_outbox=*/false);
  const auto drawn = transaction.Send(
      {.topic = topic, .value = "drawn", .headers = {{std::string(kSequenceHeader), stamp}}});
  const auto given =
      transaction.Send({.topic = topic, .value = "given", .headers = {{"once-id", "mine"}}});
  ASSERT_TRUE(drawn.ok() && given.ok());
  EXPECT_THAT(*drawn, SizeIs(32));
  EXPECT_EQ(*given, "mine");
  ASSERT_TRUE(CommitSoon(transaction).ok());
  const auto stored = broker.DumpTopic(topic);
  ASSERT_THAT(stored, SizeIs(2));
  EXPECT_EQ(stored[0].message.headers, (std::vector<OwnedHeader>{{"once-id", *drawn}}));
  EXPECT_EQ(stored[1].message.headers, (std::vector<OwnedHeader>{{"once-id", "mine"}}));
}

TEST(KafkaTransactions, AMessageThatIsRefusedDoomsTheOthers) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer =
      OpenTransactional(broker.brokers(), UniqueName("tx"), {.ids = {.is_drawn = false}});
  const std::vector<OutgoingMessage> refused = {
      {.topic = topic, .value = "no id"},
      {.topic = "no/topic", .headers = {{"once-id", "1"}}},
      {.topic = MarksTopic(topic), .headers = {{"once-id", "1"}}},
      {.topic = topic, .value = std::string(2'000'000, 'x'), .headers = {{"once-id", "1"}}}};
  for (const OutgoingMessage& message : refused) {
    KafkaTransaction transaction = BeginOn(*producer);
    SendTo(transaction, topic, "fine");
    const auto sent = transaction.Send(message);
    EXPECT_TRUE(absl::IsInvalidArgument(sent.status())) << sent.status();
    EXPECT_FALSE(transaction.Send({.topic = topic, .headers = {{"once-id", "2"}}}).ok());
    const absl::Status committed = CommitSoon(transaction);
    EXPECT_TRUE(absl::IsInvalidArgument(committed)) << committed;
  }
  EXPECT_THAT(ValuesIn(broker, topic), IsEmpty());
}

TEST(KafkaTransactions, WhatTheBrokersRefuseIsNamedAtTheCommit) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = UniqueName("small");
  broker.CreateTopic(topic, 1, {{"max.message.bytes", "1000"}});
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  KafkaTransaction transaction = BeginOn(*producer);
  // Each in a batch of its own: the broker refuses batches.
  SendTo(transaction, topic, "fine");
  ASSERT_TRUE(AwaitStored(broker, topic, 1));
  const auto sent = transaction.Send(
      {.topic = topic, .value = std::string(2000, 'x'), .headers = {{"once-id", "the-large-one"}}});
  ASSERT_TRUE(sent.ok()) << sent.status();
  const absl::Status committed = CommitSoon(transaction);
  EXPECT_TRUE(absl::IsInvalidArgument(committed)) << committed;
  EXPECT_THAT(std::string(committed.message()), HasSubstr("the-large-one"));
  ASSERT_THAT(transaction.failed_sends(), SizeIs(1));
  EXPECT_EQ(transaction.failed_sends()[0].id, "the-large-one");
  EXPECT_EQ(transaction.failed_sends()[0].topic, topic);
  EXPECT_TRUE(absl::IsInvalidArgument(transaction.failed_sends()[0].status));
  EXPECT_THAT(ValuesIn(broker, topic), IsEmpty());
  KafkaTransaction next = BeginOn(*producer);
  SendTo(next, topic, "next");
  ExpectCommitted(next);
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("next"));
}

TEST(KafkaTransactions, WhatWasRefusedBeforeTheCommitIsNamedWheneverItsReportComes) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = UniqueName("small");
  broker.CreateTopic(topic, 1, {{"max.message.bytes", "1000"}});
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  // Around the moment at which the answer arrives.
  for (int i = 0; i < 12; ++i) {
    KafkaTransaction transaction = BeginOn(*producer);
    SendTo(transaction, topic, "fine");
    ASSERT_TRUE(AwaitStored(broker, topic, static_cast<std::size_t>(i) + 1));
    ASSERT_TRUE(transaction
                    .Send({.topic = topic,
                           .value = std::string(2000, 'x'),
                           .headers = {{"once-id", "the-large-one"}}})
                    .ok());
    absl::SleepFor(absl::Milliseconds(i));
    const absl::Status committed = CommitSoon(transaction);
    EXPECT_TRUE(absl::IsInvalidArgument(committed)) << i << ": " << committed;
    EXPECT_THAT(transaction.failed_sends(), SizeIs(1)) << i;
  }
  EXPECT_THAT(ValuesIn(broker, topic), IsEmpty());
}

TEST(KafkaTransactions, ATopicThatIsNotThereIsNamedAtTheCommit) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const std::string missing = UniqueName("missing");
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  KafkaTransaction transaction = BeginOn(*producer);
  SendTo(transaction, topic, "fine");
  SendTo(transaction, missing, "lost");
  const absl::Status committed = CommitSoon(transaction);
  EXPECT_TRUE(absl::IsInvalidArgument(committed)) << committed;
  EXPECT_THAT(std::string(committed.message()), HasSubstr(missing));
  ASSERT_THAT(transaction.failed_sends(), SizeIs(1));
  EXPECT_EQ(transaction.failed_sends()[0].id, "id-lost");
  EXPECT_THAT(ValuesIn(broker, topic), IsEmpty());
}

TEST(KafkaTransactions, AFullQueueIsWaitedForAndNothingIsDropped) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer =
      OpenTransactional(broker.brokers(), UniqueName("tx"), {.limits = {.queue_messages_max = 10}});
  KafkaTransaction transaction = BeginOn(*producer);
  for (int i = 0; i < 500; ++i) SendTo(transaction, topic, absl::StrCat(i));
  ASSERT_TRUE(CommitSoon(transaction).ok());
  const std::vector<std::string> values = ValuesIn(broker, topic);
  ASSERT_THAT(values, SizeIs(500));
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], absl::StrCat(i));
}

TEST(KafkaTransactions, AQueueThatStaysFullIsSaidAtTheSendTimeout) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  KafkaProxy proxy(broker.brokers());
  const auto producer = OpenTransactional(proxy.address(), UniqueName("tx"),
                                          {.limits = {.queue_messages_max = 2},
                                           .times = {.send_timeout = absl::Milliseconds(200),
                                                     .abort_timeout = absl::Milliseconds(200)}});
  KafkaTransaction transaction = BeginOn(*producer);
  proxy.SetUp(false);
  absl::Status sent;
  for (int i = 0; i < 3 && sent.ok(); ++i) {
    sent = transaction.Send({.topic = topic, .value = absl::StrCat(i)}).status();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(sent)) << sent;
  const absl::Status committed = CommitSoon(transaction);
  EXPECT_TRUE(absl::IsAborted(committed)) << committed;
  proxy.SetUp(true);
  KafkaTransaction next = BeginOn(*producer);
  SendTo(next, topic, "next");
  ExpectCommitted(next);
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("next"));
}

TEST(KafkaTransactions, ItsLimitsDoomWhatIsBeyondThem) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"),
                                          {.limits = {.messages_max = 3, .bytes_max = 1024}});
  KafkaTransaction many = BeginOn(*producer);
  for (int i = 0; i < 3; ++i) SendTo(many, topic, absl::StrCat(i));
  EXPECT_TRUE(absl::IsInvalidArgument(many.Send({.topic = topic, .value = "4"}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CommitSoon(many)));
  KafkaTransaction large = BeginOn(*producer);
  EXPECT_TRUE(absl::IsInvalidArgument(
      large.Send({.topic = topic, .value = std::string(1024, 'x')}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CommitSoon(large)));
  KafkaTransaction exact = BeginOn(*producer);
  for (int i = 0; i < 3; ++i) SendTo(exact, topic, absl::StrCat(i));
  EXPECT_TRUE(CommitSoon(exact).ok());
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("0", "1", "2"));
}

TEST(KafkaTransactions, ATimeoutThatTheBrokersDoNotAllowIsSaidBeforeAnythingBegins) {
  ONCE_REQUIRE_KAFKA(broker);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"),
                                          {.times = {.transaction_timeout = absl::Minutes(30)}});
  const absl::Status begun = producer->Begin().status();
  EXPECT_TRUE(absl::IsInvalidArgument(begun)) << begun;
  EXPECT_THAT(std::string(begun.message()), HasSubstr("transaction.max.timeout.ms"));
}

TEST(KafkaTransactions, OneThatIsOpenForTooLongIsGivenUpBeforeTheBrokersEndIt) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"),
                                          {.times = {.transaction_timeout = absl::Seconds(5)}});
  KafkaTransaction transaction = BeginOn(*producer);
  SendTo(transaction, topic, "slow");
  ASSERT_TRUE(AwaitStored(broker, topic, 1));
  ASSERT_TRUE(AwaitThat([&] {
    return absl::IsAborted(transaction.Send({.topic = topic, .value = "more"}).status());
  }));
  const absl::Status committed = CommitSoon(transaction);
  EXPECT_TRUE(absl::IsAborted(committed)) << committed;
  EXPECT_THAT(std::string(committed.message()), HasSubstr("transaction_timeout"));
  KafkaTransaction next = BeginOn(*producer);
  SendTo(next, topic, "next");
  ExpectCommitted(next);
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("next"));
}

TEST(KafkaTransactions, OneThatNobodyGivesUpIsAbortedByTheBrokersAndNeverCommits) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer = OpenTransactional(
      broker.brokers(), UniqueName("tx"),
      {.times = {.transaction_timeout = absl::Seconds(5), .abort_timeout = absl::Seconds(1)}});
  KafkaTransaction transaction = BeginOn(*producer);
  SendTo(transaction, topic, "slow");
  ASSERT_TRUE(AwaitStored(broker, topic, 1));
  broker.Produce({{.topic = topic, .partition = 0, .value = "behind"}});
  // The brokers have aborted it once readers get past it.
  ASSERT_TRUE(AwaitThat([&] { return ValuesIn(broker, topic).size() == 1; }));
  EXPECT_FALSE(transaction.Send({.topic = topic, .value = "too late"}).ok());
  const absl::Status committed = CommitSoon(transaction);
  // As a zombie's, which it cannot be told from.
  EXPECT_TRUE(absl::IsFailedPrecondition(committed)) << committed;
  EXPECT_TRUE(absl::IsFailedPrecondition(producer->status()));
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("behind"));
}

}  // namespace
}  // namespace once::kafka
