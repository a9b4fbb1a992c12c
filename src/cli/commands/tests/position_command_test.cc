// Positions: shown, moved, and moved only when that is meant.
#include "src/cli/commands/position_command.h"

#include "src/cli/commands/tests/command_scene.h"

namespace once::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PositionCommand : public CommandScene {
 protected:
  PositionCommand() {
    operations_.positions = {
        {.key = testing::KeyOf("orders", 0),
         .stamp = {.position = 100, .revision = 4},
         .reach = 120,
         .last_applied = AppliedRecord{.offset = 99, .timestamp_ms = 1'700'000'000'000}},
        {.key = testing::KeyOf("orders", 1), .stamp = {.position = 7, .revision = 1}},
        {.key = {.cluster = "cluster-1", .group = "audit", .partition = {"other", 0}}}};
  }
};

TEST_F(PositionCommand, ShowsEveryRowAsTableAndAsJson) {
  CommandContext context = Context();
  const Report report = ShowPositions(context, {});
  EXPECT_EQ(report.code, kDone);
  EXPECT_THAT(report.text, HasSubstr("99 of 2023-11-14T22:13:20+00:00"));
  EXPECT_EQ(report.document["complete"], true);
  ASSERT_EQ(report.document["positions"].size(), 3);
  const auto& first = report.document["positions"][0];
  EXPECT_EQ(first["group"], "billing");
  EXPECT_EQ(first["topic"], "orders");
  EXPECT_EQ(first["position"], 100);
  EXPECT_EQ(first["reach"], 120);
  EXPECT_EQ(first["last_applied"]["offset"], 99);
  EXPECT_EQ(first["directive"], "none");
}

TEST_F(PositionCommand, ShowsOnlyWhatIsAskedFor) {
  CommandContext context = Context();
  EXPECT_EQ(ShowPositions(context, {.topic = "orders"}).document["positions"].size(), 2);
  EXPECT_EQ(
      ShowPositions(context, {.topic = "orders", .partition = 1}).document["positions"].size(), 1);
  EXPECT_EQ(ShowPositions(context, {.group = "audit"}).document["positions"].size(), 1);
  const Report nothing = ShowPositions(context, {.topic = "orders", .partition = 9});
  EXPECT_EQ(nothing.code, kNotFound);
  EXPECT_EQ(nothing.document["error"]["code"], "not_found");
}

TEST_F(PositionCommand, AnEmptyStoreIsNoError) {
  operations_.positions.clear();
  CommandContext context = Context();
  const Report report = ShowPositions(context, {});
  EXPECT_EQ(report.code, kDone);
  EXPECT_THAT(NotesOf(report), HasSubstr("no positions yet"));
}

TEST_F(PositionCommand, MovingBackAsksNobody) {
  is_confirmed_ = false;
  CommandContext context = Context();
  const Report report =
      OrderPosition(context, {.topic = "orders", .partition = 0}, {.position = 40});
  EXPECT_EQ(report.code, kDone) << NotesOf(report);
  EXPECT_THAT(questions_, IsEmpty());
  ASSERT_THAT(operations_.orders, SizeIs(1));
  EXPECT_EQ(operations_.orders[0].key, testing::KeyOf("orders", 0));
  EXPECT_EQ(operations_.orders[0].directive, PositionDirective::kSet);
  EXPECT_EQ(operations_.orders[0].position, 40);
  EXPECT_NE(operations_.orders[0].writer, 0);
  EXPECT_EQ(report.document["former_position"], 100);
}

TEST_F(PositionCommand, SkippingMessagesIsAskedFirst) {
  const PositionSelector selector{.topic = "orders", .partition = 0};
  const std::vector<PositionWish> wishes = {{.position = 130},
                                            {.directive = PositionDirective::kLatest},
                                            {.directive = PositionDirective::kAdopt}};
  CommandContext context = Context();
  is_confirmed_ = false;
  for (const PositionWish& wish : wishes) {
    const Report refused = OrderPosition(context, selector, wish);
    EXPECT_EQ(refused.code, kRefused);
    EXPECT_THAT(NotesOf(refused), HasSubstr("--yes"));
  }
  EXPECT_THAT(operations_.orders, IsEmpty());
  EXPECT_THAT(questions_.front(), HasSubstr("up to 30 messages from offset 100 on are skipped"));
  is_confirmed_ = true;
  for (const PositionWish& wish : wishes) {
    EXPECT_EQ(OrderPosition(context, selector, wish).code, kDone);
  }
  ASSERT_THAT(operations_.orders, SizeIs(3));
  EXPECT_EQ(operations_.orders[1].directive, PositionDirective::kLatest);
  EXPECT_EQ(operations_.orders[2].directive, PositionDirective::kAdopt);
}

TEST_F(PositionCommand, SaysWhatHappensNext) {
  CommandContext closed = Context();
  const PositionSelector selector{.topic = "orders", .partition = 0};
  EXPECT_THAT(OrderPosition(closed, selector, {.position = 1}).text,
              HasSubstr("the next consumer of the group goes on at offset 1"));
  is_running_ = true;
  CommandContext running = Context();
  EXPECT_THAT(OrderPosition(running, selector, {.directive = PositionDirective::kEarliest}).text,
              HasSubstr("the running consumer goes on with the oldest message"));
}

TEST_F(PositionCommand, ANewPartitionBelongsToTheOneGroupOfItsTopic) {
  CommandContext context = Context();
  const Report report =
      OrderPosition(context, {.topic = "orders", .partition = 5}, {.position = 0});
  EXPECT_EQ(report.code, kDone) << NotesOf(report);
  EXPECT_EQ(operations_.orders.at(0).key, testing::KeyOf("orders", 5));
}

TEST_F(PositionCommand, SeveralGroupsMustBeToldApart) {
  operations_.positions.push_back(
      {.key = {.cluster = "cluster-1", .group = "audit", .partition = {"orders", 0}}});
  CommandContext context = Context();
  const Report open = OrderPosition(context, {.topic = "orders", .partition = 0}, {.position = 0});
  EXPECT_EQ(open.code, kUsage);
  EXPECT_THAT(NotesOf(open), HasSubstr("--group audit --cluster cluster-1"));
  EXPECT_THAT(NotesOf(open), HasSubstr("--group billing --cluster cluster-1"));
  const Report said = OrderPosition(context, {.topic = "orders", .partition = 0, .group = "audit"},
                                    {.position = 0});
  EXPECT_EQ(said.code, kDone) << NotesOf(said);
  EXPECT_EQ(operations_.orders.at(0).key.group, "audit");
}

TEST_F(PositionCommand, ARowIsMadeOnlyForAGroupAndAClusterThatWereNamed) {
  CommandContext context = Context();
  EXPECT_EQ(OrderPosition(context, {.topic = "new", .partition = 0}, {.position = 0}).code,
            kNotFound);
  const Report made = OrderPosition(
      context, {.topic = "new", .partition = 0, .group = "g", .cluster = "c"}, {.position = 0});
  EXPECT_EQ(made.code, kDone) << NotesOf(made);
  EXPECT_EQ(made.document["former_position"], nullptr);
  EXPECT_EQ(operations_.orders.at(0).key,
            (PartitionKey{.cluster = "c", .group = "g", .partition = {"new", 0}}));
}

TEST_F(PositionCommand, NamesOfOddBytesAreShownAndAccepted) {
  operations_.positions = {
      {.key = {.cluster = "c", .group = "\x01\xff", .partition = {"orders", 0}}}};
  CommandContext context = Context();
  EXPECT_EQ(ShowPositions(context, {}).document["positions"][0]["group"], "hex:01ff");
  EXPECT_EQ(ShowPositions(context, {.group = "hex:01ff"}).document["positions"].size(), 1);
}

TEST(PositionWishes, AreNumbersOrTheTwoEnds) {
  EXPECT_EQ(ReadPositionWish("17")->position, 17);
  EXPECT_EQ(ReadPositionWish("earliest")->directive, PositionDirective::kEarliest);
  EXPECT_EQ(ReadPositionWish("latest")->directive, PositionDirective::kLatest);
  for (const char* wrong : {"", "-1", "1.5", "first", "99999999999999999999"}) {
    EXPECT_EQ(ReadPositionWish(wrong).status().code(), absl::StatusCode::kInvalidArgument) << wrong;
  }
}

}  // namespace
}  // namespace once::cli
