// The fakes pass the suites that the real systems pass; else the simulation would prove the wrong
// thing.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "once/testing/claims_conformance.h"
#include "once/testing/fake_log.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fake_record_client.h"
#include "once/testing/outgoing_conformance.h"
#include "once/testing/publisher_conformance.h"
#include "once/testing/record_client_conformance.h"
#include "once/testing/source_conformance.h"
#include "once/testing/store_conformance.h"
#include "once/testing/trouble_conformance.h"
#include "tests/simulation/fake_store_fixture.h"

namespace once::testing {
namespace {

// A world without faults but those that a suite asks for. The suites run inside it, as the main
// fibre of one process.
class FaultlessWorld {
 public:
  void Run(const std::function<void()>& body) {
    scheduler_.Spawn("test", process_, body);
    EXPECT_EQ(scheduler_.Run(), FiberScheduler::End::kFinished);
  }
  FiberScheduler& scheduler() { return scheduler_; }
  SeamGate& gate() { return gate_; }
  const std::shared_ptr<Process>& process() const { return process_; }
  // The next call that can fail in this way does.
  void Arm(Fault fault) {
    gate_.set_faults({fault});
    oracle_.Arm(true);
  }
  void ArmAt(std::string_view tag) { oracle_.ArmAt(tag); }
  bool is_armed() const { return oracle_.is_armed(); }

 private:
  ArmedOracle oracle_;
  FiberScheduler scheduler_{oracle_};
  SeamGate gate_{scheduler_, {}};
  std::shared_ptr<Process> process_ = scheduler_.NewProcess("test");
};

template <RebalanceProtocol kProtocol>
class FakeLogFixture : public LogSourceFixture {
 public:
  void Run(const std::function<void()>& body) override { world_.Run(body); }
  Executor& executor() override { return *world_.process(); }

  std::string CreateTopic(std::int32_t partitions) override {
    log_ = std::make_unique<FakeLog>(
        world_.gate(), FakeLogOptions{.partitions = partitions, .protocol = kProtocol}, nullptr);
    return log_->options().topic;
  }
  std::int64_t Produce(const OutgoingMessage& message) override {
    return log_->Append(*message.partition,
                        {.key = message.key, .value = message.value, .headers = message.headers});
  }
  std::unique_ptr<LogSource> NewMember(const MemberOptions& options) override {
    const auto process = world_.scheduler().NewProcess("member");
    if (options.poll_interval_max == absl::ZeroDuration()) return log_->Connect(process);
    return log_->Connect(process, options.poll_interval_max);
  }
  absl::Status Truncate(const TopicPartition& partition, std::int64_t offset) override {
    log_->DeleteBefore(partition.partition, offset);
    return absl::OkStatus();
  }
  absl::Status CutNextCommit(CommitMode mode, bool is_applied) override {
    // A hint whose answer is lost is a hint: nobody waits for the answer.
    if (mode == CommitMode::kVerified || !is_applied) {
      world_.Arm(is_applied ? Fault::kUnknownApplied : Fault::kUnknownNotApplied);
    }
    return absl::OkStatus();
  }
  void AwaitCut() override { EXPECT_FALSE(world_.is_armed()) << "nothing was cut"; }
  void Sleep(absl::Duration duration) override {
    world_.scheduler().SleepUntil(world_.scheduler().Now() + duration);
  }

 private:
  FaultlessWorld world_;
  std::unique_ptr<FakeLog> log_;
};

class FakeTopicsFixture : public PublisherFixture {
 public:
  void Run(const std::function<void()>& body) override { world_.Run(body); }
  Executor& executor() override { return *world_.process(); }
  Publisher& publisher() override { return *publisher_; }
  std::string CreateTopic(std::int32_t partitions) override {
    const std::string topic = "topic-" + std::to_string(++topic_count_);
    topics_.CreateTopic(topic, partitions);
    return topic;
  }
  std::vector<StoredMessage> Dump(const std::string& topic) override {
    std::vector<StoredMessage> stored;
    for (const OutgoingMessage& message : topics_.messages()) {
      if (message.topic == topic) stored.push_back({.message = message});
    }
    std::stable_sort(stored.begin(), stored.end(), [](const auto& a, const auto& b) {
      return a.message.partition < b.message.partition;
    });
    return stored;
  }
  std::unique_ptr<PublisherFixture> Unreachable() override {
    auto other = std::make_unique<FakeTopicsFixture>();
    other->topics_.set_is_reachable(false);
    other->topics_.CreateTopic("t", 1);
    return other;
  }

 private:
  FaultlessWorld world_;
  FakeTopics topics_{world_.gate(), {.default_partitions = 0}, nullptr};
  std::shared_ptr<Publisher> publisher_ = topics_.Connect(world_.process());
  int topic_count_ = 0;
};

class FakeRecordsFixture : public RecordClientFixture {
 public:
  void Run(const std::function<void()>& body) override { world_.Run(body); }
  Executor& executor() override { return *world_.process(); }
  std::unique_ptr<RecordClient> Open(const RecordClientOptions& options) override {
    topics_.set_is_reachable(true);
    return *FakeRecordClients(topics_, world_.process(), {})(options);
  }
  std::string CreateTopic(std::int32_t partitions) override {
    const std::string topic = "topic-" + std::to_string(++topic_count_);
    topics_.CreateTopic(topic, partitions);
    return topic;
  }
  std::vector<StoredMessage> Dump(const std::string& topic) override {
    std::vector<StoredMessage> stored;
    for (std::size_t i = 0; i < topics_.messages().size(); ++i) {
      if (topics_.messages()[i].topic != topic) continue;
      stored.push_back({.offset = topics_.offsets()[i], .message = topics_.messages()[i]});
    }
    std::stable_sort(stored.begin(), stored.end(), [](const auto& a, const auto& b) {
      return a.message.partition < b.message.partition;
    });
    return stored;
  }
  std::unique_ptr<RecordClient> OpenUnreachable(const RecordClientOptions& options) override {
    topics_.set_is_reachable(false);
    return *FakeRecordClients(topics_, world_.process(), {.records_max = records_max()})(options);
  }
  std::size_t records_max() override { return 10; }
  void BreakNext(RecordClient&) override { world_.ArmAt("client-breaks"); }

 private:
  FaultlessWorld world_;
  FakeTopics topics_{world_.gate(), {.default_partitions = 0}, nullptr};
  int topic_count_ = 0;
};

template <RebalanceProtocol kProtocol>
LogSourceUnderTest FakeLogUnderTest(std::string name) {
  return {.name = std::move(name),
          .make = [] { return std::make_unique<FakeLogFixture<kProtocol>>(); }};
}

}  // namespace
}  // namespace once::testing

using once::testing::RebalanceProtocol;
using once::testing::StoreModel;

INSTANTIATE_TEST_SUITE_P(
    FakeStore, TransactionalStoreConformance,
    ::testing::Values(once::testing::FakeStoreUnderTest<StoreModel::kRowLocks>("row_locks"),
                      once::testing::FakeStoreUnderTest<StoreModel::kOneTransaction>("embedded")),
    once::testing::StoreName);

INSTANTIATE_TEST_SUITE_P(
    FakeStore, OutgoingLogConformance,
    ::testing::Values(once::testing::FakeStoreUnderTest<StoreModel::kRowLocks>("row_locks"),
                      once::testing::FakeStoreUnderTest<StoreModel::kOneTransaction>("embedded")),
    once::testing::StoreName);

INSTANTIATE_TEST_SUITE_P(
    FakeStore, ClaimStoreConformance,
    ::testing::Values(once::testing::FakeStoreUnderTest<StoreModel::kRowLocks>("row_locks"),
                      once::testing::FakeStoreUnderTest<StoreModel::kOneTransaction>("embedded")),
    once::testing::StoreName);

INSTANTIATE_TEST_SUITE_P(
    FakeStore, StoreTroubleConformance,
    ::testing::Values(once::testing::FakeStoreUnderTest<StoreModel::kRowLocks>("row_locks"),
                      once::testing::FakeStoreUnderTest<StoreModel::kOneTransaction>("embedded")),
    once::testing::TroubledStoreName);

INSTANTIATE_TEST_SUITE_P(
    FakeLog, LogSourceConformance,
    ::testing::Values(
        once::testing::FakeLogUnderTest<RebalanceProtocol::kEager>("eager"),
        once::testing::FakeLogUnderTest<RebalanceProtocol::kCooperative>("cooperative")),
    once::testing::LogSourceName);

INSTANTIATE_TEST_SUITE_P(
    FakeTopics, PublisherConformance,
    ::testing::Values(once::testing::PublisherUnderTest{
        .name = "fake",
        .make = [] { return std::make_unique<once::testing::FakeTopicsFixture>(); }}),
    once::testing::PublisherName);

INSTANTIATE_TEST_SUITE_P(
    FakeTopics, RecordClientConformance,
    ::testing::Values(once::testing::RecordClientUnderTest{
        .name = "fake",
        .make = [] { return std::make_unique<once::testing::FakeRecordsFixture>(); }}),
    once::testing::RecordClientName);
