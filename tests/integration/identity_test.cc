// Against a real broker: a topic that was made anew, a store that is not the one the group's
// offsets belong to, offsets that an operator has moved, a failover to another cluster. Each is
// noticed, the message says what to do, and the command that it shows does it, word for word.
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "tests/integration/consumer_group.h"

#ifdef ONCE_COMMAND
#include "tests/once_command.h"

namespace once {
namespace {

using kafka::testing::TestBroker;
using testing::AwaitCondition;
using testing::CountingLog;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Must;
using testing::RunningConsumer;

// One group, one topic of one partition, and stores that come and go.
class Scene {
 public:
  explicit Scene(const TestBroker& broker, std::string topic)
      : brokers_(broker.brokers()), topic_(std::move(topic)) {}

  TopicPartition partition() const { return {.topic = topic_, .partition = 0}; }
  const std::string& topic() const { return topic_; }
  std::string group() const { return topic_ + "-group"; }
  std::string PathOf(const std::string& name) const { return folder_.File(name); }
  std::int64_t CountEffects(const std::string& name) const {
    return testing::ReadEffects(PathOf(name)).rows;
  }

  std::vector<OutgoingMessage> Orders(const std::string& prefix, int count) const {
    std::vector<OutgoingMessage> orders;
    for (int i = 0; i < count; ++i) {
      orders.push_back(testing::Order(topic_, 0, absl::StrCat(prefix, i)));
    }
    return orders;
  }

  void UseBroker(std::string brokers) { brokers_ = std::move(brokers); }

 private:
  const testing::ScratchFolder folder_;
  std::string brokers_;
  const std::string topic_;

  friend class Session;
};

// The effects of plain handlers: a list outside of every store.
class Ledger {
 public:
  PlainHandlerFunction Handler() {
    return [this](const Message& message) -> Outcome {
      const std::lock_guard lock(mutex_);
      ids_.emplace_back(message.id());
      return Done();
    };
  }
  std::vector<std::string> ids() const {
    const std::lock_guard lock(mutex_);
    return ids_;
  }
  bool Await(std::size_t count) const {
    return AwaitCondition([&] { return ids().size() >= count; });
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> ids_;
};

// A consumer of the scene over the store file `name`, from its start to its end. Without another
// handler it books its effects into that store.
class Session {
 public:
  Session(const Scene& scene, const std::string& name, ForeignStore foreign = ForeignStore::kRefuse)
      : Session(scene, name, foreign, TransactionalHandlerFunction(testing::BookEffect)) {}

  template <typename Handler>
  Session(const Scene& scene, const std::string& name, ForeignStore foreign, Handler handler)
      : scene_(scene),
        name_(name),
        store_(testing::OpenEffects(scene.PathOf(name))),
        consumer_({.source = Must(kafka::Subscribe({.brokers = scene.brokers_,
                                                    .group = scene.group(),
                                                    .topics = {scene.topic()},
                                                    .session_timeout = absl::Seconds(6)})),
                   .store = store_,
                   .id = HeaderId("order-id"),
                   .foreign_store = foreign,
                   .times = {.idle_audit = absl::Milliseconds(200)},
                   .log = log_},
                  std::move(handler)) {}

  const CountingLog& log() const { return *log_; }
  // Counted when the consumer hears of a commit, which others may see before: whole after Stop().
  ConsumerStats stats() const { return consumer_->stats(); }
  bool AwaitEffects(std::int64_t count) const {
    return AwaitCondition([&] { return scene_.CountEffects(name_) == count; });
  }
  // The reason of the stop that comes; empty when none does.
  std::string AwaitStop() const {
    AwaitCondition([&] { return !consumer_->stopped_partitions().empty(); });
    const auto stopped = consumer_->stopped_partitions();
    return stopped.empty() ? "" : stopped.front().reason.ToString();
  }
  std::vector<StoppedPartition> stopped() const { return consumer_->stopped_partitions(); }
  // Runs the first command in `text` that begins so, as it was printed.
  void Obey(const std::string& text, const std::string& beginning) const {
    for (const std::string& command : testing::FindCommands(text)) {
      if (!command.starts_with("once position " + beginning + " --store STORE " + scene_.topic())) {
        continue;
      }
      const testing::CommandResult result = testing::RunPrinted(command, scene_.PathOf(name_));
      EXPECT_EQ(result.code, 0) << command << "\n" << result.output << result.errors;
      return;
    }
    ADD_FAILURE() << "no such command in: " << text;
  }
  std::string ClusterOfRow() const {
    return Must(store_->operations()->ListPositions()).back().key.cluster;
  }
  void Stop() {
    const absl::Status stopped = consumer_.Stop();
    EXPECT_TRUE(stopped.ok()) << stopped;
  }

 private:
  const Scene& scene_;
  const std::string name_;
  const std::shared_ptr<CountingLog> log_ = std::make_shared<CountingLog>();
  const std::shared_ptr<DedupStore> store_;
  RunningConsumer consumer_;
};

// The topic's five first messages are handled with the store "a.db"; its cluster's id.
std::string HandleFive(TestBroker& broker, const Scene& scene) {
  broker.Produce(scene.Orders("order-", 5));
  Session run(scene, "a.db");
  EXPECT_TRUE(run.AwaitEffects(5));
  std::string cluster = run.ClusterOfRow();
  run.Stop();
  return cluster;
}

void Recreate(TestBroker& broker, const std::string& topic) {
  broker.DeleteTopic(topic);
  EXPECT_TRUE(AwaitCondition([&] {
    try {
      broker.CreateTopic(topic, 1);
      return true;
    } catch (const std::runtime_error&) {
      return false;  // the name is not free yet
    }
  }));
}

TEST(Identity, ATopicMadeAnewWithAsManyMessagesIsNoticedAndReadOnOrder) {
  ONCE_REQUIRE_KAFKA(broker);
  const Scene scene(broker, broker.NewTopic(1));
  HandleFive(broker, scene);
  Recreate(broker, scene.topic());
  broker.Produce(scene.Orders("new-", 6));
  Session run(scene, "a.db");
  const std::string reason = run.AwaitStop();
  EXPECT_THAT(reason, HasSubstr("the message at offset 4 is not the one that was handled there"));
  EXPECT_EQ(scene.CountEffects("a.db"), 5);
  run.Obey(reason, "set");
  EXPECT_TRUE(run.AwaitEffects(11));
  EXPECT_THAT(run.stopped(), IsEmpty());
  run.Stop();
}

TEST(Identity, ATopicMadeAnewWithFewerMessagesIsNoticedAndReadOnOrder) {
  ONCE_REQUIRE_KAFKA(broker);
  const Scene scene(broker, broker.NewTopic(1));
  HandleFive(broker, scene);
  Recreate(broker, scene.topic());
  broker.Produce(scene.Orders("new-", 2));
  Session run(scene, "a.db");
  const std::string reason = run.AwaitStop();
  EXPECT_THAT(reason, HasSubstr("position 5 lies beyond the log's end 2"));
  run.Obey(reason, "set");
  EXPECT_TRUE(run.AwaitEffects(7));
  run.Stop();
}

TEST(Identity, AnotherStoreIsRefusedAndAdoptsOnOrder) {
  ONCE_REQUIRE_KAFKA(broker);
  const Scene scene(broker, broker.NewTopic(1));
  HandleFive(broker, scene);
  broker.Produce(scene.Orders("later-", 1));
  {
    Session refused(scene, "b.db");
    const std::string reason = refused.AwaitStop();
    EXPECT_THAT(reason, HasSubstr("the messages below offset 5 were handled with another store"));
    EXPECT_THAT(reason, HasSubstr("ForeignStore::kReplay"));
    refused.Stop();
    EXPECT_EQ(scene.CountEffects("b.db"), 0);
  }
  // A refused store has left the offsets as they were: it is refused again.
  Session run(scene, "b.db");
  const std::string again = run.AwaitStop();
  EXPECT_THAT(again, HasSubstr("another store"));
  run.Obey(again, "adopt");
  EXPECT_TRUE(run.AwaitEffects(1)) << "the one after offset 5";
  EXPECT_THAT(run.stopped(), IsEmpty());
  run.Stop();
  // Now the offsets belong to b, and a is the stranger.
  Session stranger(scene, "a.db");
  EXPECT_THAT(stranger.AwaitStop(), HasSubstr("the messages below offset 6 were handled with"));
  stranger.Stop();
}

TEST(Identity, AnotherStoreAdoptsOrReplaysAsConfigured) {
  ONCE_REQUIRE_KAFKA(broker);
  const Scene scene(broker, broker.NewTopic(1));
  HandleFive(broker, scene);
  broker.Produce(scene.Orders("later-", 1));
  {
    Session adopting(scene, "b.db", ForeignStore::kAdopt);
    EXPECT_TRUE(adopting.AwaitEffects(1));
    EXPECT_THAT(adopting.log().text("foreign_store"), HasSubstr("going on at 5"));
    adopting.Stop();
  }
  {
    Session replaying(scene, "c.db", ForeignStore::kReplay);
    EXPECT_TRUE(replaying.AwaitEffects(6));
    EXPECT_THAT(replaying.log().text("foreign_store"), HasSubstr("going on at 0"));
    replaying.Stop();
  }
  EXPECT_EQ(scene.CountEffects("b.db"), 1);
}

TEST(Identity, OffsetsThatAnOperatorHasMovedAreReportedWithTheCommandThatMovesTheRow) {
  ONCE_REQUIRE_KAFKA(broker);
  const Scene scene(broker, broker.NewTopic(1));
  HandleFive(broker, scene);
  broker.CommitOffset(scene.group(), scene.partition(), 1);
  broker.Produce(scene.Orders("later-", 1));
  Session run(scene, "a.db");
  EXPECT_TRUE(run.AwaitEffects(6));
  EXPECT_TRUE(AwaitCondition([&] { return run.stats().processed == 1; }));
  EXPECT_EQ(run.stats().duplicates, 0U) << "the row is the authority";
  const std::string text = run.log().text("offsets_reset");
  EXPECT_THAT(text, HasSubstr("somebody set the group's offset to 1"));
  run.Obey(text, "set");
  EXPECT_TRUE(AwaitCondition([&] { return run.stats().duplicates == 5; }));
  EXPECT_EQ(scene.CountEffects("a.db"), 6) << "ids protect";
  run.Stop();
}

TEST(Identity, AStoreThatWasRestoredFromABackupSaysSoAndReplays) {
  ONCE_REQUIRE_KAFKA(broker);
  const Scene scene(broker, broker.NewTopic(1));
  HandleFive(broker, scene);
  std::filesystem::copy_file(scene.PathOf("a.db"), scene.PathOf("backup"));
  broker.Produce(scene.Orders("later-", 3));
  {
    Session run(scene, "a.db");
    EXPECT_TRUE(run.AwaitEffects(8));
    run.Stop();
  }
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(scene.PathOf(std::string("a.db") + suffix));
  }
  std::filesystem::copy_file(scene.PathOf("backup"), scene.PathOf("a.db"));
  Session restored(scene, "a.db");
  EXPECT_TRUE(restored.AwaitEffects(8));
  EXPECT_THAT(
      restored.log().text("store_rolled_back"),
      HasSubstr("the group's offset is 8, and this store has handled the messages below 5"));
  restored.Stop();
}

// The same with plain handlers, whose position is the group's offset.

// The topic's five first messages are handled with the store "a.db".
std::vector<std::string> HandleFivePlainly(TestBroker& broker, const Scene& scene) {
  broker.Produce(scene.Orders("order-", 5));
  Ledger ledger;
  Session run(scene, "a.db", ForeignStore::kRefuse, ledger.Handler());
  EXPECT_TRUE(ledger.Await(5));
  run.Stop();
  return ledger.ids();
}

class PlainHandlerMeetsANewTopic : public ::testing::TestWithParam<int> {};

// The broker forgets a group's offsets together with the topic.
TEST_P(PlainHandlerMeetsANewTopic, ThatHasTheNameOfADeletedOneAndHandlesAllOfIt) {
  ONCE_REQUIRE_KAFKA(broker);
  const Scene scene(broker, broker.NewTopic(1));
  HandleFivePlainly(broker, scene);
  Recreate(broker, scene.topic());
  std::vector<OutgoingMessage> orders = scene.Orders("new-", GetParam());
  orders.push_back(testing::Order(scene.topic(), 0, "order-3"));
  broker.Produce(orders);
  Ledger ledger;
  Session run(scene, "a.db", ForeignStore::kRefuse, ledger.Handler());
  EXPECT_TRUE(AwaitCondition([&] { return run.stats().duplicates == 1; }))
      << "what was handled before the topic was deleted";
  std::vector<std::string> expected;
  for (int i = 0; i < GetParam(); ++i) expected.push_back(absl::StrCat("new-", i));
  EXPECT_THAT(ledger.ids(), ElementsAreArray(expected));
  EXPECT_THAT(run.stopped(), IsEmpty());
  run.Stop();
}

INSTANTIATE_TEST_SUITE_P(Shorter, PlainHandlerMeetsANewTopic, ::testing::Values(2));
INSTANTIATE_TEST_SUITE_P(Longer, PlainHandlerMeetsANewTopic, ::testing::Values(8));

TEST(Identity, APlainHandlersStoreIsNotExchangedUnnoticed) {
  ONCE_REQUIRE_KAFKA(broker);
  const Scene scene(broker, broker.NewTopic(1));
  HandleFivePlainly(broker, scene);
  broker.Produce(scene.Orders("later-", 1));
  {
    Ledger ledger;
    Session refused(scene, "b.db", ForeignStore::kRefuse, ledger.Handler());
    const std::string reason = refused.AwaitStop();
    EXPECT_THAT(reason, HasSubstr("the messages below offset 5 were handled with another store"));
    EXPECT_THAT(reason, HasSubstr("ForeignStore::kAdopt"));
    EXPECT_THAT(reason, HasSubstr("ForeignStore::kReplay"));
    EXPECT_THAT(testing::FindCommands(reason), IsEmpty()) << "there is no row to move";
    refused.Stop();
    EXPECT_THAT(ledger.ids(), IsEmpty());
  }
  {
    Ledger ledger;
    Session adopting(scene, "b.db", ForeignStore::kAdopt, ledger.Handler());
    EXPECT_TRUE(ledger.Await(1));
    adopting.Stop();
    EXPECT_THAT(ledger.ids(), ElementsAre("later-0"));
  }
  Ledger ledger;
  Session replaying(scene, "c.db", ForeignStore::kReplay, ledger.Handler());
  EXPECT_TRUE(ledger.Await(6));
  replaying.Stop();
  EXPECT_THAT(ledger.ids(),
              ElementsAre("order-0", "order-1", "order-2", "order-3", "order-4", "later-0"));
}

TEST(Identity, APlainHandlerAndATransactionalOneOfTheSameStoreReplaceEachOtherWithoutAReplay) {
  ONCE_REQUIRE_KAFKA(broker);
  const Scene scene(broker, broker.NewTopic(1));
  HandleFivePlainly(broker, scene);
  broker.Produce(scene.Orders("transactional-", 2));
  {
    Session transactional(scene, "a.db");
    EXPECT_TRUE(transactional.AwaitEffects(2));
    transactional.Stop();
    EXPECT_EQ(transactional.stats().duplicates, 0U) << "it begins where the plain one ended";
  }
  broker.Produce(scene.Orders("plain-", 3));
  {
    Ledger ledger;
    Session plain(scene, "a.db", ForeignStore::kRefuse, ledger.Handler());
    EXPECT_TRUE(ledger.Await(3));
    plain.Stop();
    EXPECT_THAT(ledger.ids(), ElementsAre("plain-0", "plain-1", "plain-2"));
    EXPECT_EQ(plain.stats().duplicates, 0U);
  }
  broker.Produce(scene.Orders("again-", 1));
  Session transactional(scene, "a.db");
  EXPECT_TRUE(transactional.AwaitEffects(3));
  EXPECT_THAT(transactional.stopped(), IsEmpty());
  transactional.Stop();
  EXPECT_EQ(transactional.stats().duplicates, 0U) << "past its own row, which is older";
}

// librdkafka's own cluster in this process: another one, with another id.
class MockCluster {
 public:
  explicit MockCluster(const std::string& topic) {
    std::array<char, 512> reason{};
    host_ = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), reason.data(), reason.size());
    cluster_ = rd_kafka_mock_cluster_new(host_, 1);
    rd_kafka_mock_topic_create(cluster_, topic.c_str(), 1, 1);
  }
  ~MockCluster() {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(host_);
  }
  MockCluster(const MockCluster&) = delete;
  MockCluster& operator=(const MockCluster&) = delete;

  std::string brokers() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }

 private:
  rd_kafka_t* host_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

TEST(Identity, AfterAFailoverToAMirrorPositionsStartAnewAndIdsProtect) {
  ONCE_REQUIRE_KAFKA(broker);
  Scene scene(broker, broker.NewTopic(1));
  const std::string former = HandleFive(broker, scene);
  const MockCluster mirror(scene.topic());
  TestBroker mirror_broker(mirror.brokers());
  // The mirror has what the first cluster had, and one message more.
  mirror_broker.Produce(scene.Orders("order-", 6));
  scene.UseBroker(mirror.brokers());
  Session run(scene, "a.db");
  EXPECT_TRUE(run.AwaitEffects(6));
  EXPECT_THAT(run.log().text("failover"),
              HasSubstr("this store knows the partition from another cluster, " + former));
  run.Stop();
  EXPECT_EQ(run.stats().duplicates, 5U);
}

}  // namespace
}  // namespace once
#endif
