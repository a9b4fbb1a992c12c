// The suite of logs of outgoing messages: rows that no retry can publish, and those behind them.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "once/testing/outgoing_conformance.h"
#include "src/testing/store_words.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

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

TEST_P(OutgoingLogConformance, AllParkedRowsOfATopicAreTriedAgainInTheirOrder) {
  std::vector<OutgoingMessage> messages;
  for (int i = 0; i < 250; ++i) messages.push_back(Message(absl::StrCat(i), absl::StrCat("k", i)));
  messages.push_back({.topic = "payments", .key = "k", .value = "paid"});
  Publish(messages);
  const std::vector<OutgoingRow> rows = Unplaced();
  ASSERT_THAT(rows, SizeIs(251));
  std::vector<RefusedRow> refused;
  for (const OutgoingRow& row : rows) {
    refused.push_back({.number = row.number, .reason = absl::InvalidArgumentError("no topic")});
  }
  Advance({.refused = refused});
  EXPECT_EQ(log().UnparkTopic("nowhere").value(), 0u);
  EXPECT_EQ(log().UnparkTopic("orders").value(), 250u);
  EXPECT_EQ(log().UnparkTopic("orders").value(), 0u);
  EXPECT_EQ(log().Count().value().parked, 1u);
  const std::vector<std::string> told = UnplacedValues();
  ASSERT_THAT(told, SizeIs(250));
  EXPECT_EQ(told.front(), "0");
  EXPECT_EQ(told.back(), "249");
}

TEST_P(OutgoingLogConformance, WhatWaitsIsListedWhereverItIs) {
  Publish({Message("placed", "k"), Message("parked", "l"), Message("behind", "l"),
           Message("free", "m")});
  const auto all = log().ListWaiting(0, 10);
  if (absl::IsUnimplemented(all.status())) GTEST_SKIP() << all.status();
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_THAT(*all, SizeIs(4));
  const std::vector<OutgoingRow> rows = Unplaced();
  ASSERT_THAT(rows, SizeIs(4));
  const OutgoingRound round = Place(std::span(rows).first(1));
  Park(rows[1]);
  std::vector<std::string> values;
  std::int64_t after = 0;
  for (int i = 0; i < 10; ++i) {
    const auto page = log().ListWaiting(after, 2);
    ASSERT_TRUE(page.ok()) << page.status();
    if (page->empty()) break;
    for (const OutgoingRow& row : *page) {
      EXPECT_GT(row.number, after);
      after = row.number;
      values.push_back(row.message.value.value_or("(null)"));
    }
  }
  EXPECT_THAT(values, UnorderedElementsAre("placed", "parked", "behind", "free"));
  Finish(round);
  EXPECT_THAT(log().ListWaiting(0, 10).value(), SizeIs(3)) << "what is published is gone";
}

TEST_P(OutgoingLogConformance, WhatWasGivenUpIsOnRecordWithItsReason) {
  OutgoingMessage bad = Message("bad", "k");
  bad.headers = {{"once-id", "order-7"}};
  Publish({bad, Message("next", "k")});
  const std::vector<OutgoingRow> rows = Unplaced();
  const auto none = log().ListDiscarded(0, 10);
  if (absl::IsUnimplemented(none.status())) GTEST_SKIP() << none.status();
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_THAT(*none, IsEmpty());
  EXPECT_EQ(log().GiveUp(rows[0].number, "not parked").code(), absl::StatusCode::kNotFound);
  ASSERT_THAT(Unplaced(), SizeIs(2)) << "a relay asks again after that";
  Park(rows[0]);
  EXPECT_EQ(log().GiveUp(rows[0].number, "").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(log().GiveUp(rows[0].number, std::string(kDiscardReasonBytesMax + 1, 'x')).code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(log().GiveUp(rows[0].number, "sent by hand").ok());
  EXPECT_EQ(log().GiveUp(rows[0].number, "twice").code(), absl::StatusCode::kNotFound);
  if (capabilities().why_no_reopen.empty()) {
    ASSERT_TRUE(fixture().Reopen().ok());
  }
  EXPECT_THAT(UnplacedValues(), ElementsAre("next"));
  const std::vector<DiscardedRow> discarded = log().ListDiscarded(0, 10).value();
  ASSERT_THAT(discarded, SizeIs(1));
  EXPECT_EQ(discarded[0].number, rows[0].number);
  EXPECT_EQ(discarded[0].topic, "orders");
  EXPECT_EQ(discarded[0].id, "order-7");
  EXPECT_EQ(discarded[0].reason, "sent by hand");
  EXPECT_GT(discarded[0].discarded_at, absl::UnixEpoch());
  EXPECT_THAT(log().ListDiscarded(rows[0].number, 10).value(), IsEmpty());
}

// A log may tell rows of topics that are passed over; what it never does is to tell them in another
// order, or to lose them.
TEST_P(OutgoingLogConformance, RowsThatWerePassedOverComeBackInTheirOrder) {
  std::vector<std::string> late;
  for (int i = 0; i < 40; ++i) {
    late.push_back(absl::StrCat("late", i));
    Publish({{.topic = "late", .key = "k", .value = late.back()}, Message(absl::StrCat(i), "k")});
  }
  ASSERT_THAT(Unplaced(), SizeIs(80));
  const std::string passed[] = {"late"};
  std::vector<std::string> told;
  const std::vector<int> lanes = log().HoldLanes().value();
  for (const int lane : lanes) {
    for (int i = 0; i < 100; ++i) {
      auto rows = log().FindUnplaced(
          lane, {.rows_max = 7, .bytes_max = 1'000'000, .passed_topics = passed});
      ASSERT_TRUE(rows.ok()) << rows.status();
      std::erase_if(*rows, [](const OutgoingRow& row) { return row.message.topic == "late"; });
      if (rows->empty()) break;
      for (const OutgoingRow& row : *rows) told.push_back(*row.message.value);
      Finish(Place(*rows));
    }
  }
  if (told.size() < 40) GTEST_SKIP() << "this log does not pass over topics";
  std::vector<std::string> back;
  while (back.size() < 40) {
    const std::vector<OutgoingRow> rows = Unplaced(7);
    ASSERT_THAT(rows, Not(IsEmpty())) << back.size();
    for (const OutgoingRow& row : rows) back.push_back(*row.message.value);
    Finish(Place(rows));
  }
  EXPECT_EQ(back, late);
  EXPECT_EQ(log().Count().value().waiting, 0u);
}

TEST_P(OutgoingLogConformance, TheBytesThatWaitCanBeMeasured) {
  const auto none = log().MeasureBytes();
  if (absl::IsUnimplemented(none.status())) GTEST_SKIP() << none.status();
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(*none, 0u);
  Publish({Message(std::string(1000, 'a')), Message(std::string(500, 'b'))});
  EXPECT_GE(log().MeasureBytes().value(), 1500u);
  EXPECT_LE(log().MeasureBytes().value(), 2000u);
  Finish(Place(Unplaced()));
  EXPECT_EQ(log().MeasureBytes().value(), 0u);
}

}  // namespace
}  // namespace once::testing
