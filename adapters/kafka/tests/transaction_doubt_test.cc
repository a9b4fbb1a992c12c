// Commits whose answer is lost, brokers that are away, instances that fence each other, processes
// that die: what becomes of transactions then, on a real broker.
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/read_back.h"
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
using testing::ConnectionCut;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::KafkaProxy;
using testing::KafkaRequest;
using testing::OpenTransactional;
using testing::SendTo;
using testing::UniqueName;
using testing::ValuesIn;

constexpr absl::Duration kSilence = absl::Minutes(5);

absl::Status CommitWithin(KafkaTransaction& transaction, absl::Duration wait) {
  return transaction.Commit(absl::Now() + wait);
}

// The answer to a commit, or the commit itself, gets lost, and the connection stays silent.
struct LostCommit {
  absl::Status committed;
  std::vector<std::string> values;  // in the topic afterwards
  absl::Status next;                // of another transaction of the same producer
};

LostCommit LoseCommit(testing::TestBroker& broker, bool is_applied, absl::Duration resolve) {
  const std::string topic = broker.NewTopic(2);
  KafkaProxy proxy(broker.brokers());
  const auto producer =
      OpenTransactional(proxy.address(), UniqueName("tx"), {.times = {.resolve_timeout = resolve}});
  LostCommit lost;
  {
    KafkaTransaction transaction = BeginOn(*producer);
    SendTo(transaction, topic, "doubtful");
    EXPECT_TRUE(AwaitStored(broker, topic, 1));
    proxy.Arm({.request = KafkaRequest::kEndTxn, .is_applied = is_applied, .silence = kSilence});
    lost.committed = CommitWithin(transaction, absl::Seconds(2));
    EXPECT_TRUE(proxy.AwaitCut(absl::ZeroDuration()));
  }
  lost.values = ValuesIn(broker, topic);
  const std::string other = broker.NewTopic(1);
  KafkaTransaction next = BeginOn(*producer);
  SendTo(next, other, "next");
  lost.next = CommitSoon(next);
  EXPECT_THAT(ValuesIn(broker, other), ElementsAre("next"));
  if (resolve == absl::ZeroDuration()) lost.values = ValuesIn(broker, topic);
  return lost;
}

TEST(KafkaTransactionDoubt, ACommitWhoseAnswerIsLostIsFoundToHaveHappened) {
  ONCE_REQUIRE_KAFKA(broker);
  const LostCommit lost = LoseCommit(broker, /*is_applied=*/true, absl::Seconds(30));
  EXPECT_TRUE(lost.committed.ok()) << lost.committed;
  EXPECT_THAT(lost.values, ElementsAre("doubtful"));
  EXPECT_TRUE(lost.next.ok()) << lost.next;
}

TEST(KafkaTransactionDoubt, ACommitThatIsLostIsFoundToBeAborted) {
  ONCE_REQUIRE_KAFKA(broker);
  const LostCommit lost = LoseCommit(broker, /*is_applied=*/false, absl::Seconds(30));
  EXPECT_TRUE(absl::IsAborted(lost.committed)) << lost.committed;
  EXPECT_THAT(lost.values, IsEmpty());
  EXPECT_TRUE(lost.next.ok()) << lost.next;
}

TEST(KafkaTransactionDoubt, WhoeverDoesNotLookIsToldThatNobodyKnows) {
  ONCE_REQUIRE_KAFKA(broker);
  for (const bool is_applied : {true, false}) {
    const LostCommit lost = LoseCommit(broker, is_applied, absl::ZeroDuration());
    EXPECT_TRUE(absl::IsUnknown(lost.committed)) << lost.committed;
    // The next transaction has made the brokers end it, one way or the other.
    EXPECT_EQ(lost.values.size(), is_applied ? 1U : 0U);
    EXPECT_TRUE(lost.next.ok()) << lost.next;
  }
}

TEST(KafkaTransactionDoubt, ACommitIsTriedAgainWhileConnectionsBreak) {
  ONCE_REQUIRE_KAFKA(broker);
  for (const bool is_applied : {true, false}) {
    const std::string topic = broker.NewTopic(1);
    KafkaProxy proxy(broker.brokers());
    const auto producer = OpenTransactional(proxy.address(), UniqueName("tx"));
    KafkaTransaction transaction = BeginOn(*producer);
    SendTo(transaction, topic, "stubborn");
    ASSERT_TRUE(AwaitStored(broker, topic, 1));
    proxy.Arm({.request = KafkaRequest::kEndTxn,
               .is_applied = is_applied,
               .silence = absl::Milliseconds(10)});
    const absl::Status committed = CommitSoon(transaction);
    EXPECT_TRUE(committed.ok()) << committed;
    EXPECT_TRUE(proxy.AwaitCut(absl::ZeroDuration()));
    EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("stubborn"));
  }
}

TEST(KafkaTransactionDoubt, AfterACommitThatWasRepeatedTheNextOneHasAnEpochOfItsOwn) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  KafkaProxy proxy(broker.brokers());
  const auto producer = OpenTransactional(proxy.address(), UniqueName("tx"));
  KafkaTransaction transaction = BeginOn(*producer);
  SendTo(transaction, topic, "repeated");
  ASSERT_TRUE(AwaitStored(broker, topic, 1));
  proxy.Arm({.request = KafkaRequest::kEndTxn, .is_applied = true, .silence = absl::Seconds(1)});
  bool has_asked_for_an_epoch = false;
  std::jthread watches([&] {
    if (!proxy.AwaitCut(testing::kTransactionPatience)) return;
    proxy.Arm({.request = KafkaRequest::kInitProducerId,
               .is_applied = true,
               .silence = absl::Milliseconds(10)});
    has_asked_for_an_epoch = proxy.AwaitCut(absl::Seconds(10));
  });
  ASSERT_TRUE(CommitSoon(transaction).ok());
  watches.join();
  EXPECT_TRUE(has_asked_for_an_epoch);
  KafkaTransaction next = BeginOn(*producer);
  SendTo(next, topic, "next");
  EXPECT_TRUE(CommitSoon(next).ok());
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("repeated", "next"));
}

TEST(KafkaTransactionDoubt, BrokersThatAreAwayBeforeTheMessagesArriveCommitNothing) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  KafkaProxy proxy(broker.brokers());
  const auto producer = OpenTransactional(
      proxy.address(), UniqueName("tx"),
      {.times = {.abort_timeout = absl::Seconds(1), .resolve_timeout = absl::Seconds(1)}});
  {
    KafkaTransaction transaction = BeginOn(*producer);
    proxy.SetUp(false);
    SendTo(transaction, topic, "lost");
    const absl::Status committed = CommitWithin(transaction, absl::Seconds(1));
    EXPECT_TRUE(absl::IsAborted(committed)) << committed;
  }
  proxy.SetUp(true);
  KafkaTransaction next = BeginOn(*producer);
  SendTo(next, topic, "next");
  ASSERT_TRUE(CommitSoon(next).ok());
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("next"));
}

TEST(KafkaTransactionDoubt, ADeadlineThatIsTooShortHoldsNobodyUp) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  KafkaProxy proxy(broker.brokers());
  const auto producer = OpenTransactional(proxy.address(), UniqueName("tx"),
                                          {.times = {.abort_timeout = absl::Seconds(20)}});
  KafkaTransaction transaction = BeginOn(*producer);
  SendTo(transaction, topic, "stored");
  ASSERT_TRUE(AwaitStored(broker, topic, 1));
  proxy.Arm({.request = KafkaRequest::kProduce, .is_applied = false, .silence = kSilence});
  SendTo(transaction, topic, "on its way");
  ASSERT_TRUE(proxy.AwaitCut(testing::kTransactionPatience));
  const absl::Time before = absl::Now();
  const absl::Status committed = CommitWithin(transaction, absl::Milliseconds(500));
  EXPECT_TRUE(absl::IsAborted(committed)) << committed;
  EXPECT_LT(absl::Now() - before, absl::Seconds(15));
  // The brokers know: readers do not wait.
  broker.Produce({{.topic = topic, .partition = 0, .value = "behind"}});
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("behind"));
}

TEST(KafkaTransactionDoubt, ACommitWithoutADeadlineEndsWithTheAgeOfItsTransaction) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  KafkaProxy proxy(broker.brokers());
  const auto producer = OpenTransactional(proxy.address(), UniqueName("tx"),
                                          {.times = {.transaction_timeout = absl::Seconds(5)}});
  KafkaTransaction transaction = BeginOn(*producer);
  SendTo(transaction, topic, "patient");
  ASSERT_TRUE(AwaitStored(broker, topic, 1));
  proxy.Arm({.request = KafkaRequest::kEndTxn, .is_applied = true, .silence = kSilence});
  const absl::Time before = absl::Now();
  const absl::Status committed = transaction.Commit(absl::InfiniteFuture());
  EXPECT_TRUE(committed.ok()) << committed;
  EXPECT_LT(absl::Now() - before, absl::Seconds(15));
}

TEST(KafkaTransactionDoubt, BrokersThatStayAwayAfterTheCommitLeaveItInDoubt) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  KafkaProxy proxy(broker.brokers());
  const auto producer = OpenTransactional(
      proxy.address(), UniqueName("tx"),
      {.times = {.abort_timeout = absl::Seconds(1), .resolve_timeout = absl::Seconds(2)}});
  KafkaTransaction transaction = BeginOn(*producer);
  SendTo(transaction, topic, "doubtful");
  proxy.Arm({.request = KafkaRequest::kEndTxn, .is_applied = false, .silence = kSilence});
  const std::jthread pulls_the_plug([&] {
    if (proxy.AwaitCut(testing::kTransactionPatience)) proxy.SetUp(false);
  });
  const absl::Status committed = CommitWithin(transaction, absl::Seconds(2));
  EXPECT_TRUE(absl::IsUnknown(committed)) << committed;
  EXPECT_THAT(std::string(committed.message()), HasSubstr("id-doubtful"));
  proxy.SetUp(true);
  KafkaTransaction next = BeginOn(*producer);
  SendTo(next, topic, "next");
  ASSERT_TRUE(CommitSoon(next).ok());
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("next"));
}

TEST(KafkaTransactionDoubt, ASecondInstanceFencesTheFirstForGood) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const std::string id = UniqueName("tx");
  const auto first = OpenTransactional(broker.brokers(), id);
  const auto second = OpenTransactional(broker.brokers(), id);
  KafkaTransaction fenced = BeginOn(*first);
  SendTo(fenced, topic, "first");
  ASSERT_TRUE(AwaitStored(broker, topic, 1));
  KafkaTransaction transaction = BeginOn(*second);
  SendTo(transaction, topic, "second");
  const absl::Status committed = CommitSoon(fenced);
  EXPECT_TRUE(absl::IsFailedPrecondition(committed)) << committed;
  EXPECT_THAT(std::string(committed.message()), HasSubstr(id));
  ASSERT_TRUE(CommitSoon(transaction).ok());
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("second"));
  EXPECT_TRUE(absl::IsFailedPrecondition(first->status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(first->Begin().status()));
  // The second one was not disturbed.
  KafkaTransaction again = BeginOn(*second);
  SendTo(again, topic, "again");
  EXPECT_TRUE(CommitSoon(again).ok());
}

TEST(KafkaTransactionDoubt, AnInstanceThatIsFencedBetweenTwoTransactionsIsToldInTheSecond) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const std::string id = UniqueName("tx");
  const auto first = OpenTransactional(broker.brokers(), id);
  const auto second = OpenTransactional(broker.brokers(), id);
  KafkaTransaction before = BeginOn(*first);
  SendTo(before, topic, "before");
  ASSERT_TRUE(CommitSoon(before).ok());
  KafkaTransaction theirs = BeginOn(*second);
  SendTo(theirs, topic, "theirs");
  ASSERT_TRUE(CommitSoon(theirs).ok());
  KafkaTransaction after = BeginOn(*first);
  after.Send({.topic = topic, .value = "after"}).IgnoreError();
  const absl::Status committed = CommitSoon(after);
  EXPECT_TRUE(absl::IsFailedPrecondition(committed)) << committed;
  EXPECT_TRUE(absl::IsFailedPrecondition(first->Begin().status()));
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("before", "theirs"));
}

// -- A process that dies ---------------------------------------------------------------------

constexpr const char* kChildTopic = "ONCE_TEST_TRANSACTION_TOPIC";
constexpr const char* kChildId = "ONCE_TEST_TRANSACTION_ID";

// Run by the next test in a process of its own, which is killed with its transaction open.
TEST(KafkaTransactionChild, DISABLED_HoldsATransactionOpen) {
  const auto producer = OpenTransactional(std::getenv("ONCE_TEST_KAFKA"), std::getenv(kChildId));
  KafkaTransaction transaction = BeginOn(*producer);
  SendTo(transaction, std::getenv(kChildTopic), "of the dead");
  while (true) absl::SleepFor(absl::Seconds(1));
}

TEST(KafkaTransactionDoubt, WhatADeadProcessLeftOpenIsAbortedByTheNextOfItsName) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const std::string id = UniqueName("tx");
  setenv(kChildTopic, topic.c_str(), 1);
  setenv(kChildId, id.c_str(), 1);
  std::string all = "--gtest_also_run_disabled_tests";
  std::string filter = "--gtest_filter=KafkaTransactionChild.*";
  std::string name = "child";
  char* arguments[] = {name.data(), all.data(), filter.data(), nullptr};
  pid_t child = -1;
  ASSERT_EQ(posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments, environ), 0);
  const bool is_stored = AwaitStored(broker, topic, 1);
  kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_TRUE(is_stored);
  broker.Produce({{.topic = topic, .partition = 0, .value = "behind"}});
  // Its transaction is open for a minute yet: readers wait.
  EXPECT_THAT(ValuesIn(broker, topic), IsEmpty());
  const auto next = OpenTransactional(broker.brokers(), id);
  KafkaTransaction transaction = BeginOn(*next);
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("behind"));
  SendTo(transaction, topic, "of the living");
  ASSERT_TRUE(CommitSoon(transaction).ok());
  EXPECT_THAT(ValuesIn(broker, topic), ElementsAre("behind", "of the living"));
}

// -- Reading back ----------------------------------------------------------------------------

class ReadingBack : public ::testing::Test {
 protected:
  static Visibility Read(testing::TestBroker& broker, const Witness& witness,
                         absl::Duration wait = absl::Seconds(20)) {
    const Properties properties;
    return ReadBack({.brokers = broker.brokers(),
                     .properties = properties,
                     .log = NoLog(),
                     .witness = witness,
                     .id_header = "once-id"},
                    absl::Now() + wait);
  }
};

TEST_F(ReadingBack, TellsCommittedFromAbortedFromOpenFromDeleted) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const auto producer = OpenTransactional(broker.brokers(), UniqueName("tx"));
  const auto send = [&](KafkaTransaction& transaction, const std::string& value) {
    SendTo(transaction, topic, value);
  };
  KafkaTransaction committed = BeginOn(*producer);  // offset 0, its marker 1
  send(committed, "a");
  ASSERT_TRUE(CommitSoon(committed).ok());
  KafkaTransaction aborted = BeginOn(*producer);  // 2, 3
  send(aborted, "b");
  ASSERT_TRUE(AwaitStored(broker, topic, 2));
  ASSERT_TRUE(aborted.Abort().ok());
  KafkaTransaction open = BeginOn(*producer);  // 4
  send(open, "c");
  ASSERT_TRUE(AwaitStored(broker, topic, 3));
  EXPECT_EQ(Read(broker, {topic, 0, 0, "id-a"}), Visibility::kVisible);
  EXPECT_EQ(Read(broker, {topic, 0, 2, "id-b"}), Visibility::kInvisible);
  EXPECT_EQ(Read(broker, {topic, 0, 4, "id-c"}, absl::Seconds(2)), Visibility::kNotKnown);
  // Not the record that was written there.
  EXPECT_EQ(Read(broker, {topic, 0, 0, "id-z"}), Visibility::kNotKnown);
  EXPECT_EQ(Read(broker, {topic, 0, 2, "id-z"}), Visibility::kNotKnown);
  ASSERT_TRUE(CommitSoon(open).ok());
  EXPECT_EQ(Read(broker, {topic, 0, 4, "id-c"}), Visibility::kVisible);
  broker.Truncate({topic, 0}, 4);
  EXPECT_EQ(Read(broker, {topic, 0, 0, "id-a"}), Visibility::kNotKnown);
  EXPECT_EQ(Read(broker, {topic, 0, 2, "id-b"}), Visibility::kNotKnown);
}

TEST_F(ReadingBack, AnswersNothingAboutATopicThatIsGone) {
  ONCE_REQUIRE_KAFKA(broker);
  EXPECT_EQ(Read(broker, {UniqueName("gone"), 0, 0, "id"}, absl::Seconds(2)),
            Visibility::kNotKnown);
}

}  // namespace
}  // namespace once::kafka
