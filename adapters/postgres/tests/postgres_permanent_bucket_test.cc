// The bucket that is never dropped: what outlives its age moves there, so that all others can go.
#include "absl/time/clock.h"
#include "adapters/postgres/tests/bucket_scene.h"
#include "adapters/postgres/tests/former_format.h"
#include "tests/store_figures.h"

namespace once::postgres {
namespace {

class PermanentBucket : public BucketScene {
 protected:
  std::string IdsIn(int bucket) {
    return Ask(
        absl::StrCat("count(*) FROM ", schema().name(), ".known_ids WHERE bucket = ", bucket));
  }
  // Plain handlers beside those that have positions, all in one transaction.
  void MustApplyUndated(const std::string& prefix, int count) {
    auto begun = Begin();
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE(Complete(*begun, absl::StrCat(prefix, "-", i)).ok());
    }
    ASSERT_TRUE(begun->Commit(Durability::kProcess).ok());
  }
  // There is one that is old enough to go, but for an id that is dead.
  void MustLeaveADeadIdInAnOldBucket() {
    MustSettle(0, 0, 1);
    MustSettle(1, 0, 1);
    LookAfterAll();
    MustPutDated("dead", IdState::kDead);
    MustFillBucket(0, 1);
    ASSERT_EQ(BucketOf("dead"), "1");
    MustSettle(0, 200, 201);
    LookAfterAll();
    MustSettle(1, 150, 151);
  }
  bool IsGone(int bucket) {
    return Ask(absl::StrCat("to_regclass('", schema().name(), ".known_ids_", bucket, "')")).empty();
  }
};

TEST_F(PermanentBucket, ASteadyShareOfUndatedIdsKeepsNoBucketFromBeingClosedAndDropped) {
  constexpr int kTurns = 24;
  constexpr int kUndated = 40;
  MustSettle(0, 0, 1);
  LookAfterAll();
  for (int turn = 0; turn < kTurns; ++turn) {
    MustApplyUndated(absl::StrCat("plain-", turn), kUndated);
    MustFillBucket(0, 1 + 27 * turn);
    EXPECT_LE(MustReadStatistics().buckets, 8) << "in turn " << turn;
  }
  EXPECT_EQ(CountKnown(400), 0);
  for (int turn = 0; turn < kTurns; ++turn) {
    EXPECT_TRUE(IsCompleted(absl::StrCat("plain-", turn, "-0")));
  }
  EXPECT_EQ(Ask(absl::StrCat("count(*) FROM ", schema().name(), ".known_ids WHERE is_undated")),
            absl::StrCat(kTurns * kUndated));
  ASSERT_TRUE(store_->maintenance()->Compact(std::stop_token()).ok()) << "which analyses";
  const auto figures = once::testing::FiguresOf(*store_->maintenance());
  EXPECT_EQ(absl::StrCat(figures.at("permanent_ids_estimated_count")), IdsIn(0));
  EXPECT_GT(figures.at("permanent_ids_estimated_count"), kUndated * kTurns / 2);
  const auto findings = store_->maintenance()->Verify(std::stop_token());
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_THAT(*findings, ::testing::IsEmpty());
}

TEST_F(PermanentBucket, IsThereOnceSomethingHasToMoveToIt) {
  MustSettle(0, 0, 1);
  LookAfterAll();
  MustFillBucket(0, 1);
  MustSettle(0, 200, 201);
  LookAfterAll();
  EXPECT_TRUE(IsGone(1));
  EXPECT_TRUE(IsGone(0)) << "there was nothing to keep";
  MustPutDated("dead", IdState::kDead);
  MustFillBucket(0, 201);
  MustSettle(0, 400, 401);
  LookAfterAll();
  EXPECT_EQ(BucketOf("dead"), "0");
  EXPECT_EQ(IdsIn(0), "1");
}

TEST_F(PermanentBucket, AnIdThatIsSettledWithADateLeavesItAndIsForgotten) {
  MustLeaveADeadIdInAnOldBucket();
  LookUntil([&] { return BucketOf("dead") == "0"; });
  auto begun = BeginOn(0);
  ASSERT_EQ(FindIn(*begun, "dead")->state, IdState::kDead);
  ASSERT_TRUE(Complete(*begun, "dead").ok());
  ASSERT_TRUE(begun->Commit(Durability::kMachine).ok());
  EXPECT_NE(BucketOf("dead"), "0");
  EXPECT_TRUE(IsCompleted("dead"));
  MustFillBucket(0, 201);
  MustSettle(1, 400, 401);
  MustSettle(0, 400, 401);
  LookUntil([&] { return !IsCompleted("dead"); });
  EXPECT_EQ(IdsIn(0), "0");
}

// His next look was planned, perhaps, without it: what has moved there he would not find.
TEST_F(PermanentBucket, IsNotBegunWhileOneWhoLookedForIdsIsOpen) {
  MustLeaveADeadIdInAnOldBucket();
  auto open = BeginOn(1);
  ASSERT_EQ(FindIn(*open, "unknown")->state, IdState::kAbsent);
  for (int i = 0; i < 20; ++i) {
    LookAfterAll();
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_EQ(BucketOf("dead"), "1");
  EXPECT_EQ(Ask(absl::StrCat("count(*) FROM ", schema().name(), ".buckets WHERE bucket = 0")), "0");
  open->Rollback();
  LookUntil([&] { return BucketOf("dead") == "0"; });
  LookUntil([&] { return IsGone(1); });
}

// A process died behind its creation.
TEST_F(PermanentBucket, OneThatWasCreatedAndNeverPutToUseIsTaken) {
  RunSql(connection(), absl::StrCat("CREATE TABLE ", schema().name(), ".known_ids_0(LIKE ",
                                    schema().name(), ".known_ids, PRIMARY KEY(scope, id))"));
  MustLeaveADeadIdInAnOldBucket();
  LookUntil([&] { return BucketOf("dead") == "0"; });
}

TEST_F(PermanentBucket, IsThatOfTheIdsFromBeforeBuckets) {
  MustApply("to know the scope");
  upkeep_.reset();
  session_.reset();
  database_.reset();
  store_.reset();
  ReturnToFormat2(connection(), schema().name());
  PutFormerId(connection(), schema().name(), "'former', 1, 1, NULL, 'result'");
  OpenBoth();
  MustLeaveADeadIdInAnOldBucket();
  MustApplyUndated("undated", 3);
  EXPECT_EQ(BucketOf("former"), "0");
  LookUntil([&] { return BucketOf("dead") == "0"; });
  EXPECT_EQ(Find("dead")->attempt, 1);
  EXPECT_TRUE(IsCompleted("former"));
  const auto findings = store_->maintenance()->Verify(std::stop_token());
  ASSERT_TRUE(findings.ok()) << findings.status();
  EXPECT_THAT(*findings, ::testing::IsEmpty());
}

// No rule of claims makes such a row today, and none that does may cost anybody his claim.
TEST_F(PermanentBucket, AClaimOutlivesItsAgeWhateverTheStateOfItsId) {
  MustSettle(0, 0, 1);
  LookAfterAll();
  MustPutDated("claimed", IdState::kCompleted);
  RunSql(connection(), absl::StrCat("UPDATE ", schema().name(),
                                    ".known_ids SET is_begun = false WHERE id = 'claimed'"));
  MustFillBucket(0, 1);
  MustSettle(0, 200, 201);
  LookAfterAll();
  EXPECT_TRUE(IsGone(1));
  EXPECT_EQ(BucketOf("claimed"), "0");
}

}  // namespace
}  // namespace once::postgres
