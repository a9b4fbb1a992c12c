// A relay with lanes that come, go, and are shared with others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <span>
#include <utility>
#include <vector>

#include "src/stores/lane_sharing.h"
#include "tests/forwarding_seams.h"
#include "tests/unit/relay_world.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Lane 0 is that of the inner log; of the others nothing is known, and they are empty.
class LanesLog final : public testing::ForwardingOutgoingLog, public stores::LaneSharing {
 public:
  using ForwardingOutgoingLog::ForwardingOutgoingLog;

  absl::StatusOr<std::vector<int>> HoldLanes() override {
    if (std::exchange(must_tell_loss, false)) return std::vector<int>();
    return lanes;
  }
  std::vector<int> FindSurplus() override { return surplus; }
  // Whoever gives up hears no more of what he has lost, as with a session that is gone.
  void GiveUpLanes(std::span<const int> given) override {
    must_tell_loss = false;
    for (const int lane : given) {
      std::erase(lanes, lane);
      given_up.push_back(lane);
    }
  }
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override {
    if (lane == unreadable) return absl::UnavailableError("not now");
    if (lane != 0) return std::vector<UnfinishedRound>();
    return ForwardingOutgoingLog::FindUnfinished(lane);
  }
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override {
    if (lane == unreadable) return absl::UnavailableError("too many holes");
    if (lane != 0) return std::vector<OutgoingRow>();
    return ForwardingOutgoingLog::FindUnplaced(lane, bound);
  }

  absl::Status CloseEpoch(std::uint64_t epoch) override {
    const auto all = ListOwed();
    if (!all.ok()) return all.status();
    for (const OwedVoid& owed : *all) closed_owing += owed.epoch == epoch ? 1 : 0;
    return ForwardingOutgoingLog::CloseEpoch(epoch);
  }

  std::vector<int> lanes = {0};
  std::vector<int> surplus;
  std::vector<int> given_up;
  int unreadable = -1;
  bool must_tell_loss = false;
  int closed_owing = 0;  // voids of epochs that were closed
};

class LanesStore final : public testing::ForwardingStore {
 public:
  explicit LanesStore(std::shared_ptr<DedupStore> inner)
      : ForwardingStore(inner), log_(*inner->transactions()->outgoing()) {}
  LanesLog* outgoing() override { return &log_; }

 private:
  LanesLog log_;
};

std::shared_ptr<LanesStore> LanesOf(RelayWorld& world) {
  return std::make_shared<LanesStore>(
      std::shared_ptr<DedupStore>(&world.store(), [](DedupStore*) {}));
}

std::set<std::uint64_t> EpochsOf(const RelayWorld& world) {
  std::set<std::uint64_t> epochs;
  for (const Received& message : world.Read("orders")) epochs.insert(message.epoch);
  return epochs;
}

constexpr std::uint64_t kEpochOfAnother = 4711;

// What another relay has told of its stream.
StreamProgress StreamOfAnother(std::uint64_t last, std::int64_t last_offset) {
  return {.epoch = kEpochOfAnother,
          .topic = "orders",
          .partition = 1,
          .last = last,
          .first_offset = 0,
          .last_offset = last_offset};
}

// A message in a round of another relay, which is on its way.
OutgoingRound PlaceByAnother(RelayWorld& world, std::uint64_t sequence,
                             std::span<const StreamProgress> streams) {
  OutgoingRound round{.epoch = kEpochOfAnother};
  world.Publish("of another relay", "k");
  const auto rows = world.log().FindUnplaced(0, {.rows_max = 1, .bytes_max = 1});
  EXPECT_TRUE(rows.ok()) << rows.status();
  if (!rows.ok()) return round;
  round.placements = {{.number = rows->at(0).number, .partition = 1, .sequence = sequence}};
  EXPECT_TRUE(world.log().Advance({.placed = {&round, 1}, .streams = streams}).ok());
  return round;
}

void StepOften(RelayWorld& world) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(world.StepRelay().ok());
    world.scheduler().SleepUntil(world.scheduler().Now() + absl::Milliseconds(200));
  }
}

TEST(OutboxRelayLanes, ALaneThatCannotBeReadForgetsNothingOfTheOthers) {
  RelayWorld world;
  world.Play([&world] {
    const auto store = LanesOf(world);
    world.StartRelay(store);
    world.Publish("1", "k");
    EXPECT_TRUE(world.StepRelay().ok());  // it is on its way
    store->outgoing()->lanes = {0, 1};
    store->outgoing()->unreadable = 1;
    world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(2));
    EXPECT_FALSE(world.StepRelay().ok());
    world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(2));
    EXPECT_FALSE(world.StepRelay().ok());
    store->outgoing()->unreadable = -1;
    world.Publish("2", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), ElementsAre("1", "2"));
    EXPECT_EQ(EpochsOf(world).size(), 1u);
    world.EndRelay();
  });
}

TEST(OutboxRelayLanes, ARelayFailsToTakeALaneAtItsStartAndKeepsTheOthers) {
  RelayWorld world;
  world.Play([&world] {
    const auto store = LanesOf(world);
    store->outgoing()->lanes = {0, 1};
    store->outgoing()->unreadable = 1;
    world.Publish("1", "k");
    world.StartRelay(store);
    EXPECT_FALSE(world.StepRelay().ok());
    store->outgoing()->unreadable = -1;
    EXPECT_TRUE(world.RunUntilIdle());
    world.Publish("2", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), ElementsAre("1", "2"));
    EXPECT_EQ(EpochsOf(world).size(), 1u);
    world.EndRelay();
  });
}

TEST(OutboxRelayLanes, ALaneThatCannotGoOnStopsNoOther) {
  RelayWorld world;
  world.Play([&world] {
    const auto store = LanesOf(world);
    store->outgoing()->lanes = {0, 1};
    world.StartRelay(store);
    EXPECT_TRUE(world.StepRelay().ok());
    store->outgoing()->unreadable = 1;
    world.Publish("1", "k");
    for (int i = 0; i < 20; ++i) {
      world.StepRelay().IgnoreError();
      world.scheduler().SleepUntil(world.scheduler().Now() + absl::Milliseconds(200));
    }
    EXPECT_THAT(world.ReadValues(), ElementsAre("1"));
    EXPECT_THAT(world.log().FindUnfinished(0).value(), IsEmpty()) << "it is written down";
    EXPECT_FALSE(world.StepRelay().ok()) << "and the other lane is not forgotten";
    world.EndRelay();
  });
}

TEST(OutboxRelayLanes, ASurplusLaneIsGivenUpOnceNothingOfItIsOnItsWay) {
  RelayWorld world;
  world.Play([&world] {
    const auto store = LanesOf(world);
    LanesLog& log = *store->outgoing();
    log.lanes = {0, 1};
    world.StartRelay(store);
    world.Publish("1", "k");
    EXPECT_TRUE(world.StepRelay().ok());  // it is on its way
    log.surplus = {0};
    const absl::Time later = world.scheduler().Now() + absl::Seconds(10);
    while (log.given_up.empty() && world.scheduler().Now() < later) {
      world.StepRelay().IgnoreError();
      world.scheduler().SleepUntil(world.scheduler().Now() + absl::Milliseconds(200));
    }
    EXPECT_THAT(log.given_up, ElementsAre(0));
    EXPECT_THAT(world.ReadValues(), ElementsAre("1"));
    EXPECT_THAT(log.FindUnfinished(0).value(), IsEmpty()) << "it is written down";
    world.Publish("2", "k");
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(world.StepRelay().ok());
    EXPECT_THAT(world.ReadValues(), ElementsAre("1")) << "somebody else's now";
    world.EndRelay(false);
    EXPECT_THAT(log.given_up, ElementsAre(0, 1)) << "with the relay";
  });
}

TEST(OutboxRelayLanes, WhoGivesUpLanesHasHeardOfThoseThatItHasLost) {
  RelayWorld world;
  world.Play([&world] {
    const auto store = LanesOf(world);
    LanesLog& log = *store->outgoing();
    log.lanes = {0, 1};
    world.StartRelay(store);
    EXPECT_TRUE(world.RunUntilIdle());
    const auto later = [&world] {
      world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(2));
      EXPECT_TRUE(world.StepRelay().ok());
    };
    log.surplus = {1};
    later();
    EXPECT_THAT(log.given_up, IsEmpty());
    log.must_tell_loss = true;
    later();
    EXPECT_THAT(log.given_up, ElementsAre(0, 1)) << "it begins anew";
    world.EndRelay();
  });
}

TEST(OutboxRelayLanes, WhatARelayThatIsGoneOwedIsDeclaredByOneThatWasThereBefore) {
  RelayWorld world;
  world.Play([&world] {
    const auto store = LanesOf(world);
    const StreamProgress stream = StreamOfAnother(6, 4);
    const OutgoingRound round = PlaceByAnother(world, 5, {&stream, 1});
    store->outgoing()->lanes = {1};
    world.StartRelay(store);
    EXPECT_TRUE(world.StepRelay().ok());  // it has asked what is owed: nothing
    const OwedVoid owed{.epoch = kEpochOfAnother, .topic = "orders", .partition = 1, .sequence = 6};
    const OutgoingProgress::Finished finished{.lane = 0, .round = round.round};
    ASSERT_TRUE(world.log().Advance({.finished = {&finished, 1}, .owed = {&owed, 1}}).ok());
    world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(2));
    EXPECT_TRUE(world.RunUntilIdle());
    StepOften(world);
    EXPECT_EQ(world.ReadMarks().voids.size(), 1u);
    EXPECT_THAT(world.log().ListOwed().value(), IsEmpty());
    EXPECT_EQ(store->outgoing()->closed_owing, 0);
    EXPECT_THAT(world.log().ListStreams().value(), IsEmpty()) << "its epoch is closed";
    world.EndRelay();
  });
}

TEST(OutboxRelayLanes, TheLastMarkOfAnEpochSaysWhatOthersHaveDoneSince) {
  RelayWorld world;
  world.Play([&world] {
    const auto store = LanesOf(world);
    StreamProgress stream = StreamOfAnother(5, 4);
    ASSERT_TRUE(world.log().Advance({.streams = {&stream, 1}}).ok());
    const OutgoingRound round = PlaceByAnother(world, 6, {});
    store->outgoing()->lanes = {1};
    world.StartRelay(store);
    EXPECT_TRUE(world.StepRelay().ok());  // it has read the stream, and the epoch is in use
    stream.last = 6;
    stream.last_offset = 5;
    const OutgoingProgress::Finished finished{.lane = 0, .round = round.round};
    ASSERT_TRUE(world.log().Advance({.finished = {&finished, 1}, .streams = {&stream, 1}}).ok());
    world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(2));
    EXPECT_TRUE(world.RunUntilIdle());
    StepOften(world);
    const auto marks = world.ReadMarks().marks;
    ASSERT_EQ(marks.size(), 1u);
    EXPECT_EQ(marks.begin()->second.last, 6u);
    EXPECT_THAT(world.log().ListStreams().value(), IsEmpty());
    world.EndRelay();
  });
}

}  // namespace
}  // namespace once
