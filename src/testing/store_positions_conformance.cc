// The conformance tests of position rows: taking, comparing, what a commit writes into them.
#include "once/testing/store_conformance.h"

#include <limits>
#include <map>
#include <optional>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/store_words.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using namespace std::string_literals;

// Here, so that a linker that takes the suite out of an archive takes this file too.
TransactionalStoreConformance::~TransactionalStoreConformance() = default;

namespace {

constexpr AppliedRecord kApplied = {.offset = 4,
                                    .timestamp_ms = 1'700'000'000'123,
                                    .fingerprint = {.high = 1, .low = 2},
                                    .log_time_ms = 1'700'000'000'456};

TakenPosition TakeOne(TransactionalStore& store, const TakeRequest& request) {
  auto taken = store.Take({&request, 1});
  if (!taken.ok() || taken->size() != 1) {
    ADD_FAILURE() << "take: " << taken.status();
    return {};
  }
  return taken->front();
}

TEST_P(TransactionalStoreConformance, TakingAnUnknownPartitionCreatesItsRowAtTheStart) {
  const TakeRequest request{.key = Partition(0), .writer = 7, .start = 42};
  const auto taken = transactions().Take({&request, 1});
  ASSERT_TRUE(taken.ok()) << taken.status();
  ASSERT_THAT(*taken, SizeIs(1));
  EXPECT_EQ(taken->front().previous, std::nullopt);
  EXPECT_EQ(taken->front().current, (PositionStamp{42, 1, 7}));
}

TEST_P(TransactionalStoreConformance, TakingAKnownPartitionKeepsItsPositionAndAddsARevision) {
  Take(Partition(0), 7, 42);
  const TakeRequest request{.key = Partition(0), .writer = 8, .start = 1000};
  const auto taken = transactions().Take({&request, 1});
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->front().previous, (PositionStamp{42, 1, 7}));
  EXPECT_EQ(taken->front().current, (PositionStamp{42, 2, 8}));
}

TEST_P(TransactionalStoreConformance, TakingSeveralPartitionsAnswersInTheOrderOfTheRequests) {
  Take(Partition(1), 7, 10);
  const TakeRequest requests[] = {{.key = Partition(2), .writer = 22, .start = 2},
                                  {.key = Partition(1), .writer = 21, .start = 1},
                                  {.key = Partition(0), .writer = 20, .start = 0}};
  const auto taken = transactions().Take(requests);
  ASSERT_TRUE(taken.ok()) << taken.status();
  ASSERT_THAT(*taken, SizeIs(3));
  EXPECT_EQ((*taken)[0].current, (PositionStamp{2, 1, 22}));
  EXPECT_EQ((*taken)[1].previous, (PositionStamp{10, 1, 7}));
  EXPECT_EQ((*taken)[1].current, (PositionStamp{10, 2, 21}));
  EXPECT_EQ((*taken)[2].current, (PositionStamp{0, 1, 20}));
}

TEST_P(TransactionalStoreConformance, TakingFencesTheFormerWriter) {
  const PositionStamp former = Take(Partition(0), 1);
  const PositionStamp current = Take(Partition(0), 2);
  const auto mismatches = Mismatches(Partition(0), former);
  ASSERT_THAT(mismatches, SizeIs(1));
  EXPECT_EQ(mismatches[0].actual, current);
}

TEST_P(TransactionalStoreConformance, TheExpectedStampOpensATransaction) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  EXPECT_TRUE(transaction->CheckOpen().ok()) << transaction->CheckOpen();
}

TEST_P(TransactionalStoreConformance, AnotherPositionIsAMismatch) {
  const PositionStamp stamp = Take(Partition(0), 1, 5);
  for (const std::int64_t position : {4, 6}) {
    const auto mismatches = Mismatches(Partition(0), {position, stamp.revision, stamp.writer});
    ASSERT_THAT(mismatches, SizeIs(1));
    EXPECT_EQ(mismatches[0].actual, stamp);
  }
}

TEST_P(TransactionalStoreConformance, AnotherRevisionIsAMismatchAlsoAHigherOne) {
  const PositionStamp stamp = Take(Partition(0), 1);
  for (const std::int64_t revision : {stamp.revision - 1, stamp.revision + 1}) {
    const auto mismatches = Mismatches(Partition(0), {stamp.position, revision, stamp.writer});
    ASSERT_THAT(mismatches, SizeIs(1));
    EXPECT_EQ(mismatches[0].actual, stamp);
  }
}

TEST_P(TransactionalStoreConformance, AnotherWriterIsAMismatch) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto mismatches = Mismatches(Partition(0), {stamp.position, stamp.revision, 2});
  ASSERT_THAT(mismatches, SizeIs(1));
  EXPECT_EQ(mismatches[0].actual, stamp);
}

TEST_P(TransactionalStoreConformance, AMissingRowIsAMismatchWithoutAStamp) {
  const auto mismatches = Mismatches(Partition(0), {0, 1, 1});
  ASSERT_THAT(mismatches, SizeIs(1));
  EXPECT_EQ(mismatches[0].actual, std::nullopt);
}

TEST_P(TransactionalStoreConformance, OneMismatchAmongSeveralLocksOpensNothingAndIsNamed) {
  const PositionStamp zero = Take(Partition(0), 1);
  const PositionStamp one = Take(Partition(1), 1);
  const PositionStamp two = Take(Partition(2), 1);
  const PositionLock wrong[] = {
      {Partition(2), two}, {Partition(1), {9, 9, 9}}, {Partition(0), zero}};
  const auto mismatches = Mismatches(wrong);
  ASSERT_THAT(mismatches, SizeIs(1));
  EXPECT_EQ(mismatches[0].lock, 1u);
  EXPECT_EQ(mismatches[0].actual, one);
  // Nothing stays locked behind a refusal.
  const PositionLock right[] = {{Partition(2), two}, {Partition(1), one}, {Partition(0), zero}};
  EXPECT_NE(Begin(right), nullptr);
}

TEST_P(TransactionalStoreConformance, EveryMismatchIsNamed) {
  const PositionStamp zero = Take(Partition(0), 1);
  const PositionLock locks[] = {{Partition(0), {1, 1, 1}}, {Partition(1), {0, 1, 1}}};
  const auto mismatches = Mismatches(locks);
  ASSERT_THAT(mismatches, SizeIs(2));
  std::map<std::size_t, std::optional<PositionStamp>> by_lock;
  for (const auto& mismatch : mismatches) by_lock[mismatch.lock] = mismatch.actual;
  EXPECT_EQ(by_lock[0], zero);
  EXPECT_EQ(by_lock[1], std::nullopt);
}

TEST_P(TransactionalStoreConformance, StampsKeepTheirFullRange) {
  constexpr auto kLastOffset = std::numeric_limits<std::int64_t>::max();
  constexpr auto kLastWriter = std::numeric_limits<std::uint64_t>::max();
  const PositionStamp stamp = Take(Partition(0), kLastWriter, kLastOffset);
  EXPECT_EQ(stamp, (PositionStamp{kLastOffset, 1, kLastWriter}));
  EXPECT_NE(Begin(Partition(0), stamp), nullptr);
  EXPECT_EQ(Take(Partition(0), 1ULL << 63), (PositionStamp{kLastOffset, 2, 1ULL << 63}));
}

TEST_P(TransactionalStoreConformance, PartitionKeysThatOnlyConcatenateAlikeAreDifferentRows) {
  const PartitionKey keys[] = {
      {.cluster = "a", .group = "bc", .partition = {"d", 0}},
      {.cluster = "ab", .group = "c", .partition = {"d", 0}},
      {.cluster = "a", .group = "b", .partition = {"cd", 0}},
      {.cluster = "", .group = "abc", .partition = {"d", 0}},
      {.cluster = "a\0b"s, .group = "c", .partition = {"d", 0}},
      {.cluster = "a", .group = "\0bc"s, .partition = {"d", 0}},
      {.cluster = "a", .group = "bc", .partition = {"D", 0}},
      {.cluster = "a", .group = "bc", .partition = {"d\xff", 0}},
      {.cluster = "a", .group = "bc", .partition = {"d", 1}},
      {.cluster = "a", .group = "bc", .partition = {"d", -1}},
  };
  std::uint64_t writer = 0;
  for (const PartitionKey& key : keys) EXPECT_EQ(Take(key, ++writer).revision, 1);
}

TEST_P(TransactionalStoreConformance, ReadPositionsAnswersInOrderAndKnowsWhatIsMissing) {
  const PositionStamp zero = Take(Partition(0), 1, 10);
  const PositionStamp two = Take(Partition(2), 3, 30);
  const PartitionKey keys[] = {Partition(2), Partition(1), Partition(0), Partition(2)};
  const auto stamps = transactions().ReadPositions(keys);
  ASSERT_TRUE(stamps.ok()) << stamps.status();
  EXPECT_THAT(*stamps, ElementsAre(two, std::nullopt, zero, two));
}

// ---- What else a row holds ----

TEST_P(TransactionalStoreConformance, ANewRowReachesToItsStartAndHoldsNothingElse) {
  const TakenPosition taken =
      TakeOne(transactions(), {.key = Partition(0), .writer = 7, .start = 42});
  EXPECT_TRUE(taken.exists);
  EXPECT_EQ(taken.reach, 42);
  EXPECT_EQ(taken.last_applied, std::nullopt);
  EXPECT_EQ(taken.directive, PositionDirective::kNone);
  EXPECT_EQ(taken.other_cluster, "");
}

TEST_P(TransactionalStoreConformance, ARowThatMayNotBeCreatedIsNot) {
  const PartitionKey key = Partition(0);
  const TakeRequest request{.key = key, .writer = 7, .start = 42, .may_create = false};
  for (int i = 0; i < 2; ++i) {
    const TakenPosition taken = TakeOne(transactions(), request);
    EXPECT_FALSE(taken.exists);
    EXPECT_EQ(taken.previous, std::nullopt);
    EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0], std::nullopt);
  }
}

TEST_P(TransactionalStoreConformance, ARowThatExistsIsTakenWhetherItMightBeCreatedOrNot) {
  const PositionStamp before = Take(Partition(0), 7, 42);
  const TakenPosition taken =
      TakeOne(transactions(), {.key = Partition(0), .writer = 8, .may_create = false});
  EXPECT_TRUE(taken.exists);
  EXPECT_EQ(taken.previous, before);
  EXPECT_EQ(taken.current, (PositionStamp{42, 2, 8}));
}

TEST_P(TransactionalStoreConformance, OneTakeMayFindCreateAndLeaveOut) {
  Take(Partition(1), 7, 10);
  const TakeRequest requests[] = {{.key = Partition(0), .writer = 20, .may_create = false},
                                  {.key = Partition(1), .writer = 21, .may_create = false},
                                  {.key = Partition(2), .writer = 22, .start = 2}};
  const auto taken = transactions().Take(requests);
  ASSERT_TRUE(taken.ok()) << taken.status();
  ASSERT_THAT(*taken, SizeIs(3));
  EXPECT_FALSE((*taken)[0].exists);
  EXPECT_EQ((*taken)[1].current, (PositionStamp{10, 2, 21}));
  EXPECT_EQ((*taken)[2].current, (PositionStamp{2, 1, 22}));
}

TEST_P(TransactionalStoreConformance, ReachAndLastRecordComeBackAsTheyWereCommitted) {
  constexpr AppliedRecord kExtreme = {
      .offset = std::numeric_limits<std::int64_t>::max(),
      .timestamp_ms = -1,
      .fingerprint = {.high = std::numeric_limits<std::uint64_t>::max(), .low = 1ULL << 63},
      .log_time_ms = std::numeric_limits<std::int64_t>::max()};
  constexpr AppliedRecord kUntimed = {.offset = 0, .log_time_ms = -1};
  constexpr std::optional<AppliedRecord> kRecords[] = {kApplied, kExtreme, kUntimed, std::nullopt};
  PositionStamp stamp = Take(Partition(0), 7);
  std::int64_t reach = std::numeric_limits<std::int64_t>::max();
  for (const std::optional<AppliedRecord>& record : kRecords) {
    const auto transaction = Begin(Partition(0), stamp);
    ASSERT_NE(transaction, nullptr);
    const PositionUpdate update{
        .key = Partition(0), .position = 5, .reach = --reach, .last_applied = record};
    ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
    ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
    const TakenPosition taken = TakeOne(transactions(), {.key = Partition(0), .writer = 8});
    EXPECT_EQ(taken.reach, reach);
    EXPECT_EQ(taken.last_applied, record);
    stamp = taken.current;
  }
}

TEST_P(TransactionalStoreConformance, TakingARowChangesNeitherItsReachNorItsLastRecord) {
  const PositionStamp stamp = Take(Partition(0), 7);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  const PositionUpdate update{
      .key = Partition(0), .position = 5, .reach = 9, .last_applied = kApplied};
  ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  for (std::uint64_t writer = 8; writer < 11; ++writer) {
    const TakenPosition taken = TakeOne(transactions(), {.key = Partition(0), .writer = writer});
    EXPECT_EQ(taken.current.position, 5);
    EXPECT_EQ(taken.reach, 9);
    EXPECT_EQ(taken.last_applied, kApplied);
  }
}

TEST_P(TransactionalStoreConformance, ARollbackKeepsReachAndLastRecord) {
  const PositionStamp stamp = Take(Partition(0), 7, 3);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  const PositionUpdate update{
      .key = Partition(0), .position = 5, .reach = 9, .last_applied = kApplied};
  ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
  transaction->Rollback();
  const TakenPosition taken = TakeOne(transactions(), {.key = Partition(0), .writer = 8});
  EXPECT_EQ(taken.reach, 3);
  EXPECT_EQ(taken.last_applied, std::nullopt);
}

TEST_P(TransactionalStoreConformance, TheSamePartitionOfAnotherClusterIsNamedWhereThereIsNoRow) {
  PartitionKey elsewhere = Partition(0);
  elsewhere.cluster = "elsewhere";
  Take(elsewhere, 1, 100);
  for (const bool may_create : {false, true}) {
    const TakenPosition taken =
        TakeOne(transactions(), {.key = Partition(0), .writer = 2, .may_create = may_create});
    EXPECT_EQ(taken.exists, may_create);
    EXPECT_EQ(taken.other_cluster, "elsewhere");
  }
  const TakenPosition taken = TakeOne(transactions(), {.key = Partition(0), .writer = 3});
  EXPECT_EQ(taken.other_cluster, "") << "this cluster has a row now";
}

TEST_P(TransactionalStoreConformance, AnotherGroupTopicOrPartitionIsNoOtherCluster) {
  const PartitionKey others[] = {
      {.cluster = "elsewhere", .group = "other", .partition = {"orders", 0}},
      {.cluster = "elsewhere", .group = "group", .partition = {"others", 0}},
      {.cluster = "elsewhere", .group = "group", .partition = {"orders", 1}}};
  for (const PartitionKey& other : others) Take(other, 1);
  const TakenPosition taken = TakeOne(transactions(), {.key = Partition(0), .writer = 2});
  EXPECT_EQ(taken.other_cluster, "");
}

}  // namespace
}  // namespace once::testing
