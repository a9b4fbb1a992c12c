// Errors that a healthy broker does not give, from librdkafka's mock cluster: which are waited out,
// which are the caller's, which end the source or the producer. No broker is needed. The mock is no
// evidence for fencing: there conformance_test.cc asks a real one.
#include <librdkafka/rdkafka.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/errors.h"
#include "adapters/kafka/read_back.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "adapters/kafka/tests/mock_broker.h"
#include "once/kafka/dead_letter_topic.h"
#include "once/kafka/publisher.h"
#include "once/kafka/source.h"
#include "once/kafka/transactional_producer.h"

namespace once::kafka {
namespace {

using testing::MockBroker;

// Kafka's numbers of requests: https://kafka.apache.org/protocol#protocol_api_keys
constexpr std::int16_t kProduce = 0;
constexpr std::int16_t kFetch = 1;
constexpr std::int16_t kListOffsets = 2;
constexpr std::int16_t kOffsetCommit = 8;

class Publishing : public ::testing::Test {
 protected:
  void SetUp() override {
    broker_.CreateTopic("t", 1);
    auto publisher = OpenPublisher({.brokers = broker_.brokers(), .log = NoLog()});
    ASSERT_TRUE(publisher.ok()) << publisher.status();
    publisher_ = *std::move(publisher);
  }
  absl::Status Publish(absl::Duration wait = absl::Seconds(20)) {
    const OutgoingMessage message = {
        .topic = "t", .partition = std::nullopt, .key = "k", .value = "v", .headers = {}};
    absl::Status outcome;
    publisher_->Publish(std::span(&message, 1), absl::Now() + wait, std::span(&outcome, 1));
    return outcome;
  }

  MockBroker broker_;
  std::shared_ptr<Publisher> publisher_;
};

TEST_F(Publishing, TroubleThatPassesIsWaitedOut) {
  ASSERT_TRUE(Publish().ok());
  broker_.Fail(kProduce,
               {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
                RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS});
  const absl::Status outcome = Publish();
  EXPECT_TRUE(outcome.ok()) << outcome;
}

TEST_F(Publishing, WhatNoRetryCanHelpIsInvalidArgument) {
  ASSERT_TRUE(Publish().ok());
  for (const rd_kafka_resp_err_t error :
       {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        RD_KAFKA_RESP_ERR_INVALID_RECORD, RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED}) {
    broker_.Fail(kProduce, {error});
    const absl::Status outcome = Publish();
    EXPECT_TRUE(absl::IsInvalidArgument(outcome)) << rd_kafka_err2name(error) << ": " << outcome;
    // And the next one is fine again, whatever became of the producer.
    const absl::Status next = Publish();
    EXPECT_TRUE(next.ok()) << rd_kafka_err2name(error) << ": " << next;
  }
}

TEST_F(Publishing, AProducerThatIsBeyondRepairIsReplaced) {
  ASSERT_TRUE(Publish().ok());
  // Fatal for an idempotent producer.
  broker_.Fail(kProduce, {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER});
  const absl::Status broken = Publish();
  EXPECT_FALSE(broken.ok());
  EXPECT_FALSE(absl::IsInvalidArgument(broken)) << broken;
  const absl::Status next = Publish();
  EXPECT_TRUE(next.ok()) << next;
}

TEST(PublishingInBatches, OneThatNoBrokerHasAcknowledgedIsUnknownThoughALaterOneIsStored) {
  MockBroker broker;
  broker.CreateTopic("t", 1);
  broker.Delay(200);
  auto publisher = OpenPublisher({.brokers = broker.brokers(),
                                  .linger = absl::ZeroDuration(),
                                  .properties = {{"batch.num.messages", "1"}},
                                  .log = NoLog()});
  ASSERT_TRUE(publisher.ok()) << publisher.status();
  broker.Fail(kProduce, {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION});
  std::vector<OutgoingMessage> messages(3, {.topic = "t", .partition = 0, .value = "v"});
  std::vector<absl::Status> outcomes(messages.size());
  (*publisher)->Publish(messages, absl::Now() + absl::Seconds(20), outcomes);
  EXPECT_TRUE(absl::IsUnknown(outcomes[0])) << outcomes[0];
  EXPECT_TRUE(outcomes[1].ok()) << outcomes[1];
  EXPECT_TRUE(outcomes[2].ok()) << outcomes[2];
}

// Of transactions the mock does nothing but take their records.
TEST(TransactionsInBatches, ARefusedFirstMessageIsStoredBeforeTheCommit) {
  MockBroker broker;
  broker.CreateTopic("t", 1);
  TransactionalProducerOptions options = {.brokers = broker.brokers(),
                                          .transactional_id = "id",
                                          .linger = absl::ZeroDuration(),
                                          .properties = {{"batch.num.messages", "1"}},
                                          .log = NoLog()};
  auto producer = TransactionalProducer::Create(std::move(options));
  ASSERT_TRUE(producer.ok()) << producer.status();
  auto transaction = (*producer)->Begin();
  ASSERT_TRUE(transaction.ok()) << transaction.status();
  broker.Delay(200);
  broker.Fail(kProduce, {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION});
  for (const char* value : {"0", "1", "2"}) {
    ASSERT_TRUE(transaction->Send({.topic = "t", .partition = 0, .value = value}).ok());
  }
  const absl::Status committed = transaction->Commit(absl::Now() + absl::Seconds(30));
  broker.Delay(0);
  EXPECT_TRUE(committed.ok()) << committed;
  EXPECT_EQ(testing::TestBroker(broker.brokers()).DumpTopic("t", "read_uncommitted").size(), 3U);
}

class Consuming : public ::testing::Test, protected SourceListener {
 protected:
  void SetUp() override { broker_.CreateTopic("t", 2); }

  void Join() {
    auto source =
        Subscribe({.brokers = broker_.brokers(), .group = "g", .topics = {"t"}, .log = NoLog()});
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
    ASSERT_TRUE(PollUntil([this] { return owned_ == 2; }).ok());
  }
  void Produce(std::int32_t partition, int count) {
    auto publisher = OpenPublisher({.brokers = broker_.brokers(), .log = NoLog()});
    ASSERT_TRUE(publisher.ok()) << publisher.status();
    std::vector<OutgoingMessage> messages;
    for (int i = 0; i < count; ++i) {
      messages.push_back(
          {.topic = "t", .partition = partition, .key = {}, .value = "v", .headers = {}});
    }
    std::vector<absl::Status> outcomes(messages.size());
    (*publisher)->Publish(messages, absl::Now() + absl::Seconds(20), outcomes);
    for (const absl::Status& outcome : outcomes) ASSERT_TRUE(outcome.ok()) << outcome;
  }
  absl::Status PollUntil(const std::function<bool()>& done) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (!done()) {
      auto batch = source_->Poll({.deadline = absl::Now() + absl::Milliseconds(50)}, *this);
      if (!batch.ok()) return batch.status();
      for (const Message& message : batch->messages()) offsets_.push_back(message.offset());
      if (absl::Now() > deadline) return absl::DeadlineExceededError("it did not happen");
    }
    return absl::OkStatus();
  }
  absl::Status Commit(std::int64_t offset) {
    const PartitionOffset position = {{"t", 0}, offset};
    return source_->Commit(std::span(&position, 1), CommitMode::kVerified);
  }

  void OnAssigned(const Assignment& assignment) override {
    owned_ += assignment.partitions.size();
    for (const TopicPartition& partition : assignment.partitions) {
      const PartitionOffset start = {partition, 0};
      EXPECT_TRUE(source_->Start(std::span(&start, 1)).ok());
    }
  }
  void OnRevoked(std::span<const TopicPartition> partitions, Revocation) override {
    owned_ -= partitions.size();
  }
  void OnPartitionError(const TopicPartition&, const absl::Status& error) override {
    errors_.push_back(error);
  }

  MockBroker broker_;
  std::unique_ptr<LogSource> source_;
  std::size_t owned_ = 0;
  std::vector<std::int64_t> offsets_;
  std::vector<absl::Status> errors_;
};

TEST_F(Consuming, TheMockClusterServesASource) {
  Produce(0, 10);
  Join();
  ASSERT_TRUE(PollUntil([this] { return offsets_.size() == 10; }).ok());
  EXPECT_FALSE(source_->traits().cluster.empty());
  const TopicPartition partition = {"t", 0};
  const auto bounds = source_->Describe(std::span(&partition, 1));
  ASSERT_TRUE(bounds.ok()) << bounds.status();
  EXPECT_EQ(bounds->front().end, 10);
  EXPECT_TRUE(Commit(10).ok());
  EXPECT_TRUE(source_->Close(absl::Now() + absl::Seconds(5), *this).ok());
  EXPECT_EQ(owned_, 0U);
}

TEST_F(Consuming, FetchErrorsThatPassAreHealedWithoutLossOrRepetition) {
  Produce(0, 5);
  broker_.Fail(kFetch,
               {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
                RD_KAFKA_RESP_ERR_UNKNOWN, RD_KAFKA_RESP_ERR__TRANSPORT});
  Join();
  const absl::Status read = PollUntil([this] { return offsets_.size() >= 5; });
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_EQ(offsets_, (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
  EXPECT_TRUE(errors_.empty());
}

TEST_F(Consuming, WhatIsNotAllowedEndsTheSource) {
  Produce(0, 5);
  Join();
  ASSERT_TRUE(PollUntil([this] { return offsets_.size() == 5; }).ok());
  // The client takes the first error at the end of a partition for the end.
  const absl::Time quiet = absl::Now() + absl::Milliseconds(400);
  ASSERT_TRUE(PollUntil([&] { return absl::Now() > quiet; }).ok());
  broker_.Fail(kFetch, {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED});
  const absl::Status read = PollUntil([] { return false; });
  EXPECT_TRUE(absl::IsPermissionDenied(read)) << read;
  EXPECT_FALSE(source_->Poll({}, *this).ok()) << "and it stays so";
}

TEST_F(Consuming, CommitErrorsAreTold) {
  const std::vector<std::pair<rd_kafka_resp_err_t, absl::StatusCode>> cases = {
      {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, absl::StatusCode::kPermissionDenied},
      {RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, absl::StatusCode::kInvalidArgument},
      {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, absl::StatusCode::kFailedPrecondition},
      {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, absl::StatusCode::kFailedPrecondition}};
  Join();
  for (const auto& [error, code] : cases) {
    broker_.Fail(kOffsetCommit, {error});
    const absl::Status committed = Commit(1);
    EXPECT_EQ(committed.code(), code) << rd_kafka_err2name(error) << ": " << committed;
    ASSERT_TRUE(PollUntil([this] { return owned_ == 2; }).ok());
  }
}

TEST_F(Consuming, ACommitThatTheCoordinatorPutsOffSucceedsLater) {
  Join();
  broker_.Fail(kOffsetCommit, {RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS});
  const absl::Status committed = Commit(1);
  EXPECT_TRUE(committed.ok()) << committed;
}

TEST_F(Consuming, AFailedQuestionIsAStatusWithThePartition) {
  Join();
  broker_.Fail(kListOffsets, {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED});
  const TopicPartition partition = {"t", 1};
  const auto bounds = source_->Describe(std::span(&partition, 1));
  ASSERT_TRUE(bounds.ok()) << bounds.status();
  EXPECT_TRUE(absl::IsPermissionDenied(bounds->front().status)) << bounds->front().status;
  EXPECT_THAT(std::string(bounds->front().status.message()), ::testing::HasSubstr("t[1]"));
  const auto again = source_->Describe(std::span(&partition, 1));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->front().status.ok()) << again->front().status;
}

TEST(DeadLetters, GoToATopicOfTheMockClusterThatIsThere) {
  MockBroker broker;
  broker.CreateTopic("dlq", 1);
  auto sink = OpenDeadLetterTopic({.brokers = broker.brokers(), .log = NoLog()});
  ASSERT_TRUE(sink.ok()) << sink.status();
  const OutgoingMessage letter = {
      .topic = "dlq", .partition = std::nullopt, .key = "k", .value = "v", .headers = {}};
  absl::Status outcome;
  sink->publisher->Publish(std::span(&letter, 1), absl::Now() + absl::Seconds(20),
                           std::span(&outcome, 1));
  EXPECT_TRUE(outcome.ok()) << outcome;
}

TEST(Errors, EveryFencingCodeIsFailedPrecondition) {
  for (const rd_kafka_resp_err_t error :
       {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(ToStatus(error, "committing")));
    EXPECT_TRUE(IsFenced(error));
  }
}

TEST(Errors, AMessageThatMayBeStoredIsUnknown) {
  EXPECT_TRUE(absl::IsUnknown(DeliveryStatus(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT,
                                             RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED, "t")));
  EXPECT_TRUE(absl::IsUnavailable(
      DeliveryStatus(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, RD_KAFKA_MSG_STATUS_NOT_PERSISTED, "t")));
  EXPECT_TRUE(absl::IsInvalidArgument(DeliveryStatus(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                                     RD_KAFKA_MSG_STATUS_NOT_PERSISTED, "t")));
}

TEST(KafkaReadingBack, NeedsNoRightToAGroup) {
  testing::MockBroker broker;
  broker.CreateTopic("t", 1);
  broker.Fail(testing::MockBroker::kFindCoordinator,
              std::vector(100, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED));
  auto publisher = OpenPublisher({.brokers = broker.brokers(), .log = NoLog()});
  ASSERT_TRUE(publisher.ok()) << publisher.status();
  const std::jthread publishes([&] {
    absl::SleepFor(absl::Seconds(1));  // until the refusal is there
    const OutgoingMessage message = {
        .topic = "t", .partition = 0, .value = "v", .headers = {{"once-id", "w"}}};
    absl::Status outcome;
    (*publisher)
        ->Publish(std::span(&message, 1), absl::Now() + absl::Seconds(20), std::span(&outcome, 1));
    EXPECT_TRUE(outcome.ok()) << outcome;
  });
  const Properties properties;
  EXPECT_EQ(ReadBack({.brokers = broker.brokers(),
                      .properties = properties,
                      .log = NoLog(),
                      .witness = {"t", 0, 0, "w"},
                      .id_header = "once-id"},
                     absl::Now() + absl::Seconds(20)),
            Visibility::kVisible);
}

}  // namespace
}  // namespace once::kafka
