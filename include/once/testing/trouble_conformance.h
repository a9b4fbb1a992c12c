// The conformance suite for stores in trouble, ours and yours: a full disk, writes that fail,
// answers that are lost, a machine without power. Whatever a store says then must be true, nothing
// of it may be half there, and it goes on once the trouble is over. A fake that is kinder than the
// real store would make a simulation prove nothing, so both pass the same suite:
//
//   INSTANTIATE_TEST_SUITE_P(MyStore, StoreTroubleConformance,
//                            ::testing::Values(once::testing::StoreUnderTest{
//                                .name = "mine",
//                                .make = [] { return std::make_unique<MyFixture>(); }}),
//                            once::testing::TroubledStoreName);
//
// REQUIRES: the store has claims, and transactions unless its capabilities say why not, and keeps
// what it holds through a crash of its process; its fixture is a TroubleFixture.
// Thread-safety: as GoogleTest's.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "once/testing/store_fixture.h"

namespace once::testing {

// A store and the ways to trouble it. All of StoreFixture but Reopen() is needed too.
class TroubleFixture : public StoreFixture {
 public:
  // From now on nothing can be written; reads go on.
  virtual void FillUp() = 0;
  // The next thing that is made durable fails in the way of that number, 0, 1, …: its answer is
  // lost, the n-th write of it fails. False, and nothing is armed: there are no more ways.
  virtual bool BreakNextWrite(int way) = 0;
  // Ends both.
  virtual void EndTrouble() = 0;
  // The machine loses its power and comes up again, the store is opened again: whatever nobody has
  // promised to have synced may be lost. No transaction is open.
  virtual absl::Status LosePower() = 0;
};

class StoreTroubleConformance : public ::testing::TestWithParam<StoreUnderTest> {};

// For the last argument of INSTANTIATE_TEST_SUITE_P.
std::string TroubledStoreName(const ::testing::TestParamInfo<StoreUnderTest>& info);

// The tests of the suite as values.
std::vector<StoreCheck> TroubleChecks();

}  // namespace once::testing

// Test suites are named without their namespace in INSTANTIATE_TEST_SUITE_P.
using StoreTroubleConformance = once::testing::StoreTroubleConformance;
