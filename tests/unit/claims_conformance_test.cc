// The suite of claims is itself tested: each planted bug must fail some of its checks, and a store
// without a bug none.
#include "once/testing/claims_conformance.h"

#include <gtest/gtest.h>

#include "tests/unit/memory_fixture.h"
#include "tests/unit/suite_runner.h"
#include "tests/unit/wrong_claims.h"

namespace once {
namespace {

class WrongStore final : public DedupStore {
 public:
  WrongStore(DedupStore& inner, const ClaimsBug& bug) : inner_(inner), claims_(bug.plant(inner)) {}
  StoreTraits traits() const override { return inner_.traits(); }
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

class ClaimsSuite : public ::testing::TestWithParam<ClaimsBug> {};

TEST_P(ClaimsSuite, NoticesABugAndNothingElse) {
  testing::StoreUnderTest store = memory::MemoryUnderTest();
  store.make = [] { return std::make_unique<WrongFixture>(GetParam()); };
  const std::vector<std::string> failed = ChecksThatFail(testing::ClaimChecks(), store);
  ExpectNoticed(failed, GetParam().name);
}

INSTANTIATE_TEST_SUITE_P(Planted, ClaimsSuite, ::testing::ValuesIn(PlantedClaimsBugs()),
                         [](const auto& bug) { return bug.param.name; });

TEST(ClaimChecks, AreTheTestsOfTheSuite) {
  EXPECT_GT(testing::ClaimChecks().size(), 0u);
  EXPECT_EQ(testing::ClaimChecks().size(), CountTests("Memory/ClaimStoreConformance"));
}

}  // namespace
}  // namespace once
