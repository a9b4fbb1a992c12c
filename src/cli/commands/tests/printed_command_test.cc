// The commands that the engine prints when a partition stops, given to a shell word for word: they
// do what the sentence says, on a store that knows the partition and on one that does not.
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "once/sqlite/store.h"
#include "src/cli/exit_code.h"
#include "src/plan_start.h"
#include "src/position_command.h"
#include "src/store_mark.h"
#include "tests/once_command.h"

namespace once::cli {
namespace {

using testing::CommandResult;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using testing::FindCommands;
using testing::RunPrinted;
using ::testing::SizeIs;

const PartitionKey kOrders0 = {
    .cluster = "5L6g3nShT-eMCtK--X86sw", .group = "billing", .partition = {"orders", 0}};

// What an order leaves in the store.
struct Ordered {
  PositionDirective directive = PositionDirective::kNone;
  std::int64_t position = 0;  // of kSet

  friend bool operator==(const Ordered&, const Ordered&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Ordered& ordered) {
    return out << "directive " << static_cast<int>(ordered.directive) << " " << ordered.position;
  }
};
constexpr Ordered kAdopted = {.directive = PositionDirective::kAdopt};
constexpr Ordered kFromTheFirst = {.directive = PositionDirective::kEarliest};
constexpr Ordered SetTo(std::int64_t position) {
  return {.directive = PositionDirective::kSet, .position = position};
}

// Each of `commands` on a store of its own; `row` is there before, or no row at all.
std::vector<Ordered> Obey(const std::vector<std::string>& commands, const PartitionKey& key,
                          std::optional<std::int64_t> row) {
  std::vector<Ordered> all;
  for (const std::string& command : commands) {
    const testing::ScratchFolder folder;
    const std::string path = folder.File("billing.db");
    const auto reopen = [&] { return *sqlite::OpenStore({.path = path}); };
    if (const auto store = reopen(); row) {
      const PositionOrder order{
          .key = key, .directive = PositionDirective::kSet, .position = *row, .writer = 1};
      EXPECT_TRUE(store->operations()->OrderPosition(order).ok());
    }
    const CommandResult result = RunPrinted(command, path);
    EXPECT_EQ(result.code, kDone) << command << "\n" << result.output << result.errors;
    const auto rows = reopen()->operations()->ListPositions();
    EXPECT_TRUE(rows.ok() && rows->size() == 1 && rows->front().key == key) << command;
    if (!rows.ok() || rows->empty()) continue;
    const bool is_set = rows->front().directive == PositionDirective::kSet;
    all.push_back({.directive = rows->front().directive,
                   .position = is_set ? rows->front().stamp.position : 0});
  }
  return all;
}

// A sentence of the engine, and what its commands are to do.
struct Sentence {
  std::string name;
  std::string text;
  std::vector<Ordered> orders;
};

StartFacts FactsOf(std::optional<std::int64_t> row, PartitionBounds bounds) {
  return {.key = kOrders0, .store_id = "mine", .row = row, .bounds = std::move(bounds)};
}

std::vector<Sentence> SentencesOfTheEngine() {
  const auto stop = [](const StartFacts& facts) { return PlanStart(facts).stop.ToString(); };
  const std::string yours = FormatStoreMark({.store_id = "yours", .open_count = 1});
  const AppliedRecord handled{.offset = 4, .timestamp_ms = 7};
  AppliedRecord found = handled;
  found.timestamp_ms = 8;
  return {
      {"Gap", stop(FactsOf(5, {.first = 10, .end = 100})), {kFromTheFirst}},
      {"BeyondTheEnd", stop(FactsOf(5, {.end = 2})), {kFromTheFirst}},
      {"AnotherStore",
       stop(FactsOf(5, {.end = 100, .committed = 70, .committed_metadata = yours})),
       {kAdopted, SetTo(5)}},
      {"AnotherStoreAndNoRow",
       stop(FactsOf({}, {.end = 100, .committed = 70, .committed_metadata = yours})),
       {kAdopted, SetTo(0)}},
      {"OffsetsMoved",
       PlanStart(FactsOf(5, {.end = 100, .committed = 20})).findings.at(0).message,
       {SetTo(20)}},
      {"AnotherTopic",
       OtherTopicError(kOrders0, handled, found, 5).ToString(),
       {kFromTheFirst, SetTo(5)}},
  };
}

class PrintedCommand : public ::testing::TestWithParam<Sentence> {};

TEST_P(PrintedCommand, DoesWhatItSaysOnAStoreThatKnowsThePartition) {
  const std::vector<std::string> commands = FindCommands(GetParam().text);
  EXPECT_THAT(Obey(commands, kOrders0, 12), ElementsAreArray(GetParam().orders)) << GetParam().text;
}

TEST_P(PrintedCommand, DoesWhatItSaysOnAStoreThatDoesNot) {
  const std::vector<std::string> commands = FindCommands(GetParam().text);
  EXPECT_THAT(Obey(commands, kOrders0, {}), ElementsAreArray(GetParam().orders)) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(Sentence, PrintedCommand, ::testing::ValuesIn(SentencesOfTheEngine()),
                         [](const auto& sentence) { return sentence.param.name; });

TEST(PrintedCommands, NameEveryGroupClusterAndTopicSoThatAShellLeavesThemAsTheyAre) {
  for (const char* name : {"it's", "two words", "$HOME", "a`b", "-v", "hex:ab", "grün", "\xff\x01",
                           "a\"b\\", "*", "new\nline"}) {
    const PartitionKey key{.cluster = name, .group = name, .partition = {name, 3}};
    const std::vector<std::string> commands = FindCommands(PositionCommand(key, "set", "7"));
    ASSERT_THAT(commands, SizeIs(1)) << name;
    EXPECT_THAT(Obey(commands, key, {}), ElementsAre(SetTo(7))) << commands.front();
  }
}

}  // namespace
}  // namespace once::cli
