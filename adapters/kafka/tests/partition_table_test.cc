// The pure bookkeeping of assigned partitions.
#include "adapters/kafka/partition_table.h"

#include <gtest/gtest.h>

namespace once::kafka {
namespace {

TEST(PartitionTable, NumbersGrowWithEveryAssignment) {
  PartitionTable table;
  EXPECT_EQ(table.Assign({{"a", 0}, {"b", 1}}).number, 1U);
  EXPECT_EQ(table.Assign({{"c", 0}}).number, 2U);
  EXPECT_EQ(table.Find("a", 0)->assignment, 1U);
  EXPECT_EQ(table.Find("c", 0)->assignment, 2U);
  EXPECT_EQ(table.Find("a", 1), nullptr);
}

TEST(PartitionTable, EveryChangeIsLaterThanTheTickBefore) {
  PartitionTable table;
  std::uint64_t before = table.tick();
  table.Assign({{"a", 0}});
  PartitionState& state = *table.Find("a", 0);
  EXPECT_GT(state.changed, before);
  before = table.tick();
  table.Start(state, 5);
  EXPECT_GT(state.changed, before);
  EXPECT_EQ(state.position, 5);
  EXPECT_TRUE(table.is_starting());
  before = table.tick();
  table.Idle(state);
  EXPECT_GT(state.changed, before);
  EXPECT_FALSE(table.is_starting());
}

TEST(PartitionTable, RestartingTouchesOnlyWhatRunsAndKeepsItsPosition) {
  PartitionTable table;
  table.Assign({{"a", 0}, {"a", 1}});
  table.Start(*table.Find("a", 0), 7);
  table.Find("a", 0)->phase = Phase::kRunning;
  table.RestartRunning();
  EXPECT_EQ(table.Find("a", 0)->phase, Phase::kStarting);
  EXPECT_EQ(table.Find("a", 0)->position, 7);
  EXPECT_EQ(table.Find("a", 1)->phase, Phase::kIdle);
}

TEST(PartitionTable, AReassignedPartitionBeginsAnew) {
  PartitionTable table;
  table.Assign({{"a", 0}});
  table.Start(*table.Find("a", 0), 7);
  table.Remove({"a", 0});
  EXPECT_TRUE(table.empty());
  table.Assign({{"a", 0}});
  EXPECT_EQ(table.Find("a", 0)->phase, Phase::kIdle);
  EXPECT_EQ(table.Find("a", 0)->assignment, 2U);
}

}  // namespace
}  // namespace once::kafka
