// The log of outgoing messages where several transactions, relays and operators are at work on it.
#include <algorithm>

#include "adapters/postgres/tests/former_format.h"
#include "adapters/postgres/tests/outgoing_scene.h"

namespace once::postgres {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

class OutgoingTest : public OutgoingScene {};

TEST_F(OutgoingTest, WhatWasCommittedLateIsTold) {
  const UsersSession late(connection());
  late.MustRun("BEGIN");
  PublishIn(late, keys_[0], "late");
  Publish(keys_[1], "early");
  const std::vector<OutgoingRow> early = Unplaced(keys_[1]);
  EXPECT_THAT(ValuesOf(early), ElementsAre("early"));
  PlaceAndFinish(early);
  // Others come and go meanwhile, and are passed.
  for (int i = 0; i < 5; ++i) {
    Publish(keys_[1], absl::StrCat(i));
    PlaceAndFinish(Unplaced(keys_[1]));
    EXPECT_THAT(Unplaced(keys_[1]), IsEmpty());
  }
  late.MustRun("COMMIT");
  const std::vector<OutgoingRow> found = Unplaced(keys_[0]);
  ASSERT_THAT(ValuesOf(found), ElementsAre("late"));
  EXPECT_LT(found[0].number, early[0].number);
  PlaceAndFinish(found);
  EXPECT_THAT(Unplaced(keys_[0]), IsEmpty());
  EXPECT_EQ(Ask("SELECT count(*) FROM @.outgoing"), "0");
}

TEST_F(OutgoingTest, TheNextRelayKnowsWhatMayStillBeCommitted) {
  const UsersSession late(connection());
  late.MustRun("BEGIN");
  PublishIn(late, keys_[0], "late");
  Publish(keys_[1], "early");
  PlaceAndFinish(Unplaced(keys_[1]));
  MustOpen();
  EXPECT_THAT(Unplaced(keys_[0]), IsEmpty());
  late.MustRun("COMMIT");
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("late"));
}

TEST_F(OutgoingTest, ARowInAHoleThatIsToldIsThereUntilItIsPlaced) {
  const UsersSession late(connection());
  late.MustRun("BEGIN");
  for (const char* const value : {"1", "2", "3"}) PublishIn(late, keys_[0], value);
  Publish(keys_[1], "early");
  PlaceAndFinish(Unplaced(keys_[1]));
  late.MustRun("COMMIT");
  Publish(keys_[1], "new");
  std::vector<OutgoingRow> rows = Unplaced(keys_[0]);
  ASSERT_THAT(ValuesOf(rows), ElementsAre("1", "2", "3"));
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("1", "2", "3")) << "told again";
  OutgoingRound round = RoundOf(std::span(rows).first(2));
  ASSERT_TRUE(Place(round).ok());
  MustOpen();
  Hold(*store_);
  const auto unfinished = log().FindUnfinished(LaneOfKey(keys_[0]));
  ASSERT_TRUE(unfinished.ok()) << unfinished.status();
  ASSERT_THAT(*unfinished, SizeIs(1));
  EXPECT_EQ(unfinished->at(0).round.placements, round.placements);
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("3"));
  PlaceAndFinish(Unplaced(keys_[0]));
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("new"));
}

TEST_F(OutgoingTest, NumbersThatWereRolledBackAreForgotten) {
  const UsersSession user(connection());
  user.MustRun("BEGIN");
  PublishIn(user, keys_[0], "rolled back");
  Publish(keys_[1], "1");
  PlaceAndFinish(Unplaced(keys_[1]));
  const std::string holes =
      "SELECT length(value) FROM @.outgoing_facts WHERE key = 'h'::bytea AND lane = 5";
  EXPECT_EQ(Ask(holes), "17") << "one hole";
  user.MustRun("ROLLBACK");
  EXPECT_THAT(Unplaced(keys_[0]), IsEmpty());
  Publish(keys_[1], "2");
  PlaceAndFinish(Unplaced(keys_[1]));
  EXPECT_EQ(Ask(holes), "1") << "none";
}

TEST_F(OutgoingTest, ALateRowBehindAParkedOneWaits) {
  Publish(keys_[0], "bad");
  const std::vector<OutgoingRow> bad = Unplaced(keys_[0]);
  const RefusedRow refused{.number = bad.at(0).number, .reason = absl::InvalidArgumentError("no")};
  ASSERT_TRUE(log().Advance({.refused = {&refused, 1}}).ok());
  const UsersSession late(connection());
  late.MustRun("BEGIN");
  PublishIn(late, keys_[0], "late and behind");
  PublishIn(late, keys_[2], "late");
  Publish(keys_[1], "early");
  PlaceAndFinish(Unplaced(keys_[1]));
  late.MustRun("COMMIT");
  PlaceAndFinish(Unplaced(keys_[2]));
  EXPECT_THAT(Unplaced(keys_[0]), IsEmpty());
  MustOpen();
  EXPECT_THAT(Unplaced(keys_[0]), IsEmpty());
  ASSERT_TRUE(log().Discard(bad[0].number).ok());
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("late and behind"));
}

TEST_F(OutgoingTest, ARelayHearsOfWhatAnOperatorHasDecidedElsewhere) {
  Publish(keys_[0], "bad");
  Publish(keys_[0], "behind");
  const std::vector<OutgoingRow> rows = Unplaced(keys_[0]);
  const RefusedRow refused{.number = rows.at(0).number, .reason = absl::InvalidArgumentError("no")};
  ASSERT_TRUE(log().Advance({.refused = {&refused, 1}}).ok());
  EXPECT_THAT(UnplacedOfHeld(keys_[0]), IsEmpty());
  const auto elsewhere = MustOpen(Options());
  EXPECT_EQ(LogOf(*elsewhere).ListParked(0, 10).value().at(0).row.number, rows[0].number);
  ASSERT_TRUE(LogOf(*elsewhere).Unpark(rows[0].number).ok());
  const std::vector<OutgoingRow> told = UnplacedOfHeld(keys_[0]);
  EXPECT_THAT(ValuesOf(told), ElementsAre("bad", "behind"));
  // What is written next was decided before he decides again.
  OutgoingRound round = RoundOf(told);
  Publish(keys_[1], "bad too");
  const std::vector<OutgoingRow> more = UnplacedOfHeld(keys_[1]);
  ASSERT_TRUE(Place(round).ok());
  EXPECT_EQ(LogOf(*elsewhere).Unpark(rows[0].number).code(), absl::StatusCode::kNotFound);
}

TEST_F(OutgoingTest, WhatARelayWritesTakesInWhatAnOperatorHasChangedMeanwhile) {
  Publish(keys_[0], "bad");
  Publish(keys_[1], "good");
  const std::vector<OutgoingRow> rows = Unplaced(keys_[0]);
  ASSERT_THAT(rows, SizeIs(2));
  const RefusedRow refused{.number = rows[0].number, .reason = absl::InvalidArgumentError("no")};
  ASSERT_TRUE(log().Advance({.refused = {&refused, 1}}).ok());
  const std::vector<OutgoingRow> good = UnplacedOfHeld(keys_[1]);
  const auto elsewhere = MustOpen(Options());
  ASSERT_TRUE(LogOf(*elsewhere).Discard(rows[0].number).ok());
  OutgoingRound round = RoundOf(good);
  const absl::Status placed = Place(round);
  EXPECT_TRUE(placed.ok()) << placed;
  ASSERT_TRUE(Finish(round).ok());
  EXPECT_EQ(log().Count().value().waiting, 0u);
  EXPECT_THAT(log().ListParked(0, 10).value(), IsEmpty());
}

TEST_F(OutgoingTest, WhoHasLostHisSessionWritesNothingAndIsTold) {
  Publish(keys_[0], "1");
  OutgoingRound round = RoundOf(Unplaced(keys_[0]));
  schema().EndSessions();
  EXPECT_EQ(Place(round).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(log().FindUnplaced(5, {.rows_max = 1, .bytes_max = 1}).status().code(),
            absl::StatusCode::kAborted);
  EXPECT_THAT(Hold(*store_), IsEmpty()) << "whoever had them must learn that he has lost them";
  EXPECT_THAT(Hold(*store_), SizeIs(kLanes));
  EXPECT_THAT(log().FindUnfinished(5).value(), IsEmpty());
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("1"));
}

TEST_F(OutgoingTest, WhoHasLostALaneToAnotherWritesNothing) {
  Publish(keys_[0], "1");
  OutgoingRound round = RoundOf(Unplaced(keys_[0]));
  // As after a switch to a server that knows nothing of locks.
  RunSql(connection(),
         "UPDATE " + schema().name() +
             ".outgoing_lanes SET owner = 42, revision = revision + 1 WHERE lane = 5");
  EXPECT_EQ(Place(round).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Ask("SELECT count(*) FROM @.outgoing_facts WHERE lane = 5"), "0");
}

TEST_F(OutgoingTest, RelaysShareTheLanesEvenly) {
  EXPECT_THAT(Hold(*store_), SizeIs(16));
  const auto second = MustOpen(Options());
  EXPECT_THAT(Hold(*second), IsEmpty());
  EXPECT_THAT(Hold(*store_), SizeIs(16)) << "nothing is taken from anybody";
  std::vector<int> surplus = SharingOf(*store_).FindSurplus();
  EXPECT_THAT(surplus, SizeIs(8));
  log().GiveUpLanes(surplus);
  EXPECT_THAT(Hold(*store_), SizeIs(8));
  EXPECT_THAT(SharingOf(*store_).FindSurplus(), IsEmpty());
  std::vector<int> taken = Hold(*second);
  std::sort(surplus.begin(), surplus.end());
  EXPECT_EQ(taken, surplus);

  auto third = MustOpen(Options());
  EXPECT_THAT(Hold(*third), IsEmpty());
  for (DedupStore* const one : {store_.get(), second.get()}) {
    Hold(*one);
    LogOf(*one).GiveUpLanes(SharingOf(*one).FindSurplus());
  }
  EXPECT_THAT(Hold(*third), SizeIs(4));
  EXPECT_THAT(Hold(*second), SizeIs(6));
  third.reset();
  EXPECT_THAT(Hold(*second), AllOf(SizeIs(Ge(8u)), SizeIs(Le(8u))));
  EXPECT_THAT(Hold(*store_), SizeIs(8));
}

TEST_F(OutgoingTest, TheLanesOfARelayThatIsGoneAreTaken) {
  EXPECT_THAT(Hold(*store_), SizeIs(16));
  const auto second = MustOpen(Options());
  EXPECT_THAT(Hold(*second), IsEmpty());
  schema().EndSessions();
  EXPECT_THAT(HoldSoon(*second, 16), SizeIs(16));
  EXPECT_FALSE(log().HoldLanes().ok());
  EXPECT_THAT(Hold(*store_), IsEmpty());
}

TEST_F(OutgoingTest, AnEpochIsInUseAsLongAsItsRelayLives) {
  Publish(keys_[0], "1");
  OutgoingRound round = RoundOf(Unplaced(keys_[0]), 0xfedc'ba98'7654'3210);
  ASSERT_TRUE(Place(round).ok());
  const auto second = MustOpen(Options());
  Hold(*second);
  OutgoingLog& other = LogOf(*second);
  EXPECT_TRUE(other.IsEpochInUse(round.epoch).value());
  ASSERT_TRUE(Finish(round).ok());
  EXPECT_TRUE(other.IsEpochInUse(round.epoch).value()) << "more of it may be placed";
  EXPECT_FALSE(log().IsEpochInUse(round.epoch).value()) << "nobody else does";
  EXPECT_FALSE(other.IsEpochInUse(8).value());
  store_.reset();
  EXPECT_FALSE(other.IsEpochInUse(round.epoch).value());
}

TEST_F(OutgoingTest, WhatTwoRelaysKnowOfAStreamComesTogether) {
  StreamProgress first{.epoch = 7,
                       .topic = "orders",
                       .partition = 1,
                       .last = 9,
                       .first_offset = 4,
                       .last_offset = 12};
  StreamProgress second = first;
  second.last = 0;
  second.first_offset = 2;
  second.last_offset = 11;
  StreamProgress unheard = first;
  unheard.first_offset = -1;
  unheard.last_offset = -1;
  Hold(*store_);
  for (StreamProgress* const one : {&first, &second, &unheard}) {
    ASSERT_TRUE(log().Advance({.streams = {one, 1}}).ok());
  }
  StreamProgress both = first;
  both.first_offset = 2;
  EXPECT_THAT(log().ListStreams().value(), ElementsAre(both));
}

TEST_F(OutgoingTest, WhatWaitsIsCountedBehindWhatIsGone) {
  Publish(keys_[0], "1");
  PlaceAndFinish(Unplaced(keys_[0]));
  Publish(keys_[0], "2");
  const std::vector<OutgoingRow> rows = Unplaced(keys_[0]);
  ASSERT_THAT(rows, SizeIs(1));
  Publish(keys_[1], "3");
  OutgoingRound round = RoundOf(rows);
  ASSERT_TRUE(Place(round).ok());
  EXPECT_EQ(log().Count().value().waiting, 2u);
  EXPECT_EQ(log().Count().value().oldest, rows[0].put_at);
  EXPECT_EQ(Ask("SELECT first_number FROM @.outgoing_lanes WHERE lane = 5"), "2");
  ASSERT_TRUE(Finish(round).ok());
  EXPECT_EQ(log().Count().value().waiting, 1u);
  EXPECT_GT(log().Count().value().oldest, rows[0].put_at);
}

TEST_F(OutgoingTest, ManyThatWaitAreEstimated) {
  RunSql(connection(), "INSERT INTO " + schema().name() +
                           ".outgoing SELECT n % 16, n / 16 + 1, 0, n, '' FROM "
                           "generate_series(1, 12000) AS s(n)");
  EXPECT_THAT(log().Count().value().waiting, AllOf(Ge(10'000u), Le(12'000u)));
}

TEST_F(OutgoingTest, AStoreOfFormat4GetsALog) {
  store_.reset();
  schema().EndSessions();
  ReturnToFormat4(connection(), schema().name());
  StoreOptions options = Options();
  options.may_migrate = false;
  EXPECT_THAT(OpenStore(options).status(), Says(absl::StatusCode::kFailedPrecondition, "format 4"));
  MustOpen();
  Publish(keys_[0], "1");
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("1"));
}

TEST_F(OutgoingTest, ADamagedRowIsNamed) {
  Publish(keys_[0], "1");
  RunSql(connection(), "UPDATE " + schema().name() + ".outgoing SET message = 'nonsense'");
  Hold(*store_);
  const auto rows = log().FindUnplaced(5, {.rows_max = 1, .bytes_max = 1});
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_THAT(*rows, SizeIs(1));
  EXPECT_THAT(rows->front().damage, Says(absl::StatusCode::kDataLoss, "row 1 of lane 5"));
}

TEST_F(OutgoingTest, ATransactionThatFailsAtItsCommitLeavesNothing) {
  RunSql(connection(), "CREATE TABLE " + schema().name() +
                           "_handler.late(n int UNIQUE DEFERRABLE INITIALLY DEFERRED)");
  const absl::Status done = Transact(*store_, [&](Transaction& transaction) -> absl::Status {
    absl::Status inserted =
        Connection(transaction)
            .Execute("INSERT INTO " + schema().name() + "_handler.late VALUES(1), (1)")
            .status();
    if (!inserted.ok()) return inserted;
    return transaction.Publish(MessageOf(keys_[0], "lost"));
  });
  EXPECT_FALSE(done.ok());
  EXPECT_THAT(Unplaced(keys_[0]), IsEmpty());
  EXPECT_EQ(log().Count().value().waiting, 0u);
}

}  // namespace
}  // namespace once::postgres
