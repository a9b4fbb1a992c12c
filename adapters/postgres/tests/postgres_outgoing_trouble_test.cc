// The log of outgoing messages where things happen at the wrong moment, or are not what they were.
#include <thread>

#include "adapters/postgres/tests/outgoing_scene.h"
#include "adapters/postgres/tests/wire_proxy.h"

namespace once::postgres {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using testing::WireProxy;

class OutgoingTrouble : public OutgoingScene {};

TEST_F(OutgoingTrouble, WhoeverPublishesForAKeyThatIsHeldWaitsAndRunsItsHandlerOnce) {
  const UsersSession user(connection());
  user.MustRun("BEGIN");
  PublishIn(user, keys_[0], "first");
  std::jthread ends([this, &user] {
    absl::SleepFor(Options().lock_timeout * 4);
    user.MustRun("COMMIT");
  });
  int runs = 0;
  const absl::Status published = Transact(*store_, [&](Transaction& transaction) {
    ++runs;
    return transaction.Publish(MessageOf(keys_[0], "second"));
  });
  EXPECT_TRUE(published.ok()) << published;
  EXPECT_EQ(runs, 1);
  ends.join();
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("first", "second"));
}

TEST_F(OutgoingTrouble, ItDoesNotWaitForEver) {
  StoreOptions options = Options();
  options.handler_lock_timeout = absl::Milliseconds(200);
  const auto store = MustOpen(options);
  const UsersSession user(connection());
  user.MustRun("BEGIN");
  PublishIn(user, keys_[0], "first");
  const absl::Status published = Transact(*store, [&](Transaction& transaction) {
    return transaction.Publish(MessageOf(keys_[0], "second"));
  });
  EXPECT_THAT(published, Says(absl::StatusCode::kUnavailable, "another transaction holds it"));
}

class SequenceSetBack : public OutgoingTrouble {
 protected:
  void PublishAndFinish(int count) {
    for (int i = 0; i < count; ++i) Publish(keys_[0], absl::StrCat(i));
    PlaceAndFinish(Unplaced(keys_[0]));
  }
  void SetSequence(int number) { Ask(absl::StrCat("SELECT setval('@.outgoing_5', ", number, ")")); }
  absl::Status Look() {
    Hold(*store_);
    return log().FindUnplaced(5, {.rows_max = 10, .bytes_max = 1'000}).status();
  }
  void GiveNewNumbers() {
    RunSql(connection(),
           absl::StrReplaceAll("UPDATE @.outgoing SET number = nextval('@.outgoing_5') WHERE "
                               "lane = 5",
                               {{"@", schema().name()}}));
  }
};

TEST_F(SequenceSetBack, IsNoticedByTheRelayThatHasTheLane) {
  PublishAndFinish(5);
  EXPECT_TRUE(Look().ok());
  SetSequence(1);
  Publish(keys_[0], "with a number of the past");
  EXPECT_THAT(Look(),
              Says(absl::StatusCode::kDataLoss, "setval('" + schema().name() + ".outgoing_5', 5)"));
  SetSequence(5);
  EXPECT_THAT(Look(), Says(absl::StatusCode::kDataLoss, "put_at"));
  GiveNewNumbers();
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("with a number of the past"));
}

// The older of two rows lies behind the other in the table.
TEST_F(SequenceSetBack, TheStatementThatTheErrorNamesKeepsTheOrder) {
  PublishAndFinish(9);
  EXPECT_TRUE(Look().ok());
  SetSequence(1);
  for (int i = 0; i < 4; ++i) Publish(keys_[0], absl::StrCat("row ", i));
  RunSql(connection(),
         absl::StrReplaceAll("UPDATE @.outgoing SET put_at = put_at + 1 WHERE number = 2",
                             {{"@", schema().name()}}));
  EXPECT_FALSE(Look().ok());
  SetSequence(9);
  const std::string error(Look().message());
  const std::size_t begin = error.find("WITH held");
  ASSERT_NE(begin, std::string::npos) << error;
  RunSql(connection(), absl::StrReplaceAll(error.substr(begin), {{"…", "0"}}));
  EXPECT_THAT(ValuesOf(Unplaced(keys_[0])), ElementsAre("row 0", "row 1", "row 2", "row 3"));
}

TEST_F(SequenceSetBack, OthersLanesGoOn) {
  PublishAndFinish(5);
  SetSequence(1);
  Hold(*store_);
  for (int lane = 0; lane < kLanes; ++lane) {
    EXPECT_EQ(log().FindUnplaced(lane, {.rows_max = 1, .bytes_max = 1}).ok(), lane != 5) << lane;
  }
}

// As when it has overtaken the cursor again before anybody looked.
TEST_F(SequenceSetBack, ByLittleIsNoticedWithinAMinuteByTheRelayThatHasTheLane) {
  PublishAndFinish(5);
  EXPECT_TRUE(Look().ok());
  SetSequence(3);
  Publish(keys_[1], "with a number of the past");
  SetSequence(5);
  EXPECT_TRUE(Look().ok()) << "the sequence is where it was";
  int looks = 1;
  while (looks < 70 && Look().ok()) ++looks;
  EXPECT_LE(looks, 60);
  EXPECT_THAT(Look(), Says(absl::StatusCode::kDataLoss, "put_at"));
  GiveNewNumbers();
  EXPECT_THAT(ValuesOf(Unplaced(keys_[1])), ElementsAre("with a number of the past"));
}

// A look once a minute reads over what was deleted, and so not over all of it.
TEST_F(SequenceSetBack, ByMuchIsNoticedByWhoeverTakesTheLaneNext) {
  SetSequence(20'000);
  // Until nobody can commit the numbers before any more.
  const auto first = [this] {
    return std::stoi(Ask("SELECT first_number FROM @.outgoing_lanes WHERE lane = 5"));
  };
  for (int i = 0; i < 500 && first() < 20'000; ++i) {
    if (i > 1) absl::SleepFor(absl::Milliseconds(10));
    PublishAndFinish(1);
  }
  ASSERT_GT(first(), 20'000);
  PublishAndFinish(1);  // what is written with a round says that their hole is gone
  const int last = std::stoi(Ask("SELECT last_value FROM @.outgoing_5"));
  SetSequence(3);
  Publish(keys_[1], "with a number of the past");
  SetSequence(last);
  for (int i = 0; i < 70; ++i) EXPECT_TRUE(Look().ok());
  MustOpen();
  EXPECT_THAT(Look(), Says(absl::StatusCode::kDataLoss, "put_at"));
}

// As when it was set right again before anybody looked.
TEST_F(SequenceSetBack, IsNoticedByWhoeverTakesTheLaneNext) {
  PublishAndFinish(5);
  const UsersSession late(connection());
  late.MustRun("BEGIN");
  PublishIn(late, keys_[2], "late");
  Publish(keys_[0], "behind a hole");
  PlaceAndFinish(Unplaced(keys_[0]));
  late.MustRun("COMMIT");
  SetSequence(1);
  Publish(keys_[1], "with a number of the past");
  SetSequence(7);
  MustOpen();
  EXPECT_THAT(Look(), Says(absl::StatusCode::kDataLoss, "put_at"));
  EXPECT_EQ(Ask("SELECT string_agg(number::text, ' ' ORDER BY number) FROM @.outgoing"), "2 6");
  RunSql(connection(), absl::StrReplaceAll("UPDATE @.outgoing SET number = "
                                           "nextval('@.outgoing_5') WHERE lane = 5 AND number = 2",
                                           {{"@", schema().name()}}));
  EXPECT_THAT(ValuesOf(Unplaced(keys_[2])), ElementsAre("late")) << "a row in a hole is none";
}

// Statements reach its server through a proxy, which may do something in front of one.
class WatchedOutgoing : public OutgoingScene {
 protected:
  void SetUp() override {
    store_ = MustOpen(OptionsFor(
        absl::StrCat("host=", proxy_.folder(), " dbname=postgres user=once"), schema().name()));
  }
  void TearDown() override {
    store_.reset();
    schema_.reset();  // its server goes first otherwise
  }
  std::string connection() const override { return server_.connection(); }

  testing::PrivateServer server_;
  WireProxy proxy_{server_.socket_folder(), [] {}};
};

// A thousand pairs of a number that nobody will ever commit and a row. On a server of its own:
// whoever has a transaction open elsewhere would keep the holes open.
TEST_F(WatchedOutgoing, ALaneWithTooManyHolesStopsAloneAndGoesOnWhenTheyAreClosed) {
  const UsersSession open(connection());
  open.MustRun("BEGIN");
  PublishIn(open, keys_[2], "late");
  Publish(keys_[0], "before");
  RunSql(connection(), absl::StrReplaceAll("DO $$ BEGIN FOR i IN 1..1100 LOOP PERFORM "
                                           "nextval('@.outgoing_5'); INSERT INTO @.outgoing SELECT "
                                           "5, nextval('@.outgoing_5'), 0, put_at, message FROM "
                                           "@.outgoing ORDER BY number LIMIT 1; END LOOP; END $$",
                                           {{"@", schema().name()}}));
  std::size_t placed = 0;
  for (; placed < 1000; placed += 100) {
    Hold(*store_);
    const auto rows = log().FindUnplaced(5, {.rows_max = 100, .bytes_max = 1'000'000});
    ASSERT_TRUE(rows.ok()) << rows.status();
    ASSERT_THAT(*rows, SizeIs(100));
    PlaceAndFinish(*rows);
  }
  Hold(*store_);
  EXPECT_THAT(log().FindUnplaced(5, {.rows_max = 100, .bytes_max = 1'000'000}).status(),
              Says(absl::StatusCode::kUnavailable, "waits for 1000 numbers"));
  std::string elsewhere;
  for (int i = 0; elsewhere.empty() || LaneOfKey(elsewhere) == 5; ++i) {
    elsewhere = absl::StrCat("e", i);
  }
  Publish(elsewhere, "of another lane");
  EXPECT_THAT(ValuesOf(Unplaced(elsewhere)), ElementsAre("of another lane"));
  open.MustRun("COMMIT");
  const std::vector<OutgoingRow> late = Unplaced(keys_[2]);
  ASSERT_THAT(ValuesOf(late), ElementsAre("late"));
  PlaceAndFinish(late);
  const std::vector<OutgoingRow> rest = Unplaced(keys_[2]);
  EXPECT_THAT(rest, SizeIs(101));
  EXPECT_THAT(ValuesOf(rest), Each("before"));
  PlaceAndFinish(rest);
  EXPECT_EQ(Ask("SELECT count(*) FROM @.outgoing WHERE lane = 5"), "0");
  EXPECT_EQ(Ask("SELECT length(value) FROM @.outgoing_facts WHERE key = 'h'::bytea AND lane = 5"),
            absl::StrCat(1 + 16 * 101))
      << "only the new ones";
}

// What is ahead of the cursor and what turns up in holes are two looks.
TEST_F(WatchedOutgoing, ACommitBetweenTwoLooksLetsNoLaterMessageOfItsKeyPass) {
  const UsersSession late(connection());
  const UsersSession user(connection());
  late.MustRun("BEGIN");
  PublishIn(late, keys_[0], "first");
  Publish(keys_[1], "early");
  PlaceAndFinish(Unplaced(keys_[1]));
  Publish(keys_[1], "ahead");
  Hold(*store_);
  int looks = 0;
  proxy_.Watch([&](std::string_view sql) {
    if (sql.find("ORDER BY number LIMIT") == sql.npos || ++looks != 2) return;
    late.MustRun("COMMIT");
    user.MustRun("BEGIN");
    PublishIn(user, keys_[0], "second");
    user.MustRun("COMMIT");
  });
  std::vector<std::string> told;
  for (;;) {
    const std::vector<OutgoingRow> rows = Unplaced(keys_[0]);
    if (rows.empty()) break;
    for (const OutgoingRow& row : rows) {
      if (row.message.key == keys_[0]) told.push_back(*row.message.value);
    }
    PlaceAndFinish(rows);
  }
  proxy_.Watch(nullptr);
  EXPECT_GE(looks, 2);
  EXPECT_THAT(told, ElementsAre("first", "second"));
}

TEST_F(WatchedOutgoing, AnOperatorWhoIsStoppedInTheMidstOfAChangeHoldsNobodyUp) {
  Publish(keys_[0], "bad");
  const std::vector<OutgoingRow> bad = Unplaced(keys_[0]);
  const RefusedRow refused{.number = bad.at(0).number, .reason = absl::InvalidArgumentError("no")};
  ASSERT_TRUE(log().Advance({.refused = {&refused, 1}}).ok());
  bool was_watched = false;
  const std::string row = "SELECT 1 FROM @.outgoing_lanes WHERE lane = 5 FOR UPDATE NOWAIT";
  proxy_.Watch([&](std::string_view sql) {
    if (sql.find("SET revision = revision + 1 WHERE lane = $1") == sql.npos) return;
    was_watched = true;
    EXPECT_ANY_THROW(Ask(row)) << "it is held for as long as the change takes";
    absl::SleepFor(absl::Seconds(4));
    EXPECT_NO_THROW(Ask(row));
  });
  const absl::Status stopped = log().Unpark(bad[0].number);
  proxy_.Watch(nullptr);
  EXPECT_TRUE(was_watched);
  EXPECT_FALSE(stopped.ok());
  EXPECT_THAT(log().ListParked(0, 10).value(), SizeIs(1));
  EXPECT_TRUE(log().Unpark(bad[0].number).ok());
  EXPECT_THAT(log().ListParked(0, 10).value(), IsEmpty());
}

}  // namespace
}  // namespace once::postgres
