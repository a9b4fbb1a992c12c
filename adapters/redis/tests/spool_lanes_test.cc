// Relays of several processes on one spool: lanes are shared, a lease that ran out gives them to
// others, and whoever has lost one writes nothing there any more.
#include <algorithm>
#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/tests/cut_proxy.h"
#include "adapters/redis/tests/redis_server.h"
#include "adapters/redis/tests/spool_words.h"
#include "once/redis/spool.h"
#include "src/stores/lane_sharing.h"

namespace once::redis {
namespace {

using testing::AppendTo;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::MustOpenSpool;
using ::testing::SizeIs;

constexpr OutgoingLog::Bound kAll = {.rows_max = 1000, .bytes_max = 1'000'000};

class RedisSpoolLanes : public ::testing::Test {
 protected:
  std::shared_ptr<SpoolLog> Open(const std::string& url = testing::SharedServer().url()) {
    return MustOpenSpool(
        {.server = {.url = url, .clock_skew = [this] { return absl::Seconds(skew_.load()); }},
         .key_prefix = prefix_,
         .lane_lease = absl::Seconds(10)});
  }
  static std::vector<int> Hold(SpoolLog& log) {
    auto lanes = log.outgoing().HoldLanes();
    EXPECT_TRUE(lanes.ok()) << lanes.status();
    return lanes.ok() ? *std::move(lanes) : std::vector<int>();
  }
  // The lane of key "k", and a round of all that waits there.
  static OutgoingRound PlaceAll(SpoolLog& log, int lane, std::uint64_t epoch = 1) {
    OutgoingRound round{.lane = lane, .epoch = epoch};
    const auto rows = log.outgoing().FindUnplaced(lane, kAll);
    EXPECT_TRUE(rows.ok()) << rows.status();
    if (!rows.ok()) return round;
    for (const OutgoingRow& row : *rows) {
      round.placements.push_back({.number = row.number, .sequence = round.placements.size() + 1});
    }
    const absl::Status placed = log.outgoing().Advance({.placed = {&round, 1}});
    EXPECT_TRUE(placed.ok()) << placed;
    return round;
  }
  static int LaneOfFirst(SpoolLog& log) {
    return static_cast<int>(log.outgoing().ListWaiting(0, 1).value().at(0).number % 16);
  }

  const std::string prefix_ = testing::NewPrefix();
  std::atomic<int> skew_ = 0;
};

TEST_F(RedisSpoolLanes, RelaysShareTheLanes) {
  const auto one = Open();
  const auto other = Open();
  ASSERT_TRUE(one != nullptr && other != nullptr);
  EXPECT_THAT(Hold(*one), SizeIs(16));
  EXPECT_THAT(Hold(*other), IsEmpty());
  EXPECT_THAT(Hold(*one), SizeIs(16));
  auto* const sharing = dynamic_cast<stores::LaneSharing*>(&one->outgoing());
  ASSERT_NE(sharing, nullptr);
  const std::vector<int> surplus = sharing->FindSurplus();
  EXPECT_THAT(surplus, SizeIs(8));
  one->outgoing().GiveUpLanes(surplus);
  std::vector<int> all = Hold(*other);
  EXPECT_THAT(all, SizeIs(8));
  for (const int lane : Hold(*one)) all.push_back(lane);
  EXPECT_EQ(std::set<int>(all.begin(), all.end()).size(), 16u);
}

TEST_F(RedisSpoolLanes, WhoeverIsGoneLeavesItsLanesAtOnceOrWithItsLease) {
  auto one = Open();
  const auto other = Open();
  ASSERT_TRUE(one != nullptr && other != nullptr);
  EXPECT_THAT(Hold(*one), SizeIs(16));
  one.reset();
  EXPECT_THAT(Hold(*other), SizeIs(16));
  const auto third = Open();
  skew_ = 11;
  EXPECT_THAT(Hold(*third), SizeIs(16)) << "the other one hangs";
  EXPECT_THAT(Hold(*other), IsEmpty()) << "and is told once that all are lost";
}

TEST_F(RedisSpoolLanes, ALeaseThatRanOutSettlesNothingForTheNewOwner) {
  const auto hung = Open();
  const auto next = Open();
  ASSERT_TRUE(hung != nullptr && next != nullptr);
  ASSERT_TRUE(AppendTo(*next, 1, "1").ok());
  const int lane = LaneOfFirst(*next);
  ASSERT_THAT(Hold(*hung), SizeIs(16));
  const OutgoingRound round = PlaceAll(*hung, lane);
  ASSERT_TRUE(AppendTo(*next, 2, "2").ok());
  const auto told = hung->outgoing().FindUnplaced(lane, kAll).value();
  ASSERT_THAT(told, SizeIs(1));
  skew_ = 11;
  ASSERT_THAT(Hold(*next), SizeIs(16));
  // Finishing, placing, parking: nothing of it is written.
  const OutgoingProgress::Finished finished{.lane = lane, .round = round.round};
  OutgoingRound late{
      .lane = lane, .epoch = 1, .placements = {{.number = told[0].number, .sequence = 2}}};
  const RefusedRow refused{.number = told[0].number, .reason = absl::InvalidArgumentError("no")};
  EXPECT_TRUE(absl::IsAborted(hung->outgoing().Advance({.finished = {&finished, 1}})));
  EXPECT_TRUE(absl::IsAborted(hung->outgoing().Advance({.placed = {&late, 1}})));
  EXPECT_TRUE(absl::IsAborted(hung->outgoing().Advance({.refused = {&refused, 1}})));
  const auto unfinished = next->outgoing().FindUnfinished(lane);
  ASSERT_TRUE(unfinished.ok()) << unfinished.status();
  ASSERT_THAT(*unfinished, SizeIs(1));
  EXPECT_EQ(unfinished->at(0).round.placements, round.placements);
  EXPECT_THAT(unfinished->at(0).rows, SizeIs(1));
  EXPECT_THAT(next->outgoing().FindUnplaced(lane, kAll).value(), SizeIs(1));
  EXPECT_EQ(next->outgoing().Count().value().parked, 0u);
  EXPECT_EQ(next->outgoing().Count().value().waiting, 2u);
}

// It was gone and came back between two calls: nothing shows it but that the lane was another's.
TEST_F(RedisSpoolLanes, ALaneThatAnotherRelayHadMeanwhileIsNoticed) {
  const auto one = Open();
  ASSERT_NE(one, nullptr);
  ASSERT_THAT(Hold(*one), SizeIs(16));
  {
    const auto other = Open();
    ASSERT_NE(other, nullptr);
    skew_ = 11;
    ASSERT_THAT(Hold(*other), SizeIs(16));
  }
  EXPECT_THAT(Hold(*one), IsEmpty());
  EXPECT_THAT(Hold(*one), SizeIs(16));
}

TEST_F(RedisSpoolLanes, ALeaseThatNobodyWantedGoesOn) {
  const auto one = Open();
  ASSERT_NE(one, nullptr);
  ASSERT_THAT(Hold(*one), SizeIs(16));
  ASSERT_TRUE(AppendTo(*one, 1, "1").ok());
  skew_ = 100;
  EXPECT_THAT(PlaceAll(*one, LaneOfFirst(*one)).placements, SizeIs(1));
  EXPECT_THAT(Hold(*one), SizeIs(16));
}

TEST_F(RedisSpoolLanes, AnEpochIsInUseWhileItsRelayIsThere) {
  const auto one = Open();
  const auto other = Open();
  ASSERT_TRUE(one != nullptr && other != nullptr);
  ASSERT_TRUE(AppendTo(*one, 1, "1").ok());
  ASSERT_THAT(Hold(*one), SizeIs(16));
  const OutgoingRound round = PlaceAll(*one, LaneOfFirst(*one), 77);
  EXPECT_TRUE(other->outgoing().IsEpochInUse(77).value());
  const OutgoingProgress::Finished finished{.lane = round.lane, .round = round.round};
  ASSERT_TRUE(one->outgoing().Advance({.finished = {&finished, 1}}).ok());
  EXPECT_TRUE(other->outgoing().IsEpochInUse(77).value()) << "its relay may place more";
  EXPECT_FALSE(one->outgoing().IsEpochInUse(77).value());
  skew_ = 11;
  EXPECT_FALSE(other->outgoing().IsEpochInUse(77).value());
}

TEST_F(RedisSpoolLanes, WhatTwoRelaysKnowOfAStreamBecomesOne) {
  const auto one = Open();
  const auto other = Open();
  ASSERT_TRUE(one != nullptr && other != nullptr);
  StreamProgress stream{
      .epoch = 5, .topic = "t", .partition = 1, .last = 10, .first_offset = 3, .last_offset = 9};
  ASSERT_TRUE(one->outgoing().Advance({.streams = {&stream, 1}}).ok());
  stream.last = 8;
  stream.first_offset = -1;
  stream.last_offset = -1;
  ASSERT_TRUE(other->outgoing().Advance({.streams = {&stream, 1}}).ok());
  stream.last = 12;
  stream.first_offset = 1;
  stream.last_offset = 100;
  ASSERT_TRUE(other->outgoing().Advance({.streams = {&stream, 1}}).ok());
  EXPECT_THAT(one->outgoing().ListStreams().value(), ElementsAre(stream));
}

// The relay's state in memory is older than what an operator has done.
TEST_F(RedisSpoolLanes, AnOperatorsWordFromAnotherProcessIsTakenIn) {
  const auto relay = Open();
  const auto operator_side = Open();
  ASSERT_TRUE(relay != nullptr && operator_side != nullptr);
  ASSERT_TRUE(AppendTo(*relay, 1, "bad").ok());
  const int lane = LaneOfFirst(*relay);
  ASSERT_THAT(Hold(*relay), SizeIs(16));
  const auto rows = relay->outgoing().FindUnplaced(lane, kAll).value();
  const RefusedRow refused{.number = rows.at(0).number, .reason = absl::InvalidArgumentError("no")};
  ASSERT_TRUE(relay->outgoing().Advance({.refused = {&refused, 1}}).ok());
  ASSERT_TRUE(AppendTo(*relay, 2, "behind").ok());
  const OutgoingMessage free_one = testing::MessageOf("free", "other");
  ASSERT_TRUE(AppendTo(*relay, 3, {&free_one, 1}).ok());
  EXPECT_THAT(relay->outgoing().FindUnplaced(lane, kAll).value(), IsEmpty());
  ASSERT_TRUE(operator_side->outgoing().Unpark(rows[0].number).ok());
  const auto again = relay->outgoing().FindUnplaced(lane, kAll);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_GE(again->size(), 1u);
  EXPECT_EQ(again->at(0).message.value, "bad");
  OutgoingRound round{
      .lane = lane, .epoch = 1, .placements = {{.number = rows[0].number, .sequence = 1}}};
  const absl::Status placed = relay->outgoing().Advance({.placed = {&round, 1}});
  EXPECT_TRUE(placed.ok()) << placed;
}

// Each cut of the relay's conversation: it asks the server anew, and what was written counts once.
TEST_F(RedisSpoolLanes, AnAdvanceWithoutAnAnswerIsEitherThereOrNot) {
  const testing::RedisServer server;
  testing::CutProxy proxy(server.File("p"), server.socket_path());
  const auto log = Open("unix:" + server.File("p"));
  ASSERT_NE(log, nullptr);
  for (int cut = 0; cut < testing::kCuts; ++cut) {
    ASSERT_TRUE(AppendTo(*log, static_cast<std::uint64_t>(cut) + 1, absl::StrCat(cut)).ok());
    std::vector<int> lanes = Hold(*log);
    if (lanes.empty()) lanes = Hold(*log);
    ASSERT_THAT(lanes, SizeIs(16)) << cut;
    const int lane = LaneOfFirst(*log);
    const auto rows = log->outgoing().FindUnplaced(lane, kAll).value();
    ASSERT_THAT(rows, SizeIs(1));
    OutgoingRound round{
        .lane = lane, .epoch = 1, .placements = {{.number = rows[0].number, .sequence = 1}}};
    proxy.Arm(static_cast<testing::Cut>(cut));
    const absl::Status placed = log->outgoing().Advance({.placed = {&round, 1}});
    proxy.Disarm();
    EXPECT_TRUE(absl::IsUnknown(placed)) << cut << ": " << placed;
    log->outgoing().GiveUpLanes(lanes);
    ASSERT_THAT(Hold(*log), SizeIs(16)) << cut;
    const auto unfinished = log->outgoing().FindUnfinished(lane).value();
    const auto unplaced = log->outgoing().FindUnplaced(lane, kAll).value();
    EXPECT_EQ(unfinished.size() + unplaced.size(), 1u) << cut;
    if (unfinished.empty()) round = PlaceAll(*log, lane);
    const std::int64_t number = unfinished.empty() ? round.round : unfinished[0].round.round;
    const OutgoingProgress::Finished finished{.lane = lane, .round = number};
    EXPECT_TRUE(log->outgoing().Advance({.finished = {&finished, 1}}).ok()) << cut;
    EXPECT_EQ(log->outgoing().Count().value().waiting, 0u);
  }
}

}  // namespace
}  // namespace once::redis
