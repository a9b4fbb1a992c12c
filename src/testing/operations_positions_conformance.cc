// The conformance tests of positions as operators see and order them.
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "src/testing/operations_bench.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

void LinkPositionChecks() {}

namespace {

constexpr AppliedRecord kApplied = {
    .offset = 4, .timestamp_ms = 1'700'000'000'123, .fingerprint = {.high = 1, .low = 2}};

constexpr PositionDirective kOthersThanSet[] = {
    PositionDirective::kAdopt, PositionDirective::kEarliest, PositionDirective::kLatest};

OPERATIONS_CHECK(AnEmptyStoreListsNoPositions) {
  EXPECT_THAT(operations().ListPositions().value(), IsEmpty());
}

OPERATIONS_CHECK(PositionsAreListedInTheOrderOfTheirKeys) {
  const PartitionKey keys[] = {
      {.cluster = "b", .group = "a", .partition = {"a", 0}},
      {.cluster = "a", .group = "b", .partition = {"a", 0}},
      {.cluster = "a", .group = "a", .partition = {"b", 0}},
      {.cluster = "a", .group = "a", .partition = {"a", 10}},
      {.cluster = "a", .group = "a", .partition = {"a", 9}},
  };
  for (const PartitionKey& key : keys) Take(key, 1);
  const auto positions = operations().ListPositions();
  ASSERT_TRUE(positions.ok()) << positions.status();
  std::vector<PartitionKey> listed;
  for (const StoredPosition& position : *positions) listed.push_back(position.key);
  EXPECT_THAT(listed, ElementsAre(keys[4], keys[3], keys[2], keys[1], keys[0]));
}

OPERATIONS_CHECK(APositionIsListedWithEverythingItsRowHolds) {
  const PositionStamp stamp = Take(Partition(0), 7, 3).current;
  const StoredPosition created = Listed(Partition(0));
  EXPECT_EQ(created.stamp, stamp);
  EXPECT_EQ(created.reach, 3);
  EXPECT_EQ(created.last_applied, std::nullopt);
  EXPECT_EQ(created.directive, PositionDirective::kNone);
  const PositionStamp next =
      Commit(stamp, {.key = Partition(0), .position = 5, .reach = 9, .last_applied = kApplied});
  const StoredPosition committed = Listed(Partition(0));
  EXPECT_EQ(committed.stamp, next);
  EXPECT_EQ(committed.reach, 9);
  EXPECT_EQ(committed.last_applied, kApplied);
}

OPERATIONS_CHECK(AnOrderedPositionMovesTheRowAndFencesItsOwner) {
  const PositionStamp owner = Take(Partition(0), 7, 100).current;
  const PositionStamp stamp =
      Commit(owner, {.key = Partition(0), .position = 105, .reach = 200, .last_applied = kApplied});
  for (const std::int64_t position : {50, 5000}) {
    const absl::Status ordered =
        operations().OrderPosition({.key = Partition(0), .position = position, .writer = 99});
    ASSERT_TRUE(ordered.ok()) << ordered;
    const StoredPosition listed = Listed(Partition(0));
    EXPECT_EQ(listed.stamp.position, position);
    EXPECT_GT(listed.stamp.revision, stamp.revision);
    EXPECT_EQ(listed.stamp.writer, 99u);
    EXPECT_EQ(listed.directive, PositionDirective::kSet);
    // Neither says anything of the new position.
    EXPECT_EQ(listed.reach, position);
    EXPECT_EQ(listed.last_applied, std::nullopt);
  }
  const PositionLock lock{.key = Partition(0), .expected = stamp};
  const auto begun = transactions().Begin({&lock, 1});
  ASSERT_TRUE(begun.ok()) << begun.status();
  ASSERT_EQ(begun->mismatches.size(), 1u);
  EXPECT_EQ(begun->mismatches[0].actual, Listed(Partition(0)).stamp);
}

OPERATIONS_CHECK(AnOrderAddsOneRevisionLikeEveryOtherWriter) {
  const PositionStamp stamp = Take(Partition(0), 7).current;
  ASSERT_TRUE(operations().OrderPosition({.key = Partition(0), .position = 9, .writer = 8}).ok());
  EXPECT_EQ(Listed(Partition(0)).stamp, (PositionStamp{9, stamp.revision + 1, 8}));
}

OPERATIONS_CHECK(TheOtherOrdersLeaveTheMovingToTheNextOwner) {
  std::uint64_t writer = 100;
  const PositionStamp owner = Take(Partition(0), 7).current;
  PositionStamp stamp =
      Commit(owner, {.key = Partition(0), .position = 5, .reach = 9, .last_applied = kApplied});
  for (const PositionDirective directive : kOthersThanSet) {
    const absl::Status ordered = operations().OrderPosition(
        {.key = Partition(0), .directive = directive, .position = 77, .writer = ++writer});
    ASSERT_TRUE(ordered.ok()) << ordered;
    stamp = {5, stamp.revision + 1, writer};
    const StoredPosition listed = Listed(Partition(0));
    EXPECT_EQ(listed.stamp, stamp);
    EXPECT_EQ(listed.directive, directive);
    EXPECT_EQ(listed.reach, 9);
    EXPECT_EQ(listed.last_applied, kApplied);
  }
}

OPERATIONS_CHECK(ARowThatDoesNotExistIsCreatedByAnOrder) {
  ASSERT_TRUE(operations().OrderPosition({.key = Partition(0), .position = 42, .writer = 9}).ok());
  EXPECT_EQ(Listed(Partition(0)).stamp, (PositionStamp{42, 1, 9}));
  const TakenPosition taken = Take(Partition(0), 10, 1000);
  EXPECT_EQ(taken.previous, (PositionStamp{42, 1, 9}));
  EXPECT_EQ(taken.directive, PositionDirective::kSet);
  EXPECT_EQ(taken.reach, 42);
  std::int32_t number = 1;
  for (const PositionDirective directive : kOthersThanSet) {
    const PartitionKey key = Partition(number++);
    ASSERT_TRUE(operations().OrderPosition({.key = key, .directive = directive}).ok());
    EXPECT_EQ(Take(key, 1).directive, directive);
  }
}

OPERATIONS_CHECK(ADirectiveStaysUntilAnOwnersFirstCommit) {
  Take(Partition(0), 7);
  ASSERT_TRUE(operations()
                  .OrderPosition({.key = Partition(0), .directive = PositionDirective::kLatest})
                  .ok());
  // Read by owners that never commit.
  for (std::uint64_t writer = 10; writer < 13; ++writer) {
    EXPECT_EQ(Take(Partition(0), writer).directive, PositionDirective::kLatest);
  }
  const TakenPosition taken = Take(Partition(0), 13);
  Commit(taken.current, {.key = Partition(0), .position = 500});
  EXPECT_EQ(Listed(Partition(0)).directive, PositionDirective::kNone);
  EXPECT_EQ(Take(Partition(0), 14).directive, PositionDirective::kNone);
}

OPERATIONS_CHECK(ADirectiveStaysWhenTheFirstCommitIsRolledBack) {
  Take(Partition(0), 7);
  ASSERT_TRUE(operations().OrderPosition({.key = Partition(0), .position = 5}).ok());
  const PositionLock lock{.key = Partition(0), .expected = Take(Partition(0), 8).current};
  const auto begun = transactions().Begin({&lock, 1});
  ASSERT_TRUE(begun.ok() && begun->transaction) << begun.status();
  const PositionUpdate update{.key = Partition(0), .position = 6};
  ASSERT_TRUE(begun->transaction->SetPositions({&update, 1}).ok());
  begun->transaction->Rollback();
  EXPECT_EQ(Listed(Partition(0)).directive, PositionDirective::kSet);
}

OPERATIONS_CHECK(ALaterOrderReplacesAnEarlierOne) {
  ASSERT_TRUE(operations()
                  .OrderPosition({.key = Partition(0), .directive = PositionDirective::kEarliest})
                  .ok());
  ASSERT_TRUE(operations().OrderPosition({.key = Partition(0), .position = 7}).ok());
  const TakenPosition taken = Take(Partition(0), 1);
  EXPECT_EQ(taken.directive, PositionDirective::kSet);
  EXPECT_EQ(taken.current.position, 7);
}

OPERATIONS_CHECK(OnlyTheOrderedRowChanges) {
  const PositionStamp other = Take(Partition(1), 7, 10).current;
  Take(Partition(0), 7);
  ASSERT_TRUE(operations().OrderPosition({.key = Partition(0), .position = 5}).ok());
  EXPECT_EQ(Listed(Partition(1)).stamp, other);
  EXPECT_EQ(Listed(Partition(1)).directive, PositionDirective::kNone);
}

OPERATIONS_CHECK(AnOrderThatOrdersNothingIsRefused) {
  const absl::Status nothing =
      operations().OrderPosition({.key = Partition(0), .directive = PositionDirective::kNone});
  EXPECT_TRUE(absl::IsInvalidArgument(nothing)) << nothing;
  const absl::Status negative = operations().OrderPosition({.key = Partition(0), .position = -1});
  EXPECT_TRUE(absl::IsInvalidArgument(negative)) << negative;
  EXPECT_THAT(operations().ListPositions().value(), IsEmpty());
}

OPERATIONS_CHECK(AnOrderWaitsForTheOpenTransaction) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_exclusion);
  const PositionLock lock{.key = Partition(0), .expected = Take(Partition(0), 7).current};
  const auto begun = transactions().Begin({&lock, 1});
  ASSERT_TRUE(begun.ok() && begun->transaction) << begun.status();
  const absl::Status ordered = operations().OrderPosition({.key = Partition(0), .position = 5});
  EXPECT_TRUE(absl::IsUnavailable(ordered)) << ordered;
  begun->transaction->Rollback();
  EXPECT_EQ(Listed(Partition(0)).directive, PositionDirective::kNone);
  EXPECT_TRUE(operations().OrderPosition({.key = Partition(0), .position = 5}).ok());
}

OPERATIONS_CHECK(PositionsAreListedWhileATransactionIsOpen) {
  const PositionStamp stamp = Take(Partition(0), 7).current;
  const PositionLock lock{.key = Partition(0), .expected = stamp};
  const auto begun = transactions().Begin({&lock, 1});
  ASSERT_TRUE(begun.ok() && begun->transaction) << begun.status();
  const PositionUpdate update{.key = Partition(0), .position = 6};
  ASSERT_TRUE(begun->transaction->SetPositions({&update, 1}).ok());
  EXPECT_EQ(Listed(Partition(0)).stamp, stamp) << "what is committed";
}

OPERATIONS_CHECK(OrdersSurviveReopen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  Take(Partition(0), 7);
  ASSERT_TRUE(operations().OrderPosition({.key = Partition(0), .position = 5, .writer = 9}).ok());
  ASSERT_TRUE(operations()
                  .OrderPosition({.key = Partition(1), .directive = PositionDirective::kAdopt})
                  .ok());
  const absl::Status reopened = fixture().Reopen();
  ASSERT_TRUE(reopened.ok()) << reopened;
  const TakenPosition set = Take(Partition(0), 10);
  EXPECT_EQ(set.previous, (PositionStamp{5, 2, 9}));
  EXPECT_EQ(set.directive, PositionDirective::kSet);
  EXPECT_EQ(Take(Partition(1), 10).directive, PositionDirective::kAdopt);
}

}  // namespace
}  // namespace once::testing
