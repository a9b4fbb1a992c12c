// The tests of the public suite for transactional stores. Compiled once: whoever instantiates the
// suite links them.
#include "once/testing/store_conformance.h"

#include <atomic>
#include <limits>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TransactionalStoreConformance);

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using namespace std::string_literals;
using namespace std::string_view_literals;

std::string StoreName(const ::testing::TestParamInfo<StoreUnderTest>& info) {
  return info.param.name;
}

TransactionalStoreConformance::TransactionalStoreConformance() = default;
TransactionalStoreConformance::~TransactionalStoreConformance() = default;

void TransactionalStoreConformance::SetUp() {
  fixture_ = GetParam().make();
  ASSERT_NE(fixture_, nullptr);
  ASSERT_NE(fixture_->store().transactions(), nullptr) << "the store has no transactions";
}

TransactionalStore& TransactionalStoreConformance::transactions() {
  return *fixture_->store().transactions();
}

PartitionKey TransactionalStoreConformance::Partition(std::int32_t number) {
  return {.cluster = "cluster", .group = "group", .partition = {"orders", number}};
}

OutboxRow TransactionalStoreConformance::Letter(const PartitionKey& partition, std::int64_t offset,
                                                std::string_view value) {
  return {.origin = {.key = partition, .offset = offset},
          .message = {.topic = "orders.dlq",
                      .partition = std::nullopt,
                      .key = std::nullopt,
                      .value = std::string(value),
                      .headers = {}}};
}

PositionStamp TransactionalStoreConformance::Take(const PartitionKey& key, std::uint64_t writer,
                                                  std::int64_t start) {
  const TakeRequest request{.key = key, .writer = writer, .start = start};
  const auto taken = transactions().Take({&request, 1});
  if (!taken.ok() || taken->size() != 1) {
    ADD_FAILURE() << "take: " << taken.status();
    return {};
  }
  return taken->front().current;
}

std::unique_ptr<StoreTransaction> TransactionalStoreConformance::Begin(
    std::span<const PositionLock> locks) {
  auto begun = transactions().Begin(locks);
  if (!begun.ok()) {
    ADD_FAILURE() << "begin: " << begun.status();
    return nullptr;
  }
  EXPECT_THAT(begun->mismatches, IsEmpty());
  EXPECT_NE(begun->transaction, nullptr);
  return std::move(begun->transaction);
}

std::unique_ptr<StoreTransaction> TransactionalStoreConformance::Begin(
    const PartitionKey& key, const PositionStamp& expected) {
  const PositionLock lock{.key = key, .expected = expected};
  return Begin({&lock, 1});
}

std::vector<BeginResult::Mismatch> TransactionalStoreConformance::Mismatches(
    std::span<const PositionLock> locks) {
  auto begun = transactions().Begin(locks);
  if (!begun.ok()) {
    ADD_FAILURE() << "begin: " << begun.status();
    return {};
  }
  EXPECT_EQ(begun->transaction == nullptr, !begun->mismatches.empty());
  return begun->mismatches;
}

std::vector<BeginResult::Mismatch> TransactionalStoreConformance::Mismatches(
    const PartitionKey& key, const PositionStamp& expected) {
  const PositionLock lock{.key = key, .expected = expected};
  return Mismatches({&lock, 1});
}

IdRecord TransactionalStoreConformance::Find(StoreTransaction& transaction, const IdKey& key) {
  IdRecord record;
  const absl::Status found = transaction.FindIds({&key, 1}, {&record, 1});
  EXPECT_TRUE(found.ok()) << found;
  return record;
}

void TransactionalStoreConformance::Put(StoreTransaction& transaction, const IdKey& key,
                                        const IdRecord& record) {
  const IdWrite write{.key = key, .record = record};
  const absl::Status put = transaction.PutIds({&write, 1});
  EXPECT_TRUE(put.ok()) << put;
}

void TransactionalStoreConformance::PutOutgoing(StoreTransaction& transaction,
                                                const OutboxRow& row) {
  const absl::Status put = transaction.PutOutgoing({&row, 1});
  EXPECT_TRUE(put.ok()) << put;
}

void TransactionalStoreConformance::AppendEffect(StoreTransaction& transaction,
                                                 std::string_view row) {
  const absl::Status appended = fixture().AppendEffect(transaction, row);
  EXPECT_TRUE(appended.ok()) << appended;
}

PositionStamp TransactionalStoreConformance::Commit(std::unique_ptr<StoreTransaction> transaction,
                                                    const PartitionKey& key,
                                                    const PositionStamp& before) {
  if (!transaction) return {};  // Begin has failed the test already
  const PositionUpdate update{.key = key, .position = before.position + 1};
  const absl::Status set = transaction->SetPositions({&update, 1});
  EXPECT_TRUE(set.ok()) << set;
  const absl::Status committed = transaction->Commit(Durability::kMachine);
  EXPECT_TRUE(committed.ok()) << committed;
  return {before.position + 1, before.revision + 1, before.writer};
}

IdRecord TransactionalStoreConformance::FindCommitted(const IdKey& key) {
  const auto transaction = Begin(std::span<const PositionLock>());
  return transaction ? Find(*transaction, key) : IdRecord{};
}

std::vector<std::string> TransactionalStoreConformance::Effects() {
  auto effects = fixture().ReadEffects();
  EXPECT_TRUE(effects.ok()) << effects.status();
  return effects.ok() ? *std::move(effects) : std::vector<std::string>();
}

std::vector<PendingRow> TransactionalStoreConformance::Pending(std::size_t rows_max) {
  auto rows = outbox().FindPending(rows_max);
  EXPECT_TRUE(rows.ok()) << rows.status();
  return rows.ok() ? *std::move(rows) : std::vector<PendingRow>();
}

namespace {

constexpr IdRecord kCompletedRecord = {.state = IdState::kCompleted};

std::vector<std::string> Values(const std::vector<PendingRow>& rows) {
  std::vector<std::string> values;
  for (const PendingRow& row : rows) values.push_back(row.message.value.value_or("(null)"));
  return values;
}

#define SKIP_UNLESS_EMPTY(reason) \
  if (!(reason).empty()) GTEST_SKIP() << GetParam().name << ": " << (reason)

// ---- Taking and comparing rows ----

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

// ---- Commit and rollback ----

TEST_P(TransactionalStoreConformance, CommitShowsIdEffectPositionAndOutboxRowTogether) {
  const PositionStamp before = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), before);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "id"}, kCompletedRecord);
  AppendEffect(*transaction, "effect");
  PutOutgoing(*transaction, Letter(Partition(0), 0, "letter"));

  const PartitionKey key = Partition(0);
  EXPECT_THAT(Effects(), IsEmpty());
  EXPECT_THAT(Pending(), IsEmpty());
  EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0], before);

  const PositionStamp after = Commit(std::move(transaction), key, before);
  EXPECT_THAT(Effects(), ElementsAre("effect"));
  EXPECT_THAT(Values(Pending()), ElementsAre("letter"));
  EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0], after);
  EXPECT_EQ(FindCommitted({"scope", "id"}), kCompletedRecord);
}

TEST_P(TransactionalStoreConformance, RollbackLeavesNothing) {
  const PositionStamp before = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), before);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "id"}, kCompletedRecord);
  AppendEffect(*transaction, "effect");
  PutOutgoing(*transaction, Letter(Partition(0), 0, "letter"));
  const PositionUpdate update{.key = Partition(0), .position = 1};
  ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
  transaction->Rollback();

  EXPECT_THAT(Effects(), IsEmpty());
  EXPECT_THAT(Pending(), IsEmpty());
  EXPECT_EQ(FindCommitted({"scope", "id"}), IdRecord{});
  EXPECT_NE(Begin(Partition(0), before), nullptr);
}

TEST_P(TransactionalStoreConformance, DestroyingAnUnfinishedTransactionRollsBack) {
  const PositionStamp before = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), before);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "id"}, kCompletedRecord);
  AppendEffect(*transaction, "effect");
  transaction.reset();
  EXPECT_THAT(Effects(), IsEmpty());
  EXPECT_EQ(FindCommitted({"scope", "id"}), IdRecord{});
  EXPECT_NE(Begin(Partition(0), before), nullptr);
}

TEST_P(TransactionalStoreConformance, EveryCommitAddsOneToTheRevisionAndKeepsTheWriter) {
  const PartitionKey key = Partition(0);
  PositionStamp stamp = Take(key, 77);
  for (int i = 0; i < 5; ++i) stamp = Commit(Begin(key, stamp), key, stamp);
  EXPECT_EQ(stamp, (PositionStamp{5, 6, 77}));
  EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0], stamp);
}

TEST_P(TransactionalStoreConformance, APositionSetTwiceInOneTransactionCostsOneRevision) {
  const PartitionKey key = Partition(0);
  const PositionStamp stamp = Take(key, 1);
  const auto transaction = Begin(key, stamp);
  ASSERT_NE(transaction, nullptr);
  for (const std::int64_t position : {3, 9}) {
    const PositionUpdate update{.key = key, .position = position};
    ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
  }
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0],
            (PositionStamp{9, stamp.revision + 1, 1}));
}

TEST_P(TransactionalStoreConformance, APositionMayBeSetWithoutMoving) {
  const PartitionKey key = Partition(0);
  const PositionStamp stamp = Take(key, 1, 5);
  const auto transaction = Begin(key, stamp);
  ASSERT_NE(transaction, nullptr);
  const PositionUpdate update{.key = key, .position = 5};
  ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0],
            (PositionStamp{5, stamp.revision + 1, 1}));
}

TEST_P(TransactionalStoreConformance, ALockedRowThatIsNotUpdatedStaysAsItWas) {
  const PositionStamp zero = Take(Partition(0), 1);
  const PositionStamp one = Take(Partition(1), 1);
  const PositionLock locks[] = {{Partition(0), zero}, {Partition(1), one}};
  Commit(Begin(locks), Partition(0), zero);
  EXPECT_NE(Begin(Partition(1), one), nullptr);
}

TEST_P(TransactionalStoreConformance, PositionsOfSeveralPartitionsMoveTogether) {
  const PositionStamp zero = Take(Partition(0), 1, 100);
  const PositionStamp one = Take(Partition(1), 2, 200);
  const PositionLock locks[] = {{Partition(1), one}, {Partition(0), zero}};
  const PositionUpdate updates[] = {{Partition(0), 111}, {Partition(1), 222}};
  const PartitionKey keys[] = {Partition(0), Partition(1)};

  auto transaction = Begin(locks);
  ASSERT_NE(transaction, nullptr);
  ASSERT_TRUE(transaction->SetPositions(updates).ok());
  EXPECT_THAT(transactions().ReadPositions(keys).value(), ElementsAre(zero, one));
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(transactions().ReadPositions(keys).value(),
              ElementsAre(PositionStamp{111, 2, 1}, PositionStamp{222, 2, 2}));
}

TEST_P(TransactionalStoreConformance, ATransactionThatWasCommittedCannotCommitAgain) {
  const PartitionKey key = Partition(0);
  const PositionStamp before = Take(key, 1);
  const auto transaction = Begin(key, before);
  ASSERT_NE(transaction, nullptr);
  const PositionUpdate update{.key = key, .position = 1};
  ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());

  EXPECT_FALSE(transaction->CheckOpen().ok());
  EXPECT_FALSE(transaction->SetPositions({&update, 1}).ok());
  const absl::Status again = transaction->Commit(Durability::kMachine);
  EXPECT_FALSE(again.ok());
  EXPECT_FALSE(absl::IsUnknown(again)) << again;
  EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0], (PositionStamp{1, 2, 1}));
}

TEST_P(TransactionalStoreConformance, AStaleTransactionCannotCommitIntoTheNextOne) {
  const PartitionKey key = Partition(0);
  const PositionStamp before = Take(key, 1);
  const auto stale = Begin(key, before);
  ASSERT_NE(stale, nullptr);
  stale->Rollback();
  const auto next = Begin(key, before);
  ASSERT_NE(next, nullptr);
  Put(*next, {"scope", "next"}, kCompletedRecord);

  const IdWrite write{.key = {"scope", "stale"}, .record = kCompletedRecord};
  EXPECT_FALSE(stale->CheckOpen().ok());
  EXPECT_FALSE(stale->PutIds({&write, 1}).ok());
  EXPECT_FALSE(stale->Commit(Durability::kMachine).ok());
  stale->Rollback();
  EXPECT_TRUE(next->CheckOpen().ok()) << next->CheckOpen();
  EXPECT_TRUE(next->Commit(Durability::kMachine).ok());
  EXPECT_EQ(FindCommitted({"scope", "next"}), kCompletedRecord);
  EXPECT_EQ(FindCommitted({"scope", "stale"}), IdRecord{});
}

// ---- Savepoints ----

TEST_P(TransactionalStoreConformance, RollingBackToTheSavepointUndoesExactlyWhatCameAfterIt) {
  const PositionStamp before = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), before);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "early"}, kCompletedRecord);
  AppendEffect(*transaction, "early");
  PutOutgoing(*transaction, Letter(Partition(0), 0, "early"));
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  Put(*transaction, {"scope", "late"}, kCompletedRecord);
  Put(*transaction, {"new scope", "late"}, kCompletedRecord);
  AppendEffect(*transaction, "late");
  PutOutgoing(*transaction, Letter(Partition(0), 1, "late"));
  ASSERT_TRUE(transaction->RollbackToSavepoint().ok());

  EXPECT_TRUE(transaction->CheckOpen().ok());
  EXPECT_EQ(Find(*transaction, {"scope", "early"}), kCompletedRecord);
  EXPECT_EQ(Find(*transaction, {"scope", "late"}), IdRecord{});
  EXPECT_EQ(Find(*transaction, {"new scope", "late"}), IdRecord{});
  Commit(std::move(transaction), Partition(0), before);
  EXPECT_THAT(Effects(), ElementsAre("early"));
  EXPECT_THAT(Values(Pending()), ElementsAre("early"));
  EXPECT_EQ(FindCommitted({"scope", "early"}), kCompletedRecord);
  EXPECT_EQ(FindCommitted({"scope", "late"}), IdRecord{});
  EXPECT_EQ(FindCommitted({"new scope", "late"}), IdRecord{});
}

TEST_P(TransactionalStoreConformance, ASavepointStaysAfterARollbackToIt) {
  const PositionStamp before = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), before);
  ASSERT_NE(transaction, nullptr);
  AppendEffect(*transaction, "early");
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  for (int attempt = 0; attempt < 3; ++attempt) {
    AppendEffect(*transaction, "late");
    Put(*transaction, {"scope", "late"}, kCompletedRecord);
    PutOutgoing(*transaction, Letter(Partition(0), 1, absl::StrCat("letter ", attempt)));
    if (attempt < 2) {
      ASSERT_TRUE(transaction->RollbackToSavepoint().ok());
    }
  }
  Commit(std::move(transaction), Partition(0), before);
  EXPECT_THAT(Effects(), ElementsAre("early", "late"));
  EXPECT_THAT(Values(Pending()), ElementsAre("letter 2"));
}

TEST_P(TransactionalStoreConformance, ANewSavepointReplacesTheLastOne) {
  const PositionStamp before = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), before);
  ASSERT_NE(transaction, nullptr);
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  AppendEffect(*transaction, "first");
  Put(*transaction, {"scope", "first"}, kCompletedRecord);
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  AppendEffect(*transaction, "second");
  Put(*transaction, {"scope", "second"}, kCompletedRecord);
  ASSERT_TRUE(transaction->RollbackToSavepoint().ok());
  Commit(std::move(transaction), Partition(0), before);
  EXPECT_THAT(Effects(), ElementsAre("first"));
  EXPECT_EQ(FindCommitted({"scope", "first"}), kCompletedRecord);
  EXPECT_EQ(FindCommitted({"scope", "second"}), IdRecord{});
}

TEST_P(TransactionalStoreConformance, RollingBackToTheSavepointRestoresAnOverwrittenRecord) {
  constexpr IdRecord kCommittedRecord = {.state = IdState::kRetrying, .attempt = 1};
  constexpr IdRecord kStaged = {.state = IdState::kRetrying, .attempt = 2};
  PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "committed"}, kCommittedRecord);
  stamp = Commit(std::move(transaction), Partition(0), stamp);

  transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "staged"}, kStaged);
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  for (const std::string_view id : {"committed", "staged"}) {
    Put(*transaction, {"scope", id}, kCompletedRecord);
    Put(*transaction, {"scope", id}, {.state = IdState::kDead});
  }
  ASSERT_TRUE(transaction->RollbackToSavepoint().ok());
  EXPECT_EQ(Find(*transaction, {"scope", "committed"}), kCommittedRecord);
  EXPECT_EQ(Find(*transaction, {"scope", "staged"}), kStaged);
  Commit(std::move(transaction), Partition(0), stamp);
  EXPECT_EQ(FindCommitted({"scope", "committed"}), kCommittedRecord);
  EXPECT_EQ(FindCommitted({"scope", "staged"}), kStaged);
}

TEST_P(TransactionalStoreConformance, AScopeThatWasRolledBackIsNotConfusedWithTheNextNewOne) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  Put(*transaction, {"first", "id"}, kCompletedRecord);
  ASSERT_TRUE(transaction->RollbackToSavepoint().ok());
  Put(*transaction, {"second", "id"}, kCompletedRecord);
  EXPECT_EQ(Find(*transaction, {"first", "id"}), IdRecord{});
  EXPECT_EQ(Find(*transaction, {"second", "id"}), kCompletedRecord);
  Put(*transaction, {"first", "other"}, kCompletedRecord);
  Commit(std::move(transaction), Partition(0), stamp);
  EXPECT_EQ(FindCommitted({"first", "id"}), IdRecord{});
  EXPECT_EQ(FindCommitted({"second", "other"}), IdRecord{});
  EXPECT_EQ(FindCommitted({"first", "other"}), kCompletedRecord);
}

TEST_P(TransactionalStoreConformance, AScopeOfARolledBackTransactionIsNotConfusedEither) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"first", "id"}, kCompletedRecord);
  transaction->Rollback();
  transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"second", "id"}, kCompletedRecord);
  Commit(std::move(transaction), Partition(0), stamp);
  EXPECT_EQ(FindCommitted({"first", "id"}), IdRecord{});
  EXPECT_EQ(FindCommitted({"second", "id"}), kCompletedRecord);
}

TEST_P(TransactionalStoreConformance, RollingBackWithoutASavepointIsRefused) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  EXPECT_FALSE(transaction->RollbackToSavepoint().ok());
  transaction->Rollback();
  EXPECT_NE(Begin(Partition(0), stamp), nullptr);
}

TEST_P(TransactionalStoreConformance, AfterAFailedCallOnlyRollbackFollows) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  AppendEffect(*transaction, "effect");
  ASSERT_FALSE(transaction->RollbackToSavepoint().ok());  // none was set
  const absl::Status committed = transaction->Commit(Durability::kMachine);
  EXPECT_FALSE(committed.ok());
  EXPECT_FALSE(absl::IsUnknown(committed)) << committed;
  EXPECT_THAT(Effects(), IsEmpty());
}

// ---- Ids ----

TEST_P(TransactionalStoreConformance, AnUnknownIdIsAbsentWhateverTheRecordHeldBefore) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  const IdKey key{"scope", "id"};
  IdRecord record{.state = IdState::kDead,
                  .fingerprint = {1, 2},
                  .attempt = 3,
                  .first_failed_at = absl::UnixEpoch(),
                  .not_before = absl::UnixEpoch()};
  ASSERT_TRUE(transaction->FindIds({&key, 1}, {&record, 1}).ok());
  EXPECT_EQ(record, IdRecord{});
}

TEST_P(TransactionalStoreConformance, ATransactionSeesItsOwnIds) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "id"}, kCompletedRecord);
  EXPECT_EQ(Find(*transaction, {"scope", "id"}), kCompletedRecord);
}

TEST_P(TransactionalStoreConformance, KeysMayRepeatInOneLookup) {
  const PositionStamp stamp = Take(Partition(0), 1);
  const auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "known"}, kCompletedRecord);
  const IdKey keys[] = {
      {"scope", "known"}, {"scope", "unknown"}, {"scope", "known"}, {"scope", "unknown"}};
  IdRecord records[4];
  ASSERT_TRUE(transaction->FindIds(keys, records).ok());
  EXPECT_THAT(records, ElementsAre(kCompletedRecord, IdRecord{}, kCompletedRecord, IdRecord{}));
}

TEST_P(TransactionalStoreConformance, TheLaterOfTwoWritesOfOneIdCounts) {
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  const IdWrite writes[] = {{{"scope", "id"}, {.state = IdState::kRetrying, .attempt = 3}},
                            {{"scope", "id"}, kCompletedRecord}};
  ASSERT_TRUE(transaction->PutIds(writes).ok());
  EXPECT_EQ(Find(*transaction, {"scope", "id"}), kCompletedRecord);
  Commit(std::move(transaction), Partition(0), stamp);
  EXPECT_EQ(FindCommitted({"scope", "id"}), kCompletedRecord);
}

TEST_P(TransactionalStoreConformance, WritingAbsentForgetsAnId) {
  PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "id"}, {.state = IdState::kRetrying, .attempt = 3});
  stamp = Commit(std::move(transaction), Partition(0), stamp);
  transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "id"}, IdRecord{});
  EXPECT_EQ(Find(*transaction, {"scope", "id"}), IdRecord{});
  Commit(std::move(transaction), Partition(0), stamp);
  EXPECT_EQ(FindCommitted({"scope", "id"}), IdRecord{});
}

TEST_P(TransactionalStoreConformance, IdsKeepTheirBytes) {
  std::string all_bytes;
  for (int byte = 0; byte < 256; ++byte) all_bytes.push_back(static_cast<char>(byte));
  std::vector<std::string> ids = {"a",
                                  "\0"s,
                                  "\0\0"s,
                                  "a\0"s,
                                  "a\0b"s,
                                  "A",
                                  "1",
                                  "01",
                                  "1.0",
                                  "\xff",
                                  "é",
                                  "e\xcc\x81",
                                  " a",
                                  "a ",
                                  "%",
                                  "'",
                                  "\"",
                                  std::string(kMessageIdBytesMax, 'x'),
                                  std::string(kMessageIdBytesMax, '\0'),
                                  std::string(kMessageIdBytesMax - 1, 'x')};
  for (std::size_t at = 0; at < all_bytes.size(); at += 64) ids.push_back(all_bytes.substr(at, 64));

  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  int attempt = 0;
  for (const std::string& id : ids) {
    const IdRecord found = Find(*transaction, {"scope", id});
    EXPECT_EQ(found, IdRecord{}) << ::testing::PrintToString(id);
    Put(*transaction, {"scope", id}, {.state = IdState::kRetrying, .attempt = ++attempt});
  }
  Commit(std::move(transaction), Partition(0), stamp);
  attempt = 0;
  for (const std::string& id : ids) EXPECT_EQ(FindCommitted({"scope", id}).attempt, ++attempt);
}

TEST_P(TransactionalStoreConformance, ScopeAndIdAreNeverConfused) {
  const std::pair<std::string, std::string> keys[] = {{"a", "bc"},
                                                      {"ab", "c"},
                                                      {"abc", "c"},
                                                      {"", "abc"},
                                                      {"a\0"s, "bc"},
                                                      {"a", "\0bc"s},
                                                      {"A", "bc"},
                                                      {"bc", "a"},
                                                      {"a:b", "c"},
                                                      {"a", "b:c"},
                                                      {"\xff", "bc"},
                                                      {"\xfe", "bc"},
                                                      {GroupTopicScope("group", "orders"), "bc"},
                                                      {GroupTopicScope("group", "payments"), "bc"},
                                                      {std::string(300, 's'), "bc"},
                                                      {std::string(301, 's'), "bc"}};
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  int attempt = 0;
  for (const auto& [scope, id] : keys) {
    EXPECT_EQ(Find(*transaction, {scope, id}), IdRecord{});
    Put(*transaction, {scope, id}, {.state = IdState::kRetrying, .attempt = ++attempt});
  }
  Commit(std::move(transaction), Partition(0), stamp);
  attempt = 0;
  for (const auto& [scope, id] : keys) EXPECT_EQ(FindCommitted({scope, id}).attempt, ++attempt);
}

// Times keep at least microseconds: what PostgreSQL has.
std::vector<IdRecord> RecordsOfEveryKind() {
  constexpr auto kMaxInt = std::numeric_limits<int>::max();
  constexpr auto kMax64 = std::numeric_limits<std::uint64_t>::max();
  const absl::Time time = absl::FromUnixMicros(1'700'000'000'123'456);
  std::vector<IdRecord> records;
  for (const IdState state :
       {IdState::kCompleted, IdState::kRetrying, IdState::kDead, IdState::kDiscarded,
        IdState::kUncertain, IdState::kClaimed, IdState::kDying}) {
    records.push_back({.state = state});
    records.push_back({.state = state,
                       .fingerprint = {kMax64, 1},
                       .attempt = kMaxInt,
                       .first_failed_at = time,
                       .not_before = time + absl::Microseconds(1)});
  }
  records.push_back({.state = IdState::kRetrying, .fingerprint = {0, kMax64}});
  records.push_back({.state = IdState::kRetrying, .fingerprint = {1ULL << 63, 0}});
  records.push_back({.state = IdState::kRetrying, .first_failed_at = absl::UnixEpoch()});
  records.push_back({.state = IdState::kRetrying, .not_before = absl::UnixEpoch()});
  records.push_back({.state = IdState::kRetrying, .not_before = absl::InfiniteFuture()});
  records.push_back(
      {.state = IdState::kRetrying, .first_failed_at = absl::UnixEpoch() - absl::Microseconds(1)});
  return records;
}

TEST_P(TransactionalStoreConformance, EveryFieldOfAnIdRecordComesBackAsItWas) {
  const std::vector<IdRecord> records = RecordsOfEveryKind();
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  for (std::size_t i = 0; i < records.size(); ++i) {
    Put(*transaction, {"scope", absl::StrCat("id", i)}, records[i]);
  }
  Commit(std::move(transaction), Partition(0), stamp);
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(FindCommitted({"scope", absl::StrCat("id", i)}), records[i]) << "record " << i;
  }
}

TEST_P(TransactionalStoreConformance, AThousandIdsGoInAndOutInOneCall) {
  std::vector<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.push_back(absl::StrCat("id-", i));
  std::vector<IdWrite> writes;
  std::vector<IdKey> keys;
  for (int i = 0; i < 1000; ++i) {
    const IdKey key{i % 2 == 0 ? "even" : "odd", ids[static_cast<std::size_t>(i)]};
    keys.push_back(key);
    writes.push_back({key, {.state = IdState::kRetrying, .attempt = i + 1}});
  }
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  ASSERT_TRUE(transaction->PutIds(writes).ok());
  const PositionStamp after = Commit(std::move(transaction), Partition(0), stamp);

  transaction = Begin(Partition(0), after);
  ASSERT_NE(transaction, nullptr);
  std::vector<IdRecord> records(keys.size());
  ASSERT_TRUE(transaction->FindIds(keys, records).ok());
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(records[static_cast<std::size_t>(i)].attempt, i + 1);
}

TEST_P(TransactionalStoreConformance, CallsWithNothingToDoAreFine) {
  const auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  EXPECT_TRUE(transaction->FindIds({}, {}).ok());
  EXPECT_TRUE(transaction->PutIds({}).ok());
  EXPECT_TRUE(transaction->PutOutgoing({}).ok());
  EXPECT_TRUE(transaction->SetPositions({}).ok());
  EXPECT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(transactions().ReadPositions({}).value(), IsEmpty());
  EXPECT_TRUE(outbox().MarkPublished({}).ok());
}

// ---- The outbox ----

TEST_P(TransactionalStoreConformance, OutboxRowsComeInCommitOrder) {
  PositionStamp stamp = Take(Partition(0), 1);
  for (int i = 0; i < 3; ++i) {
    auto transaction = Begin(Partition(0), stamp);
    ASSERT_NE(transaction, nullptr);
    // Offsets run backwards: commit order counts, not theirs.
    const OutboxRow rows[] = {Letter(Partition(0), 100 - 2 * i, absl::StrCat(2 * i)),
                              Letter(Partition(0), 99 - 2 * i, absl::StrCat(2 * i + 1))};
    ASSERT_TRUE(transaction->PutOutgoing(rows).ok());
    stamp = Commit(std::move(transaction), Partition(0), stamp);
  }
  const std::vector<PendingRow> rows = Pending();
  EXPECT_THAT(Values(rows), ElementsAre("0", "1", "2", "3", "4", "5"));
  for (std::size_t i = 1; i < rows.size(); ++i) EXPECT_LT(rows[i - 1].sequence, rows[i].sequence);
  EXPECT_THAT(Values(Pending(2)), ElementsAre("0", "1"));
  EXPECT_THAT(Pending(0), IsEmpty());
  EXPECT_EQ(outbox().CountPending().value(), 6u);
}

TEST_P(TransactionalStoreConformance, OutgoingMessagesComeBackAsTheyWere) {
  std::string binary;
  for (int byte = 255; byte >= 0; --byte) binary.push_back(static_cast<char>(byte));
  const OutgoingMessage messages[] = {
      {.topic = "t",
       .partition = std::nullopt,
       .key = std::nullopt,
       .value = std::nullopt,
       .headers = {}},
      {.topic = "t", .partition = 0, .key = "", .value = "", .headers = {}},
      {.topic = "t", .partition = -1, .key = binary, .value = binary, .headers = {}},
      {.topic = "t",
       .partition = std::numeric_limits<std::int32_t>::max(),
       .key = "\0"s,
       .value = "\0"s,
       .headers = {{"", std::nullopt}}},
      {.topic = "t",
       .partition = std::nullopt,
       .key = "k",
       .value = std::string(1'000'000, 'v'),
       .headers = {{"name", "value"},
                   {"name", "again"},
                   {"null", std::nullopt},
                   {"empty", ""},
                   {"bytes", binary},
                   {"\xff\0x"s, "odd name"}}},
  };
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  std::int64_t offset = 0;
  for (const OutgoingMessage& message : messages) {
    PutOutgoing(*transaction, {.origin = {Partition(0), offset++}, .message = message});
  }
  Commit(std::move(transaction), Partition(0), stamp);
  const std::vector<PendingRow> rows = Pending();
  ASSERT_THAT(rows, SizeIs(std::size(messages)));
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_TRUE(rows[i].message == messages[i]) << i;
}

TEST_P(TransactionalStoreConformance, OneDeliveryHasOneOutboxRowAlsoInLaterTransactions) {
  PositionStamp stamp = Take(Partition(0), 1);
  for (int round = 0; round < 2; ++round) {
    auto transaction = Begin(Partition(0), stamp);
    ASSERT_NE(transaction, nullptr);
    PutOutgoing(*transaction, Letter(Partition(0), 5, absl::StrCat("first of round ", round)));
    PutOutgoing(*transaction, Letter(Partition(0), 5, absl::StrCat("second of round ", round)));
    stamp = Commit(std::move(transaction), Partition(0), stamp);
  }
  EXPECT_THAT(Values(Pending()), ElementsAre("first of round 0"));
}

TEST_P(TransactionalStoreConformance, OriginsDifferByClusterGroupTopicPartitionAndOffset) {
  const OutboxOrigin origins[] = {{{"c", "g", {"t", 0}}, 0}, {{"C", "g", {"t", 0}}, 0},
                                  {{"c", "G", {"t", 0}}, 0}, {{"c", "g", {"T", 0}}, 0},
                                  {{"c", "g", {"t", 1}}, 0}, {{"c", "g", {"t", 0}}, 1},
                                  {{"cg", "", {"t", 0}}, 0}};
  const auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  for (const OutboxOrigin& origin : origins) {
    PutOutgoing(*transaction, {.origin = origin, .message = Letter({}, 0, "v").message});
  }
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_EQ(outbox().CountPending().value(), std::size(origins));
}

TEST_P(TransactionalStoreConformance, APublishedRowIsGoneButItsOriginStaysTaken) {
  PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 5, "letter"));
  stamp = Commit(std::move(transaction), Partition(0), stamp);

  const std::int64_t sequence = Pending().at(0).sequence;
  for (int i = 0; i < 2; ++i) {
    const absl::Status marked = outbox().MarkPublished({&sequence, 1});
    EXPECT_TRUE(marked.ok()) << marked;
    EXPECT_THAT(Pending(), IsEmpty());
    EXPECT_EQ(outbox().CountPending().value(), 0u);
  }
  transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 5, "replayed"));
  PutOutgoing(*transaction, Letter(Partition(0), 6, "other"));
  Commit(std::move(transaction), Partition(0), stamp);
  ASSERT_THAT(Values(Pending()), ElementsAre("other"));
  EXPECT_GT(Pending()[0].sequence, sequence);
}

TEST_P(TransactionalStoreConformance, OnlyTheMarkedRowsArePublished) {
  const auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  for (int i = 0; i < 5; ++i) {
    PutOutgoing(*transaction, Letter(Partition(0), i, absl::StrCat(i)));
  }
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  const std::vector<PendingRow> rows = Pending();
  ASSERT_THAT(rows, SizeIs(5));
  const std::int64_t marked[] = {rows[3].sequence, rows[0].sequence, rows[4].sequence + 1000};
  ASSERT_TRUE(outbox().MarkPublished(marked).ok());
  EXPECT_THAT(Values(Pending()), ElementsAre("1", "2", "4"));
}

TEST_P(TransactionalStoreConformance, AParkedRowIsOutOfTheWayAndItsOriginStaysTaken) {
  PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "too large"));
  PutOutgoing(*transaction, Letter(Partition(0), 2, "fine"));
  stamp = Commit(std::move(transaction), Partition(0), stamp);

  const std::int64_t sequence = Pending().at(0).sequence;
  for (int i = 0; i < 2; ++i) {
    const absl::Status parked = outbox().Park(sequence, absl::InvalidArgumentError("too large"));
    EXPECT_TRUE(parked.ok()) << parked;
    EXPECT_THAT(Values(Pending()), ElementsAre("fine"));
    EXPECT_EQ(outbox().CountPending().value(), 1u);
  }
  EXPECT_TRUE(outbox().Park(sequence + 1000, absl::InvalidArgumentError("no such row")).ok());
  transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "replayed"));
  Commit(std::move(transaction), Partition(0), stamp);
  EXPECT_THAT(Values(Pending()), ElementsAre("fine"));
}

TEST_P(TransactionalStoreConformance, TheRelayReadsCommittedRowsWhileATransactionIsOpen) {
  auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "committed"));
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 2, "open"));
  EXPECT_THAT(Values(Pending()), ElementsAre("committed"));
  EXPECT_EQ(outbox().CountPending().value(), 1u);
}

// ---- One writer at a time ----

TEST_P(TransactionalStoreConformance, ASecondTransactionOnTheSameRowsIsKeptOut) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_exclusion);
  const PartitionKey key = Partition(0);
  const PositionStamp stamp = Take(key, 1);
  auto first = Begin(key, stamp);
  ASSERT_NE(first, nullptr);
  const PositionLock lock{.key = key, .expected = stamp};
  const auto second = transactions().Begin({&lock, 1});
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  const TakeRequest request{.key = key, .writer = 2};
  const auto taken = transactions().Take({&request, 1});
  EXPECT_TRUE(absl::IsUnavailable(taken.status())) << taken.status();

  const PositionStamp after = Commit(std::move(first), key, stamp);
  EXPECT_NE(Begin(key, after), nullptr);
}

TEST_P(TransactionalStoreConformance, WhoeverWaitsGetsItsTurnAndSeesWhatWasCommitted) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  SKIP_UNLESS_EMPTY(capabilities().why_no_exclusion);
  const PartitionKey key = Partition(0);
  const PositionStamp stamp = Take(key, 1);
  auto first = Begin(key, stamp);
  ASSERT_NE(first, nullptr);
  std::atomic<bool> is_first_open = true;
  std::thread waiting([&] {
    const PositionLock lock{.key = key, .expected = stamp};
    auto second = transactions().Begin({&lock, 1});
    while (absl::IsUnavailable(second.status())) second = transactions().Begin({&lock, 1});
    EXPECT_FALSE(is_first_open);
    ASSERT_TRUE(second.ok()) << second.status();
    ASSERT_THAT(second->mismatches, SizeIs(1));
    EXPECT_EQ(second->mismatches[0].actual, (PositionStamp{1, 2, 1}));
  });
  is_first_open = false;
  Commit(std::move(first), key, stamp);
  waiting.join();
}

TEST_P(TransactionalStoreConformance, WritersOnManyThreadsNeverLoseAnUpdate) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  constexpr int kThreads = 4;
  constexpr int kCommits = 25;
  const PartitionKey key = Partition(0);
  Take(key, 1);
  const auto work = [&](int number) {
    for (int done = 0; done < kCommits;) {
      const PositionStamp seen = transactions().ReadPositions({&key, 1}).value()[0].value();
      const PositionLock lock{.key = key, .expected = seen};
      auto begun = transactions().Begin({&lock, 1});
      if (!begun.ok() || !begun->transaction) continue;  // somebody was quicker
      const PositionUpdate update{.key = key, .position = seen.position + 1};
      AppendEffect(*begun->transaction, absl::StrCat(number));
      ASSERT_TRUE(begun->transaction->SetPositions({&update, 1}).ok());
      ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
      ++done;
    }
  };
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) threads.emplace_back(work, number);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0],
            (PositionStamp{kThreads * kCommits, kThreads * kCommits + 1, 1}));
  EXPECT_THAT(Effects(), SizeIs(kThreads * kCommits));
}

TEST_P(TransactionalStoreConformance, TheRelayAndTheWorkerShareTheStore) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  constexpr std::size_t kLetters = 50;
  std::thread worker([&] {
    for (std::size_t i = 0; i < kLetters;) {
      auto begun = transactions().Begin({});
      if (absl::IsUnavailable(begun.status())) continue;
      ASSERT_TRUE(begun.ok()) << begun.status();
      PutOutgoing(*begun->transaction,
                  Letter(Partition(0), static_cast<std::int64_t>(i), absl::StrCat(i)));
      ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
      ++i;
    }
  });
  std::vector<std::string> published;
  while (published.size() < kLetters) {
    const std::vector<PendingRow> rows = Pending(7);
    std::vector<std::int64_t> sequences;
    for (const PendingRow& row : rows) sequences.push_back(row.sequence);
    const absl::Status marked = outbox().MarkPublished(sequences);
    if (absl::IsUnavailable(marked)) continue;
    EXPECT_TRUE(marked.ok()) << marked;
    for (const std::string& value : Values(rows)) published.push_back(value);
  }
  worker.join();
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < kLetters; ++i) expected.push_back(absl::StrCat(i));
  EXPECT_EQ(published, expected);
}

// ---- Reopening and crashing ----

TEST_P(TransactionalStoreConformance, ACompletedIdStaysCompletedAfterReopen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  const std::vector<IdRecord> records = RecordsOfEveryKind();
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  for (std::size_t i = 0; i < records.size(); ++i) {
    Put(*transaction, {"scope", absl::StrCat("id", i)}, records[i]);
  }
  AppendEffect(*transaction, "effect");
  PutOutgoing(*transaction, Letter(Partition(0), 1, "letter"));
  const PositionStamp after = Commit(std::move(transaction), Partition(0), stamp);

  const absl::Status reopened = fixture().Reopen();
  ASSERT_TRUE(reopened.ok()) << reopened;
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(FindCommitted({"scope", absl::StrCat("id", i)}), records[i]) << "record " << i;
  }
  EXPECT_THAT(Effects(), ElementsAre("effect"));
  EXPECT_THAT(Values(Pending()), ElementsAre("letter"));
  EXPECT_NE(Begin(Partition(0), after), nullptr);
}

TEST_P(TransactionalStoreConformance, APublishedOriginStaysTakenAfterReopen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "published"));
  PutOutgoing(*transaction, Letter(Partition(0), 2, "parked"));
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  const std::vector<PendingRow> rows = Pending();
  ASSERT_THAT(rows, SizeIs(2));
  ASSERT_TRUE(outbox().MarkPublished({&rows[0].sequence, 1}).ok());
  ASSERT_TRUE(outbox().Park(rows[1].sequence, absl::InvalidArgumentError("too large")).ok());

  ASSERT_TRUE(fixture().Reopen().ok());
  EXPECT_THAT(Pending(), IsEmpty());
  transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "replayed"));
  PutOutgoing(*transaction, Letter(Partition(0), 2, "replayed"));
  PutOutgoing(*transaction, Letter(Partition(0), 3, "new"));
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  ASSERT_THAT(Values(Pending()), ElementsAre("new"));
  EXPECT_GT(Pending()[0].sequence, rows[1].sequence);
}

TEST_P(TransactionalStoreConformance, ACrashForgetsTheOpenTransactionAndNothingElse) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_crash);
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "committed"}, kCompletedRecord);
  AppendEffect(*transaction, "committed");
  PutOutgoing(*transaction, Letter(Partition(0), 1, "committed"));
  const PositionStamp after = Commit(std::move(transaction), Partition(0), stamp);

  const auto open = Begin(Partition(0), after);
  ASSERT_NE(open, nullptr);
  Put(*open, {"scope", "open"}, kCompletedRecord);
  AppendEffect(*open, "open");
  PutOutgoing(*open, Letter(Partition(0), 2, "open"));
  const PositionUpdate update{.key = Partition(0), .position = 2};
  ASSERT_TRUE(open->SetPositions({&update, 1}).ok());

  const absl::Status crashed = fixture().Crash();
  ASSERT_TRUE(crashed.ok()) << crashed;
  EXPECT_EQ(FindCommitted({"scope", "committed"}), kCompletedRecord);
  EXPECT_EQ(FindCommitted({"scope", "open"}), IdRecord{});
  EXPECT_THAT(Effects(), ElementsAre("committed"));
  EXPECT_THAT(Values(Pending()), ElementsAre("committed"));
  EXPECT_NE(Begin(Partition(0), after), nullptr);
}

}  // namespace
}  // namespace once::testing
