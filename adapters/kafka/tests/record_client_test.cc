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
#include "adapters/kafka/tests/kafka_proxy.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "adapters/kafka/tests/mock_broker.h"
#include "once/executor.h"
#include "once/kafka/record_client.h"
#include "once/testing/record_client_conformance.h"

namespace once::kafka {
namespace {

using testing::KafkaProxy;
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

// A client whose batches have one record each and are on their way together.
class BatchesOnTheirWay : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    broker_.CreateTopic("t", 1);
    broker_.Delay(200);
    auto client = RecordClients({.brokers = broker_.brokers(),
                                 .linger = absl::ZeroDuration(),
                                 .properties = {{"batch.num.messages", "1"}},
                                 .log = NoLog()})({.has_no_gaps = GetParam()});
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    book_ = std::make_unique<once::testing::RecordBook>(*client_, *executor_);
  }
  void Send(int first, int last) {
    for (int i = first; i <= last; ++i) {
      ASSERT_TRUE(book_->Send({.topic = "t", .value = absl::StrCat(i), .headers = {}}, 0).ok());
    }
  }
  std::vector<std::string> Stored() {
    broker_.Delay(0);
    std::vector<std::string> values;
    for (const auto& stored : TestBroker(broker_.brokers()).DumpTopic("t")) {
      values.push_back(*stored.message.value);
    }
    return values;
  }

  const std::shared_ptr<Executor> executor_ = SystemExecutor();
  MockBroker broker_;
  std::unique_ptr<RecordClient> client_;
  std::unique_ptr<once::testing::RecordBook> book_;
};

INSTANTIATE_TEST_SUITE_P(Gaps, BatchesOnTheirWay, ::testing::Bool(),
                         [](const auto& tested) { return tested.param ? "without" : "with"; });

TEST_P(BatchesOnTheirWay, AFirstOneThatIsRefusedIsStoredBeforeThoseBehindIt) {
  broker_.Fail(MockBroker::kProduce, {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION});
  Send(0, 4);
  EXPECT_EQ(client_->CountInside(), 5U);
  book_->Await();
  book_->ExpectAllOk();
  EXPECT_EQ(Stored(), (std::vector<std::string>{"0", "1", "2", "3", "4"}));
}

// The mock takes whatever comes, as a broker does that has forgotten the producer.
TEST_P(BatchesOnTheirWay, OneThatNoBrokerHasAcknowledgedIsUnknownThoughALaterOneIsStored) {
  Send(0, 0);
  book_->Await();
  broker_.Fail(MockBroker::kProduce, {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION});
  Send(1, 3);
  book_->Await();
  ASSERT_EQ(Stored(), (std::vector<std::string>{"0", "2", "3"}));
  const auto& entries = book_->entries();
  EXPECT_TRUE(absl::IsUnknown(entries[1].status)) << entries[1].status;
  for (const std::size_t i : {0U, 2U, 3U}) EXPECT_TRUE(entries[i].status.ok()) << i;
  // Where nothing may be stored behind it, this client has come to its end.
  EXPECT_EQ(client_->status().ok(), !GetParam());
}

TEST_P(BatchesOnTheirWay, ThoseBehindAFirstOneAreGivenUpWithIt) {
  broker_.SetUp(false);
  Send(0, 3);
  client_->Purge();
  book_->Await();
  EXPECT_EQ(client_->CountInside(), 0U);
  for (const auto& entry : book_->entries()) {
    EXPECT_EQ(entry.reports, 1);
    EXPECT_TRUE(absl::IsUnavailable(entry.status) || absl::IsUnknown(entry.status));
  }
}

// The real broker takes the second batch of a producer that it does not know, though it has never
// seen the first: without FirstRecords the first record is not there.
TEST(RecordClients, AFirstOneThatABrokerRefusesIsStoredBeforeThoseBehindIt) {
  ONCE_REQUIRE_KAFKA(broker);
  KafkaProxy proxy(broker.brokers());
  const std::string topic = broker.NewTopic(1);
  const auto executor = SystemExecutor();
  auto client = RecordClients({.brokers = proxy.address(),
                               .linger = absl::ZeroDuration(),
                               .properties = {{"batch.num.messages", "1"}},
                               .log = NoLog()})({.has_no_gaps = true});
  ASSERT_TRUE(client.ok()) << client.status();
  once::testing::RecordBook book(**client, *executor);
  proxy.RefuseRecords(RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(book.Send({.topic = topic, .value = absl::StrCat(i), .headers = {}}, 0).ok());
  }
  book.Await();
  if (!proxy.has_refused()) GTEST_SKIP() << "this librdkafka speaks newer requests";
  book.ExpectAllOk();
  const auto stored = broker.DumpTopic(topic);
  ASSERT_EQ(stored.size(), 20U);
  for (std::size_t i = 0; i < stored.size(); ++i) {
    EXPECT_EQ(stored[i].message.value, absl::StrCat(i));
  }
}

TEST(RecordClients, ThoseBehindAFirstOneAreGivenUpAtTheirOwnTime) {
  MockBroker broker;
  broker.CreateTopic("t", 1);
  broker.SetUp(false);
  auto client = RecordClients({.brokers = broker.brokers(), .log = NoLog()})(
      {.delivery_timeout = absl::Seconds(2)});
  ASSERT_TRUE(client.ok()) << client.status();
  const auto executor = SystemExecutor();
  once::testing::RecordBook book(**client, *executor);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(book.Send({.topic = "t", .value = absl::StrCat(i), .headers = {}}, 0).ok());
  }
  const absl::Time before = executor->Now();
  book.Await(absl::Seconds(30));
  EXPECT_LT(executor->Now() - before, absl::Seconds(5));
  EXPECT_EQ((*client)->CountInside(), 0U);
  for (const auto& entry : book.entries()) EXPECT_TRUE(absl::IsUnavailable(entry.status));
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
