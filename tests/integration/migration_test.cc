// A group of plain librdkafka consumers becomes a group of `once`, and plain again: every order is
// handled once in all, and each side begins exactly where the other one ended.
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/kafka/tests/kafka_test_broker.h"
#include "once/wrap.h"
#include "tests/integration/consumer_group.h"

namespace once {
namespace {

using ::testing::IsEmpty;
using testing::Milestone;
using testing::Must;
using testing::RunningConsumer;

constexpr std::int32_t kPartitions = 3;
constexpr int kOrders = 300;

std::string KeyOf(const rd_kafka_message_t& message) {
  return {static_cast<const char*>(message.key), message.key_len};
}

// The same that a consumer takes by default.
Fingerprint FingerprintOf(const rd_kafka_message_t& message) {
  return Fingerprint::Of(std::string_view(static_cast<const char*>(message.payload), message.len));
}

// A consumer as people write it: takes a message, handles it, commits its offset.
class PlainConsumer {
 public:
  PlainConsumer(const std::string& brokers, const std::string& group, const std::string& topic) {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    std::array<char, 512> reason{};
    for (const auto& [name, value] :
         std::vector<std::pair<std::string, std::string>>{{"bootstrap.servers", brokers},
                                                          {"group.id", group},
                                                          {"enable.auto.commit", "false"},
                                                          {"auto.offset.reset", "earliest"},
                                                          {"enable.partition.eof", "true"}}) {
      rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason.data(), reason.size());
    }
    client_ = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason.data(), reason.size());
    if (client_ == nullptr) throw std::runtime_error(reason.data());
    rd_kafka_poll_set_consumer(client_);
    rd_kafka_topic_partition_list_t* topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic.c_str(), RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(client_, topics);
    rd_kafka_topic_partition_list_destroy(topics);
  }
  PlainConsumer(const PlainConsumer&) = delete;
  PlainConsumer& operator=(const PlainConsumer&) = delete;
  // Leaves the group.
  ~PlainConsumer() {
    rd_kafka_consumer_close(client_);
    rd_kafka_destroy(client_);
  }

  // Called with every message; the default does nothing.
  void HandleWith(std::function<void(const rd_kafka_message_t&)> handler) {
    handler_ = std::move(handler);
  }
  // As if it crashed after the next messages and before their commits.
  void StopCommitting() { is_committing_ = false; }

  // Handles at most `count` messages, or as many as there are. Their ids.
  std::vector<std::string> Handle(std::size_t count) {
    std::vector<std::string> handled;
    std::set<std::int32_t> ended;
    while (handled.size() < count && ended.size() < kPartitions) {
      rd_kafka_message_t* message = rd_kafka_consumer_poll(client_, 30'000);
      if (message == nullptr) throw std::runtime_error("the plain consumer gets nothing");
      if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) ended.insert(message->partition);
      if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        ended.erase(message->partition);
        handled.push_back(KeyOf(*message));
        if (handler_) handler_(*message);
        if (is_committing_) Commit(message);
      }
      rd_kafka_message_destroy(message);
    }
    return handled;
  }

 private:
  void Commit(rd_kafka_message_t* message) {
    const rd_kafka_resp_err_t committed = rd_kafka_commit_message(client_, message, 0);
    if (committed != RD_KAFKA_RESP_ERR_NO_ERROR) {
      throw std::runtime_error(rd_kafka_err2str(committed));
    }
  }

  rd_kafka_t* client_ = nullptr;
  std::function<void(const rd_kafka_message_t&)> handler_;
  bool is_committing_ = true;
};

class Migration : public ::testing::Test {
 protected:
  void SetUp() override {
    ONCE_REQUIRE_KAFKA(broker);
    broker_ = std::make_unique<kafka::testing::TestBroker>(broker.brokers());
    topic_ = broker_->NewTopic(kPartitions);
    group_ = topic_ + "-group";
    store_ = testing::OpenEffects(folder_.File("orders.db"));
  }

  // Orders first … first + count - 1, without duplicates.
  void Produce(int first, int count) {
    std::vector<OutgoingMessage> orders;
    for (int i = first; i < first + count; ++i) {
      orders.push_back(testing::Order(topic_, i % kPartitions, "order-" + std::to_string(i)));
    }
    broker_->Produce(orders);
  }

  PlainConsumer JoinPlain() { return {broker_->brokers(), group_, topic_}; }

  // A consumer of `once` in the same group; books into the file.
  std::unique_ptr<RunningConsumer> JoinOnce() {
    return std::make_unique<RunningConsumer>(
        ConsumerOptions{.source = Must(kafka::Subscribe(
                            {.brokers = broker_->brokers(), .group = group_, .topics = {topic_}})),
                        .store = store_,
                        .id = HeaderId("order-id"),
                        .scope = scope_,
                        .limits = {.batch_messages_max = 10},
                        .log = JsonLog(LogLevel::kError)},
        [this](const Message& message, Transaction& transaction) {
          absl::Status booked = testing::BookEffect(message, transaction);
          handled_.Count();
          return booked;
        });
  }

  std::vector<std::string> Booked() {
    sqlite3* connection = nullptr;
    std::vector<std::string> ids;
    sqlite3_open_v2(folder_.File("orders.db").c_str(), &connection, SQLITE_OPEN_READONLY, nullptr);
    const auto add = [](void* rows, int, char** values, char**) {
      static_cast<std::vector<std::string>*>(rows)->emplace_back(values[0]);
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(connection, "SELECT id FROM effects", add, &ids, nullptr), SQLITE_OK);
    sqlite3_close(connection);
    return ids;
  }

  // What was not handled by anybody, and what was handled more than once.
  struct Account {
    std::vector<std::string> lost;
    std::vector<std::string> repeated;
  };
  static Account AccountFor(int orders, const std::vector<std::vector<std::string>>& handled) {
    std::multiset<std::string> all;
    for (const auto& ids : handled) all.insert(ids.begin(), ids.end());
    Account account;
    for (int i = 0; i < orders; ++i) {
      const std::string id = "order-" + std::to_string(i);
      if (all.count(id) == 0) account.lost.push_back(id);
      if (all.count(id) > 1) account.repeated.push_back(id);
    }
    EXPECT_LE(all.size(), orders + account.repeated.size()) << "an order that nobody sent";
    return account;
  }

  const testing::ScratchFolder folder_;
  std::unique_ptr<kafka::testing::TestBroker> broker_;
  std::string topic_;
  std::string group_;
  std::shared_ptr<DedupStore> store_;
  std::optional<std::string> scope_;
  Milestone handled_;  // by `once`
};

TEST_F(Migration, TakesOverWhereThePlainConsumerEndedAndHandsBackWhereItEndsItself) {
  if (IsSkipped()) return;
  Produce(0, kOrders);
  std::vector<std::string> before;
  {
    PlainConsumer plain = JoinPlain();
    before = plain.Handle(kOrders / 2);
  }
  ASSERT_EQ(before.size(), kOrders / 2);

  auto consumer = JoinOnce();
  ASSERT_TRUE(handled_.Await(kOrders / 2));
  // It works on, and deduplicates what came since it took over.
  Produce(kOrders, 30);
  Produce(kOrders, 30);
  ASSERT_TRUE(handled_.Await(kOrders / 2 + 30));
  EXPECT_TRUE(testing::AwaitCondition([&] { return (*consumer)->stats().duplicates == 30; }));
  EXPECT_TRUE(consumer->Stop().ok());
  EXPECT_EQ((*consumer)->stats().processed, kOrders / 2 + 30);

  Produce(kOrders + 30, 60);
  PlainConsumer plain = JoinPlain();
  const std::vector<std::string> after = plain.Handle(kOrders);
  EXPECT_EQ(after.size(), 60) << "the plain consumer begins where `once` ended";
  const Account account = AccountFor(kOrders + 90, {before, Booked(), after});
  EXPECT_THAT(account.lost, IsEmpty());
  EXPECT_THAT(account.repeated, IsEmpty());
}

TEST_F(Migration, HandsBackInTheMiddleToo) {
  if (IsSkipped()) return;
  Produce(0, kOrders);
  auto consumer = JoinOnce();
  ASSERT_TRUE(handled_.Await(kOrders / 3));
  EXPECT_TRUE(consumer->Stop().ok());
  const std::vector<std::string> booked = Booked();
  ASSERT_GE(booked.size(), kOrders / 3);

  PlainConsumer plain = JoinPlain();
  const std::vector<std::string> after = plain.Handle(kOrders);
  EXPECT_EQ(after.size(), kOrders - booked.size());
  const Account account = AccountFor(kOrders, {booked, after});
  EXPECT_THAT(account.lost, IsEmpty());
  EXPECT_THAT(account.repeated, IsEmpty());
}

TEST_F(Migration, ComesBackWhereThePlainConsumerEndedOnceTheStoreIsToldToAdoptIt) {
  if (IsSkipped()) return;
  Produce(0, 30);
  auto consumer = JoinOnce();
  ASSERT_TRUE(handled_.Await(30));
  EXPECT_TRUE(consumer->Stop().ok());
  Produce(30, 30);
  std::vector<std::string> meanwhile;
  {
    PlainConsumer plain = JoinPlain();
    meanwhile = plain.Handle(20);
  }
  StoreOperations& operations = *store_->operations();
  for (const StoredPosition& position : Must(operations.ListPositions())) {
    EXPECT_TRUE(
        operations
            .OrderPosition(
                {.key = position.key, .directive = PositionDirective::kAdopt, .writer = 4711})
            .ok());
  }
  consumer = JoinOnce();
  ASSERT_TRUE(handled_.Await(40));
  EXPECT_TRUE(consumer->Stop().ok());
  const Account account = AccountFor(60, {Booked(), meanwhile});
  EXPECT_THAT(account.lost, IsEmpty());
  EXPECT_THAT(account.repeated, IsEmpty());
}

TEST_F(Migration, HandlesAgainWhatIsSentAgainFromBeforeItsTime) {
  if (IsSkipped()) return;
  Produce(0, 6);
  std::vector<std::string> before;
  {
    PlainConsumer plain = JoinPlain();
    before = plain.Handle(3);
  }
  // A producer sends again what the plain consumer had handled: `once` has never seen its id.
  broker_->Produce({testing::Order(topic_, 0, before.front())});
  auto consumer = JoinOnce();
  ASSERT_TRUE(handled_.Await(4));
  EXPECT_TRUE(consumer->Stop().ok());
  EXPECT_EQ(AccountFor(6, {before, Booked()}).repeated, std::vector{before.front()});
}

TEST_F(Migration, ALoopThatWasWrappedFirstLeavesNoWindow) {
  if (IsSkipped()) return;
  Produce(0, 6);
  scope_ = "orders";
  const auto book = Must(Wrap<rd_kafka_message_t>(
      {.store = store_,
       .scope = *scope_,
       .id = [](const rd_kafka_message_t& message) { return KeyOf(message); },
       .fingerprint = [](const rd_kafka_message_t& message) { return FingerprintOf(message); },
       .log = NoLog()},
      [](const rd_kafka_message_t& message, Transaction& transaction) {
        char* insert =
            sqlite3_mprintf("INSERT INTO effects(id) VALUES(%Q)", KeyOf(message).c_str());
        const int code =
            sqlite3_exec(sqlite::Connection(transaction), insert, nullptr, nullptr, nullptr);
        sqlite3_free(insert);
        return code == SQLITE_OK ? absl::OkStatus() : absl::InternalError("not booked");
      }));
  std::vector<std::string> before;
  {
    PlainConsumer plain = JoinPlain();
    plain.HandleWith([&](const rd_kafka_message_t& message) {
      EXPECT_EQ(Must(book(message)).verdict, CallVerdict::kDone);
    });
    before = plain.Handle(2);
    plain.StopCommitting();
    plain.Handle(1);
  }
  broker_->Produce({testing::Order(topic_, 0, before.front())});
  auto consumer = JoinOnce();
  ASSERT_TRUE(testing::AwaitCondition(
      [&] { return (*consumer)->stats().processed + (*consumer)->stats().duplicates == 5; }));
  EXPECT_TRUE(consumer->Stop().ok());
  EXPECT_EQ((*consumer)->stats().duplicates, 2) << "handled and not committed; and sent again";
  const Account account = AccountFor(6, {Booked()});
  EXPECT_THAT(account.lost, IsEmpty());
  EXPECT_THAT(account.repeated, IsEmpty());
}

}  // namespace
}  // namespace once
