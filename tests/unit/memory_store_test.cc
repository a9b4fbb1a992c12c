// The in-memory store: the conformance suite, and what only it promises.
#include "once/memory/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "once/testing/claims_conformance.h"
#include "once/testing/half_message_conformance.h"
#include "once/testing/operations_conformance.h"
#include "once/testing/outgoing_conformance.h"
#include "once/testing/store_conformance.h"
#include "tests/unit/memory_fixture.h"

namespace once::memory {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

INSTANTIATE_TEST_SUITE_P(Memory, TransactionalStoreConformance,
                         ::testing::Values(MemoryUnderTest()), once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Memory, ClaimStoreConformance, ::testing::Values(MemoryUnderTest()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Memory, HalfMessageConformance, ::testing::Values(MemoryUnderTest()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Memory, StoreOperationsConformance, ::testing::Values(MemoryUnderTest()),
                         once::testing::StoreName);

INSTANTIATE_TEST_SUITE_P(Memory, OutgoingLogConformance, ::testing::Values(MemoryUnderTest()),
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

ClaimResult ClaimAnId(ClaimStore& claims, const Fence& fence, absl::Duration lease) {
  const ClaimRequest request{.key = {.scope = "scope", .id = "id"}, .fence = fence};
  ClaimResult result;
  const absl::Status claimed = claims.TryClaim({&request, 1}, lease, {&result, 1});
  EXPECT_TRUE(claimed.ok()) << claimed;
  return result;
}

TEST(MemoryStore, MeasuresLeasesOnTheSystemsClockUnlessTold) {
  const auto store = OpenStore();
  ClaimStore& claims = *store->claims();
  EXPECT_EQ(ClaimAnId(claims, claims.NewFence(), absl::ZeroDuration()).verdict,
            ClaimVerdict::kFresh);
  EXPECT_EQ(ClaimAnId(claims, claims.NewFence(), absl::Hours(1)).verdict, ClaimVerdict::kFresh);
  const ClaimResult other = ClaimAnId(claims, claims.NewFence(), absl::Hours(1));
  EXPECT_EQ(other.verdict, ClaimVerdict::kInProgress);
  EXPECT_GT(other.wait, absl::Minutes(50));
}

TEST(MemoryStore, RefusesAResultThatIsTooLongAndRecordsNothing) {
  const auto store = OpenStore();
  ClaimStore& claims = *store->claims();
  const Fence fence = claims.NewFence();
  ClaimAnId(claims, fence, absl::Hours(1));
  const std::string result(kClaimResultBytesMax + 1, 'r');
  const CompletedClaim completed{.claim = {.key = {"scope", "id"}, .fence = fence},
                                 .result = result};
  absl::Status outcome;
  const absl::Status call = claims.Complete({&completed, 1}, {&outcome, 1});
  EXPECT_TRUE(absl::IsInvalidArgument(call));
  EXPECT_THAT(std::string(call.message()), HasSubstr("16385 bytes, at most 16384"));
  EXPECT_EQ(ClaimAnId(claims, fence, absl::Hours(1)).verdict, ClaimVerdict::kFresh);
}

TEST(MemoryStore, ClaimsWaitForTheOpenTransaction) {
  const auto store = OpenStore({.begin_timeout = absl::Milliseconds(3)});
  const auto open = store->transactions()->Begin({});
  ASSERT_TRUE(open.ok());
  const ClaimRequest request{.key = {.scope = "scope", .id = "id"},
                             .fence = store->claims()->NewFence()};
  ClaimResult result;
  const absl::Status claimed =
      store->claims()->TryClaim({&request, 1}, absl::Hours(1), {&result, 1});
  EXPECT_TRUE(absl::IsUnavailable(claimed));
  EXPECT_THAT(std::string(claimed.message()), HasSubstr("claim: another transaction"));
}

TEST(MemoryStore, FencesOfTwoStoresAreNeverEqual) {
  const auto one = OpenStore();
  const auto two = OpenStore();
  EXPECT_NE(one->claims()->NewFence(), two->claims()->NewFence());
}

}  // namespace
}  // namespace once::memory
