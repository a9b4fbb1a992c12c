// The relay: what it publishes, in which order, under which numbers, and what an operator finds.
#include "once/outbox_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "once/message_id.h"
#include "tests/unit/relay_world.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

TEST(OutboxRelay, PublishesWhatIsCommittedAndNothingTwice) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    for (int i = 0; i < 23; ++i) world.Publish(absl::StrCat(i), "k");
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_EQ(world.log().Count().value().waiting, 0u);
    std::vector<std::string> expected;
    for (int i = 0; i < 23; ++i) expected.push_back(absl::StrCat(i));
    EXPECT_EQ(world.ReadValues(), expected);
    world.EndRelay();
  });
}

TEST(OutboxRelay, NumbersCountUpInEveryPartition) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    for (int i = 0; i < 40; ++i) world.Publish(absl::StrCat(i), absl::StrCat("key", i % 7));
    for (int i = 0; i < 10; ++i) world.Publish(absl::StrCat("keyless", i));
    EXPECT_TRUE(world.RunUntilIdle());
    std::map<std::string, std::uint64_t> last;
    for (const Received& message : world.Read("orders")) {
      EXPECT_EQ(message.sequence, ++last[message.stream]) << message.stream;
    }
    EXPECT_THAT(last, SizeIs(3));
    world.EndRelay();
  });
}

TEST(OutboxRelay, AMessageWithoutAnIdGetsOneThatItsCopiesShare) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    world.Publish("1", "k");
    world.Publish({.topic = "orders", .key = "k", .value = "2", .headers = {{"once-id", "mine"}}});
    world.Publish("3", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    const std::vector<std::string> ids = world.ReadIds();
    ASSERT_THAT(ids, SizeIs(3));
    EXPECT_TRUE(ValidateMessageId(ids[0]).ok()) << ids[0];
    EXPECT_EQ(ids[1], "mine");
    EXPECT_NE(ids[2], ids[0]);
    world.topics().set_is_reachable(false);
    world.Publish("4", "k");
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(world.StepRelay().ok());
    // Dies with it on its way; what its client has stored unseen and what comes again are copies.
    world.topics().set_is_reachable(true);
    world.StartRelay();
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadIds(), SizeIs(4));
    EXPECT_THAT(std::set<std::string>(ids.begin(), ids.end()), SizeIs(3));
    EXPECT_THAT(ids, ::testing::Not(::testing::Contains(world.ReadIds()[3])));
    world.EndRelay();
  });
}

TEST(OutboxRelay, APartitionThatATopicHasNotParksTheMessage) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    world.Publish({.topic = "orders", .partition = 2'000'000'000, .value = "nowhere"});
    world.Publish({.topic = "orders", .partition = 2, .value = "there"});
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), ElementsAre("there"));
    const auto parked = world.log().ListParked(0, 10);
    ASSERT_TRUE(parked.ok()) << parked.status();
    ASSERT_THAT(*parked, SizeIs(1));
    EXPECT_THAT((*parked)[0].reason, HasSubstr("has 3 partitions"));
    world.EndRelay();
  });
}

// Between what the log tells and what is placed of it, something fails that was begun: the log
// reads again, and knows no more what it has told.
TEST(OutboxRelay, AFailureBetweenReadingAndPlacingLosesNoMessage) {
  RelayWorld world;
  world.Play([&] {
    OutgoingLog& log = world.log();
    for (int i = 0; i < 3; ++i) world.Publish(absl::StrCat(i), "k");
    const auto told = log.FindUnplaced(0, {.rows_max = 2, .bytes_max = 1'000'000});
    ASSERT_TRUE(told.ok()) << told.status();
    ASSERT_THAT(*told, SizeIs(2));
    OutgoingRound untold{.epoch = 1, .placements = {{.number = 4711, .sequence = 1}}};
    EXPECT_EQ(log.Advance({.placed = {&untold, 1}}).code(), absl::StatusCode::kAborted);
    OutgoingRound round{.epoch = 1, .placements = {{.number = (*told)[1].number, .sequence = 1}}};
    const absl::Status placed = log.Advance({.placed = {&round, 1}});
    EXPECT_EQ(placed.code(), absl::StatusCode::kAborted) << placed;
    world.StartRelay();
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), ElementsAre("0", "1", "2"));
    world.EndRelay();
  });
}

// An operator's mistyped number changes nothing, and the log still knows what it has told.
TEST(OutboxRelay, AnOperatorsMistakeBetweenReadingAndPlacingTakesNothingBack) {
  RelayWorld world;
  world.Play([&] {
    OutgoingLog& log = world.log();
    world.Publish("0", "k");
    const auto told = log.FindUnplaced(0, {.rows_max = 2, .bytes_max = 1'000'000});
    ASSERT_TRUE(told.ok()) << told.status();
    ASSERT_THAT(*told, SizeIs(1));
    EXPECT_EQ(log.Discard(4711).code(), absl::StatusCode::kNotFound);
    OutgoingRound round{.epoch = 1, .placements = {{.number = (*told)[0].number, .sequence = 1}}};
    EXPECT_TRUE(log.Advance({.placed = {&round, 1}}).ok());
  });
}

TEST(OutboxRelay, SendsAnUnfinishedRoundAgainUnderItsOldNumbers) {
  RelayWorld world;
  world.Play([&] {
    world.topics().set_is_reachable(true);
    OutboxRelay& first = world.StartRelay();
    world.Publish("warm", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    const std::uint64_t epoch = world.Read("orders").at(0).epoch;
    world.topics().set_is_reachable(false);
    for (int i = 0; i < 7; ++i) world.Publish(absl::StrCat(i), "k");
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(first.Step().ok());
    // It dies with two rounds on their way.
    world.StartRelay();
    world.topics().set_is_reachable(true);
    world.Publish("later", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    const std::vector<Received> received = world.Read("orders");
    ASSERT_THAT(received, SizeIs(9));
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(received[i].epoch, epoch) << i;
      EXPECT_EQ(received[i].sequence, i + 1);
    }
    EXPECT_EQ(received[8].value, "later");
    EXPECT_NE(received[8].epoch, epoch);
    EXPECT_EQ(received[8].sequence, 1u);
    world.EndRelay();
  });
}

TEST(OutboxRelay, AMessageThatIsTooLargeIsParkedAndItsKeyWaits) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    world.Publish("1", "k");
    world.Publish(std::string(2000, 'x'), "k");
    world.Publish("2", "k");
    world.Publish("other", "l");
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), UnorderedElementsAre("1", "other"));
    const std::vector<ParkedRow> parked = world.log().ListParked(0, 10).value();
    ASSERT_THAT(parked, SizeIs(1));
    EXPECT_THAT(parked[0].reason, HasSubstr("too large"));
    EXPECT_EQ(world.log().Count().value().waiting, 2u);
    // Both had numbers already: two voids.
    EXPECT_THAT(world.ReadMarks().voids, SizeIs(2));
    ASSERT_TRUE(world.log().Discard(parked[0].row.number).ok());
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), UnorderedElementsAre("1", "other", "2"));
    EXPECT_EQ(world.log().Count().value().waiting, 0u);
    EXPECT_THAT(world.log().ListOwed().value(), IsEmpty());
    world.EndRelay();
  });
}

TEST(OutboxRelay, AMessageThatTheBrokerRefusesIsParkedAndItsKeyWaits) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    world.Publish({.topic = "orders", .partition = 0, .key = "k", .value = "1"});
    world.Publish({.topic = "orders", .partition = 99, .key = "k", .value = "bad"});
    world.Publish({.topic = "orders", .partition = 0, .key = "k", .value = "2"});
    world.Publish({.topic = "orders", .partition = 1, .key = "l", .value = "other"});
    EXPECT_TRUE(world.RunUntilIdle());
    // What is in another partition than the one before it of its key may have been on its way.
    EXPECT_THAT(world.log().ListParked(0, 10).value(), SizeIs(1));
    std::vector<std::string> values = world.ReadValues();
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    EXPECT_THAT(values, ::testing::IsSupersetOf({"1", "other"}));
    EXPECT_THAT(values, ::testing::Not(::testing::Contains("bad")));
    world.EndRelay();
  });
}

TEST(OutboxRelay, MessagesOfATopicThatIsNotThereAreParkedUntilItIs) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    world.Publish({.topic = "missing", .key = "k", .value = "1"});
    world.Publish({.topic = "missing", .key = "k", .value = "2"});
    world.Publish("fine", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), ElementsAre("fine"));
    const std::vector<ParkedRow> parked = world.log().ListParked(0, 10).value();
    ASSERT_THAT(parked, SizeIs(1)) << "the other one waits behind it";
    world.topics().CreateTopic("missing", 1);
    ASSERT_TRUE(world.log().Unpark(parked[0].row.number).ok());
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues("missing"), ElementsAre("1", "2"));
    world.EndRelay();
  });
}

TEST(OutboxRelay, WaitsForBrokersThatDoNotAnswer) {
  RelayWorld world;
  world.Play([&] {
    OutboxRelay& relay = world.StartRelay();
    world.topics().set_is_reachable(false);
    world.Publish("1", "k");
    for (int i = 0; i < 5; ++i) relay.Step().IgnoreError();
    EXPECT_THAT(world.log().ListParked(0, 10).value(), IsEmpty());
    world.topics().set_is_reachable(true);
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), ElementsAre("1"));
    world.EndRelay();
  });
}

TEST(OutboxRelay, MarksHowFarItsStreamsHaveCome) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    for (int i = 0; i < 12; ++i) world.Publish(absl::StrCat(i), "k");
    EXPECT_TRUE(world.RunUntilIdle());
    world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(10));
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(world.StepRelay().ok());
    const auto marks = world.ReadMarks().marks;
    ASSERT_THAT(marks, SizeIs(1));
    EXPECT_EQ(marks.begin()->first, world.Read("orders").at(0).stream);
    EXPECT_EQ(marks.begin()->second,
              (StreamMark{.last = 12, .last_offset = 11, .first_offset = 0}));
    world.EndRelay();
  });
}

TEST(OutboxRelay, TheNextRelayMarksTheEndOfWhatItsPredecessorHasSent) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    for (int i = 0; i < 12; ++i) world.Publish(absl::StrCat(i), "k");
    EXPECT_TRUE(world.RunUntilIdle());
    world.StartRelay();
    EXPECT_TRUE(world.RunUntilIdle());
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(world.StepRelay().ok());
    const auto marks = world.ReadMarks().marks;
    ASSERT_THAT(marks, SizeIs(1));
    EXPECT_EQ(marks.begin()->second.last, 12u);
    EXPECT_THAT(world.log().ListStreams().value(), IsEmpty()) << "the epoch is closed";
    world.EndRelay();
  });
}

TEST(OutboxRelay, AStopWaitsForWhatIsOnItsWayAndMarksTheEnd) {
  RelayWorld world;
  world.Play([&] {
    OutboxRelay& relay = world.StartRelay();
    for (int i = 0; i < 12; ++i) world.Publish(absl::StrCat(i), "k");
    std::stop_source stop;
    const auto task = world.process().Spawn("stopper", [&] {
      world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(1));
      stop.request_stop();
    });
    const absl::Status ran = relay.Run(stop.get_token());
    EXPECT_TRUE(ran.ok()) << ran;
    EXPECT_THAT(world.ReadValues(), SizeIs(12));
    EXPECT_EQ(world.ReadMarks().marks.begin()->second.last, 12u);
    EXPECT_THAT(world.log().ListStreams().value(), IsEmpty());
    world.EndRelay(false);
  });
}

TEST(OutboxRelay, AStopDoesNotWaitForBrokersThatAreAway) {
  RelayWorld world;
  world.Play([&] {
    OutboxRelay& relay = world.StartRelay();
    world.Publish("warm", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    world.topics().set_is_reachable(false);
    world.Publish("1", "k");
    std::stop_source stop;
    const auto task = world.process().Spawn("stopper", [&] {
      world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(1));
      stop.request_stop();
    });
    EXPECT_EQ(relay.Run(stop.get_token()).code(), absl::StatusCode::kDeadlineExceeded);
    world.StartRelay();
    world.topics().set_is_reachable(true);
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), ElementsAre("warm", "1"));
    world.EndRelay();
  });
}

TEST(OutboxRelay, IsRefusedWithoutALogOrBesideAnother) {
  EXPECT_EQ(OutboxRelay::Create({}).status().code(), absl::StatusCode::kInvalidArgument);
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    const auto second = OutboxRelay::Create(
        {.store = std::shared_ptr<DedupStore>(&world.store(), [](DedupStore*) {}),
         .clients =
             testing::FakeRecordClients(world.topics(), world.process().shared_from_this(), {}),
         .log = NoLog()});
    EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition);
    world.EndRelay();
  });
}

}  // namespace
}  // namespace once
