// Runs the checks of a conformance suite without letting their failures be those of the test that
// runs them: for testing the suites themselves.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "once/testing/store_fixture.h"

namespace once {

// The names of the checks that fail on `store`.
inline std::vector<std::string> ChecksThatFail(const std::vector<testing::StoreCheck>& checks,
                                               const testing::StoreUnderTest& store) {
  std::vector<std::string> failed;
  for (const testing::StoreCheck& check : checks) {
    ::testing::TestPartResultArray results;
    {
      const ::testing::ScopedFakeTestPartResultReporter reporter(
          ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &results);
      check.run(store);
    }
    for (int i = 0; i < results.size(); ++i) {
      if (!results.GetTestPartResult(i).failed()) continue;
      failed.push_back(check.name);
      break;
    }
  }
  return failed;
}

// What a suite owes to a planted bug: at least one check fails on it, and none on `bug` "nothing".
// Records in the running test which ones do.
inline void ExpectNoticed(const std::vector<std::string>& failed, std::string_view bug) {
  if (bug == "nothing") {
    EXPECT_THAT(failed, ::testing::IsEmpty());
  } else {
    EXPECT_THAT(failed, ::testing::Not(::testing::IsEmpty()));
  }
  std::string names;
  for (const std::string& name : failed) names += (names.empty() ? "" : " ") + name;
  ::testing::Test::RecordProperty("noticed_by", names);
}

// How many tests GoogleTest knows in the suite of that name.
inline std::size_t CountTests(const std::string& suite_name) {
  const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const ::testing::TestSuite& suite = *all.GetTestSuite(i);
    if (suite.name() == suite_name) return static_cast<std::size_t>(suite.total_test_count());
  }
  return 0;
}

}  // namespace once
