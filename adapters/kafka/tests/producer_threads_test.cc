// once::Producer and its spool under many senders at once: new topics, no room, brokers that fail,
// a flush beside them. Every message has its outcome once, and arrives as it was sent. Of most use
// under the sanitizers.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "adapters/kafka/tests/mock_broker.h"
#include "once/kafka/record_client.h"
#include "once/memory/store.h"
#include "once/producer.h"
#include "once/spool.h"

namespace once::kafka {
namespace {

using testing::MockBroker;
using testing::TestBroker;

constexpr int kTopics = 12;
constexpr int kSenders = 4;
constexpr int kMessages = 800;
constexpr absl::Duration kPatience = absl::Seconds(60);

struct Tally {
  std::atomic<int> stored = 0;
  std::atomic<int> not_stored = 0;
  std::atomic<int> unknown = 0;

  void Note(const SendOutcome& outcome) {
    if (outcome.status.ok()) {
      ++stored;
    } else {
      ++(absl::IsUnknown(outcome.status) ? unknown : not_stored);
    }
  }
  int all() const { return stored + not_stored + unknown; }
};

class ProducerThreads : public ::testing::Test {
 protected:
  ProducerThreads() {
    for (int i = 0; i < kTopics; ++i) broker_.CreateTopic(absl::StrCat("t", i), 3);
  }

  std::unique_ptr<Producer> Open(ProducerLimits limits, ProducerTimes times) {
    auto producer = Producer::Create(
        {.clients = RecordClients(
             {.brokers = broker_.brokers(), .linger = absl::Milliseconds(1), .log = NoLog()}),
         .stamps = {.producer = "test", .mark_interval = absl::Milliseconds(20)},
         .limits = limits,
         .times = times,
         .log = NoLog()});
    EXPECT_TRUE(producer.ok()) << producer.status();
    return *std::move(producer);
  }

  static OutgoingMessage MessageOf(int sender, int number) {
    return {.topic = absl::StrCat("t", (number / 40 + sender) % kTopics),
            .partition = number % 3 == 0 ? std::optional<std::int32_t>(number % 2) : std::nullopt,
            .key = absl::StrCat(number % 17),
            .value = std::string(static_cast<std::size_t>(number % 200), 'v'),
            .headers = {{"other", absl::StrCat(number)}}};
  }

  // Half of them with a ticket, half with a callback.
  void SendFrom(Producer& producer, int sender, Tally& tally) {
    std::vector<Ticket> tickets;
    for (int i = 0; i < kMessages; ++i) {
      if (i % 2 == 0) {
        producer.Send(MessageOf(sender, i),
                      [&tally](const SendOutcome& outcome) { tally.Note(outcome); });
        continue;
      }
      tickets.push_back(producer.Send(MessageOf(sender, i)));
      if (tickets.size() < 50) continue;
      for (Ticket& ticket : tickets) {
        const auto outcome = ticket.Wait(absl::Now() + kPatience);
        ASSERT_NE(outcome, nullptr);
        tally.Note(*outcome);
      }
      tickets.clear();
    }
    for (Ticket& ticket : tickets) {
      const auto outcome = ticket.Wait(absl::Now() + kPatience);
      ASSERT_NE(outcome, nullptr);
      tally.Note(*outcome);
    }
  }

  // As MessageOf() made them, and none is missing.
  void ExpectAllArrived() {
    TestBroker reader(broker_.brokers());
    std::map<int, int> copies;
    for (int i = 0; i < kTopics; ++i) {
      for (const once::testing::StoredMessage& stored : reader.DumpTopic(absl::StrCat("t", i))) {
        ASSERT_FALSE(stored.message.headers.empty());
        EXPECT_EQ(stored.message.headers.front().name, "other");
        int number = -1;
        ASSERT_TRUE(absl::SimpleAtoi(*stored.message.headers.front().value, &number));
        const OutgoingMessage sent = MessageOf(0, number);
        EXPECT_EQ(stored.message.key, sent.key);
        EXPECT_EQ(stored.message.value, sent.value);
        ++copies[number];
      }
    }
    for (int number = 0; number < kMessages; ++number) EXPECT_GE(copies[number], kSenders);
  }

  MockBroker broker_;
};

TEST_F(ProducerThreads, EverythingHasItsOutcomeOnceWhateverHappensBeside) {
  Tally tally;
  const auto producer = Open({.messages_max = 200}, {.delivery_timeout = absl::Seconds(30)});
  std::atomic<bool> is_over = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < kSenders; ++i) {
    threads.emplace_back([&, i] { SendFrom(*producer, i, tally); });
  }
  std::thread trouble([&] {
    const std::array<rd_kafka_resp_err_t, 2> errors = {
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER};
    // As many as the messages can outlive: each of the second kind breaks a client.
    for (std::size_t i = 0; i < 8 && !is_over; ++i) {
      broker_.Fail(MockBroker::kProduce, {errors[i % 2]});
      const int before = tally.all();
      while (!is_over && tally.all() < before + 200) {
        producer->Flush(absl::Now() + absl::Milliseconds(50));
        std::this_thread::yield();
      }
    }
  });
  for (std::thread& thread : threads) thread.join();
  is_over = true;
  trouble.join();
  EXPECT_EQ(producer->Flush(absl::Now() + kPatience).count, 0U);
  EXPECT_EQ(tally.all(), kSenders * kMessages);
  EXPECT_EQ(tally.stored, kSenders * kMessages);
  ExpectAllArrived();
}

class SpoolThreads : public ProducerThreads, public ::testing::WithParamInterface<SpoolMode> {};

INSTANTIATE_TEST_SUITE_P(Modes, SpoolThreads,
                         ::testing::Values(SpoolMode::kWriteAhead, SpoolMode::kWhenUnreachable),
                         [](const auto& mode) {
                           return mode.param == SpoolMode::kWriteAhead ? "WriteAhead"
                                                                       : "WhenUnreachable";
                         });

TEST_P(SpoolThreads, EverythingIsTakenAndArrivesThoughTheBrokersComeAndGo) {
  Tally tally;
  auto spool = OpenSpool(
      {.store = memory::OpenStore(),
       .producer = {.clients = RecordClients({.brokers = broker_.brokers(), .log = NoLog()}),
                    .stamps = {.producer = "test"},
                    .limits = {.messages_max = 200},
                    .log = NoLog()},
       .mode = GetParam(),
       .unreachable_after = absl::Seconds(1)});
  ASSERT_TRUE(spool.ok()) << spool.status();
  std::atomic<bool> is_over = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < kSenders; ++i) {
    threads.emplace_back([&, i] { SendFrom(**spool, i, tally); });
  }
  std::thread trouble([&] {
    while (!is_over) {
      broker_.SetUp(false);
      (*spool)->Flush(absl::Now() + absl::Milliseconds(1500));
      broker_.SetUp(true);
      (*spool)->Flush(absl::Now() + absl::Seconds(3));
    }
  });
  for (std::thread& thread : threads) thread.join();
  is_over = true;
  trouble.join();
  EXPECT_EQ(tally.stored, kSenders * kMessages);
  EXPECT_EQ((*spool)->Close(absl::Now() + kPatience).count, 0U);
}

TEST_F(ProducerThreads, WhoWaitsInVainForRoomDoesNotMindNewTopics) {
  Tally tally;
  const auto producer = Open({.messages_max = 2}, {.send_timeout = absl::Milliseconds(40),
                                                   .delivery_timeout = absl::Seconds(30)});
  broker_.Delay(300);
  std::vector<std::thread> threads;
  for (int i = 0; i < kSenders; ++i) {
    threads.emplace_back([&, i] {
      for (int n = 0; n < kTopics * 3; ++n) {
        producer->Send({.topic = absl::StrCat("t", (n + i * 3) % kTopics), .value = "v"},
                       [&tally](const SendOutcome& outcome) { tally.Note(outcome); });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  broker_.Delay(0);
  producer->Flush(absl::Now() + kPatience);
  EXPECT_EQ(tally.all(), kSenders * kTopics * 3);
  EXPECT_GT(tally.not_stored, 0);
}

}  // namespace
}  // namespace once::kafka
