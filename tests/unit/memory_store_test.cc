// The in-memory store: the conformance suite, and what only it promises.
#include "once/memory/store.h"

#include <atomic>
#include <cstdint>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "once/testing/claims_conformance.h"
#include "once/testing/operations_conformance.h"
#include "once/testing/store_conformance.h"

namespace once::memory {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class MemoryFixture final : public once::testing::StoreFixture {
 public:
  MemoryFixture()
      : store_(OpenStore({.begin_timeout = absl::Milliseconds(20),
                          .now = [this] { return absl::FromUnixMicros(now_micros_); }})) {}

  DedupStore& store() override { return *store_; }
  absl::Status AppendEffect(Transaction& transaction, std::string_view row) override {
    Records(transaction)->Append("effects", row);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> ReadEffects() override {
    return store_->ReadRecords("effects");
  }
  absl::Status AdvanceClock(absl::Duration duration) override {
    now_micros_ += absl::ToInt64Microseconds(duration);
    return absl::OkStatus();
  }

 private:
  std::atomic<std::int64_t> now_micros_ = 1'700'000'000'000'000;
  const std::shared_ptr<Store> store_;
};

once::testing::StoreUnderTest MemoryUnderTest() {
  return {
      .name = "memory",
      .capabilities = {.why_no_reopen = "it forgets at exit", .why_no_crash = "it forgets at exit"},
      .make = [] { return std::make_unique<MemoryFixture>(); }};
}

INSTANTIATE_TEST_SUITE_P(Memory, TransactionalStoreConformance,
                         ::testing::Values(MemoryUnderTest()), once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Memory, ClaimStoreConformance, ::testing::Values(MemoryUnderTest()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Memory, StoreOperationsConformance, ::testing::Values(MemoryUnderTest()),
                         once::testing::StoreName);

class OtherTransaction final : public Transaction {};

TEST(MemoryStore, SaysThatItKeepsNothing) {
  const auto store = OpenStore();
  EXPECT_EQ(store->traits().durability, Durability::kNothing);
  EXPECT_THAT(store->traits().weakness, HasSubstr("process ends"));
  EXPECT_FALSE(store->traits().is_shared);
}

TEST(MemoryStore, GivesNoWriterForTheTransactionOfAnotherStore) {
  OtherTransaction other;
  EXPECT_EQ(Records(other), nullptr);
}

TEST(MemoryStore, KeepsTablesApart) {
  const auto store = OpenStore();
  auto begun = store->transactions()->Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  Records(*begun->transaction)->Append("left", "1");
  Records(*begun->transaction)->Append("right", "2");
  ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(store->ReadRecords("left"), ElementsAre("1"));
  EXPECT_THAT(store->ReadRecords("right"), ElementsAre("2"));
  EXPECT_THAT(store->ReadRecords("neither"), IsEmpty());
}

TEST(MemoryStore, SaysHowLongItWaitedForAnotherTransaction) {
  const auto store = OpenStore({.begin_timeout = absl::Milliseconds(3)});
  const auto first = store->transactions()->Begin({});
  ASSERT_TRUE(first.ok());
  const auto second = store->transactions()->Begin({});
  EXPECT_TRUE(absl::IsUnavailable(second.status()));
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("open for 3ms"));
}

TEST(MemoryStore, RefusesAPositionThatWasNotLocked) {
  const auto store = OpenStore();
  auto begun = store->transactions()->Begin({});
  ASSERT_TRUE(begun.ok());
  const PositionUpdate update{.key = {"cluster", "group", {"orders", 3}}, .position = 1};
  const absl::Status set = begun->transaction->SetPositions({&update, 1});
  EXPECT_TRUE(absl::IsInvalidArgument(set));
  EXPECT_THAT(std::string(set.message()), HasSubstr("orders[3]"));
  EXPECT_EQ(begun->transaction->Commit(Durability::kMachine), set);
}

TEST(MemoryStore, ATransactionMayOutliveTheStore) {
  auto store = OpenStore();
  auto begun = store->transactions()->Begin({});
  ASSERT_TRUE(begun.ok());
  store.reset();
  EXPECT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
}

}  // namespace
}  // namespace once::memory
