// The memory store's tables of ids: completed ones in little room, staged ones with savepoints, and
// both behind IdTable, beside a plain map under long random walks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "src/id_hash.h"
#include "src/memory/completed_ids.h"
#include "src/memory/id_table.h"
#include "src/memory/staged_id_writes.h"

namespace once::memory {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr IdKey kA = {.scope = "s", .id = "a"};
constexpr IdKey kSameIdElsewhere = {.scope = "t", .id = "a"};
constexpr IdRecord kDone = {
    .state = IdState::kCompleted, .fingerprint = {.high = 1, .low = 2}, .attempt = 3};

std::vector<std::pair<std::string, std::string>> AllOf(const CompletedIds& ids) {
  std::vector<std::pair<std::string, std::string>> all;
  ids.ForEach([&](const IdKey& key, const IdRecord& record) {
    EXPECT_EQ(record.state, IdState::kCompleted);
    all.emplace_back(key.scope, key.id);
  });
  return all;
}

TEST(CompletedIds, GiveBackWhatWasPut) {
  CompletedIds ids;
  ids.Put(kA, HashOf(kA), kDone);
  EXPECT_EQ(ids.Find(kA, HashOf(kA)), kDone);
  EXPECT_EQ(ids.Find(kSameIdElsewhere, HashOf(kSameIdElsewhere)), std::nullopt);
}

TEST(CompletedIds, TellKeysApartThatShareAHash) {
  CompletedIds ids;
  constexpr std::uint64_t kHash = 5;
  IdRecord other = kDone;
  other.attempt = 1;
  ids.Put(kA, kHash, kDone);
  ids.Put(kSameIdElsewhere, kHash, other);
  ids.Put({.scope = "s", .id = "aa"}, kHash, other);
  EXPECT_EQ(ids.Find(kA, kHash), kDone);
  EXPECT_EQ(ids.Find(kSameIdElsewhere, kHash), other);
  EXPECT_EQ(ids.Find({.scope = "s", .id = "b"}, kHash), std::nullopt);
}

TEST(CompletedIds, ForgetWhatIsErasedAndNothingElse) {
  CompletedIds ids;
  ids.Put(kA, HashOf(kA), kDone);
  ids.Put(kSameIdElsewhere, HashOf(kSameIdElsewhere), kDone);
  ids.Erase(kA, HashOf(kA));
  EXPECT_EQ(ids.Find(kA, HashOf(kA)), std::nullopt);
  EXPECT_THAT(AllOf(ids), UnorderedElementsAre(std::pair("t", "a")));
  ids.Put(kA, HashOf(kA), kDone);
  EXPECT_THAT(AllOf(ids), UnorderedElementsAre(std::pair("t", "a"), std::pair("s", "a")));
}

TEST(CompletedIds, KeepNoMoreThanTheyCanTell) {
  const CompletedIds ids;
  EXPECT_TRUE(ids.CanKeep(kA, kDone));
  IdRecord record = kDone;
  record.state = IdState::kDead;
  EXPECT_FALSE(ids.CanKeep(kA, record));
  record = kDone;
  record.attempt = 70'000;
  EXPECT_FALSE(ids.CanKeep(kA, record));
  record = kDone;
  record.first_failed_at = absl::UnixEpoch();
  EXPECT_FALSE(ids.CanKeep(kA, record));
  const std::string long_id(256, 'x');
  EXPECT_FALSE(ids.CanKeep({.scope = "s", .id = long_id}, kDone));
}

TEST(StagedIdWrites, KnowTheNewestRecordAndForgetWhatCameAfterASavepoint) {
  StagedIdWrites writes;
  EXPECT_EQ(writes.Find(kA), nullptr);
  writes.Append({.key = kA, .record = {.state = IdState::kRetrying}});
  ASSERT_NE(writes.Find(kA), nullptr);
  EXPECT_EQ(writes.Find(kA)->state, IdState::kRetrying);
  writes.Append({.key = kA, .record = kDone});
  writes.Append({.key = kSameIdElsewhere, .record = kDone});
  EXPECT_EQ(*writes.Find(kA), kDone);
  EXPECT_EQ(writes.at(2).key, kSameIdElsewhere);
  writes.Truncate(1);
  EXPECT_EQ(writes.Find(kA)->state, IdState::kRetrying);
  EXPECT_EQ(writes.Find(kSameIdElsewhere), nullptr);
  writes.Append({.key = kSameIdElsewhere, .record = kDone});
  EXPECT_EQ(*writes.Find(kSameIdElsewhere), kDone);
}

TEST(StagedIdWrites, OwnTheBytesOfTheirKeys) {
  StagedIdWrites writes;
  {
    const std::string scope(40, 's');
    std::string id(60, 'i');
    for (char c = 'a'; c <= 'z'; ++c) {
      id[0] = c;
      writes.Append({.key = {.scope = scope, .id = id}, .record = kDone});
    }
  }
  const std::string scope(40, 's');
  std::string id(60, 'i');
  id[0] = 'm';
  ASSERT_NE(writes.Find({.scope = scope, .id = id}), nullptr);
  EXPECT_EQ(writes.at(12).key.id, id);
}

// An id wanders between the two tables of IdTable as its record changes.
TEST(IdTable, AgreesWithAPlainMapWhateverIsPut) {
  std::mt19937_64 random(1);
  IdTable table;
  std::map<std::pair<std::string, std::string>, IdRecord> expected;
  const std::vector<IdState> states = {
      IdState::kAbsent, IdState::kCompleted, IdState::kCompleted, IdState::kRetrying,
      IdState::kDead,   IdState::kCompleted, IdState::kDiscarded, IdState::kUncertain};
  const absl::Time now = absl::UnixEpoch();
  for (int step = 0; step < 50'000; ++step) {
    const std::string scope(1, static_cast<char>('a' + random() % 3));
    const std::string id = std::to_string(random() % 500);
    const IdKey key{.scope = scope, .id = id};
    ASSERT_EQ(table.Find(key, now), (expected[{scope, id}])) << scope << id << " at " << step;
    IdRecord record{.state = states[random() % states.size()],
                    .fingerprint = {.high = random(), .low = random()},
                    .attempt = static_cast<int>(random() % 100'000)};
    if (record.state == IdState::kAbsent) record = {};
    table.Put(key, record);
    expected[{scope, id}] = record;
  }
  for (int number = 0; number < 500; ++number) {
    const std::string id = std::to_string(number);
    std::size_t known = 0;
    for (const char* scope : {"a", "b", "c"}) {
      known += expected[{scope, id}].state == IdState::kAbsent ? 0 : 1;
    }
    EXPECT_EQ(table.FindInEveryScope(id, now).size(), known);
  }
}

TEST(IdTable, LooksUpManyAtOnceAsOneByOne) {
  IdTable table;
  std::vector<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.push_back(std::to_string(i));
  std::vector<IdKey> keys;
  for (int i = 0; i < 1000; ++i) {
    keys.push_back({.scope = "s", .id = ids[static_cast<std::size_t>(i)]});
    if (i % 3 == 0) table.Put(keys.back(), kDone);
    if (i % 3 == 1) table.Put(keys.back(), {.state = IdState::kRetrying, .attempt = i});
  }
  std::vector<IdRecord> records(keys.size());
  table.Find(keys, absl::UnixEpoch(), records);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(records[i], table.Find(keys[i], absl::UnixEpoch())) << i;
  }
}

TEST(IdTable, AClaimMeetsWhatATransactionHasCompleted) {
  IdTable table;
  table.Put(kA, kDone);
  ClaimRequest request{.key = kA, .fingerprint = kDone.fingerprint, .fence = {1, 1}};
  EXPECT_EQ(table.TryClaim(request, absl::UnixEpoch(), absl::Seconds(1)).verdict,
            ClaimVerdict::kDuplicate);
  request.fingerprint.low = 99;
  EXPECT_EQ(table.TryClaim(request, absl::UnixEpoch(), absl::Seconds(1)).verdict,
            ClaimVerdict::kConflict);
}

TEST(IdTable, ATransactionThatCompletesAnIdEndsTheClaimOnIt) {
  IdTable table;
  const ClaimRequest request{.key = kA, .fingerprint = {}, .fence = {1, 1}};
  table.TryClaim(request, absl::UnixEpoch(), absl::Seconds(1));
  table.Put(kA, kDone);
  EXPECT_EQ(table.Find(kA, absl::UnixEpoch()), kDone);
  EXPECT_TRUE(absl::IsAborted(table.Complete({.claim = {.key = kA, .fence = {1, 1}}})));
  EXPECT_EQ(table.FindInEveryScope("a", absl::UnixEpoch()).size(), 1U);
}

}  // namespace
}  // namespace once::memory
