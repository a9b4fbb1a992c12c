// Where keys go, against what Java clients say.
#include "src/partitioner.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string_view>

namespace once {
namespace {

// Answers of Utils.murmur2() of Kafka's Java client, which its own tests pin.
TEST(Partitioner, HashesAsJavaClientsDo) {
  struct Known {
    std::string_view key;
    std::int32_t hash;
  };
  for (const Known& known : {Known{"21", -973932308}, Known{"foobar", -790332482},
                             Known{"a-little-bit-long-string", -985981536},
                             Known{"a-little-bit-longer-string", -1486304829},
                             Known{"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
                             Known{"abc", 479470107}}) {
    EXPECT_EQ(static_cast<std::int32_t>(Murmur2(known.key)), known.hash) << known.key;
  }
}

TEST(Partitioner, KeysGoToAPartitionThatThereIs) {
  std::set<std::int32_t> seen;
  for (const std::string_view key :
       {"", "a", "ab", "abc", "abcd", "abcde", "\xff\xff\xff\xff\xff"}) {
    for (std::int32_t partitions = 1; partitions < 50; ++partitions) {
      const std::int32_t partition = PartitionOfKey(key, partitions);
      EXPECT_GE(partition, 0);
      EXPECT_LT(partition, partitions);
      seen.insert(partition);
    }
  }
  EXPECT_GT(seen.size(), 10U);
  EXPECT_EQ(PartitionOfKey("foobar", 10), (-790332482 & 0x7fffffff) % 10);
}

TEST(Partitioner, WithoutAKeyOnePartitionLastsForSoManyMessages) {
  StickyPartition sticky;
  std::uint64_t drawn = 4;
  const auto take = [&](std::int32_t partitions) {
    return sticky.Take(partitions, 2, [&] { return ++drawn; });
  };
  EXPECT_EQ(take(4), 1);
  EXPECT_EQ(take(4), 1);
  EXPECT_EQ(take(4), 2);
  EXPECT_EQ(take(4), 2);
  EXPECT_EQ(take(4), 3);
  EXPECT_EQ(take(2), 0) << "a partition that is gone is left at once";
}

TEST(StickyPartition, GoesOnWithANumberThatItsCallerKeepsByValue) {
  std::function<std::uint64_t()> next = [number = std::uint64_t{0}]() mutable { return number++; };
  StickyPartition sticky;
  std::set<std::int32_t> partitions;
  for (int i = 0; i < 4; ++i) partitions.insert(sticky.Take(4, 1, next));
  EXPECT_EQ(partitions.size(), 4u);
}

}  // namespace
}  // namespace once
