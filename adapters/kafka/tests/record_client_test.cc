// The record client passes the public conformance suite, on librdkafka's mock cluster and on a real
// broker.
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "adapters/kafka/kafka_record_client.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "adapters/kafka/tests/mock_broker.h"
#include "once/executor.h"
#include "once/kafka/record_client.h"
#include "once/testing/record_client_conformance.h"

namespace once::kafka {
namespace {

using testing::MockBroker;
using testing::TestBroker;
using testing::UniqueName;

class RecordsFixture : public once::testing::RecordClientFixture {
 public:
  Executor& executor() override { return *executor_; }
  std::unique_ptr<RecordClient> Open(const RecordClientOptions& options) override {
    return OpenAt(broker_->brokers(), 1000, options);
  }
  std::vector<once::testing::StoredMessage> Dump(const std::string& topic) override {
    return broker_->DumpTopic(topic);
  }
  std::unique_ptr<RecordClient> OpenUnreachable(const RecordClientOptions& options) override {
    // Port 1: nobody listens there.
    return OpenAt("127.0.0.1:1", records_max(), options);
  }
  std::size_t records_max() override { return 10; }
  void BreakNext(RecordClient& client) override {
    rd_kafka_test_fatal_error(static_cast<KafkaRecordClient&>(client).handle(),
                              RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "by a test");
  }

 protected:
  std::unique_ptr<TestBroker> broker_;

 private:
  static std::unique_ptr<RecordClient> OpenAt(const std::string& brokers, std::size_t records,
                                              const RecordClientOptions& options) {
    auto client =
        RecordClients({.brokers = brokers, .queue_records_max = records, .log = NoLog()})(options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  const std::shared_ptr<Executor> executor_ = SystemExecutor();
};

class MockRecordsFixture final : public RecordsFixture {
 public:
  MockRecordsFixture() { broker_ = std::make_unique<TestBroker>(mock_.brokers()); }
  std::string CreateTopic(std::int32_t partitions) override {
    const std::string topic = UniqueName("test");
    mock_.CreateTopic(topic, partitions);
    return topic;
  }

 private:
  MockBroker mock_;
};

class BrokerRecordsFixture final : public RecordsFixture {
 public:
  BrokerRecordsFixture() {
    const char* brokers = std::getenv("ONCE_TEST_KAFKA");
    if (brokers != nullptr) broker_ = std::make_unique<TestBroker>(brokers);
  }
  void Run(const std::function<void()>& body) override {
    if (broker_ != nullptr) return body();
    [] { ONCE_REQUIRE_KAFKA(broker); }();
  }
  std::string CreateTopic(std::int32_t partitions) override {
    return broker_->NewTopic(partitions);
  }
};

INSTANTIATE_TEST_SUITE_P(
    Kafka, RecordClientConformance,
    ::testing::Values(
        once::testing::RecordClientUnderTest{
            .name = "mock", .make = [] { return std::make_unique<MockRecordsFixture>(); }},
        once::testing::RecordClientUnderTest{
            .name = "broker", .make = [] { return std::make_unique<BrokerRecordsFixture>(); }}),
    once::testing::RecordClientName);

TEST(RecordClients, SettingsAreCheckedWhenAClientIsOpened) {
  const auto status_of = [](RecordClientSettings settings, RecordClientOptions options) {
    settings.log = NoLog();
    return RecordClients(settings)(options).status();
  };
  EXPECT_TRUE(status_of({.brokers = "localhost:1"}, {}).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(status_of({.brokers = ""}, {})));
  EXPECT_TRUE(absl::IsInvalidArgument(
      status_of({.brokers = "localhost:1", .properties = {{"acks", "1"}}}, {})));
  EXPECT_TRUE(absl::IsInvalidArgument(
      status_of({.brokers = "localhost:1", .linger = absl::Seconds(-1)}, {})));
  EXPECT_TRUE(absl::IsInvalidArgument(status_of(
      {.brokers = "localhost:1"}, {.delivery_timeout = absl::Seconds(30), .has_no_gaps = true})));
}

TEST(RecordClients, WithoutGapsNothingIsStoredBehindWhatWasNot) {
  MockBroker broker;
  broker.CreateTopic("t", 1);
  TestBroker reader(broker.brokers());
  auto client = RecordClients({.brokers = broker.brokers(), .log = NoLog()})({.has_no_gaps = true});
  ASSERT_TRUE(client.ok()) << client.status();
  const auto executor = SystemExecutor();
  once::testing::RecordBook book(**client, *executor);
  const auto send = [&](const std::string& value) {
    return book.Send({.topic = "t", .partition = {}, .key = "k", .value = value, .headers = {}}, 0);
  };
  ASSERT_TRUE(send("0").ok());
  book.Await();
  book.ExpectAllOk();
  broker.Fail(MockBroker::kProduce, {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE});
  ASSERT_TRUE(send("refused").ok());
  book.Await();
  EXPECT_TRUE(absl::IsOutOfRange(book.entries().back().status)) << book.entries().back().status;
  EXPECT_TRUE(absl::IsFailedPrecondition(send("behind it")));
  EXPECT_TRUE(absl::IsFailedPrecondition((*client)->status()));
  EXPECT_EQ(reader.DumpTopic("t").size(), 1U);
}

// Lists of headers are filled again for later records.
TEST(RecordClients, ARecordHasNoHeadersOfThoseBefore) {
  MockBroker broker;
  broker.CreateTopic("t", 1);
  TestBroker reader(broker.brokers());
  auto client = RecordClients({.brokers = broker.brokers(), .log = NoLog()})({});
  ASSERT_TRUE(client.ok()) << client.status();
  const auto executor = SystemExecutor();
  once::testing::RecordBook book(**client, *executor);
  const std::vector<std::vector<OwnedHeader>> shapes = {
      {{"a", "1"}, {"b", std::string(300, 'b')}, {"a", "2"}},
      {{"a", std::nullopt}},
      {{"c", ""}, {"a", "3"}, {"d", "4"}, {"e", "5"}, {"a", "6"}},
      {},
      {{"b", "7"}}};
  constexpr std::size_t kRounds = 4;
  for (std::size_t round = 0; round < kRounds; ++round) {
    for (const std::vector<OwnedHeader>& headers : shapes) {
      const OutgoingMessage message = {
          .topic = "t", .partition = {}, .key = "k", .value = "v", .headers = headers};
      ASSERT_TRUE(book.Send(message, 0).ok());
    }
    book.Await();
  }
  book.ExpectAllOk();
  const auto stored = reader.DumpTopic("t");
  ASSERT_EQ(stored.size(), kRounds * shapes.size());
  for (std::size_t i = 0; i < stored.size(); ++i) {
    EXPECT_EQ(stored[i].message.headers, shapes[i % shapes.size()]) << "record " << i;
  }
}

}  // namespace
}  // namespace once::kafka
