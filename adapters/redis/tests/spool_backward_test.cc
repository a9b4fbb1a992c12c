// A relay whose server goes back, as by a failover that lost the last writes: what is on its way is
// of rounds that the server has otherwise now. It settles nothing there, and begins with what is
// left; operators' words are none of that.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/address.h"
#include "adapters/redis/cluster.h"
#include "adapters/redis/opening.h"
#include "adapters/redis/tests/redis_server.h"
#include "adapters/redis/tests/spool_words.h"
#include "once/redis/spool.h"

namespace once::redis {
namespace {

using testing::AppendTo;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::MustOpenSpool;
using ::testing::SizeIs;
using testing::WaitingIn;

class RedisSpoolBackward : public ::testing::Test {
 protected:
  void SetUp() override {
    log_ = Open();
    ASSERT_NE(log_, nullptr);
    ASSERT_THAT(log().HoldLanes().value(), SizeIs(16));
    std::uint64_t number = 0;
    for (const char* const value : {"X", "Z", "Y"}) {
      ASSERT_TRUE(AppendTo(*log_, ++number, value).ok());
    }
    lane_ = static_cast<int>(log().ListWaiting(0, 1).value().at(0).number % 16);
  }

  std::shared_ptr<SpoolLog> Open() { return MustOpenSpool({.server = {.url = server_.url()}}); }
  OutgoingLog& log() { return log_->outgoing(); }

  absl::StatusOr<std::vector<OutgoingRow>> Find(std::size_t rows_max = 10) {
    return log().FindUnplaced(lane_, {.rows_max = rows_max, .bytes_max = 1'000'000});
  }
  // A round of as many rows.
  OutgoingRound Place(std::size_t rows_max = 10) {
    OutgoingRound round{.lane = lane_, .epoch = 1};
    const auto rows = Find(rows_max);
    EXPECT_TRUE(rows.ok() && !rows->empty()) << rows.status();
    if (!rows.ok() || rows->empty()) return round;
    for (const OutgoingRow& row : *rows) {
      round.placements.push_back({.number = row.number, .sequence = round.placements.size() + 1});
    }
    const absl::Status placed = log().Advance({.placed = {&round, 1}});
    EXPECT_TRUE(placed.ok()) << placed;
    return round;
  }
  absl::Status Finish(const OutgoingRound& round) {
    const OutgoingProgress::Finished finished{.lane = lane_, .round = round.round};
    return log().Advance({.finished = {&finished, 1}});
  }
  // The first of the round is refused, the second waits behind it.
  absl::Status Park(const OutgoingRound& round) {
    const RefusedRow refused{.number = round.placements.at(0).number,
                             .reason = absl::InvalidArgumentError("no")};
    const std::int64_t waiting = round.placements.at(1).number;
    return log().Advance({.refused = {&refused, 1}, .waiting = {&waiting, 1}});
  }

  void Save() {
    for (const std::string& pattern :
         {absl::StrCat("*:lane:", lane_), absl::StrCat("*:rows:", lane_), std::string("*spool}")}) {
      const std::string key = server_.Ask({"KEYS", pattern}).elements.at(0).text;
      saved_[key] = server_.Ask({"DUMP", key}).text;
    }
  }
  void GoBack() {
    for (const auto& [key, dump] : saved_) {
      ASSERT_FALSE(server_.Ask({"RESTORE", key, "0", dump, "REPLACE"}).is_error());
    }
  }
  // The relay hears that all is lost, once, and holds its lanes anew.
  std::vector<UnfinishedRound> HoldAnew() {
    EXPECT_THAT(log().HoldLanes().value(), IsEmpty());
    EXPECT_THAT(log().HoldLanes().value(), SizeIs(16));
    auto unfinished = log().FindUnfinished(lane_);
    EXPECT_TRUE(unfinished.ok()) << unfinished.status();
    return unfinished.ok() ? *std::move(unfinished) : std::vector<UnfinishedRound>();
  }

  testing::RedisServer server_;
  std::shared_ptr<SpoolLog> log_;
  int lane_ = 0;
  std::map<std::string, std::string> saved_;
};

// The round that ends has fewer rows than the server has in it.
TEST_F(RedisSpoolBackward, ARoundWhoseParkedRowIsInItAgainDropsNothing) {
  const OutgoingRound round = Place();
  Save();
  ASSERT_TRUE(Park(round).ok());
  GoBack();
  const absl::Status finished = Finish(round);
  EXPECT_TRUE(absl::IsAborted(finished)) << finished;
  const std::vector<UnfinishedRound> unfinished = HoldAnew();
  ASSERT_THAT(unfinished, SizeIs(1));
  EXPECT_EQ(unfinished[0].round.placements, round.placements);
  EXPECT_THAT(WaitingIn(*log_), ElementsAre("X", "Z", "Y"));
  EXPECT_TRUE(Finish(unfinished[0].round).ok());
  EXPECT_THAT(WaitingIn(*log_), IsEmpty());
}

// Its number is given again, to a round of more rows.
TEST_F(RedisSpoolBackward, ARoundWhosePlacingIsLostEndsNoOther) {
  Save();
  const OutgoingRound lost = Place(1);
  GoBack();
  const auto told = Find();
  EXPECT_TRUE(absl::IsAborted(told.status())) << told.status();
  EXPECT_THAT(HoldAnew(), IsEmpty());
  EXPECT_THAT(Place().placements, SizeIs(3));
  EXPECT_THAT(WaitingIn(*log_), ElementsAre("X", "Z", "Y"));
}

// Nobody would send it again as long as the lane stays where it is.
TEST_F(RedisSpoolBackward, ARoundWhoseEndIsLostIsToldAgain) {
  const OutgoingRound round = Place();
  Save();
  ASSERT_TRUE(Finish(round).ok());
  GoBack();
  const auto told = Find();
  EXPECT_TRUE(absl::IsAborted(told.status())) << told.status();
  const std::vector<UnfinishedRound> unfinished = HoldAnew();
  ASSERT_THAT(unfinished, SizeIs(1));
  EXPECT_EQ(unfinished[0].round.placements, round.placements);
}

TEST_F(RedisSpoolBackward, AnOperatorsWordLeavesRoundsOnTheirWay) {
  const auto operator_side = Open();
  ASSERT_NE(operator_side, nullptr);
  const OutgoingRound round = Place();
  ASSERT_TRUE(Park(round).ok());
  ASSERT_TRUE(operator_side->outgoing().Unpark(round.placements[0].number).ok());
  EXPECT_THAT(Find().value(), SizeIs(2));
  ASSERT_TRUE(operator_side->outgoing().UnparkTopic("orders").ok());
  const absl::Status finished = Finish(round);
  EXPECT_TRUE(finished.ok()) << finished;
  EXPECT_THAT(WaitingIn(*log_), ElementsAre("X", "Z"));
}

// It comes after what was lost, so that the lane has changed as often as the relay knows.
TEST_F(RedisSpoolBackward, AnOperatorsWordDoesNotHideThatTheServerWentBack) {
  const OutgoingRound round = Place();
  ASSERT_TRUE(Park(round).ok());
  Save();
  ASSERT_TRUE(Finish(round).ok());
  GoBack();
  const auto operator_side = Open();
  ASSERT_NE(operator_side, nullptr);
  ASSERT_TRUE(operator_side->outgoing().Unpark(round.placements[0].number).ok());
  const auto told = Find();
  EXPECT_TRUE(absl::IsAborted(told.status())) << told.status();
  EXPECT_THAT(HoldAnew(), SizeIs(1));
}

// Its lanes wait for no lease.
TEST_F(RedisSpoolBackward, WhoeverBeginsAnewLeavesItsLanesToOthersAtOnce) {
  Save();
  Place();
  GoBack();
  ASSERT_TRUE(absl::IsAborted(Find().status()));
  const std::vector<int> lanes = {lane_};
  log().GiveUpLanes(lanes);
  const auto other = Open();
  ASSERT_NE(other, nullptr);
  EXPECT_THAT(other->outgoing().HoldLanes().value(), SizeIs(16));
}

// Replicas that have heard of everything there is say nothing of what is gone.
TEST_F(RedisSpoolBackward, ReplicasDoNotVouchForWhatIsGone) {
  StoreOptions options = {.url = server_.url()};
  auto address = CheckOptions(options);
  ASSERT_TRUE(address.ok()) << address.status();
  auto cluster = Cluster::Open(options, KeyNames("gone:", "gone"), *std::move(address));
  ASSERT_TRUE(cluster.ok()) << cluster.status();
  const std::vector<std::string> gone = {"gone:x"};
  const auto heard = (*cluster)->AwaitReplicas(gone, 1000, 0, absl::Milliseconds(10));
  EXPECT_TRUE(absl::IsUnknown(heard.status())) << heard.status();
  server_.Ask({"SET", "gone:x", "1:1"});
  EXPECT_EQ((*cluster)->AwaitReplicas(gone, 1000, 0, absl::Milliseconds(10)).value(), 0);
}

}  // namespace
}  // namespace once::redis
