// once::Producer over Kafka: numbers, marks, fatal errors, brokers that are away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "adapters/kafka/tests/mock_broker.h"
#include "once/kafka/record_client.h"
#include "once/producer.h"
#include "once/sequence.h"

namespace once::kafka {
namespace {

using testing::MockBroker;
using testing::TestBroker;
using testing::UniqueName;

constexpr absl::Duration kPatience = absl::Seconds(60);

std::unique_ptr<once::Producer> OpenProducer(const std::string& brokers, StampOptions stamps = {}) {
  stamps.producer = "test";
  auto producer =
      once::Producer::Create({.clients = RecordClients({.brokers = brokers, .log = NoLog()}),
                              .stamps = std::move(stamps),
                              .log = NoLog()});
  EXPECT_TRUE(producer.ok()) << producer.status();
  return *std::move(producer);
}

OutgoingMessage NumberedMessage(const std::string& topic, int number) {
  return {.topic = topic,
          .partition = std::nullopt,
          .key = absl::StrCat("key-", number % 10),
          .value = absl::StrCat(number),
          .headers = {{"once-id", absl::StrCat("id-", number)}}};
}

// Everything sent is there, once if `is_exact`, and no number of a stream is missing.
void ExpectAllArrived(TestBroker& broker, const std::string& topic, int count, bool is_exact) {
  std::set<std::string> ids;
  std::map<std::int32_t, std::set<std::uint64_t>> numbers;
  std::size_t records = 0;
  for (const once::testing::StoredMessage& stored : broker.DumpTopic(topic)) {
    ++records;
    ASSERT_EQ(stored.message.headers.size(), 2U);
    ids.insert(*stored.message.headers[0].value);
    const auto stamp =
        DecodeStamp(*stored.message.headers[1].value, topic, *stored.message.partition);
    ASSERT_TRUE(stamp.has_value());
    numbers[*stored.message.partition].insert(stamp->sequence);
  }
  EXPECT_EQ(ids.size(), static_cast<std::size_t>(count));
  if (is_exact) {
    EXPECT_EQ(records, static_cast<std::size_t>(count));
  }
  for (const auto& [partition, of_one] : numbers) EXPECT_EQ(*of_one.rbegin(), of_one.size());
}

TEST(KafkaProducer, EverythingArrivesNumberedAndTheMarksSayHowMuch) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(3);
  const auto producer = OpenProducer(
      broker.brokers(),
      {.create_marks_topic = MarksTopics({.brokers = broker.brokers(), .log = NoLog()})});
  std::vector<Ticket> tickets;
  for (int i = 0; i < 5000; ++i) tickets.push_back(producer->Send(NumberedMessage(topic, i)));
  EXPECT_EQ(producer->Flush(absl::Now() + kPatience).count, 0U);
  for (Ticket& ticket : tickets) ASSERT_TRUE(ticket.TryGet()->status.ok());
  EXPECT_EQ(producer->Close(absl::Now() + kPatience).count, 0U);
  ExpectAllArrived(broker, topic, 5000, /*is_exact=*/true);
  std::uint64_t marked = 0;
  for (const auto& stored : broker.DumpTopic(MarksTopic(topic))) {
    const auto mark = DecodeMark(*stored.message.key, *stored.message.value, topic);
    ASSERT_TRUE(mark.has_value() && mark->mark.has_value());
    EXPECT_EQ(mark->mark->first_offset, 0);
    EXPECT_EQ(mark->mark->last_offset + 1, static_cast<std::int64_t>(mark->mark->last));
    marked += mark->mark->last;
  }
  EXPECT_EQ(marked, 5000U);
}

TEST(KafkaProducer, AFatalErrorLosesNothing) {
  MockBroker mock;
  mock.CreateTopic("t", 2);
  TestBroker reader(mock.brokers());
  const auto producer = OpenProducer(mock.brokers());
  for (int i = 0; i < 200; ++i) {
    // Fatal for an idempotent producer.
    if (i == 50) {
      ASSERT_EQ(producer->Flush(absl::Now() + kPatience).count, 0U);
      mock.Fail(MockBroker::kProduce, {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER});
    }
    producer->Send(NumberedMessage("t", i), [i](const SendOutcome& outcome) {
      EXPECT_TRUE(outcome.status.ok()) << i << ": " << outcome.status;
    });
  }
  EXPECT_EQ(producer->Flush(absl::Now() + kPatience).count, 0U);
  ExpectAllArrived(reader, "t", 200, /*is_exact=*/false);
}

TEST(KafkaProducer, WhatNoRetryCanHelpIsSaidAndItsNumberIsVoid) {
  MockBroker mock;
  mock.CreateTopic("t", 1);
  mock.CreateTopic("t.once-marks", 1);
  TestBroker reader(mock.brokers());
  const auto producer = OpenProducer(mock.brokers());
  OutgoingMessage message = NumberedMessage("t", 1);
  ASSERT_TRUE(producer->Send(message).Wait(absl::Now() + kPatience)->status.ok());
  mock.Fail(MockBroker::kProduce, {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED});
  Ticket refused = producer->Send(NumberedMessage("t", 2));
  ASSERT_NE(refused.Wait(absl::Now() + kPatience), nullptr);
  EXPECT_TRUE(absl::IsInvalidArgument(refused.TryGet()->status)) << refused.TryGet()->status;
  EXPECT_EQ(refused.TryGet()->sequence, 2U);
  producer->Close(absl::Now() + kPatience);
  bool has_void = false;
  for (const auto& stored : reader.DumpTopic("t.once-marks")) {
    const auto mark = DecodeMark(*stored.message.key, *stored.message.value, "t");
    ASSERT_TRUE(mark.has_value());
    if (mark->gone) has_void = *mark->gone == StreamVoid{.first = 2, .last = 2};
  }
  EXPECT_TRUE(has_void);
}

TEST(KafkaProducer, ABrokerThatIsAwayForAWhileLosesNothing) {
  MockBroker mock;
  mock.CreateTopic("t", 2);
  TestBroker reader(mock.brokers());
  const auto producer = OpenProducer(mock.brokers());
  for (int i = 0; i < 300; ++i) {
    if (i == 100) mock.SetUp(false);
    if (i == 200) {
      EXPECT_GT(producer->Flush(absl::Now() + absl::Seconds(1)).count, 0U);
      mock.SetUp(true);
    }
    producer->Send(NumberedMessage("t", i), [i](const SendOutcome& outcome) {
      EXPECT_TRUE(outcome.status.ok()) << i << ": " << outcome.status;
    });
  }
  EXPECT_EQ(producer->Flush(absl::Now() + kPatience).count, 0U);
  ExpectAllArrived(reader, "t", 300, /*is_exact=*/false);
}

TEST(KafkaProducer, NobodyWhoAnswersIsSaidAndNothingHangs) {
  auto producer = once::Producer::Create(
      {.clients = RecordClients({.brokers = "127.0.0.1:1", .log = NoLog()}),
       .times = {.send_timeout = absl::Milliseconds(200), .close_timeout = absl::Seconds(1)},
       .log = NoLog()});
  ASSERT_TRUE(producer.ok()) << producer.status();
  Ticket ticket = (*producer)->Send(NumberedMessage("t", 1));
  ASSERT_TRUE(ticket.is_done());
  EXPECT_TRUE(absl::IsUnavailable(ticket.TryGet()->status)) << ticket.TryGet()->status;
}

}  // namespace
}  // namespace once::kafka
