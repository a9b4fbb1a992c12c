// The conformance suite for what operators see and change, ours and yours: every promise of
// once::StoreOperations as a test. A store passes by being instantiated from its own test file:
//
//   INSTANTIATE_TEST_SUITE_P(MyStore, StoreOperationsConformance,
//                            ::testing::Values(once::testing::StoreUnderTest{
//                                .name = "mine",
//                                .make = [] { return std::make_unique<MyFixture>(); }}),
//                            once::testing::StoreName);
//
// Fixtures are those of store_fixture.h. REQUIRES: the store has transactions too.
// Thread-safety: as GoogleTest's.
#pragma once

#include <vector>

#include <gtest/gtest.h>

#include "once/testing/store_fixture.h"

namespace once::testing {

class StoreOperationsConformance : public ::testing::TestWithParam<StoreUnderTest> {};

// The tests of the suite as values.
std::vector<StoreCheck> OperationsChecks();

}  // namespace once::testing

// Test suites are named without their namespace in INSTANTIATE_TEST_SUITE_P.
using StoreOperationsConformance = once::testing::StoreOperationsConformance;
