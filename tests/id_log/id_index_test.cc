// IdIndex, beside a plain multimap under long random walks.
#include "src/stores/id_log/id_index.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <utility>

namespace once::stores {
namespace {

constexpr auto kAnything = [](std::uint32_t) { return true; };

TEST(IdIndex, FindsNothingAtFirst) {
  const IdIndex index(100);
  EXPECT_EQ(index.Find(7, kAnything), IdIndex::kNone);
  EXPECT_FALSE(index.PrefetchNumber(7));
}

TEST(IdIndex, GivesTheNumberThatTheCallerWantsAmongThoseOfOneHash) {
  IdIndex index(100);
  // The last tag of all: what does not fit at its home goes beyond the homes.
  const std::uint64_t hash = ~std::uint64_t{0};
  for (std::uint32_t number = 0; number < 1000; ++number) index.Insert(hash, number);
  for (std::uint32_t wanted = 0; wanted < 1000; ++wanted) {
    EXPECT_EQ(index.Find(hash, [&](std::uint32_t number) { return number == wanted; }), wanted);
  }
  EXPECT_EQ(index.Find(hash, [](std::uint32_t) { return false; }), IdIndex::kNone);
}

// Few different tags, in one shard and in all: runs of slots meet, shift and run over the end.
TEST(IdIndex, AgreesWithAPlainMultimapWhereverSlotsCrowd) {
  for (const std::uint64_t hashes : {3ULL, 40ULL, 5000ULL}) {
    std::mt19937_64 random(hashes);
    IdIndex index(4096);
    std::set<std::pair<std::uint64_t, std::uint32_t>> expected;
    std::uint32_t next = 0;
    for (int step = 0; step < 30'000; ++step) {
      const std::uint64_t hash = ~((random() % hashes) << 16) ^ (random() % 2) << 63;
      if (expected.size() < 3000 && random() % 5 < 3) {
        index.Insert(hash, next);
        expected.emplace(hash, next++);
      } else if (const auto found = expected.lower_bound({hash, 0}); found != expected.end()) {
        index.Erase(found->first, found->second);
        expected.erase(found);
      }
      if (step % 1000 == 0) {
        for (std::size_t shard = 0; shard < index.shards(); ++shard) {
          index.Sweep(shard, [](std::uint32_t number) { return number % 7 != 0; });
        }
        std::erase_if(expected, [](const auto& pair) { return pair.second % 7 == 0; });
      }
      ASSERT_EQ(index.size(), expected.size());
      if (step % 499 != 0) continue;
      for (const auto& [known, number] : expected) {
        ASSERT_TRUE(index.PrefetchNumber(known));
        ASSERT_EQ(index.Find(known, [&, wanted = number](std::uint32_t n) { return n == wanted; }),
                  number);
      }
      std::set<std::uint32_t> visited;
      index.ForEach([&](std::uint32_t number) { visited.insert(number); });
      ASSERT_EQ(visited.size(), expected.size());
    }
  }
}

}  // namespace
}  // namespace once::stores
