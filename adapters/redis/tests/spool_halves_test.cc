// Scripts of a shared spool that would fail half way: the server keeps what they have written by
// then. What can be seen before is refused before anything is written; whatever else fails is never
// taken for nothing, nor said again.
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/outgoing_rows.h"
#include "adapters/redis/tests/redis_server.h"
#include "adapters/redis/tests/spool_words.h"
#include "once/redis/spool.h"
#include "src/stores/outgoing_codec.h"

namespace once::redis {
namespace {

using testing::AppendTo;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MustOpenSpool;
using ::testing::SizeIs;
using testing::WaitingIn;

constexpr OutgoingLog::Bound kAll = {.rows_max = 1000, .bytes_max = 1'000'000};

// A message that lies in this lane.
OutgoingMessage MessageIn(int lane, std::string value) {
  OutgoingMessage message = testing::MessageOf(std::move(value));
  for (int key = 0; stores::OrderOf(message) % kLanes != static_cast<std::uint64_t>(lane); ++key) {
    message.key = absl::StrCat("k", key);
  }
  return message;
}

class RedisSpoolHalves : public ::testing::Test {
 protected:
  void SetUp() override {
    Grant("+@all");
    log_ = MustOpenSpool({.server = {.url = server_.url(),
                                     .user = "clerk",
                                     .password = "pass",
                                     .call_timeout = absl::Seconds(5)}});
    ASSERT_NE(log_, nullptr);
  }

  OutgoingLog& log() { return log_->outgoing(); }
  absl::Status Append(std::uint64_t number, const std::vector<OutgoingMessage>& messages) {
    return AppendTo(*log_, number, messages);
  }
  void Grant(const std::string& right) {
    const Reply reply = server_.Ask({"ACL", "SETUSER", "clerk", "on", ">pass", "~*", right});
    EXPECT_FALSE(reply.is_error()) << reply.text;
  }
  // All keys of the server, and what is in them.
  std::map<std::string, std::string> Everything() const {
    std::map<std::string, std::string> everything;
    for (const Reply& key : server_.Ask({"KEYS", "*"}).elements) {
      everything[key.text] = server_.Ask({"DUMP", key.text}).text;
    }
    return everything;
  }
  // Refused, and nothing is written.
  void ExpectRefused(const absl::Status& status, std::string_view right,
                     const std::map<std::string, std::string>& before) const {
    EXPECT_TRUE(absl::IsUnavailable(status)) << right << ": " << status;
    EXPECT_THAT(status.ToString(), HasSubstr(std::string(right))) << right;
    EXPECT_TRUE(Everything() == before) << right << ": something is written";
  }
  // A round of all that waits in the lane.
  OutgoingRound Place(int lane) {
    OutgoingRound round{.lane = lane, .epoch = 1};
    const auto rows = log().FindUnplaced(lane, kAll);
    EXPECT_TRUE(rows.ok()) << rows.status();
    if (!rows.ok()) return round;
    for (const OutgoingRow& row : *rows) {
      round.placements.push_back({.number = row.number, .sequence = round.placements.size() + 1});
    }
    const absl::Status placed = log().Advance({.placed = {&round, 1}});
    EXPECT_TRUE(placed.ok()) << placed;
    return round;
  }

  const testing::RedisServer server_;
  std::shared_ptr<SpoolLog> log_;
};

TEST_F(RedisSpoolHalves, AnAppendWithoutOneRightWritesNothing) {
  ASSERT_TRUE(Append(1, {MessageIn(2, "2a"), MessageIn(5, "5a")}).ok());
  std::uint64_t number = 1;
  for (const std::string right : {"HMGET", "HINCRBY", "HSET", "SET", "GET"}) {
    const auto before = Everything();
    Grant("-" + right);
    const absl::Status refused = Append(++number, {MessageIn(2, "2b"), MessageIn(5, "5b")});
    ExpectRefused(refused, right, before);
    Grant("+" + right);
  }
  ASSERT_TRUE(Append(++number, {MessageIn(2, "2b"), MessageIn(5, "5b")}).ok());
  EXPECT_THAT(WaitingIn(*log_), ElementsAre("2a", "5a", "2b", "5b"));
  EXPECT_EQ(log().Count().value().waiting, 4u);
}

TEST_F(RedisSpoolHalves, ARelayWithoutOneRightWritesNothing) {
  ASSERT_THAT(log().HoldLanes().value(), SizeIs(kLanes));
  ASSERT_TRUE(Append(1, {MessageIn(2, "1"), MessageIn(2, "2"), MessageIn(5, "3")}).ok());
  const OutgoingRound first = Place(2);
  const OutgoingRound second = Place(5);
  const OwedVoid owed{.epoch = 1, .topic = "orders", .partition = 0, .sequence = 9};
  ASSERT_TRUE(log().Advance({.owed = {&owed, 1}}).ok());
  const OutgoingProgress::Finished finished[] = {{.lane = 2, .round = first.round},
                                                 {.lane = 5, .round = second.round}};
  const StreamProgress stream{.epoch = 1, .topic = "orders", .partition = 0, .last = 2};
  const OutgoingProgress progress = {
      .finished = finished, .declared = {&owed, 1}, .streams = {&stream, 1}};
  for (const std::string right : {"HSET", "HDEL", "HSTRLEN", "HINCRBY", "HGET", "HEXISTS"}) {
    const auto before = Everything();
    Grant("-" + right);
    const absl::Status refused = log().Advance(progress);
    ExpectRefused(refused, right, before);
    Grant("+" + right);
  }
  const absl::Status done = log().Advance(progress);
  EXPECT_TRUE(done.ok()) << done;
  EXPECT_EQ(log().Count().value().waiting, 0u);
  EXPECT_EQ(log().MeasureBytes().value(), 0u);
  EXPECT_EQ(log().ListStreams().value(), std::vector<StreamProgress>{stream});
  EXPECT_THAT(log().ListOwed().value(), SizeIs(0));
}

// Else it counted as a relay, whose share of the lanes nobody has.
TEST_F(RedisSpoolHalves, WhoHasNoRightToHoldLanesDoesNotCountAsARelay) {
  for (const std::string right : {"ZADD", "ZREM", "ZCARD", "ZREMRANGEBYSCORE", "HSET", "HMGET"}) {
    const auto before = Everything();
    Grant("-" + right);
    ExpectRefused(log().HoldLanes().status(), right, before);
    Grant("+" + right);
  }
  EXPECT_THAT(log().HoldLanes().value(), SizeIs(kLanes));
}

// By damage that nobody foresees: a number that the server cannot raise.
TEST_F(RedisSpoolHalves, AnAppendThatIsThereInPartIsNeitherDoneNorSaidAgain) {
  ASSERT_TRUE(Append(1, {MessageIn(2, "before"), MessageIn(5, "before too")}).ok());
  const std::string lane = SpoolKeys("once-spool:").OfLane(5);
  server_.Ask({"HSET", lane, "=n", "9223372036854775807"});
  const absl::Status half = Append(2, {MessageIn(2, "half"), MessageIn(5, "other half")});
  EXPECT_TRUE(absl::IsUnknown(half)) << half;
  EXPECT_THAT(half.ToString(), HasSubstr("in the middle"));
  for (int asked = 0; asked < 2; ++asked) {
    const auto decided = log_->Resolve(2);
    EXPECT_TRUE(absl::IsDataLoss(decided.status())) << decided.status();
    EXPECT_THAT(decided.status().ToString(), HasSubstr("some of its messages"));
  }
  // What fails with its first write has written nothing.
  const auto before = Everything();
  const absl::Status failed = Append(3, {MessageIn(5, "nothing")});
  EXPECT_FALSE(failed.ok() || absl::IsUnknown(failed)) << failed;
  EXPECT_THAT(failed.ToString(), HasSubstr("redis: ERR increment"));
  EXPECT_TRUE(Everything() == before);
}

TEST_F(RedisSpoolHalves, WhatARelayHasWrittenInPartIsUnknown) {
  ASSERT_THAT(log().HoldLanes().value(), SizeIs(kLanes));
  ASSERT_TRUE(Append(1, {MessageIn(2, "1")}).ok());
  const OutgoingRound round = Place(2);
  server_.Ask({"HSET", SpoolKeys("once-spool:").OfSpool(), "rows", "no number"});
  const OutgoingProgress::Finished finished{.lane = 2, .round = round.round};
  const absl::Status half = log().Advance({.finished = {&finished, 1}});
  EXPECT_TRUE(absl::IsUnknown(half)) << half;
}

}  // namespace
}  // namespace once::redis
