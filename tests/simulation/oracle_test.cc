// Enumeration, budgets, replay.
#include "once/testing/oracle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace once::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

// A small world: three questions, the second one only after a certain answer to the first.
std::string Play(Oracle& oracle) {
  std::string path;
  const int first = oracle.Choose("first", 3);
  path += static_cast<char>('0' + first);
  if (first == 2) path += static_cast<char>('0' + oracle.Choose("second", 2));
  path += static_cast<char>('0' + oracle.Choose("third", 2));
  return path;
}

TEST(DepthFirstOracle, EnumeratesEachPathExactlyOnce) {
  DepthFirstOracle oracle({});
  std::vector<std::string> paths;
  do {
    paths.push_back(Play(oracle));
  } while (oracle.Advance());
  EXPECT_THAT(paths, ElementsAre("00", "01", "10", "11", "200", "201", "210", "211"));
  EXPECT_TRUE(oracle.is_deterministic());
}

TEST(DepthFirstOracle, SpendsNoMoreThanTheBudget) {
  DepthFirstOracle oracle({.faults = 2, .preemptions = 1});
  std::set<std::string> paths;
  do {
    std::string path;
    int faults = 0;
    int preemptions = 0;
    for (int i = 0; i < 4; ++i) {
      const int fault = oracle.Choose("fault", 2, Cost::kFault);
      const int preemption = oracle.Choose("preempt", 2, Cost::kPreemption);
      faults += fault;
      preemptions += preemption;
      path += static_cast<char>('a' + fault + 2 * preemption);
    }
    EXPECT_LE(faults, 2);
    EXPECT_LE(preemptions, 1);
    EXPECT_TRUE(paths.insert(path).second) << path << " was played twice";
  } while (oracle.Advance());
  // (no, one or two of four faults) × (no or one of four preemptions)
  EXPECT_THAT(paths, SizeIs((1 + 4 + 6) * (1 + 4)));
}

TEST(DepthFirstOracle, NoticesAnExecutionThatDependsOnSomethingElse) {
  DepthFirstOracle oracle({});
  int executions = 0;
  do {
    ++executions;
    oracle.Choose(executions == 2 ? "other" : "first", executions == 2 ? 3 : 2);
    oracle.Choose("second", 2);
  } while (oracle.Advance() && executions < 100);
  EXPECT_FALSE(oracle.is_deterministic());
}

TEST(ReplayOracle, APrintedStringGivesTheSameExecutionAndTheSameHash) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const Budget budget = {.faults = 3, .preemptions = 3};
    SeededOracle seeded(seed, budget, {.fault = 300, .preemption = 300});
    std::string path = Play(seeded);
    for (int i = 0; i < 20; ++i) {
      path += static_cast<char>('0' + seeded.Choose("fault", 4, Cost::kFault));
    }
    const absl::StatusOr<ChoiceList> list = ParseChoices(seeded.ChoiceString());
    ASSERT_TRUE(list.ok()) << list.status();
    EXPECT_EQ(list->budget, budget);
    ReplayOracle replay(*list);
    std::string again = Play(replay);
    for (int i = 0; i < 20; ++i) {
      again += static_cast<char>('0' + replay.Choose("fault", 4, Cost::kFault));
    }
    EXPECT_EQ(again, path) << seeded.ChoiceString();
    EXPECT_EQ(replay.trace_hash(), seeded.trace_hash());
    EXPECT_EQ(replay.ChoiceString(), seeded.ChoiceString());
  }
}

TEST(SeededOracle, TheSameSeedGivesTheSameAnswersAndAnotherSeedOthers) {
  const auto hash_of = [](std::uint64_t seed) {
    SeededOracle oracle(seed, {.faults = 10}, {.fault = 200});
    for (int i = 0; i < 200; ++i) oracle.Choose("fault", 5, Cost::kFault);
    return oracle.trace_hash();
  };
  EXPECT_EQ(hash_of(7), hash_of(7));
  EXPECT_NE(hash_of(7), hash_of(8));
}

TEST(ParseChoices, RefusesWhatIsNoChoiceString) {
  for (const char* text : {"", "f1", "f1p", "f1p1/", "f1p1/3", "f1p1/3.", "f1p1/3.0", "f1p1/-1.2",
                           "f1p1/3.1x", "f1p1/9999999999.1", "f1p1/1.64", "f1p1/999999.1/1.1"}) {
    EXPECT_FALSE(ParseChoices(text).ok()) << text;
  }
  const absl::StatusOr<ChoiceList> list = ParseChoices("f2p1/2.3/0.1");
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_THAT(list->choices, ElementsAre(0, 0, 3, 1));
}

}  // namespace
}  // namespace once::testing
