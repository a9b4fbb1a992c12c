// The suite of logs of outgoing messages: rows that no retry can publish, and those behind them.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "once/testing/outgoing_conformance.h"
#include "src/testing/store_words.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Whoever asks for the one file of the suite gets the other.
bool LinkOutgoingParkingSuite() { return true; }

namespace {

TEST_P(OutgoingLogConformance, RowsBehindAParkedOneOfTheirOrderWait) {
  Publish({Message("early", "k"), Message("bad", "k"), Message("behind", "k"),
           Message("other", "l"), Message("without a key")});
  const std::vector<OutgoingRow> rows = Unplaced();
  ASSERT_THAT(rows, SizeIs(5));
  Park(rows[1]);
  EXPECT_THAT(UnplacedValues(1), ElementsAre("early"));
  std::vector<std::string> told;
  for (int i = 0; i < 3; ++i) {
    const std::vector<OutgoingRow> next = Unplaced(1);
    ASSERT_THAT(next, SizeIs(1)) << i;
    told.push_back(*next[0].message.value);
    Finish(Place(next, static_cast<std::uint64_t>(i) + 1));
  }
  EXPECT_THAT(told, ElementsAre("early", "other", "without a key"));
  Publish({Message("far behind", "k")});
  EXPECT_THAT(Unplaced(), IsEmpty());
  EXPECT_EQ(log().Count().value().waiting, 3u);
  EXPECT_EQ(log().Count().value().parked, 1u);
}

TEST_P(OutgoingLogConformance, AnotherTopicIsAnotherOrder) {
  Publish({Message("bad", "k"), {.topic = "payments", .key = "k", .value = "paid"}});
  Park(Unplaced()[0]);
  EXPECT_THAT(UnplacedValues(), ElementsAre("paid"));
}

TEST_P(OutgoingLogConformance, RowsWithoutAKeyWaitForNobody) {
  Publish({Message("bad"), Message("good")});
  Park(Unplaced()[0]);
  EXPECT_THAT(UnplacedValues(), ElementsAre("good"));
}

TEST_P(OutgoingLogConformance, AParkedRowTellsWhyAndSinceWhen) {
  Publish({Message("bad", "k")});
  const std::vector<OutgoingRow> rows = Unplaced();
  Park(rows[0]);
  const auto parked = log().ListParked(0, 10);
  ASSERT_TRUE(parked.ok()) << parked.status();
  ASSERT_THAT(*parked, SizeIs(1));
  EXPECT_EQ(parked->at(0).row.number, rows[0].number);
  EXPECT_EQ(parked->at(0).row.message, Message("bad", "k"));
  EXPECT_THAT(parked->at(0).reason, ::testing::HasSubstr("too large"));
  EXPECT_GT(parked->at(0).parked_at, absl::UnixEpoch());
  EXPECT_THAT(log().ListParked(rows[0].number, 10).value(), IsEmpty());
  EXPECT_THAT(log().ListParked(0, 0).value(), IsEmpty());
}

TEST_P(OutgoingLogConformance, AnUnparkedRowComesBeforeAllOthersOfItsOrder) {
  Publish({Message("first", "k"), Message("second", "k")});
  const std::vector<OutgoingRow> rows = Unplaced();
  Park(rows[0]);
  EXPECT_THAT(Unplaced(), IsEmpty());
  Publish({Message("third", "k")});
  EXPECT_THAT(Unplaced(), IsEmpty());
  ASSERT_TRUE(log().Unpark(rows[0].number).ok());
  EXPECT_EQ(log().Unpark(rows[0].number).code(), absl::StatusCode::kNotFound);
  std::vector<std::string> told;
  for (int i = 0; i < 3; ++i) {
    const std::vector<OutgoingRow> next = Unplaced(1);
    ASSERT_THAT(next, SizeIs(1)) << i;
    told.push_back(*next[0].message.value);
    Finish(Place(next));
  }
  EXPECT_THAT(told, ElementsAre("first", "second", "third"));
  EXPECT_EQ(log().Count().value().waiting, 0u);
}

TEST_P(OutgoingLogConformance, ADiscardedRowLetsTheOthersGo) {
  Publish({Message("bad", "k"), Message("next", "k")});
  const std::vector<OutgoingRow> rows = Unplaced();
  Park(rows[0]);
  ASSERT_TRUE(log().Discard(rows[0].number).ok());
  EXPECT_EQ(log().Discard(rows[0].number).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(UnplacedValues(), ElementsAre("next"));
  EXPECT_EQ(log().Count().value().waiting, 1u);
  EXPECT_EQ(log().Count().value().parked, 0u);
}

TEST_P(OutgoingLogConformance, TheSecondParkedRowOfAnOrderHoldsWhatIsBehindIt) {
  Publish(
      {Message("bad", "k"), Message("between", "k"), Message("worse", "k"), Message("last", "k")});
  const std::vector<OutgoingRow> rows = Unplaced();
  const RefusedRow refused[] = {
      {.number = rows[0].number, .reason = absl::InvalidArgumentError("no")},
      {.number = rows[2].number, .reason = absl::InvalidArgumentError("no")}};
  Advance({.refused = refused});
  EXPECT_THAT(Unplaced(), IsEmpty());
  ASSERT_TRUE(log().Discard(rows[0].number).ok());
  EXPECT_THAT(UnplacedValues(), ElementsAre("between"));
  ASSERT_TRUE(log().Unpark(rows[2].number).ok());
  EXPECT_THAT(UnplacedValues(), ElementsAre("between", "worse", "last"));
}

TEST_P(OutgoingLogConformance, ARefusedRowLeavesItsRoundAndThoseBehindItWithIt) {
  Publish({Message("0", "k"), Message("1", "k"), Message("2", "k"), Message("3", "k")});
  const std::vector<OutgoingRow> rows = Unplaced();
  ASSERT_THAT(rows, SizeIs(4));
  OutgoingRound first = Place(std::span(rows).first(3), 1);
  OutgoingRound second = Place(std::span(rows).last(1), 4);
  const RefusedRow refused{.number = rows[1].number, .reason = absl::InvalidArgumentError("no")};
  const std::int64_t waiting[] = {rows[2].number, rows[3].number};
  const OwedVoid owed[] = {{.epoch = 7, .topic = "orders", .partition = 3, .sequence = 2},
                           {.epoch = 7, .topic = "orders", .partition = 3, .sequence = 3},
                           {.epoch = 7, .topic = "orders", .partition = 3, .sequence = 4}};
  Advance({.refused = {&refused, 1}, .waiting = waiting, .owed = owed});
  if (capabilities().why_no_reopen.empty()) {
    ASSERT_TRUE(fixture().Reopen().ok());
  }
  const std::vector<UnfinishedRound> found = Unfinished();
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_THAT(found[0].round.placements, ElementsAre(first.placements[0]));
  EXPECT_THAT(found[1].round.placements, IsEmpty());
  EXPECT_THAT(Unplaced(), IsEmpty());
  EXPECT_THAT(log().ListOwed().value(), ElementsAre(owed[0], owed[1], owed[2]));
  Advance({.declared = std::span(owed).first(2)});
  EXPECT_THAT(log().ListOwed().value(), ElementsAre(owed[2]));
  Finish(first);
  Finish(second);
  EXPECT_EQ(log().Count().value().waiting, 3u);
  ASSERT_TRUE(log().Unpark(rows[1].number).ok());
  EXPECT_THAT(UnplacedValues(), ElementsAre("1", "2", "3"));
}

TEST_P(OutgoingLogConformance, ManyRowsBehindAParkedOneAreNoObstacle) {
  constexpr int kRows = 60;
  std::vector<OutgoingMessage> messages = {Message("bad", "k")};
  for (int i = 0; i < kRows; ++i) messages.push_back(Message(absl::StrCat(i), "k"));
  messages.push_back(Message("other", "l"));
  Publish(messages);
  Park(Unplaced(1)[0]);
  std::vector<OutgoingRow> found;
  // A call passes so many at a time that it tells nothing at first.
  for (int i = 0; i < kRows && found.empty(); ++i) found = Unplaced(1);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].message.value, "other");
  Finish(Place(found));
  for (int i = 0; i < kRows; ++i) EXPECT_THAT(Unplaced(1), IsEmpty());
  ASSERT_TRUE(log().Discard(log().ListParked(0, 1).value().at(0).row.number).ok());
  EXPECT_THAT(Unplaced(), SizeIs(kRows));
}

}  // namespace
}  // namespace once::testing
