// Every row of the table that decides where a partition begins. The log of all cases holds offsets
// 10 to 99; the store is "mine", opened three times; a row, where there is one, says 50.
#include "src/plan_start.h"

#include <ostream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "src/store_mark.h"

namespace once {
namespace {

using ::testing::HasSubstr;

constexpr std::int64_t kFirst = 10;
constexpr std::int64_t kEnd = 100;
constexpr std::int64_t kRow = 50;

const AppliedRecord kApplied = {
    .offset = 49, .timestamp_ms = 7, .fingerprint = {.high = 1, .low = 2}};

std::string Mark(std::string store, std::optional<std::int64_t> began = std::nullopt,
                 std::uint64_t open_count = 3) {
  return FormatStoreMark({.store_id = std::move(store), .open_count = open_count, .began = began});
}

// Facts by exception: a test names what differs from "assigned, nothing known, nothing wrong".
struct Given {
  StartFacts facts;

  Given() {
    facts.key.partition = {"orders", 0};
    facts.store_id = "mine";
    facts.open_count = 3;
    facts.bounds = {.first = kFirst, .end = kEnd};
  }
  Given Row(std::int64_t position = kRow) && {
    facts.row = position;
    facts.last_applied = kApplied;
    return std::move(*this);
  }
  Given Committed(std::int64_t offset, std::string metadata = "") && {
    facts.bounds.committed = offset;
    facts.bounds.committed_metadata = std::move(metadata);
    return std::move(*this);
  }
  Given Directive(PositionDirective directive) && {
    facts.directive = directive;
    return std::move(*this);
  }
  Given Plain() && {
    facts.has_rows = false;
    return std::move(*this);
  }
  Given Latest() && {
    facts.start = StartAt::kLatest;
    return std::move(*this);
  }
  Given EarliestIfOutOfRange() && {
    facts.out_of_range = OutOfRange::kEarliest;
    return std::move(*this);
  }
  Given ForeignIs(ForeignStore choice) && {
    facts.foreign_store = choice;
    return std::move(*this);
  }
  Given OtherCluster() && {
    facts.other_cluster = "old-cluster";
    return std::move(*this);
  }
  Given RowLost(std::optional<std::int64_t> began = std::nullopt) && {
    facts.is_row_lost = true;
    facts.began = began;
    return std::move(*this);
  }
  Given NoStoreId() && {
    facts.store_id.clear();
    facts.open_count = 0;
    return std::move(*this);
  }
  Given SharedStore() && {
    facts.is_store_shared = true;
    return std::move(*this);
  }
  Given Keeps(absl::Duration ids, absl::StatusOr<absl::Duration> records,
              ShortRetention choice = ShortRetention::kStop) && {
    facts.store_retention = ids;
    facts.log_retention = std::move(records);
    facts.redelivery_horizon = absl::Hours(1);
    facts.short_retention = choice;
    return std::move(*this);
  }
  Given EndUncertain() && {
    facts.is_end_certain = false;
    return std::move(*this);
  }
};

struct Case {
  std::string name;
  Given given;
  StartAction action;
  std::int64_t position;
  std::string finding = "";  // the first one, or the stop's
  bool commits_first = false;
  std::optional<std::int64_t> began = std::nullopt;
  std::optional<std::int64_t> commit_began = std::nullopt;  // only where commits_first

  Case Finds(std::string what) && {
    finding = std::move(what);
    return std::move(*this);
  }
  Case CommitsFirst(std::optional<std::int64_t> offset = std::nullopt) && {
    commits_first = true;
    commit_began = offset;
    return std::move(*this);
  }
  Case Began(std::int64_t offset) && {
    began = offset;
    return std::move(*this);
  }
};

std::ostream& operator<<(std::ostream& out, const Case& value) { return out << value.name; }

class PlanStartTable : public ::testing::TestWithParam<Case> {};

TEST_P(PlanStartTable, Decides) {
  const Case& expected = GetParam();
  const StartPlan plan = PlanStart(expected.given.facts);
  EXPECT_EQ(plan.action, expected.action);
  EXPECT_EQ(plan.position, expected.position);
  EXPECT_EQ(plan.commits_first, expected.commits_first);
  const std::string finding(plan.action == StartAction::kStop ? plan.stop_finding
                            : plan.findings.empty()           ? ""
                                                              : plan.findings.front().action);
  EXPECT_EQ(finding, expected.finding);
  EXPECT_EQ(plan.stop.ok(), plan.action != StartAction::kStop);
  EXPECT_EQ(plan.gap.has_value(), finding == "gap");
  if (plan.action == StartAction::kStop || plan.action == StartAction::kAskAgain) return;
  EXPECT_EQ(plan.began, expected.began);
  if (expected.commits_first) {
    EXPECT_EQ(plan.commit_began, expected.commit_began);
  }
  // Compared exactly where the row's own position is gone on with.
  const bool is_compared = expected.given.facts.row && plan.action == StartAction::kGoOn;
  EXPECT_EQ(plan.witness.has_value(), is_compared);
}

std::string NameOf(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }

using enum StartAction;

INSTANTIATE_TEST_SUITE_P(
    NewRow, PlanStartTable,
    ::testing::Values(
        Case{"NothingKnownBeginsAtTheOldest", Given(), kMakeRow, kFirst}.Began(kFirst),
        Case{"NothingKnownMayBeginAtTheEnd", Given().Latest(), kMakeRow, kEnd}.Began(kEnd),
        Case{"AnOffsetThatNamesNoStoreIsAdopted", Given().Committed(30), kMakeRow, 30}
            .Finds("offsets_adopted")
            .Began(30),
        Case{"AlsoWhereTheStartIsLatest", Given().Latest().Committed(30), kMakeRow, 30}
            .Finds("offsets_adopted")
            .Began(30),
        Case{"TextThatIsNoMarkNamesNoStore", Given().Committed(30, "moved by hand"), kMakeRow, 30}
            .Finds("offsets_adopted")
            .Began(30),
        Case{"OurIdMeansALostRowAndTheOldest", Given().Committed(70, Mark("mine")), kMakeRow,
             kFirst}
            .Finds("row_lost")
            .Began(kFirst),
        Case{"OurIdMeansALostRowAndWhereItBegan", Given().Committed(70, Mark("mine", 30)), kMakeRow,
             30}
            .Finds("row_lost")
            .Began(30),
        Case{"ALostRowIsNotBegunAtTheEnd", Given().Latest().Committed(70, Mark("mine")), kMakeRow,
             kFirst}
            .Finds("row_lost")
            .Began(kFirst),
        Case{"ALostRowOfThisProcessBeginsWhereItBegan", Given().RowLost(30).Committed(70), kMakeRow,
             30}
            .CommitsFirst(30)
            .Began(30),
        Case{"ALostRowOfThisProcessBeginsAtTheOldest", Given().RowLost().Committed(70), kMakeRow,
             kFirst}
            .CommitsFirst(kFirst)
            .Began(kFirst),
        Case{"ALostRowWhoseBeginningIsDeletedIsAGap",
             Given().RowLost(5).Committed(70, Mark("mine", 5)), kStop, 70}
            .Finds("gap"),
        Case{"AnotherClusterBeginsAnew", Given().OtherCluster(), kMakeRow, kFirst}
            .Finds("failover")
            .Began(kFirst),
        Case{"AnotherClusterBeginsAnewAsChosen", Given().OtherCluster().Latest().Committed(30),
             kMakeRow, kEnd}
            .Finds("failover")
            .Began(kEnd),
        Case{"AMirroredMarkOfOursBeginsAtTheOldest",
             Given().OtherCluster().Latest().Committed(70, Mark("mine", 30)), kMakeRow, kFirst}
            .Finds("row_lost")
            .Began(kFirst)),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Row, PlanStartTable,
    ::testing::Values(
        Case{"GoesOn", Given().Row(), kGoOn, kRow},
        Case{"GoesOnWithTheBrokerBehind", Given().Row().Committed(40, Mark("mine", 10)), kGoOn,
             kRow}
            .Began(10),
        Case{"GoesOnWithTheBrokerEqual", Given().Row().Committed(kRow, Mark("mine", 10)), kGoOn,
             kRow}
            .Began(10),
        Case{"OurIdAheadMeansARollback", Given().Row().Committed(70, Mark("mine", 10)), kGoOn, kRow}
            .Finds("store_rolled_back")
            .Began(10),
        Case{"AGreaterOpenCountMeansAnOlderCopy", Given().Row().Committed(40, Mark("mine", 10, 4)),
             kGoOn, kRow}
            .Finds("store_rolled_back")
            .Began(10),
        Case{"AGreaterOpenCountOfASharedStoreMeansNothing",
             Given().SharedStore().Row().Committed(40, Mark("mine", 10, 4)), kGoOn, kRow}
            .Began(10),
        Case{"NoMarkElsewhereMeansAnOperatorsReset", Given().Row().Committed(20), kGoOn, kRow}
            .Finds("offsets_reset"),
        Case{"NoMarkAtTheSameOffsetMeansNothing", Given().Row().Committed(kRow), kGoOn, kRow},
        Case{"WithoutAStoreIdNoMarkMeansNothing", Given().NoStoreId().Row().Committed(20), kGoOn,
             kRow},
        Case{"AnotherClusterIsOfNoInterest", Given().Row().OtherCluster(), kGoOn, kRow},
        Case{"BelowTheLogIsAGap", Given().Row(5), kStop, 5}.Finds("gap"),
        Case{"BelowTheLogMayGoOn", Given().Row(5).EarliestIfOutOfRange(), kMoveRow, kFirst}
            .Finds("gap")
            .CommitsFirst(),
        Case{"BeyondTheLogIsAGap", Given().Row(101), kStop, 101}.Finds("gap"),
        Case{"BeyondTheLogIsAskedForAgain", Given().Row(101).EndUncertain(), kAskAgain, 101},
        Case{"BelowTheLogIsCertain", Given().Row(5).EndUncertain(), kStop, 5}.Finds("gap"),
        Case{"BeyondTheLogMayGoOn",
             Given().Row(101).EarliestIfOutOfRange().Committed(101, Mark("mine", 60)), kMoveRow,
             kFirst}
            .Finds("gap")
            .CommitsFirst(kFirst)
            .Began(kFirst),
        Case{"AtTheEndIsInside", Given().Row(kEnd), kGoOn, kEnd}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    ForeignStore, PlanStartTable,
    ::testing::Values(
        Case{"AheadOfTheRowIsRefused", Given().Row().Committed(70, Mark("yours")), kStop, kRow}
            .Finds("foreign_store"),
        Case{"WithoutARowIsRefused", Given().Committed(70, Mark("yours")), kStop, 70}.Finds(
            "foreign_store"),
        Case{"IsRefusedByAStoreWithoutAnId", Given().NoStoreId().Committed(70, Mark("yours")),
             kStop, 70}
            .Finds("foreign_store"),
        Case{"BeforeAnotherCluster", Given().OtherCluster().Committed(70, Mark("yours")), kStop, 70}
            .Finds("foreign_store"),
        Case{"NotAheadIsHarmless", Given().Row().Committed(kRow, Mark("yours")), kGoOn, kRow}.Finds(
            "foreign_store"),
        Case{"AdoptedMovesTheRow",
             Given().Row().Committed(70, Mark("yours")).ForeignIs(ForeignStore::kAdopt), kMoveRow,
             70}
            .Finds("foreign_store")
            .CommitsFirst(70),
        Case{"AdoptedMakesARow",
             Given().Committed(70, Mark("yours")).ForeignIs(ForeignStore::kAdopt), kMakeRow, 70}
            .Finds("foreign_store")
            .CommitsFirst(70)
            .Began(70),
        Case{"AnAdoptionThatWasCutOffIsFinished", Given().Row().Committed(70, Mark("mine", 70)),
             kMoveRow, 70}
            .Finds("foreign_store")
            .CommitsFirst(70),
        Case{"AnAdoptionThatWasCutOffBeforeItsRowIsFinished",
             Given().Committed(70, Mark("mine", 70)), kMakeRow, 70}
            .Finds("row_lost")
            .Began(70),
        Case{"AdoptedOutsideOfTheLogIsAGap",
             Given().Committed(5, Mark("yours")).ForeignIs(ForeignStore::kAdopt), kStop, 5}
            .Finds("gap"),
        Case{"ReplayedGoesOnAtTheRow",
             Given().Row().Committed(70, Mark("yours")).ForeignIs(ForeignStore::kReplay), kGoOn,
             kRow}
            .Finds("foreign_store"),
        Case{"ReplayedBeginsAtTheOldest",
             Given().Latest().Committed(70, Mark("yours")).ForeignIs(ForeignStore::kReplay),
             kMakeRow, kFirst}
            .Finds("foreign_store")
            .Began(kFirst)),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Directive, PlanStartTable,
    ::testing::Values(
        Case{"SetGoesOnAtTheRow",
             Given().Row().Committed(70, Mark("yours")).Directive(PositionDirective::kSet),
             kMoveRow, kRow}
            .Finds("order_obeyed")
            .CommitsFirst(),
        Case{"SetIsObeyedOutsideOfTheLog", Given().Row(500).Directive(PositionDirective::kSet),
             kMoveRow, 500}
            .Finds("order_obeyed")
            .CommitsFirst(),
        Case{"SetLowerLowersWhereTheStoreBegan",
             Given().Row(20).Committed(70, Mark("mine", 15)).Directive(PositionDirective::kSet),
             kMoveRow, 20}
            .Finds("order_obeyed")
            .CommitsFirst(15)
            .Began(15),
        Case{"AdoptGoesOnAtTheGroupsOffset",
             Given().Row().Committed(70, Mark("yours")).Directive(PositionDirective::kAdopt),
             kMoveRow, 70}
            .Finds("order_obeyed")
            .CommitsFirst(),
        Case{"AdoptOfNothingStops", Given().Row().Directive(PositionDirective::kAdopt), kStop, kRow}
            .Finds("order_without_offset"),
        Case{"AdoptOutsideOfTheLogIsAGap",
             Given().Row().Committed(5).Directive(PositionDirective::kAdopt), kStop, kRow}
            .Finds("gap"),
        Case{"EarliestIsTheOldest",
             Given().Row().Committed(70, Mark("mine", 30)).Directive(PositionDirective::kEarliest),
             kMoveRow, kFirst}
            .Finds("order_obeyed")
            .CommitsFirst(kFirst)
            .Began(kFirst),
        Case{"LatestIsTheEnd", Given().Row(5).Directive(PositionDirective::kLatest), kMoveRow, kEnd}
            .Finds("order_obeyed")
            .CommitsFirst()),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    AfterAPlainHandler, PlanStartTable,
    ::testing::Values(Case{"BeginsWhereThatOneEnded", Given().Committed(70, Mark("mine", 70)),
                           kMakeRow, 70}
                          .Finds("row_lost")
                          .Began(70),
                      Case{"ARowFromBeforeItIsMovedToWhereThatOneEnded",
                           Given().Row().Committed(70, Mark("mine", 70)), kMoveRow, 70}
                          .Finds("foreign_store")
                          .CommitsFirst(70)),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    PlainHandler, PlanStartTable,
    ::testing::Values(
        Case{"BeginsAtTheOldest", Given().Plain(), kGoOn, kFirst}.CommitsFirst(kFirst),
        Case{"MayBeginAtTheEnd", Given().Plain().Latest(), kGoOn, kEnd}.CommitsFirst(kEnd),
        Case{"GoesOnAtTheGroupsOffset", Given().Plain().Committed(70, Mark("mine")), kGoOn, 70},
        Case{"GoesOnWhereAnOperatorSaid", Given().Plain().Committed(20), kGoOn, 20},
        Case{"NoticesAnOlderCopyOfItsStore",
             Given().Plain().Committed(70, Mark("mine", std::nullopt, 4)), kGoOn, 70}
            .Finds("store_rolled_back"),
        Case{"RefusesAForeignStore", Given().Plain().Committed(70, Mark("yours")), kStop, 70}.Finds(
            "foreign_store"),
        Case{"AdoptsAForeignStoresOffset",
             Given().Plain().Committed(70, Mark("yours")).ForeignIs(ForeignStore::kAdopt), kGoOn,
             70}
            .Finds("foreign_store")
            .CommitsFirst(70),
        Case{"ReplaysAForeignStoresMessages",
             Given().Plain().Committed(70, Mark("yours")).ForeignIs(ForeignStore::kReplay), kGoOn,
             kFirst}
            .Finds("foreign_store"),
        Case{"StopsAtAGap", Given().Plain().Committed(5), kStop, 5}.Finds("gap"),
        Case{"GoesOnAfterAGap", Given().Plain().Committed(5).EarliestIfOutOfRange(), kGoOn, kFirst}
            .Finds("gap")
            .CommitsFirst(kFirst),
        Case{"AsksAgainBeyondTheEnd", Given().Plain().Committed(101).EndUncertain(), kAskAgain,
             101}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Retention, PlanStartTable,
    ::testing::Values(
        Case{"LongEnough", Given().Row().Keeps(absl::Hours(25), absl::Hours(24)), kGoOn, kRow},
        Case{"TooShort", Given().Row().Keeps(absl::Hours(24), absl::Hours(24)), kStop, kRow}.Finds(
            "retention_short"),
        Case{"TooShortForPlainHandlers",
             Given().Plain().Committed(70, Mark("mine")).Keeps(absl::Hours(1), absl::Hours(1)),
             kStop, 70}
            .Finds("retention_short"),
        Case{"Accepted",
             Given().Row().Keeps(absl::Hours(1), absl::Hours(24), ShortRetention::kWarn), kGoOn,
             kRow}
            .Finds("retention_short"),
        Case{"OfALogThatKeepsEverything",
             Given().Row().Keeps(absl::Hours(1), absl::InfiniteDuration()), kGoOn, kRow}
            .Finds("retention_of_log_infinite"),
        Case{"NotKnown", Given().Row().Keeps(absl::Hours(1), absl::UnavailableError("no answer")),
             kGoOn, kRow}
            .Finds("retention_unknown"),
        Case{"WithoutEnd", Given().Row().Keeps(absl::InfiniteDuration(), absl::Hours(24)), kGoOn,
             kRow}),
    NameOf);

TEST(PlanStart, TheWitnessIsNotAskedForWhereTheLogNoLongerHasIt) {
  Given given = Given().Row();
  given.facts.last_applied->offset = kFirst - 1;
  EXPECT_EQ(PlanStart(given.facts).witness, std::nullopt);
  given.facts.last_applied->offset = kFirst;
  EXPECT_TRUE(PlanStart(given.facts).witness.has_value());
  given.facts.row = kEnd;
  given.facts.last_applied->offset = kEnd;
  EXPECT_EQ(PlanStart(given.facts).witness, std::nullopt);
}

TEST(PlanStart, StopsNameTheWayOut) {
  const auto stop = [](const Given& given) { return PlanStart(given.facts).stop.ToString(); };
  const std::string gap = stop(Given().Row(5));
  EXPECT_THAT(gap, HasSubstr("offsets 5 to 9, which were never handled"));
  EXPECT_THAT(gap, HasSubstr("`once position set --store STORE orders 0 earliest`"));
  EXPECT_THAT(gap, HasSubstr("OutOfRange::kEarliest"));
  EXPECT_THAT(stop(Given().Row(101)), HasSubstr("beyond the log's end 100"));
  EXPECT_THAT(stop(Given().Plain().Committed(5)), HasSubstr("move the group's offsets"));

  const std::string foreign = stop(Given().Row().Committed(70, Mark("yours")));
  EXPECT_THAT(foreign, HasSubstr("below offset 70 were handled with another store, yours"));
  EXPECT_THAT(foreign, HasSubstr("`once position adopt --store STORE orders 0`"));
  EXPECT_THAT(foreign, HasSubstr("ForeignStore::kAdopt"));
  EXPECT_THAT(foreign, HasSubstr("`once position set --store STORE orders 0 50`"));
  EXPECT_THAT(foreign, HasSubstr("ForeignStore::kReplay"));
  EXPECT_THAT(stop(Given().Row().Directive(PositionDirective::kAdopt)),
              HasSubstr("`once position set --store STORE orders 0 OFFSET`, a number"));

  const StartPlan reset = PlanStart(Given().Row().Committed(20).facts);
  EXPECT_THAT(reset.findings.front().message,
              HasSubstr("`once position set --store STORE orders 0 20`"));
}

TEST(PlanStart, AnotherTopicUnderTheSameNameIsDescribed) {
  AppliedRecord found = kApplied;
  found.fingerprint.low = 3;
  const std::string value =
      OtherTopicError({.partition = {"orders", 0}}, kApplied, found, kRow).ToString();
  EXPECT_THAT(value, HasSubstr("offset 49"));
  EXPECT_THAT(value, HasSubstr("another value"));
  EXPECT_THAT(value, HasSubstr("`once position set --store STORE orders 0 earliest`"));
  EXPECT_THAT(value, HasSubstr("`once position set --store STORE orders 0 50`"));
  found = kApplied;
  found.timestamp_ms = 8;
  EXPECT_THAT(OtherTopicError({.partition = {"orders", 0}}, kApplied, found, kRow).ToString(),
              HasSubstr("at another time (8 ms, not 7)"));
}

}  // namespace
}  // namespace once
