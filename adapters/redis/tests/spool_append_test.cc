// What is appended to a shared spool: once, whatever becomes of answers; within its bounds; and
// what the server forgets is noticed.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/redis_server.h"
#include "adapters/redis/tests/spool_words.h"
#include "once/redis/spool.h"

namespace once::redis {
namespace {

using testing::AppendTo;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MustOpenSpool;
using testing::WaitingIn;

SpoolLogOptions At(const std::string& url) {
  return {.server = {.url = url, .call_timeout = absl::Seconds(2)},
          .key_prefix = testing::NewPrefix()};
}

TEST(RedisSpoolAppend, AnAnswerThatIsLostIsDecidedAndNothingIsThereTwice) {
  const testing::RedisServer server;
  testing::CutProxy proxy(server.File("p"), server.socket_path());
  const auto log = MustOpenSpool(At("unix:" + server.File("p")));
  ASSERT_NE(log, nullptr);
  std::uint64_t number = 0;
  ASSERT_TRUE(AppendTo(*log, ++number, "warm").ok());
  std::vector<std::string> expected = {"warm"};
  for (int cut = 0; cut < testing::kCuts; ++cut) {
    const std::string value = absl::StrCat("cut ", cut);
    proxy.Arm(static_cast<testing::Cut>(cut));
    const absl::Status appended = AppendTo(*log, ++number, value);
    proxy.Disarm();
    ASSERT_TRUE(absl::IsUnknown(appended)) << cut << ": " << appended;
    const auto resolved = log->Resolve(number);
    ASSERT_TRUE(resolved.ok()) << resolved.status();
    const bool is_heard = cut >= static_cast<int>(testing::Cut::kUnanswered);
    EXPECT_EQ(*resolved, is_heard) << cut;
    EXPECT_EQ(log->Resolve(number).value(), is_heard) << "asked again";
    if (!is_heard) {
      EXPECT_TRUE(AppendTo(*log, ++number, value).ok()) << cut;
    }
    expected.push_back(value);
  }
  EXPECT_EQ(WaitingIn(*log), expected);
  EXPECT_EQ(log->outgoing().Count().value().waiting, expected.size());
  EXPECT_EQ(log->traits().durability, Durability::kMachine) << log->traits().weakness;
}

// A server that hangs hears an append after its sender has given up and asked.
TEST(RedisSpoolAppend, WhatComesAfterItWasDecidedComesTooLate) {
  const testing::RedisServer server;
  const auto log = MustOpenSpool(At(server.url()));
  ASSERT_NE(log, nullptr);
  ASSERT_TRUE(AppendTo(*log, 1, "first").ok());
  EXPECT_EQ(log->Resolve(2).value(), false);
  EXPECT_FALSE(AppendTo(*log, 2, "late").ok());
  EXPECT_TRUE(AppendTo(*log, 3, "third").ok());
  EXPECT_THAT(WaitingIn(*log), ElementsAre("first", "third"));
}

TEST(RedisSpoolAppend, BoundsHoldForWhatAllProcessesHavePutThere) {
  SpoolLogOptions options = At(testing::SharedServer().url());
  const auto one = MustOpenSpool(options);
  const auto other = MustOpenSpool(options);
  ASSERT_TRUE(one != nullptr && other != nullptr);
  const OutgoingMessage messages[] = {testing::MessageOf("1"), testing::MessageOf("2")};
  ASSERT_TRUE(AppendTo(*one, 1, messages, 2).ok());
  const absl::Status full = AppendTo(*other, 1, messages, 2);
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  const absl::Status heavy = AppendTo(*other, 2, messages, 100, 10);
  EXPECT_TRUE(absl::IsResourceExhausted(heavy)) << heavy;
  EXPECT_TRUE(AppendTo(*other, 3, messages, 3).ok());
  EXPECT_EQ(one->outgoing().Count().value().waiting, 4u);
  EXPECT_EQ(one->outgoing().MeasureBytes().value(), other->outgoing().MeasureBytes().value());
}

TEST(RedisSpoolAppend, AMessageThatIsTooLargeIsRefusedForGood) {
  const auto log = MustOpenSpool(At(testing::SharedServer().url()));
  ASSERT_NE(log, nullptr);
  const absl::Status refused = AppendTo(*log, 1, std::string(kSpoolMessageBytesMax, 'x'));
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument) << refused;
  const OutgoingMessage large = testing::MessageOf(std::string(kSpoolMessageBytesMax - 1000, 'x'));
  ASSERT_TRUE(AppendTo(*log, 2, {&large, 1}).ok());
  EXPECT_THAT(WaitingIn(*log), ElementsAre(*large.value));
}

// One relay's share of a spool: everything that is told goes out, and is finished.
std::vector<std::string> Drain(OutgoingLog& log) {
  std::vector<std::string> values;
  const auto lanes = log.HoldLanes();
  EXPECT_TRUE(lanes.ok()) << lanes.status();
  if (!lanes.ok()) return values;
  for (const int lane : *lanes) {
    const auto rows = log.FindUnplaced(lane, {.rows_max = 1000, .bytes_max = 1'000'000});
    EXPECT_TRUE(rows.ok()) << rows.status();
    if (!rows.ok() || rows->empty()) continue;
    OutgoingRound round{.lane = lane, .epoch = 1};
    for (const OutgoingRow& row : *rows) {
      values.push_back(row.message.value.value_or(""));
      round.placements.push_back({.number = row.number, .sequence = values.size()});
    }
    const absl::Status placed = log.Advance({.placed = {&round, 1}});
    EXPECT_TRUE(placed.ok()) << placed;
    const OutgoingProgress::Finished finished{.lane = lane, .round = round.round};
    const absl::Status done = log.Advance({.finished = {&finished, 1}});
    EXPECT_TRUE(done.ok()) << done;
  }
  return values;
}

TEST(RedisSpoolAppend, AFullServerTakesNothingMoreAndIsDrainedAllTheSame) {
  const testing::RedisServer server;
  const auto log = MustOpenSpool(At(server.url()));
  ASSERT_NE(log, nullptr);
  ASSERT_TRUE(AppendTo(*log, 1, "before").ok());
  server.Ask({"CONFIG", "SET", "maxmemory", "1"});
  const absl::Status full = AppendTo(*log, 2, "refused");
  EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
  EXPECT_THAT(full.ToString(), HasSubstr("maxmemory"));
  EXPECT_THAT(Drain(log->outgoing()), ElementsAre("before"));
  EXPECT_EQ(log->outgoing().Count().value().waiting, 0u);
  server.Ask({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_TRUE(AppendTo(*log, 3, "after").ok());
  EXPECT_THAT(Drain(log->outgoing()), ElementsAre("after"));
}

TEST(RedisSpoolAppend, WhatTheServerHasForgottenLowersWhatIsPromised) {
  const testing::RedisServer server;
  const auto log = MustOpenSpool(At(server.url()));
  ASSERT_NE(log, nullptr);
  ASSERT_TRUE(AppendTo(*log, 1, "lost").ok());
  EXPECT_EQ(log->traits().durability, Durability::kMachine);
  server.Ask({"FLUSHALL"});
  ASSERT_TRUE(AppendTo(*log, 2, "there").ok());
  EXPECT_EQ(log->traits().durability, Durability::kNothing);
  EXPECT_THAT(log->traits().weakness, HasSubstr("are lost"));
  EXPECT_THAT(WaitingIn(*log), ElementsAre("there"));
}

// Numbers are given again after that: what a relay has read before must not be taken for them.
TEST(RedisSpoolAppend, ARowThatHasGotTheNumberOfALostOneIsNotDroppedForIt) {
  const testing::RedisServer server;
  const auto log = MustOpenSpool(At(server.url()));
  ASSERT_NE(log, nullptr);
  ASSERT_TRUE(log->outgoing().HoldLanes().ok());
  ASSERT_TRUE(AppendTo(*log, 1, "lost").ok());
  const int lane = static_cast<int>(log->outgoing().ListWaiting(0, 1).value().at(0).number % 16);
  const auto rows =
      log->outgoing().FindUnplaced(lane, {.rows_max = 10, .bytes_max = 1'000'000}).value();
  ASSERT_EQ(rows.size(), 1u);
  // As after a failover that has lost the last append.
  const auto keys = server.Ask({"KEYS", absl::StrCat("*:rows:", lane)}).elements;
  ASSERT_EQ(keys.size(), 1u);
  server.Ask({"DEL", keys[0].text});
  const std::string lane_key =
      server.Ask({"KEYS", absl::StrCat("*:lane:", lane)}).elements.at(0).text;
  server.Ask({"HSET", lane_key, "=n", "0"});
  ASSERT_TRUE(AppendTo(*log, 2, "in its place").ok());
  OutgoingRound round{
      .lane = lane, .epoch = 1, .placements = {{.number = rows[0].number, .sequence = 1}}};
  const absl::Status placed = log->outgoing().Advance({.placed = {&round, 1}});
  EXPECT_TRUE(absl::IsAborted(placed)) << placed;
  EXPECT_THAT(Drain(log->outgoing()), ElementsAre("in its place"));
}

// Rows that were placed once are not placed any more: the relay must not pass over them.
TEST(RedisSpoolAppend, WhatAServerThatWentBackHasAgainIsToldAgain) {
  const testing::RedisServer server;
  const auto log = MustOpenSpool(At(server.url()));
  ASSERT_NE(log, nullptr);
  OutgoingLog& outgoing = log->outgoing();
  ASSERT_TRUE(outgoing.HoldLanes().ok());
  ASSERT_TRUE(AppendTo(*log, 1, "1").ok());
  ASSERT_TRUE(AppendTo(*log, 2, "2").ok());
  const int lane = static_cast<int>(outgoing.ListWaiting(0, 1).value().at(0).number % 16);
  std::map<std::string, std::string> before;
  for (const char* const part : {"lane", "rows"}) {
    const std::string key =
        server.Ask({"KEYS", absl::StrCat("*:", part, ":", lane)}).elements.at(0).text;
    before[key] = server.Ask({"DUMP", key}).text;
  }
  const auto place = [&](OutgoingRound& round) {
    const auto rows = outgoing.FindUnplaced(lane, {.rows_max = 1, .bytes_max = 1000});
    ASSERT_TRUE(rows.ok() && rows->size() == 1) << rows.status();
    round = {
        .lane = lane, .epoch = 1, .placements = {{.number = rows->at(0).number, .sequence = 1}}};
  };
  OutgoingRound first;
  place(first);
  ASSERT_TRUE(outgoing.Advance({.placed = {&first, 1}}).ok());
  const OutgoingProgress::Finished finished{.lane = lane, .round = first.round};
  ASSERT_TRUE(outgoing.Advance({.finished = {&finished, 1}}).ok());
  OutgoingRound second;
  place(second);
  for (const auto& [key, dump] : before) {
    ASSERT_FALSE(server.Ask({"RESTORE", key, "0", dump, "REPLACE"}).is_error());
  }
  const absl::Status placed = outgoing.Advance({.placed = {&second, 1}});
  EXPECT_TRUE(absl::IsAborted(placed)) << placed;
  EXPECT_THAT(outgoing.HoldLanes().value(), IsEmpty()) << "the relay is told that it begins anew";
  EXPECT_THAT(Drain(outgoing), ElementsAre("1", "2"));
}

TEST(RedisSpoolAppend, WithoutEnoughReplicasNothingIsPromised) {
  SpoolLogOptions options = At(testing::SharedServer().url());
  options.replicas_min = 1;
  options.server.call_timeout = absl::Seconds(2);
  const auto log = MustOpenSpool(options);
  ASSERT_NE(log, nullptr);
  const absl::Time begun = absl::Now();
  const absl::Status alone = AppendTo(*log, 1, "alone");
  EXPECT_GE(absl::Now() - begun, absl::Milliseconds(900)) << "they have time to hear of it";
  EXPECT_TRUE(absl::IsUnknown(alone)) << alone;
  EXPECT_THAT(alone.ToString(), HasSubstr("replicas_min"));
  EXPECT_FALSE(log->Resolve(1).ok());
}

// The rights that the README asks for, and no more.
TEST(RedisSpoolAppend, AUserWithTheRightsOfTheSpoolIsEnough) {
  const testing::RedisServer server;
  server.Ask({"ACL", "SETUSER", "clerk", "on", ">pass", "~shop:*", "+@read", "+@write",
              "+@scripting", "+info", "+time", "+config|get", "+wait"});
  const auto log = MustOpenSpool({.server = {.url = server.url(),
                                             .user = "clerk",
                                             .password = "pass",
                                             .call_timeout = absl::Seconds(2)},
                                  .key_prefix = "shop:",
                                  .replicas_min = 1});
  ASSERT_NE(log, nullptr);
  EXPECT_THAT(AppendTo(*log, 1, "1").ToString(), HasSubstr("replicas_min"));
  EXPECT_THAT(Drain(log->outgoing()), ElementsAre("1"));
  EXPECT_TRUE(log->outgoing().ListParked(0, 10).ok());
  EXPECT_TRUE(log->outgoing().ListStreams().ok());
  EXPECT_TRUE(log->outgoing().IsEpochInUse(1).ok());
  EXPECT_TRUE(log->outgoing().CloseEpoch(1).ok());
}

TEST(RedisSpoolAppend, WeakSettingsAreSaidAndBadOptionsRefused) {
  const testing::RedisServer weak({"appendfsync everysec"});
  const auto log = MustOpenSpool(At(weak.url()));
  ASSERT_NE(log, nullptr);
  EXPECT_EQ(log->traits().durability, Durability::kProcess);
  EXPECT_THAT(log->traits().weakness, HasSubstr("everysec"));
  SpoolLogOptions options = At(weak.url());
  options.lane_lease = absl::ZeroDuration();
  EXPECT_EQ(OpenSpoolLog(options).status().code(), absl::StatusCode::kInvalidArgument);
  options = At(weak.url());
  options.server.accept_eviction = true;
  EXPECT_EQ(OpenSpoolLog(options).status().code(), absl::StatusCode::kInvalidArgument);
  const testing::RedisServer evicting({"maxmemory-policy allkeys-lru"});
  EXPECT_EQ(OpenSpoolLog(At(evicting.url())).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace once::redis
