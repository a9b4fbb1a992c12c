// Kafka passes the public conformance suites, against a real broker, with both ways of sharing out
// partitions.
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "adapters/kafka/tests/kafka_proxy.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "once/executor.h"
#include "once/kafka/publisher.h"
#include "once/kafka/source.h"
#include "once/testing/publisher_conformance.h"
#include "once/testing/source_conformance.h"

namespace once::kafka {
namespace {

using testing::TestBroker;
using testing::UniqueName;

// A body that needs the broker does not run without it.
void RunWithBroker(bool has_broker, const std::function<void()>& body) {
  if (has_broker) {
    body();
    return;
  }
  [] { ONCE_REQUIRE_KAFKA(broker); }();
}

class KafkaSourceFixture final : public once::testing::LogSourceFixture {
 public:
  explicit KafkaSourceFixture(AssignmentStrategy assignment) : assignment_(assignment) {
    const char* brokers = std::getenv("ONCE_TEST_KAFKA");
    if (brokers != nullptr) broker_ = std::make_unique<TestBroker>(brokers);
  }

  void Run(const std::function<void()>& body) override { RunWithBroker(broker_ != nullptr, body); }
  Executor& executor() override { return *executor_; }
  std::string CreateTopic(std::int32_t partitions) override {
    return broker_->NewTopic(partitions);
  }
  std::int64_t Produce(const OutgoingMessage& message) override {
    return broker_->Produce({message});
  }
  void ProduceMany(const TopicPartition& partition, int count) override {
    std::vector<OutgoingMessage> messages;
    for (int i = 0; i < count; ++i) {
      messages.push_back({.topic = partition.topic,
                          .partition = partition.partition,
                          .key = std::nullopt,
                          .value = absl::StrCat(i),
                          .headers = {}});
    }
    broker_->Produce(messages);
  }
  std::unique_ptr<LogSource> NewMember(const once::testing::MemberOptions& options) override {
    if (options.can_be_cut) proxy_ = std::make_unique<testing::KafkaProxy>(broker_->brokers());
    SourceOptions source = {.brokers = proxy_ == nullptr ? broker_->brokers() : proxy_->address(),
                            .group = group_,
                            .topics = {options.topic},
                            .assignment = assignment_,
                            .session_timeout = absl::Seconds(6),
                            .properties = {{"reconnect.backoff.max.ms", "200"}},
                            .log = NoLog()};
    if (options.poll_interval_max > absl::ZeroDuration()) {
      source.poll_interval_max = options.poll_interval_max;
    }
    auto member = Subscribe(source);
    EXPECT_TRUE(member.ok()) << member.status();
    return *std::move(member);
  }
  absl::Status Truncate(const TopicPartition& partition, std::int64_t offset) override {
    broker_->Truncate(partition, offset);
    return absl::OkStatus();
  }
  absl::Status CutNextCommit(CommitMode /*mode*/, bool is_applied) override {
    proxy_->Arm({.request = testing::KafkaRequest::kOffsetCommit, .is_applied = is_applied});
    return absl::OkStatus();
  }
  void AwaitCut() override {
    EXPECT_TRUE(proxy_->AwaitCut(absl::Seconds(10))) << "nothing was cut";
  }

 private:
  const AssignmentStrategy assignment_;
  const std::string group_ = UniqueName("group");
  const std::shared_ptr<Executor> executor_ = SystemExecutor();
  std::unique_ptr<TestBroker> broker_;
  std::unique_ptr<testing::KafkaProxy> proxy_;
};

class KafkaPublisherFixture final : public once::testing::PublisherFixture {
 public:
  KafkaPublisherFixture() {
    const char* brokers = std::getenv("ONCE_TEST_KAFKA");
    if (brokers == nullptr) return;
    broker_ = std::make_unique<TestBroker>(brokers);
    Open(broker_->brokers());
  }
  explicit KafkaPublisherFixture(const std::string& address) { Open(address); }

  void Run(const std::function<void()>& body) override { RunWithBroker(broker_ != nullptr, body); }
  Executor& executor() override { return *executor_; }
  Publisher& publisher() override { return *publisher_; }
  std::string CreateTopic(std::int32_t partitions) override {
    return broker_->NewTopic(partitions);
  }
  std::vector<once::testing::StoredMessage> Dump(const std::string& topic) override {
    return broker_->DumpTopic(topic);
  }
  std::unique_ptr<PublisherFixture> Unreachable() override {
    // Port 1: nobody listens there.
    return std::make_unique<KafkaPublisherFixture>("127.0.0.1:1");
  }

 private:
  void Open(const std::string& address) {
    auto publisher = OpenPublisher({.brokers = address, .log = NoLog()});
    ASSERT_TRUE(publisher.ok()) << publisher.status();
    publisher_ = *std::move(publisher);
  }

  const std::shared_ptr<Executor> executor_ = SystemExecutor();
  std::unique_ptr<TestBroker> broker_;
  std::shared_ptr<Publisher> publisher_;
};

template <AssignmentStrategy assignment>
std::unique_ptr<once::testing::LogSourceFixture> MakeSourceFixture() {
  return std::make_unique<KafkaSourceFixture>(assignment);
}

INSTANTIATE_TEST_SUITE_P(
    Kafka, LogSourceConformance,
    ::testing::Values(
        once::testing::LogSourceUnderTest{.name = "eager",
                                          .make = MakeSourceFixture<AssignmentStrategy::kEager>},
        once::testing::LogSourceUnderTest{
            .name = "cooperative", .make = MakeSourceFixture<AssignmentStrategy::kCooperative>}),
    once::testing::LogSourceName);

INSTANTIATE_TEST_SUITE_P(Kafka, PublisherConformance,
                         ::testing::Values(once::testing::PublisherUnderTest{
                             .name = "idempotent",
                             .make = [] { return std::make_unique<KafkaPublisherFixture>(); }}),
                         once::testing::PublisherName);

}  // namespace
}  // namespace once::kafka
