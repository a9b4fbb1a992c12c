// The public suite for stores in trouble: its vocabulary, and the list of its tests. Compiled once:
// whoever instantiates the suite links them.
#include "once/testing/trouble_conformance.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/trouble_bench.h"

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreTroubleConformance);

namespace once::testing {
namespace {

std::vector<StoreCheck>& ListedChecks() {
  static auto* const checks = new std::vector<StoreCheck>;
  return *checks;
}

std::vector<std::string> NumbersTo(int last) {
  std::vector<std::string> numbers;
  for (int number = 1; number <= last; ++number) numbers.push_back(absl::StrCat(number));
  return numbers;
}

}  // namespace

bool ListTroubleCheck(std::string_view name, void (*run)(const StoreUnderTest&)) {
  ListedChecks().push_back({.name = std::string(name), .run = run});
  return true;
}

std::vector<StoreCheck> TroubleChecks() {
  LinkTransactionTroubles();
  LinkClaimTroubles();
  LinkSyncTroubles();
  return ListedChecks();
}

// Whoever instantiates the suite names it so, and thereby takes it out of an archive.
std::string TroubledStoreName(const ::testing::TestParamInfo<StoreUnderTest>& info) {
  [[maybe_unused]] static const bool are_linked = !TroubleChecks().empty();
  return info.param.name;
}

bool TroubleBench::CanRun() {
  trouble_ = dynamic_cast<TroubleFixture*>(&fixture());
  EXPECT_NE(trouble_, nullptr) << "the fixture cannot make trouble";
  const bool has_transactions = fixture().store().transactions() != nullptr;
  EXPECT_EQ(has_transactions, capabilities().why_no_transactions.empty())
      << "the store has no transactions, and its capabilities do not say why";
  return ClaimBench::CanRun() && trouble_ != nullptr;
}

const PartitionKey& TroubleBench::Key() {
  static const auto* const key =
      new PartitionKey{.cluster = "cluster", .group = "group", .partition = {"orders", 0}};
  return *key;
}

bool TroubleBench::IsDefinite(const absl::Status& status) {
  return !status.ok() && !absl::IsUnknown(status) && !absl::IsCancelled(status);
}

PositionStamp TroubleBench::Take() {
  const TakeRequest request{.key = Key(), .writer = ++writers_};
  const auto taken = transactions().Take({&request, 1});
  if (taken.ok() && taken->size() == 1) return taken->front().current;
  ADD_FAILURE() << "take: " << taken.status();
  return {};
}

std::unique_ptr<StoreTransaction> TroubleBench::Stage(int number, const PositionStamp& expected,
                                                      absl::Status& failure) {
  const PositionLock lock{.key = Key(), .expected = expected};
  auto begun = transactions().Begin({&lock, 1});
  failure = begun.status();
  if (!begun.ok()) return nullptr;
  EXPECT_TRUE(begun->mismatches.empty()) << "the row is not what it was";
  std::unique_ptr<StoreTransaction> transaction = std::move(begun->transaction);
  if (transaction == nullptr) {
    failure = absl::AbortedError("the row differs");
    return nullptr;
  }
  const std::string name = absl::StrCat(number);
  const IdWrite id{.key = {.scope = kScope, .id = name}, .record = kCompletedRecord};
  const OutboxRow row{.origin = {.key = Key(), .offset = number},
                      .message = {.topic = "orders.dlq", .value = name}};
  const PositionUpdate update{.key = Key(), .position = number, .reach = number};
  failure = transaction->PutIds({&id, 1});
  if (failure.ok()) failure = transaction->PutOutgoing({&row, 1});
  if (failure.ok()) failure = fixture().AppendEffect(*transaction, name);
  if (failure.ok()) failure = transaction->CheckOpen();
  if (failure.ok()) failure = transaction->SetPositions({&update, 1});
  if (failure.ok()) return transaction;
  transaction->Rollback();
  return nullptr;
}

absl::Status TroubleBench::Apply(int number, const PositionStamp& expected, Durability wanted) {
  absl::Status failure;
  const auto transaction = Stage(number, expected, failure);
  return transaction == nullptr ? failure : transaction->Commit(wanted);
}

void TroubleBench::MustApply(int number, const PositionStamp& expected, Durability wanted) {
  const absl::Status applied = Apply(number, expected, wanted);
  EXPECT_TRUE(applied.ok()) << "message " << number << ": " << applied;
}

PositionStamp TroubleBench::After(PositionStamp before, int number) {
  return {.position = number, .revision = before.revision + 1, .writer = before.writer};
}

int TroubleBench::CountVisible() {
  const auto effects = fixture().ReadEffects();
  const auto stamps = transactions().ReadPositions({&Key(), 1});
  const auto pending = transactions().outbox().FindPending(1000);
  if (!effects.ok() || !stamps.ok() || !pending.ok()) {
    ADD_FAILURE() << "a read failed: " << effects.status() << stamps.status() << pending.status();
    return -1;
  }
  const auto count = static_cast<int>(effects->size());
  EXPECT_EQ(*effects, NumbersTo(count));
  EXPECT_EQ(Values(*pending), NumbersTo(count)) << "the outbox is of another moment";
  EXPECT_EQ(stamps->front().value_or(PositionStamp{}).position, count)
      << "the row is of another moment";
  return count;
}

int TroubleBench::CountApplied() {
  const int count = CountVisible();
  for (int number = 1; number <= count; ++number) {
    EXPECT_EQ(FindInTransaction(absl::StrCat(number)).state, IdState::kCompleted)
        << "the id of message " << number << " is missing";
  }
  EXPECT_EQ(FindInTransaction(absl::StrCat(count + 1)).state, IdState::kAbsent)
      << "the id of message " << count + 1 << " is there without its effect";
  return count;
}

void TroubleBench::Crash() {
  const absl::Status crashed = fixture().Crash();
  EXPECT_TRUE(crashed.ok()) << crashed;
}

void TroubleBench::LosePower() {
  const absl::Status lost = trouble_->LosePower();
  EXPECT_TRUE(lost.ok()) << lost;
}

}  // namespace once::testing
