// A spool whose conversation with the server is cut everywhere, whose server dies, and whose slot
// moves: every message is there once, in its place.
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/redis/outgoing_rows.h"
#include "adapters/redis/slots.h"
#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/loss_words.h"
#include "adapters/redis/tests/redis_cluster.h"
#include "adapters/redis/tests/redis_server.h"
#include "adapters/redis/tests/spool_book.h"
#include "adapters/redis/tests/spool_words.h"
#include "once/redis/spool.h"

namespace once::redis {
namespace {

using testing::AppendTo;
using testing::Book;
using testing::MustOpenSpool;
using testing::WaitingIn;

constexpr int kKeys = 5;

// A process that spools and relays, with all that it has heard and sent.
class Process {
 public:
  explicit Process(const SpoolLogOptions& place) {
    auto opened = testing::OpenTelling(place, [this](const OutgoingRecord& record) {
      const std::lock_guard lock(mutex_);
      int value = 0;
      EXPECT_TRUE(absl::SimpleAtoi(*record.message.value, &value));
      book_.arrivals.push_back(
          {.key = *record.message.key, .value = value, .stamp = std::string(record.stamp)});
    });
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (opened.ok()) producer_ = *std::move(opened);
  }

  Producer& producer() { return *producer_; }
  void Send(int value) {
    producer_->Send(testing::MessageOf(absl::StrCat(value), absl::StrCat("k", value % kKeys)),
                    [this, value](const SendOutcome& outcome) {
                      const std::lock_guard lock(mutex_);
                      EXPECT_TRUE(outcome.status.ok()) << outcome.status;
                      if (outcome.status.ok()) book_.spooled.insert(value);
                    });
  }
  Book Close() {
    EXPECT_EQ(producer_->Close(absl::Now() + absl::Seconds(20)).count, 0u);
    const std::lock_guard lock(mutex_);
    return book_;
  }

 private:
  std::mutex mutex_;
  Book book_;
  std::unique_ptr<Producer> producer_;
};

// A message that had been put there twice would have got two numbers.
TEST(RedisSpoolTrouble, WhateverIsCutEveryMessageIsThereOnceInItsPlace) {
  const testing::RedisServer server;
  testing::CutProxy proxy(server.File("p"), server.socket_path());
  const SpoolLogOptions place = {.server = {.url = "unix:" + server.File("p")}};
  Process process(place);
  constexpr int kCutTimes = 60;
  int value = 0;
  for (int i = 0; i < kCutTimes; ++i) {
    const int cuts = proxy.cuts();
    proxy.Arm(static_cast<testing::Cut>(i % testing::kCuts));
    for (int message = 0; message < 10; ++message) process.Send(value++);
    for (int waits = 0; proxy.cuts() == cuts && waits < 1000; ++waits) {
      absl::SleepFor(absl::Milliseconds(2));
    }
  }
  proxy.Disarm();
  EXPECT_EQ(proxy.cuts(), kCutTimes);
  EXPECT_EQ(process.producer().Flush(absl::Now() + absl::Seconds(30)).count, 0u);
  const auto look = MustOpenSpool({.server = {.url = server.url()}});
  ASSERT_NE(look, nullptr);
  testing::AwaitEmpty(look->outgoing());
  const Book book = process.Close();
  EXPECT_EQ(book.spooled.size(), static_cast<std::size_t>(value));
  testing::ExpectAllInOrder(book);
}

TEST(RedisSpoolTrouble, NothingIsLostWithAServerThatIsKilledAndStartedAgain) {
  testing::RedisServer server;
  const SpoolLogOptions place = {.server = {.url = server.url()}};
  Process process(place);
  int value = 0;
  for (int i = 0; i < 3; ++i) {
    for (int message = 0; message < 500; ++message) process.Send(value++);
    absl::SleepFor(absl::Milliseconds(30));
    server.Kill();
    for (int message = 0; message < 100; ++message) process.Send(value++);
    server.Start();
  }
  EXPECT_EQ(process.producer().Flush(absl::Now() + absl::Seconds(30)).count, 0u);
  const auto look = MustOpenSpool(place);
  ASSERT_NE(look, nullptr);
  testing::AwaitEmpty(look->outgoing());
  EXPECT_EQ(look->outgoing().MeasureBytes().value(), 0u);
  const Book book = process.Close();
  EXPECT_EQ(book.spooled.size(), static_cast<std::size_t>(value));
  testing::ExpectAllInOrder(book);
}

// What its sender was told of survives where a replica had to hear of it; what was lost is decided
// as lost, and that such things happen is said.
TEST(RedisSpoolTrouble, AFailoverLosesWhatNoReplicaHadHeardOf) {
  testing::RedisCluster cluster({.masters = 1, .has_replicas = true});
  const auto log = MustOpenSpool({.server = {.url = cluster.url(1),
                                             .call_timeout = absl::Seconds(10),
                                             .inspection_interval = absl::ZeroDuration()},
                                  .replicas_min = 1});
  ASSERT_NE(log, nullptr);
  const absl::Status heard = AppendTo(*log, 1, "heard");
  EXPECT_TRUE(heard.ok()) << heard;
  EXPECT_EQ(log->traits().durability, Durability::kProcess);
  cluster.node(1).Stop();
  cluster.node(0).Ask({"CLIENT", "KILL", "TYPE", "replica"});
  const absl::Status unheard = AppendTo(*log, 2, "unheard");
  EXPECT_TRUE(absl::IsUnknown(unheard)) << unheard;
  cluster.node(0).Kill();
  cluster.node(1).Continue();
  testing::AwaitThat(
      [&] {
        return !cluster.node(1).Ask({"CLUSTER", "FAILOVER", "TAKEOVER"}).is_error() &&
               cluster.node(1).Ask({"ROLE"}).elements[0].text == "master";
      },
      "the replica is promoted", std::chrono::seconds(20));
  absl::StatusOr<bool> is_there = log->Resolve(2);
  for (int tries = 0; !is_there.ok() && tries < 5; ++tries) is_there = log->Resolve(2);
  ASSERT_TRUE(is_there.ok()) << is_there.status();
  EXPECT_FALSE(*is_there);
  EXPECT_EQ(WaitingIn(*log), std::vector<std::string>{"heard"});
  EXPECT_EQ(log->traits().durability, Durability::kNothing);
  EXPECT_THAT(log->traits().weakness, ::testing::HasSubstr("failover"));
}

TEST(RedisSpoolTrouble, WhileItsSlotMovesNothingIsHalfWritten) {
  testing::RedisCluster cluster;
  const auto log =
      MustOpenSpool({.server = {.url = cluster.url(), .call_timeout = absl::Milliseconds(500)}});
  ASSERT_NE(log, nullptr);
  ASSERT_TRUE(AppendTo(*log, 1, "before").ok());
  const SpoolKeys keys("once-spool:");
  const int slot = SlotOf(keys.OfSpool());
  const int from = cluster.FirstOwnerOf(keys.OfSpool());
  const int to = (from + 1) % 3;
  cluster.BeginMove(slot, from, to);
  std::uint64_t number = 1;
  std::vector<std::string> expected = {"before"};
  bool has_more = true;
  while (has_more) {
    has_more = cluster.MoveKey(slot, from, to);
    ++number;
    const absl::Status appended = AppendTo(*log, number, absl::StrCat("during ", number));
    EXPECT_FALSE(absl::IsUnknown(appended)) << appended;
    if (appended.ok()) expected.push_back(absl::StrCat("during ", number));
  }
  cluster.EndMove(slot, to);
  ASSERT_TRUE(AppendTo(*log, ++number, "after").ok());
  expected.emplace_back("after");
  EXPECT_EQ(WaitingIn(*log), expected);
  EXPECT_EQ(log->outgoing().Count().value().waiting, expected.size());
  const auto lanes = log->outgoing().HoldLanes();
  ASSERT_TRUE(lanes.ok()) << lanes.status();
  EXPECT_EQ(lanes->size(), 16u);
  EXPECT_EQ(log->traits().durability, Durability::kMachine) << log->traits().weakness;
}

}  // namespace
}  // namespace once::redis
