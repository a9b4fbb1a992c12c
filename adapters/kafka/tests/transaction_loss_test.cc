// Transactions among numbered messages: a consumer that looks for losses takes an aborted one for
// none, and still finds a real gap.
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "adapters/kafka/tests/transaction_scene.h"
#include "once/consumer.h"
#include "once/kafka/marks.h"
#include "once/kafka/record_client.h"
#include "once/kafka/source.h"
#include "once/memory/store.h"
#include "once/producer.h"
#include "once/sequence.h"

namespace once::kafka {
namespace {

using testing::AwaitStored;
using testing::BeginOn;
using testing::CommitSoon;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::OpenTransactional;
using testing::SendTo;
using testing::UniqueName;

// A stamped message with that number, from a producer of its own.
OutgoingMessage Numbered(const std::string& topic, std::uint64_t number) {
  const std::string stream = StreamName(topic, 0, {.producer = "gappy", .epoch = 1});
  return {.topic = topic,
          .partition = 0,
          .value = absl::StrCat("n", number),
          .headers = {{"once-id", absl::StrCat("gappy-", number)},
                      {std::string(kSequenceHeader), EncodeStamp(stream, number, false)}}};
}

TEST(KafkaTransactionLosses, AnAbortedTransactionIsNoLossAndAGapStillIs) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  auto stamped = once::Producer::Create(
      {.clients = RecordClients({.brokers = broker.brokers(), .log = NoLog()}),
       .stamps = {.producer = "stamped",
                  .create_marks_topic = MarksTopics({.brokers = broker.brokers(), .log = NoLog()})},
       .log = NoLog()});
  ASSERT_TRUE(stamped.ok()) << stamped.status();
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  std::size_t stored = 0;
  for (int i = 0; i < 6; ++i) {
    // The header of a stamp of another life is taken out, or its number would be missing here.
    KafkaTransaction transaction = BeginOn(*producer);
    OutgoingMessage message = Numbered(topic, static_cast<std::uint64_t>(i) + 100);
    ASSERT_TRUE(transaction.Send(message).ok());
    ASSERT_TRUE(AwaitStored(broker, topic, ++stored));
    if (i % 2 == 0) {
      ASSERT_TRUE(transaction.Abort().ok());
    } else {
      ASSERT_TRUE(CommitSoon(transaction).ok());
    }
    Ticket ticket = (*stamped)->Send({.topic = topic, .partition = 0, .value = "numbered"});
    ASSERT_NE(ticket.Wait(absl::Now() + testing::kTransactionPatience), nullptr);
    ASSERT_TRUE(ticket.TryGet()->status.ok()) << ticket.TryGet()->status;
    ++stored;
  }
  EXPECT_EQ((*stamped)->Close(absl::Now() + testing::kTransactionPatience).count, 0U);

  std::vector<LossEvent> losses;
  std::vector<std::string> handled;
  auto source = Subscribe(
      {.brokers = broker.brokers(), .group = UniqueName("g"), .topics = {topic}, .log = NoLog()});
  auto marks = OpenMarks({.brokers = broker.brokers(), .log = NoLog()});
  ASSERT_TRUE(source.ok() && marks.ok());
  auto consumer = Consumer::Create(
      {.source = *std::move(source),
       .store = memory::OpenStore(),
       .loss = {.mode = LossMode::kReport,
                .gap_grace = absl::ZeroDuration(),
                .marks = *std::move(marks),
                .on_loss = [&](const LossEvent& event) { losses.push_back(event); }},
       .log = NoLog()},
      [&](const Message& message, Transaction&) {
        handled.emplace_back(message.value().value_or(""));
        return Done();
      });
  ASSERT_TRUE(consumer.ok()) << consumer.status();
  const auto settle = [&](std::size_t count, std::size_t events) {
    const absl::Time deadline = absl::Now() + testing::kTransactionPatience;
    while ((handled.size() < count || losses.size() < events) && absl::Now() < deadline) {
      ASSERT_TRUE((*consumer)->Step().ok());
    }
    // Beyond the end: there the consumer's own clock counts.
    for (int i = 0; i < 20; ++i) ASSERT_TRUE((*consumer)->Step().ok());
  };
  settle(9, 0);
  EXPECT_EQ(handled.size(), 9U);
  EXPECT_THAT(losses, IsEmpty());
  // The control: numbers 2 and 3 are not there.
  broker.Produce({Numbered(topic, 1), Numbered(topic, 4)});
  settle(11, 1);
  ASSERT_EQ(losses.size(), 1U);
  EXPECT_EQ(losses[0].producer, "gappy");
  EXPECT_EQ(losses[0].first, 2U);
  EXPECT_EQ(losses[0].last, 3U);
  EXPECT_TRUE((*consumer)->Stop().ok());
}

}  // namespace
}  // namespace once::kafka
