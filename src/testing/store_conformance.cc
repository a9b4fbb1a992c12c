// The public suite for transactional stores: its vocabulary, and the tests of commit, rollback and
// savepoints. Compiled once: whoever instantiates the suite links them.
#include "once/testing/store_conformance.h"

#include <optional>
#include <utility>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/store_words.h"

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TransactionalStoreConformance);

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Whoever instantiates a suite names it so, and thereby takes it out of an archive.
std::string StoreName(const ::testing::TestParamInfo<StoreUnderTest>& info) {
  [[maybe_unused]] static const bool are_linked =
      LinkClaimSuite() && LinkHalfMessageSuite() && LinkOperationsSuite() && LinkOutgoingSuite();
  return info.param.name;
}

TransactionalStoreConformance::TransactionalStoreConformance() = default;

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

std::vector<std::string> TransactionalStoreConformance::Effects() {
  auto effects = fixture().ReadEffects();
  EXPECT_TRUE(effects.ok()) << effects.status();
  return effects.ok() ? *std::move(effects) : std::vector<std::string>();
}

namespace {

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

}  // namespace
}  // namespace once::testing
