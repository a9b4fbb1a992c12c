// The suite of claims is itself tested: each planted bug must fail some of its checks, and a store
// without a bug none.
#include "once/testing/claims_conformance.h"

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include "tests/unit/memory_fixture.h"
#include "tests/unit/wrong_claims.h"

namespace once {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

class WrongStore final : public DedupStore {
 public:
  WrongStore(DedupStore& inner, const ClaimsBug& bug) : inner_(inner), claims_(bug.plant(inner)) {}
  const StoreTraits& traits() const override { return inner_.traits(); }
  TransactionalStore* transactions() override { return inner_.transactions(); }
  ClaimStore* claims() override { return claims_.get(); }

 private:
  DedupStore& inner_;
  const std::unique_ptr<ClaimStore> claims_;
};

class WrongFixture final : public memory::MemoryFixture {
 public:
  explicit WrongFixture(const ClaimsBug& bug) : wrong_(MemoryFixture::store(), bug) {}
  DedupStore& store() override { return wrong_; }

 private:
  WrongStore wrong_;
};

// The names of the checks that fail on a store with `bug`.
std::vector<std::string> ChecksThatFail(const ClaimsBug& bug) {
  testing::StoreUnderTest under_test = memory::MemoryUnderTest();
  under_test.make = [&] { return std::make_unique<WrongFixture>(bug); };
  std::vector<std::string> failed;
  for (const testing::StoreCheck& check : testing::ClaimChecks()) {
    ::testing::TestPartResultArray results;
    {
      const ::testing::ScopedFakeTestPartResultReporter reporter(
          ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ALL_THREADS, &results);
      check.run(under_test);
    }
    for (int i = 0; i < results.size(); ++i) {
      if (!results.GetTestPartResult(i).failed()) continue;
      failed.push_back(check.name);
      break;
    }
  }
  return failed;
}

class ClaimsSuite : public ::testing::TestWithParam<ClaimsBug> {};

TEST_P(ClaimsSuite, NoticesABugAndNothingElse) {
  const std::vector<std::string> failed = ChecksThatFail(GetParam());
  if (GetParam().name == "nothing") {
    EXPECT_THAT(failed, IsEmpty());
  } else {
    EXPECT_THAT(failed, Not(IsEmpty()));
  }
  std::string names;
  for (const std::string& name : failed) names += (names.empty() ? "" : " ") + name;
  RecordProperty("noticed_by", names);
}

INSTANTIATE_TEST_SUITE_P(Planted, ClaimsSuite, ::testing::ValuesIn(PlantedClaimsBugs()),
                         [](const auto& bug) { return bug.param.name; });

TEST(ClaimChecks, AreTheTestsOfTheSuite) {
  std::size_t listed = 0;
  const ::testing::UnitTest& all = *::testing::UnitTest::GetInstance();
  for (int i = 0; i < all.total_test_suite_count(); ++i) {
    const ::testing::TestSuite& suite = *all.GetTestSuite(i);
    if (std::string_view(suite.name()) == "Memory/ClaimStoreConformance") {
      listed += static_cast<std::size_t>(suite.total_test_count());
    }
  }
  EXPECT_GT(listed, 0u);
  EXPECT_EQ(testing::ClaimChecks().size(), listed);
}

}  // namespace
}  // namespace once
