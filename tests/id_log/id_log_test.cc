// An IdLog on a storage that works: what it answers, what it costs the storage, and what it
// refuses.
#include "src/stores/id_log/id_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/id_log/log_user.h"

namespace once::stores {
namespace {

using ::testing::HasSubstr;

constexpr IdLogOptions kSmall = {.recent = {.bytes_max = 16 * 1024, .chunk_bytes = 512},
                                 .reload_bytes = 4096,
                                 .page_bytes = 256,
                                 .merge = {.runs_max = 3},
                                 .seal_bytes = 4096,
                                 .seal_segments = 8};

PutRow Put(const std::string& id, const IdRecord& record, const std::string& extra = "") {
  return {.key = {"scope", id}, .row = {.record = record, .extra = extra}};
}

std::vector<PutRow> ManyCompleted(int first, int count) {
  std::vector<PutRow> rows;
  for (int i = first; i < first + count; ++i) {
    rows.push_back(Put("order-" + std::to_string(i), Completed(static_cast<std::uint64_t>(i) + 1)));
  }
  return rows;
}

TEST(IdLog, AnswersWhatWasCommittedAndNothingElse) {
  LogUser user(kSmall);
  user.Transact({Put("a", Completed(1)), Put("b", {.state = IdState::kDead, .attempt = 3}),
                 Put("c", {.state = IdState::kClaimed}, "by me")},
                1);
  user.TransactWithSavepoint({Put("a", Completed(2, 70'000)), Put("d", Completed(4))},
                             {Put("a", {}), Put("b", Completed(5)), Put("e", Completed(6))}, 2);
  user.Check();
  EXPECT_EQ(user.log().stats().open_rows, 3U);
  user.Transact({Put("b", Completed(7)), Put("c", {})}, 3);
  user.Check();
  EXPECT_EQ(user.log().stats().open_rows, 1U);
}

TEST(IdLog, ForgettingAnIdHidesWhatSegmentsSayOfItUntilItIsCompletedAgain) {
  LogUser user(kSmall);
  std::mt19937_64 random(1);
  user.Transact({Put("a", Completed(1))}, 1);
  user.Transact({Put("a", {})}, 1);
  user.Check();
  EXPECT_TRUE(user.Compact(true));
  user.Reopen(Restart::kKill, random);
  user.Check();
  user.Transact({Put("a", Completed(2))}, 1);
  user.Check();
  EXPECT_EQ(user.log().stats().open_rows, 0U);
  user.Reopen(Restart::kPowerCut, random);
  user.Check();
}

TEST(IdLog, FillsMemoryAgainWithTheNewestRunsAsFarAsItShall) {
  constexpr std::size_t kRunBytes = 60 * RecentIds::kBytesPerId;
  for (const std::size_t runs : {0, 1, 2, 5}) {
    IdLogOptions options = kSmall;
    options.reload_bytes = runs * kRunBytes;
    LogUser user(options);
    std::mt19937_64 random(runs);
    for (int run = 0; run < 3; ++run) {
      user.Transact(ManyCompleted(50 * run, 60), run);  // some of them anew
      EXPECT_TRUE(user.Compact(true));
    }
    user.Transact(ManyCompleted(1000, 7), 4);
    user.Reopen(Restart::kPowerCut, random);
    const std::size_t fitting = std::min<std::size_t>(runs, 3);
    EXPECT_EQ(user.log().stats().recent_ids, 7 + 50 * fitting + (fitting > 0 ? 10 : 0));
    EXPECT_EQ(user.log().stats().is_all_recent, runs >= 3);
    user.Check();
  }
}

TEST(IdLog, TellsNobodyOfWhatIsNotCommitted) {
  LogUser user(kSmall);
  const IdKey key{.scope = "s", .id = "a"};
  IdRecord record;
  IdChanges changes;
  ASSERT_TRUE(user.log().Stage({.key = key, .record = Completed(1)}, "", changes).ok());
  ASSERT_TRUE(user.log().WriteSegment(changes, 1).ok());
  const auto none = [](std::size_t, std::string_view) {};
  // Somebody who does not know what became of it is told to wait.
  EXPECT_TRUE(absl::IsUnavailable(user.log().Find({&key, 1}, IdChanges(), {&record, 1}, none)));
  EXPECT_TRUE(user.log().Find({&key, 1}, changes, {&record, 1}, none).ok());
  EXPECT_EQ(record, Completed(1));
  IdChanges other;
  ASSERT_TRUE(user.log().Stage({.key = key, .record = Completed(2)}, "", other).ok());
  EXPECT_TRUE(absl::IsUnavailable(user.log().WriteSegment(other, 1)));
  user.log().RolledBack(std::move(changes));
  EXPECT_TRUE(user.log().Find({&key, 1}, IdChanges(), {&record, 1}, none).ok());
  EXPECT_EQ(record, IdRecord());
}

TEST(IdLog, RefusesWhatIsNoId) {
  LogUser user(kSmall);
  IdChanges changes;
  const std::string too_long(80, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(
      user.log().Stage({.key = {.scope = "s", .id = too_long}}, "", changes)));
  EXPECT_TRUE(
      absl::IsInvalidArgument(user.log().Stage({.key = {.scope = "s", .id = ""}}, "", changes)));
  EXPECT_EQ(changes.size(), 0U);
}

TEST(IdLog, ACommitIsOneSegmentHoweverManyIdsItHas) {
  LogUser user(kSmall);
  user.Transact(ManyCompleted(0, 500), 1);
  EXPECT_EQ(user.storage().disk().segments.size(), 1U);
  // One of open rows alone is none.
  user.Transact({Put("r", {.state = IdState::kRetrying, .attempt = 1})}, 1);
  EXPECT_EQ(user.storage().disk().segments.size(), 1U);
  EXPECT_EQ(user.log().stats().unsealed_segments, 1U);
}

TEST(IdLog, KeepsFewRunsHoweverMuchIsSealedAndAnswersFromAllOfThem) {
  LogUser user(kSmall);
  std::mt19937_64 random(1);
  for (int i = 0; i < 200; ++i) {
    user.Transact(ManyCompleted(i * 37, 50), i);
    while (user.Compact(false)) EXPECT_LE(user.log().stats().runs, kSmall.merge.runs_max + 1);
    user.DropAll();
  }
  EXPECT_FALSE(user.log().stats().is_all_recent);
  user.Check();
  const IdLogStats stats = user.log().stats();
  EXPECT_LE(stats.runs, kSmall.merge.runs_max);
  EXPECT_LE(stats.unsealed_bytes, kSmall.seal_bytes);
  // What no longer counts is gone.
  EXPECT_EQ(user.storage().disk().segments.size(), stats.unsealed_segments);
  EXPECT_EQ(user.storage().disk().pages.size(), stats.run_pages);
  user.Reopen(Restart::kPowerCut, random);
  user.Check();
  EXPECT_EQ(user.log().stats().run_pages, stats.run_pages);
}

TEST(IdLog, AsksNoRunWhileAllIdsAreInMemory) {
  IdLogOptions roomy = kSmall;
  roomy.recent = {};
  LogUser user(roomy);
  for (int i = 0; i < 20; ++i) {
    user.Transact(ManyCompleted(i * 50, 50), i);
    user.Compact(true);
  }
  ASSERT_GT(user.log().stats().runs, 0U);
  EXPECT_TRUE(user.log().stats().is_all_recent);
  const std::uint64_t calls = user.storage().calls();
  const IdKey keys[] = {{.scope = "scope", .id = "order-1"}, {.scope = "scope", .id = "new"}};
  IdRecord records[2];
  ASSERT_TRUE(
      user.log().Find(keys, IdChanges(), records, [](std::size_t, std::string_view) {}).ok());
  EXPECT_EQ(records[0], Completed(2));
  EXPECT_EQ(records[1], IdRecord());
  EXPECT_EQ(user.storage().calls(), calls);
}

TEST(IdLog, RefusesCommitsWhenSealingDoesNotKeepUp) {
  IdLogOptions options = kSmall;
  options.unsealed_bytes_max = 10'000;
  LogUser user(options);
  for (int i = 0; i < 20; ++i) user.Transact(ManyCompleted(i * 50, 50), i);
  EXPECT_LT(user.log().stats().unsealed_bytes, 15'000U);
  const IdKey key{.scope = "s", .id = "a"};
  IdChanges changes;
  ASSERT_TRUE(user.log().Stage({.key = key, .record = Completed(1)}, "", changes).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(user.log().WriteSegment(changes, 1)));
  user.log().RolledBack(std::move(changes));
  while (user.Compact(false)) {
  }
  user.Transact({Put("a", Completed(1))}, 30);
  user.Check();
  EXPECT_TRUE(user.storage().disk().truth.contains({"scope", "a"}));
}

bool IsKnown(LogUser& user, const std::string& id) {
  const IdKey key{.scope = "scope", .id = id};
  IdRecord record;
  EXPECT_TRUE(user.log()
                  .Find({&key, 1}, IdChanges(), {&record, 1}, [](std::size_t, std::string_view) {})
                  .ok());
  return record.state != IdState::kAbsent;
}

TEST(IdLog, ExpiresOldSegmentsAsAWholeAndNeverOpenRowsOrWhatIsYounger) {
  LogUser user(kSmall);
  std::mt19937_64 random(1);
  user.Transact({Put("old", Completed(1)), Put("dead", {.state = IdState::kDead})}, 100);
  user.Compact(true);
  user.Transact({Put("young", Completed(1))}, 300);
  user.Transact({Put("late", Completed(1))}, 150);  // an older partition, behind a younger one
  user.Expire(200);
  user.DropAll();
  user.Reopen(Restart::kPowerCut, random);
  EXPECT_FALSE(IsKnown(user, "old"));
  EXPECT_TRUE(IsKnown(user, "dead"));
  EXPECT_TRUE(IsKnown(user, "young"));
  EXPECT_TRUE(IsKnown(user, "late"));
  user.Expire(1000);
  user.DropAll();
  EXPECT_EQ(user.storage().disk().segments.size(), 0U);
  EXPECT_EQ(user.storage().disk().pages.size(), 0U);
  user.Reopen(Restart::kPowerCut, random);
  EXPECT_FALSE(IsKnown(user, "young"));
  EXPECT_TRUE(IsKnown(user, "dead"));
  user.Transact({Put("young", Completed(2))}, 2000);
  user.Check();
}

// Every byte of every value in turn: what is damaged is refused, or was of no importance.
TEST(IdLog, NeverAnswersFromDamagedBytes) {
  LogUser user(kSmall);
  user.Transact(ManyCompleted(0, 40), 1);
  user.Compact(true);
  user.Transact({Put("x", Completed(1)), Put("y", {.state = IdState::kDead}, "extra")}, 2);
  user.DropAll();
  FakeSegmentStorage::Disk& disk = user.storage().disk();
  std::vector<std::string*> values = {&*disk.manifest};
  for (auto& [number, bytes] : disk.segments) values.push_back(&bytes);
  for (auto& [address, bytes] : disk.pages) values.push_back(&bytes);
  for (auto& [key, bytes] : disk.open) values.push_back(&bytes);
  std::size_t refused = 0;
  for (std::string* value : values) {
    const std::string whole = *value;
    for (std::size_t at = 0; at < whole.size(); ++at) {
      (*value)[at] = static_cast<char>((*value)[at] ^ 0x10);
      auto log = IdLog::Open(user.storage(), kSmall);
      absl::Status read = log.status();
      if (log.ok()) {
        read = (*log)->ForEach(
            [](const IdKey&, const IdRecord&, std::string_view) { return absl::OkStatus(); });
      }
      EXPECT_TRUE(absl::IsDataLoss(read)) << read << " at " << at;
      ++refused;
      *value = whole;
    }
    value->clear();
    auto log = IdLog::Open(user.storage(), kSmall);
    EXPECT_TRUE(!log.ok() || absl::IsDataLoss((*log)->ForEach(
                                 [](const IdKey&, const IdRecord&, std::string_view) {
                                   return absl::OkStatus();
                                 })));
    *value = whole;
  }
  EXPECT_GT(refused, 40 * 17U);  // more bytes than the ids and fingerprints alone
  user.Check();
}

TEST(IdLog, NoticesWhatIsMissing) {
  LogUser user(kSmall);
  for (int i = 0; i < 3; ++i) user.Transact(ManyCompleted(i * 40, 40), 1);
  user.Compact(true);
  user.DropAll();
  for (int i = 0; i < 3; ++i) user.Transact(ManyCompleted(i * 40, 40), 1);
  const FakeSegmentStorage::Disk whole = user.storage().disk();
  FakeSegmentStorage::Disk& disk = user.storage().disk();
  const auto expect_refusal = [&](std::string_view what) {
    auto log = IdLog::Open(user.storage(), kSmall);
    absl::Status read = log.status();
    if (log.ok())
      read = (*log)->ForEach(
          [](const IdKey&, const IdRecord&, std::string_view) { return absl::OkStatus(); });
    EXPECT_TRUE(absl::IsDataLoss(read)) << read << " without " << what;
    EXPECT_THAT(std::string(read.message()), HasSubstr("restore a backup"));
    disk = whole;
  };
  disk.segments.erase(disk.segments.begin());
  expect_refusal("the first segment");
  disk.segments.erase(std::next(disk.segments.begin()));
  expect_refusal("a segment");
  disk.manifest.reset();
  expect_refusal("the manifest");
  disk.manifest.reset();
  disk.segments.clear();
  expect_refusal("manifest and segments");
  for (const auto& [address, bytes] : whole.pages) {
    disk.pages.erase(address);
    expect_refusal("a page");
  }
  // Another page in its place, as a storage with a bug would give it.
  std::swap(disk.pages.begin()->second, std::next(disk.pages.begin())->second);
  expect_refusal("pages in their places");
}

TEST(IdLog, IsNotOpenedWithOptionsThatCannotWork) {
  FakeSegmentStorage storage;
  EXPECT_TRUE(absl::IsInvalidArgument(IdLog::Open(storage, {.page_bytes = 100}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(IdLog::Open(storage, {.filter_bits = 0}).status()));
}

}  // namespace
}  // namespace once::stores
