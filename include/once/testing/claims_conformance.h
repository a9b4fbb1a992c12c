// The conformance suite for claims, ours and yours: every promise of once::ClaimStore as a test. A
// store passes by being instantiated from its own test file:
//
//   INSTANTIATE_TEST_SUITE_P(MyStore, ClaimStoreConformance,
//                            ::testing::Values(once::testing::StoreUnderTest{
//                                .name = "mine",
//                                .make = [] { return std::make_unique<MyFixture>(); }}),
//                            once::testing::StoreName);
//
// Fixtures are those of store_fixture.h. AdvanceClock() makes the tests of leases quick and exact.
// Thread-safety: as GoogleTest's; some tests start threads of their own.
#pragma once

#include <vector>

#include <gtest/gtest.h>

#include "once/testing/store_fixture.h"

namespace once::testing {

class ClaimStoreConformance : public ::testing::TestWithParam<StoreUnderTest> {};

// The tests of the suite as values.
std::vector<StoreCheck> ClaimChecks();

}  // namespace once::testing

// Test suites are named without their namespace in INSTANTIATE_TEST_SUITE_P.
using ClaimStoreConformance = once::testing::ClaimStoreConformance;
