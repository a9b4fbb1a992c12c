// Ids that are old enough, by the time of the log, are forgotten; nothing else is.
#include "adapters/sqlite/tests/ids_scene.h"
#include "tests/retention_scene.h"

namespace once::sqlite {
namespace {

class SqliteRetention : public testing::RetentionScene<IdsScene> {
 protected:
  void OpenWithRetention() {
    StoreOptions options = Patient(path());
    options.retention = kRetention;
    MustOpen(options);
  }
};

TEST_F(SqliteRetention, WhatIsOlderThanTheSlowestPartitionsLogByMoreIsForgottenAndNothingElse) {
  OpenWithRetention();
  CheckWhatIsOlderThanTheSlowestPartitionsLogByMoreIsForgottenAndNothingElse();
}

TEST_F(SqliteRetention, FailuresOutliveTheirAge) {
  OpenWithRetention();
  CheckFailuresOutliveTheirAge();
}

TEST_F(SqliteRetention, UndatedIdsAreKeptWithAllThatCameAfterThem) {
  OpenWithRetention();
  CheckUndatedIdsAreKeptWithAllThatCameAfterThem();
}

TEST_F(SqliteRetention, IsStatedByTheStoreAndRefusedWhenItIsNone) {
  OpenWithRetention();
  EXPECT_EQ(store_->traits().retention, kRetention);
  StoreOptions options = Patient(folder_.File("other"));
  options.retention = -absl::Seconds(1);
  EXPECT_THAT(OpenStore(options).status().ToString(),
              ::testing::HasSubstr("StoreOptions::retention"));
}

}  // namespace
}  // namespace once::sqlite
