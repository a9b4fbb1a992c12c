// RecentIds, beside plain maps: what is kept is exact, and what leaves does so oldest first, never
// before it may.
#include "src/stores/id_log/recent_ids.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <string>
#include <utility>

#include "src/id_hash.h"

namespace once::stores {
namespace {

constexpr IdKey kA = {.scope = "s", .id = "a"};
constexpr IdKey kSameIdElsewhere = {.scope = "t", .id = "a"};
constexpr IdRecord kDone = {
    .state = IdState::kCompleted, .fingerprint = {.high = 1, .low = 2}, .attempt = 3};

void Put(RecentIds& ids, const IdKey& key, const IdRecord& record, std::uint64_t segment) {
  ids.Put(key, HashOf(key), record, segment);
}
std::optional<IdRecord> Find(const RecentIds& ids, const IdKey& key) {
  return ids.Find(key, HashOf(key));
}

TEST(RecentIds, TellKeysApartThatShareAHash) {
  RecentIds ids({});
  constexpr std::uint64_t kHash = 5;
  IdRecord other = kDone;
  other.attempt = 70;
  ids.Put(kA, kHash, kDone, 1);
  ids.Put(kSameIdElsewhere, kHash, other, 1);
  ids.Put({.scope = "s", .id = "aa"}, kHash, other, 1);
  EXPECT_EQ(ids.Find(kA, kHash), kDone);
  EXPECT_EQ(ids.Find(kSameIdElsewhere, kHash), other);
  EXPECT_EQ(ids.Find({.scope = "s", .id = "\xaa"}, kHash), std::nullopt);
}

TEST(RecentIds, KeepNoMoreThanTheyCanTell) {
  EXPECT_TRUE(RecentIds::CanKeep(kA, kDone));
  IdRecord record = kDone;
  record.state = IdState::kDead;
  EXPECT_FALSE(RecentIds::CanKeep(kA, record));
  record = kDone;
  record.attempt = 65'536;
  EXPECT_FALSE(RecentIds::CanKeep(kA, record));
  record = kDone;
  record.not_before = absl::UnixEpoch();
  EXPECT_FALSE(RecentIds::CanKeep(kA, record));
  EXPECT_FALSE(RecentIds::CanKeep({.scope = "s", .id = std::string(80, 'x')}, kDone));
}

struct Walk {
  std::string name = "InLittleRoom";
  std::size_t chunk_bytes = 512;
  std::size_t bytes_max = 64 * 1024;
  int ids = 3000;

  friend void PrintTo(const Walk& walk, std::ostream* out) { *out << walk.name; }
};

class RecentIdsWalk : public ::testing::TestWithParam<Walk> {};

using Keys = std::map<std::pair<std::string, std::string>, std::pair<IdRecord, std::uint64_t>>;

std::string RandomId(std::mt19937_64& random, int ids) {
  const std::uint64_t number = random() % static_cast<std::uint64_t>(ids);
  std::string id = std::to_string(number);
  if (number % 3 == 0) id.resize(1 + number % kMessageIdBytesMax, 'x');
  return id;
}

// Every id that has not left is there as it was put last, and one leaves only if it may.
TEST_P(RecentIdsWalk, AgreesWithAPlainMap) {
  std::mt19937_64 random(7);
  RecentIds ids({.bytes_max = GetParam().bytes_max, .chunk_bytes = GetParam().chunk_bytes});
  Keys expected;
  std::uint64_t segment = 1;
  std::uint64_t forgettable = 0;
  std::size_t left = 0;
  for (int step = 0; step < 60'000; ++step) {
    if (random() % 20 == 0) ++segment;
    if (random() % 500 == 0) ids.MayForgetThrough(forgettable = segment - 1);
    const std::string scope = "scope" + std::to_string(random() % 9);
    const std::string id = RandomId(random, GetParam().ids);
    const IdKey key{.scope = scope, .id = id};
    auto known = expected.find({scope, id});
    const std::optional<IdRecord> found = Find(ids, key);
    if (known == expected.end()) {
      ASSERT_EQ(found, std::nullopt);
    } else if (found) {
      ASSERT_EQ(*found, known->second.first) << step;
    } else {
      ++left;
      ASSERT_LE(known->second.second, forgettable);
      ASSERT_LT(known->second.second, ids.complete_from());
    }
    if (random() % 10 == 0) {
      ids.Erase(key, HashOf(key));
      expected.erase({scope, id});
      continue;
    }
    IdRecord record{.state = IdState::kCompleted, .attempt = static_cast<int>(random() % 6)};
    if (record.attempt == 5) record.attempt = static_cast<int>(random() % 65'536);
    if (random() % 2 == 0) record.fingerprint = {.high = random(), .low = random()};
    Put(ids, key, record, segment);
    expected[{scope, id}] = {record, segment};
  }
  EXPECT_GT(left, 0U);
  ids.ForEach([&](const IdKey& key, const IdRecord& record) {
    const auto known = expected.find({std::string(key.scope), std::string(key.id)});
    ASSERT_NE(known, expected.end());
    EXPECT_EQ(known->second.first, record);
  });
}

// Chunks that take their slots for the second time, and such that are few.
INSTANTIATE_TEST_SUITE_P(
    , RecentIdsWalk,
    ::testing::Values(Walk{}, Walk{.name = "WithAlmostNoRoom", .bytes_max = 1000, .ids = 200},
                      Walk{.name = "InLargerChunks", .chunk_bytes = 4096}));

TEST(RecentIds, UseTheSlotsOfChunksAgainAndAgain) {
  RecentIds ids({.bytes_max = 20'000, .chunk_bytes = 512});
  IdRecord record = kDone;
  for (std::uint64_t i = 0; i < 200'000; ++i) {
    const std::string id = std::to_string(i) + "-of-a-length-that-fills-chunks-fast-in-this-test";
    const IdKey key{.scope = "s", .id = id};
    record.fingerprint.low = i;
    ids.MayForgetThrough(i);
    Put(ids, key, record, i);
    ASSERT_EQ(Find(ids, key), record);
  }
  EXPECT_LE(ids.bytes(), 40'000U);
  EXPECT_LT(ids.size(), 500U);
}

TEST(RecentIds, KeepWhatTheyMayNotForgetBeyondTheirBound) {
  RecentIds ids({.bytes_max = 2000, .chunk_bytes = 512});
  for (int i = 0; i < 1000; ++i) {
    const std::string id = std::to_string(i);
    Put(ids, {.scope = "s", .id = id}, kDone, 1);
  }
  EXPECT_EQ(ids.size(), 1000U);
  EXPECT_EQ(ids.complete_from(), 0U);
  ids.MayForgetThrough(1);
  Put(ids, kA, kDone, 2);
  ids.ForgetThrough(1);
  EXPECT_EQ(Find(ids, kA), kDone);
  EXPECT_EQ(ids.complete_from(), 2U);
  ids.Restart(9);
  EXPECT_EQ(Find(ids, kA), std::nullopt);
  EXPECT_EQ(ids.size(), 0U);
  EXPECT_EQ(ids.complete_from(), 9U);
}

TEST(RecentIds, AnswerManyAtOnceAsOneByOne) {
  RecentIds ids({});
  std::vector<std::string> texts;
  for (int i = 0; i < 1000; ++i) texts.push_back(std::to_string(i));
  std::vector<IdKey> keys;
  std::vector<std::uint64_t> hashes;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    keys.push_back({.scope = i % 5 == 0 ? "s" : "t", .id = texts[i]});
    hashes.push_back(HashOf(keys.back()));
    if (i % 3 == 0) Put(ids, keys.back(), kDone, 1);
  }
  std::vector<IdRecord> records(keys.size());
  IdQuery query{.keys = keys, .hashes = hashes, .records = records};
  query.pending.resize(keys.size());
  std::iota(query.pending.begin(), query.pending.end(), 0);
  ids.Find(query);
  std::vector<std::uint32_t> unknown;
  for (std::uint32_t i = 0; i < keys.size(); ++i) {
    const auto alone = Find(ids, keys[i]);
    EXPECT_EQ(records[i], alone.value_or(IdRecord{})) << i;
    if (!alone) unknown.push_back(i);
  }
  EXPECT_EQ(query.pending, unknown);
}

}  // namespace
}  // namespace once::stores
