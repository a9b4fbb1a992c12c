// The conformance suite for half messages over a store: what once::HalfMessageLedger promises needs
// the store's word that of two transactions which found one id absent only one commits. A store
// with transactions passes by being instantiated beside TransactionalStoreConformance
// (store_conformance.h):
//
//   INSTANTIATE_TEST_SUITE_P(MyStore, HalfMessageConformance, ::testing::Values(…),
//                            once::testing::StoreName);
//
// Thread-safety: as GoogleTest's.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "once/half_message.h"
#include "once/testing/store_fixture.h"

namespace once::testing {

class HalfMessageConformance : public ::testing::TestWithParam<StoreUnderTest> {
 protected:
  void SetUp() override;

  StoreFixture& fixture() { return *fixture_; }
  HalfMessageLedger& ledger() { return *ledger_; }
  const StoreCapabilities& capabilities() const { return GetParam().capabilities; }
  std::unique_ptr<HalfMessageLedger> Open(HalfMessageOptions options = {});

  // A local transaction that adds `id` to the effects.
  absl::Status Book(std::string_view id);
  // Asks about a half message that was sent so long ago.
  CheckAnswer Ask(std::string_view id, absl::Duration ago);
  LocalTransactionOutcome Settled(std::string_view id);
  std::vector<std::string> Effects();
  // After the store was opened again.
  void Renew() { ledger_ = Open(); }

 private:
  std::unique_ptr<StoreFixture> fixture_;
  std::unique_ptr<HalfMessageLedger> ledger_;
};

}  // namespace once::testing

// Test suites are named without their namespace in INSTANTIATE_TEST_SUITE_P.
using HalfMessageConformance = once::testing::HalfMessageConformance;
