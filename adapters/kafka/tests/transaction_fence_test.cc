// Two instances with one transactional id, whatever else goes wrong: the later one has it, and the
// former one never takes it back, on a real broker.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_proxy.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "adapters/kafka/tests/transaction_scene.h"
#include "once/kafka/transactional_producer.h"

namespace once::kafka {
namespace {

using testing::AwaitStored;
using testing::AwaitThat;
using testing::BeginOn;
using testing::CommitSoon;
using ::testing::ElementsAre;
using testing::KafkaProxy;
using testing::KafkaRequest;
using testing::OpenTransactional;
using testing::SendTo;
using testing::UniqueName;
using testing::ValuesIn;

constexpr absl::Duration kSilence = absl::Minutes(5);

TEST(KafkaTransactionFence, AnInstanceThatStoodStillForTooLongDoesNotTakeItsIdBack) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const std::string id = UniqueName("tx");
  constexpr absl::Duration kAge = absl::Seconds(5);
  const auto zombie =
      OpenTransactional(broker.brokers(), id, {.times = {.transaction_timeout = kAge}});
  const auto successor = OpenTransactional(broker.brokers(), id);
  KafkaTransaction stopped = BeginOn(*zombie);
  SendTo(stopped, topic, "zombie");
  ASSERT_TRUE(AwaitStored(broker, topic, 1));
  const absl::Time too_old = absl::Now() + kAge;
  KafkaTransaction theirs = BeginOn(*successor);
  SendTo(theirs, topic, "theirs");
  ASSERT_TRUE(AwaitThat([&] { return absl::Now() > too_old; }));
  const absl::Status committed = CommitSoon(stopped);
  EXPECT_TRUE(absl::IsFailedPrecondition(committed)) << committed;
  EXPECT_TRUE(absl::IsFailedPrecondition(zombie->status())) << zombie->status();
  EXPECT_TRUE(absl::IsFailedPrecondition(zombie->Begin().status()));
  const absl::Status survived = CommitSoon(theirs);
  EXPECT_TRUE(survived.ok()) << survived;
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("theirs"));
}

TEST(KafkaTransactionFence, AProducerWhoseMessageFailedDoesNotFenceWhoeverCameSince) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = UniqueName("small");
  broker.CreateTopic(topic, 1, {{"max.message.bytes", "1000"}});
  const std::string id = UniqueName("tx");
  const auto former = OpenTransactional(broker.brokers(), id);
  KafkaTransaction failed = BeginOn(*former);
  ASSERT_TRUE(failed.Send({.topic = topic, .value = std::string(2000, 'x')}).ok());
  ASSERT_TRUE(absl::IsInvalidArgument(CommitSoon(failed)));
  const auto successor = OpenTransactional(broker.brokers(), id);
  KafkaTransaction theirs = BeginOn(*successor);
  SendTo(theirs, topic, "theirs");
  KafkaTransaction zombie = BeginOn(*former);
  zombie.Send({.topic = topic, .value = "zombie"}).IgnoreError();
  const absl::Status committed = CommitSoon(zombie);
  EXPECT_TRUE(absl::IsFailedPrecondition(committed)) << committed;
  const absl::Status survived = CommitSoon(theirs);
  EXPECT_TRUE(survived.ok()) << survived;
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("theirs"));
}

// The first instance hears nothing of its commit, and a second one comes meanwhile.
struct Succession {
  absl::Status committed;  // of the first
  absl::Status status;     // of its producer afterwards
  absl::Status survived;   // the commit of the second
  std::vector<std::string> values;
};

Succession Succeed(testing::TestBroker& broker, bool is_applied, absl::Duration silence) {
  const std::string topic = broker.NewTopic(1);
  const std::string id = UniqueName("tx");
  KafkaProxy proxy(broker.brokers());
  const auto former = OpenTransactional(proxy.address(), id);
  const auto successor = OpenTransactional(broker.brokers(), id);
  KafkaTransaction doubtful = BeginOn(*former);
  SendTo(doubtful, topic, "doubtful");
  EXPECT_TRUE(AwaitStored(broker, topic, 1));
  proxy.Arm({.request = KafkaRequest::kEndTxn, .is_applied = is_applied, .silence = silence});
  Succession seen;
  std::jthread commits([&] { seen.committed = doubtful.Commit(absl::Now() + absl::Seconds(3)); });
  EXPECT_TRUE(proxy.AwaitCut(testing::kTransactionPatience));
  KafkaTransaction theirs = BeginOn(*successor);
  SendTo(theirs, topic, "theirs");
  commits.join();
  seen.status = former->status();
  seen.survived = CommitSoon(theirs);
  seen.values = ValuesIn(broker, topic);
  return seen;
}

TEST(KafkaTransactionFence, ACommitThatIsLostDoesNotFenceWhoeverHasAbortedIt) {
  ONCE_REQUIRE_KAFKA(broker);
  const Succession seen = Succeed(broker, /*is_applied=*/false, kSilence);
  EXPECT_TRUE(absl::IsFailedPrecondition(seen.committed)) << seen.committed;
  EXPECT_TRUE(absl::IsFailedPrecondition(seen.status)) << seen.status;
  EXPECT_TRUE(seen.survived.ok()) << seen.survived;
  EXPECT_THAT(seen.values, ElementsAre("theirs"));
}

TEST(KafkaTransactionFence, ACommitWhoseAnswerIsLostDoesNotFenceWhoeverCameSince) {
  ONCE_REQUIRE_KAFKA(broker);
  const Succession seen = Succeed(broker, /*is_applied=*/true, kSilence);
  EXPECT_TRUE(seen.committed.ok()) << seen.committed;
  EXPECT_TRUE(seen.survived.ok()) << seen.survived;
  EXPECT_THAT(seen.values, ElementsAre("doubtful", "theirs"));
}

}  // namespace
}  // namespace once::kafka
