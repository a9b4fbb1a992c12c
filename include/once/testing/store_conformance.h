// The conformance suite for transactional stores, ours and yours: every promise of
// once::TransactionalStore, StoreTransaction and Outbox as a test. A store passes by being
// instantiated from its own test file:
//
//   class MyFixture final : public once::testing::StoreFixture { … };
//   INSTANTIATE_TEST_SUITE_P(MyStore, TransactionalStoreConformance,
//                            ::testing::Values(once::testing::StoreUnderTest{
//                                .name = "mine",
//                                .make = [] { return std::make_unique<MyFixture>(); }}),
//                            once::testing::StoreName);
//
// What a store cannot do is skipped with the reason it gives, never left out of the suite.
// Claims (claims_conformance.h) and operations (operations_conformance.h) have suites of their own.
// Thread-safety: as GoogleTest's; one test starts threads of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/dedup_store.h"
#include "once/testing/store_fixture.h"

namespace once::testing {

// Public, so that a store's own tests can start from the same vocabulary.
class TransactionalStoreConformance : public ::testing::TestWithParam<StoreUnderTest> {
 protected:
  TransactionalStoreConformance();
  ~TransactionalStoreConformance() override;
  void SetUp() override;
  void TearDown() override;

  StoreFixture& fixture() { return *fixture_; }
  TransactionalStore& transactions();
  Outbox& outbox() { return transactions().outbox(); }
  const StoreCapabilities& capabilities() const { return GetParam().capabilities; }

  static PartitionKey Partition(std::int32_t number);
  static OutboxRow Letter(const PartitionKey& partition, std::int64_t offset,
                          std::string_view value);

  // Each of these fails the test when the store says anything but OK.
  PositionStamp Take(const PartitionKey& key, std::uint64_t writer, std::int64_t start = 0);
  // Null, and a failure, when a row differs.
  std::unique_ptr<StoreTransaction> Begin(std::span<const PositionLock> locks);
  std::unique_ptr<StoreTransaction> Begin(const PartitionKey& key, const PositionStamp& expected);
  std::vector<BeginResult::Mismatch> Mismatches(std::span<const PositionLock> locks);
  std::vector<BeginResult::Mismatch> Mismatches(const PartitionKey& key,
                                                const PositionStamp& expected);
  static IdRecord Find(StoreTransaction& transaction, const IdKey& key);
  static void Put(StoreTransaction& transaction, const IdKey& key, const IdRecord& record);
  static void PutOutgoing(StoreTransaction& transaction, const OutboxRow& row);
  static std::string FindNote(StoreTransaction& transaction, std::string_view key);
  static void PutNote(StoreTransaction& transaction, std::string_view key, std::string_view value);
  void AppendEffect(StoreTransaction& transaction, std::string_view row);
  // Moves the position by one and commits; the stamp that is expected next.
  static PositionStamp Commit(std::unique_ptr<StoreTransaction> transaction,
                              const PartitionKey& key, const PositionStamp& before);
  // Looks an id up in a transaction of its own, which is rolled back.
  IdRecord FindCommitted(const IdKey& key);
  std::vector<std::string> Effects();
  std::vector<PendingRow> Pending(std::size_t rows_max = 1000);

 private:
  std::unique_ptr<StoreFixture> fixture_;
};

}  // namespace once::testing

// Test suites are named without their namespace in INSTANTIATE_TEST_SUITE_P.
using TransactionalStoreConformance = once::testing::TransactionalStoreConformance;
