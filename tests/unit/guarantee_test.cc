// The guarantee level for every configuration that changes it, each with its reason.
#include "once/guarantee.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace once {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class GuaranteeTest : public ::testing::Test {
 protected:
  Guarantee Compute() const {
    return ComputeGuarantee({.store = store_,
                             .source = source_,
                             .id = id_,
                             .is_fingerprinted = is_fingerprinted_,
                             .is_idle_audit_on = is_idle_audit_on_,
                             .has_dead_letters = has_dead_letters_,
                             .is_retention_short = is_retention_short_});
  }

  StoreTraits store_ = {.name = "sqlite", .durability = Durability::kMachine};
  SourceTraits source_ = {.name = "kafka"};
  IdExtractor id_ = HeaderId("payment-id");
  bool is_fingerprinted_ = true;
  bool is_idle_audit_on_ = true;
  bool has_dead_letters_ = true;
  bool is_retention_short_ = false;
};

TEST_F(GuaranteeTest, ADurableStoreBehindALogSurvivesItsOwnRollback) {
  const Guarantee guarantee = Compute();
  EXPECT_EQ(guarantee.level, GuaranteeLevel::kEffectivelyOnceRollbackSafe);
  EXPECT_THAT(guarantee.reasons, Contains(HasSubstr("survives power loss")));
  EXPECT_THAT(guarantee.reasons, Contains(HasSubstr("idle audit")));
}

TEST_F(GuaranteeTest, AStoreThatMayLoseItsTailIsMadeGoodByTheLogAndSaysWhatToSet) {
  store_.durability = Durability::kProcess;
  store_.weakness = "synchronous=NORMAL; set FULL";
  const Guarantee guarantee = Compute();
  EXPECT_EQ(guarantee.level, GuaranteeLevel::kEffectivelyOnce);
  EXPECT_THAT(guarantee.reasons, Contains(AllOf(HasSubstr("store sqlite"), HasSubstr("set FULL"))));
}

TEST_F(GuaranteeTest, WithoutTheAuditEverythingRestsOnTheStore) {
  is_idle_audit_on_ = false;
  EXPECT_EQ(Compute().level, GuaranteeLevel::kEffectivelyOnce);
  EXPECT_THAT(Compute().reasons, Contains(HasSubstr("times.idle_audit is off")));
  store_.durability = Durability::kProcess;
  EXPECT_EQ(Compute().level, GuaranteeLevel::kAtLeastOnce);
}

TEST_F(GuaranteeTest, AQueueCannotMakeGoodWhatTheStoreLoses) {
  source_ = {.name = "rabbitmq", .can_replay = false};
  EXPECT_EQ(Compute().level, GuaranteeLevel::kEffectivelyOnce);
  EXPECT_THAT(Compute().reasons, Contains(HasSubstr("rabbitmq: cannot be read again")));
  store_.durability = Durability::kProcess;
  EXPECT_EQ(Compute().level, GuaranteeLevel::kAtLeastOnce);
}

TEST_F(GuaranteeTest, AStoreThatForgetsAtExitGivesAtLeastOnce) {
  store_ = {.name = "memory", .durability = Durability::kNothing};
  const Guarantee guarantee = Compute();
  EXPECT_EQ(guarantee.level, GuaranteeLevel::kAtLeastOnce);
  EXPECT_THAT(guarantee.reasons, Contains(HasSubstr("store memory: does not keep")));
}

TEST_F(GuaranteeTest, AnIdOfTheDeliveryDoesNotKnowTheProducersResend) {
  for (const IdExtractor& id :
       {PositionId(), Sha256Of(PositionId()), FirstOf({HeaderId("id"), PositionId()})}) {
    id_ = id;
    EXPECT_EQ(Compute().level, GuaranteeLevel::kAtLeastOnce) << id.name();
    EXPECT_THAT(Compute().reasons, Contains(HasSubstr("producer's resend")));
  }
}

TEST_F(GuaranteeTest, SaysForHowLongIdsAreKept) {
  EXPECT_THAT(Compute().assumptions, Contains(HasSubstr("C4: ids are kept for ever")));
  store_.retention = absl::Hours(240);
  EXPECT_THAT(Compute().assumptions, Contains(HasSubstr("C4: no copy comes later than 240h")));
  EXPECT_EQ(Compute().level, GuaranteeLevel::kEffectivelyOnceRollbackSafe);
}

TEST_F(GuaranteeTest, ATopicThatOutlivesItsIdsIsHandledAtLeastOnce) {
  store_.retention = absl::Hours(24);
  is_retention_short_ = true;
  EXPECT_EQ(Compute().level, GuaranteeLevel::kAtLeastOnce);
  EXPECT_THAT(Compute().reasons, Contains(HasSubstr("forgets ids after 24h")));
}

TEST_F(GuaranteeTest, WhatIsOffIsSaidAlsoWhereTheLevelStays) {
  is_fingerprinted_ = false;
  has_dead_letters_ = false;
  const Guarantee guarantee = Compute();
  EXPECT_EQ(guarantee.level, GuaranteeLevel::kEffectivelyOnceRollbackSafe);
  EXPECT_THAT(guarantee.reasons, Contains(HasSubstr("fingerprints are off")));
  EXPECT_THAT(guarantee.reasons, Contains(HasSubstr("set dead_letters")));
}

TEST_F(GuaranteeTest, WhatNobodyCanCheckIsAnAssumption) {
  const Guarantee guarantee = Compute();
  EXPECT_THAT(guarantee.assumptions,
              Contains(AllOf(HasSubstr("C1"), HasSubstr("header payment-id"))));
  EXPECT_THAT(guarantee.assumptions, Contains(HasSubstr("C6")));
  EXPECT_THAT(guarantee.assumptions, Contains(HasSubstr("swallowed")));
}

TEST_F(GuaranteeTest, TheDescriptionHoldsLevelReasonsAndAssumptions) {
  const std::string text = Describe(Compute());
  EXPECT_THAT(text, ::testing::StartsWith("effectively-once, survives store rollback\n"));
  EXPECT_THAT(text, HasSubstr("\n  because "));
  EXPECT_THAT(text, HasSubstr("\n  assuming C1"));
  EXPECT_THAT(text, Not(HasSubstr("exactly-once")));
}

TEST_F(GuaranteeTest, EveryLevelHasTheNameThatTheDocumentationUses) {
  EXPECT_EQ(ToString(GuaranteeLevel::kAtMostOnce), "at-most-once");
  EXPECT_EQ(ToString(GuaranteeLevel::kAtLeastOnce), "at-least-once");
  EXPECT_EQ(ToString(GuaranteeLevel::kDeduplicated), "deduplicated");
  EXPECT_EQ(ToString(GuaranteeLevel::kEffectivelyOnce), "effectively-once");
  EXPECT_EQ(ToString(GuaranteeLevel::kEffectivelyOnceRollbackSafe),
            "effectively-once, survives store rollback");
}

TEST_F(GuaranteeTest, LevelsAreOrderedFromWeakToStrong) {
  EXPECT_LT(GuaranteeLevel::kAtMostOnce, GuaranteeLevel::kAtLeastOnce);
  EXPECT_LT(GuaranteeLevel::kAtLeastOnce, GuaranteeLevel::kDeduplicated);
  EXPECT_LT(GuaranteeLevel::kDeduplicated, GuaranteeLevel::kEffectivelyOnce);
  EXPECT_LT(GuaranteeLevel::kEffectivelyOnce, GuaranteeLevel::kEffectivelyOnceRollbackSafe);
}

}  // namespace
}  // namespace once
