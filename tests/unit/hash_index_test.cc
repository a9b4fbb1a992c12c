// HashIndex, beside a plain multimap under long random walks.
#include "src/hash_index.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <set>
#include <utility>

namespace once {
namespace {

constexpr auto kAnything = [](std::uint32_t) { return true; };

TEST(HashIndex, FindsNothingAtFirst) {
  EXPECT_EQ(HashIndex().Find(7, kAnything), HashIndex::kNone);
}

TEST(HashIndex, GivesTheNumberThatTheCallerWantsAmongThoseOfOneHash) {
  HashIndex index;
  for (std::uint32_t number = 0; number < 100; ++number) index.Insert(7, number);
  for (std::uint32_t wanted = 0; wanted < 100; ++wanted) {
    EXPECT_EQ(index.Find(7, [&](std::uint32_t number) { return number == wanted; }), wanted);
  }
  EXPECT_EQ(index.Find(7, [](std::uint32_t) { return false; }), HashIndex::kNone);
  EXPECT_EQ(index.Find(8, kAnything), HashIndex::kNone);
}

TEST(HashIndex, AResetForgetsEverything) {
  HashIndex index;
  index.Insert(7, 1);
  index.Reset(1000);
  EXPECT_EQ(index.size(), 0U);
  EXPECT_EQ(index.Find(7, kAnything), HashIndex::kNone);
  for (std::uint32_t number = 0; number < 2000; ++number) index.Insert(number, number);
  EXPECT_EQ(index.Find(1999, kAnything), 1999U);
}

// Few different hashes, and all of their high bits the same: runs of slots meet and wrap around.
TEST(HashIndex, AgreesWithAPlainMultimapWhereverSlotsCrowd) {
  for (const std::uint64_t hashes : {3ULL, 40ULL, 5000ULL}) {
    std::mt19937_64 random(hashes);
    HashIndex index;
    std::set<std::pair<std::uint64_t, std::uint32_t>> expected;
    std::uint32_t next = 0;
    for (int step = 0; step < 20'000; ++step) {
      // Crowded at the end of the slots, too: the low bits are those of small negative numbers.
      const std::uint64_t hash = ~(random() % hashes);
      if (expected.size() < 2000 && random() % 5 < 3) {
        index.Insert(hash, next);
        expected.emplace(hash, next++);
      } else if (const auto found = expected.lower_bound({hash, 0}); found != expected.end()) {
        index.Erase(found->first, found->second);
        expected.erase(found);
      }
      ASSERT_EQ(index.size(), expected.size());
      if (step % 500 != 0) continue;
      for (const auto& [known, number] : expected) {
        ASSERT_EQ(index.Find(known, [&, wanted = number](std::uint32_t n) { return n == wanted; }),
                  number);
      }
    }
  }
}

}  // namespace
}  // namespace once
