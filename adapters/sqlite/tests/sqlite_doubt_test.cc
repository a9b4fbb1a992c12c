// Openings over a -wal of which nobody knows whether the disk has it, and pages that the system has
// dropped since a sync failed: nothing is moved to the database, and nothing wrong is served.
#include "adapters/sqlite/database.h"
#include "adapters/sqlite/tests/sync_scene.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;

class SqliteDoubt : public SyncScene {
 protected:
  ~SqliteDoubt() override { SetCheckpointPagesForTest(0); }

  // What a process leaves behind that dies now.
  std::string Leave() {
    const std::string left = folder_.File("left.db");
    std::filesystem::copy_file(path(), left);
    std::filesystem::copy_file(path() + "-wal", left + "-wal");
    return left;
  }
};

// It cannot be told from one whose last sync had failed.
TEST_F(SqliteDoubt, WhatADeadProcessLeftUnsyncedIsDurableBeforeAnybodySeesIt) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kProcess).ok());
  const std::string left = folder_.File("left.db");
  ASSERT_EQ(
      std::system(
          absl::StrCat("cp ", path(), " ", left, " && cp ", path(), "-wal ", left, "-wal").c_str()),
      0);
  StoreOptions options = OptionsFor(left);
  MustOpen(options);
  std::ofstream(folder_.File("cut.db"), std::ios::binary) << std::ifstream(left).rdbuf();
  std::ofstream(folder_.File("cut.db-wal"), std::ios::binary) << vfs_.Synced(left + "-wal");
  EXPECT_THAT(OwnConnection(folder_.File("cut.db")).Run("SELECT row FROM effects").rows,
              ElementsAre("one"));
}

TEST_F(SqliteDoubt, AnOpeningMovesNothingBeforeTheWalIsWrittenAnew) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kProcess).ok());
  const std::string left = Leave();
  const std::string wal = ReadFile(left + "-wal");
  SetCheckpointPagesForTest(1);
  std::vector<std::string> synced;
  vfs_.WatchWrites("left.db", [&] { synced.push_back(vfs_.Synced(left + "-wal")); });
  MustOpen(OptionsFor(left));
  ASSERT_FALSE(synced.empty());
  EXPECT_THAT(synced.front(), StartsWith(wal));
}

TEST_F(SqliteDoubt, AnOpeningAfterACleanCloseWritesNothingAnew) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kMachine).ok());
  store_ = nullptr;
  const int before = vfs_.CountSyncs("-wal");
  MustOpen();
  // The header of the new -wal, and the commit that counts the opening.
  EXPECT_EQ(vfs_.CountSyncs("-wal") - before, 2);
}

TEST_F(SqliteDoubt, AnOpeningThatCannotWriteAnewSaysWhoIsInTheWay) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kProcess).ok());
  const std::string left = Leave();
  OwnConnection other(left);
  ASSERT_EQ(other.Run("BEGIN IMMEDIATE").code, SQLITE_OK);
  EXPECT_THAT(Open(OptionsFor(left)), Says(kUnavailable, "another connection is writing"));
}

TEST_F(SqliteDoubt, WhatTheLockFileOfAWeakerStoreRemembersSurvivesAPowerFailure) {
  StoreOptions options = OptionsFor(path());
  options.synchronous = Synchronous::kNormal;
  options.setup = nullptr;
  MustOpen(options);
  EXPECT_THAT(AfterPowerFailure("SELECT count(*) FROM once_meta WHERE key = 'store'"),
              ElementsAre("1"));
}

TEST_F(SqliteDoubt, PagesThatTheSystemHasDroppedAreNoticedAndWhatWasSyncedIsKept) {
  MustOpen();
  ASSERT_TRUE(Apply("synced", kMachine).ok());
  ASSERT_TRUE(Apply("dropped", kProcess).ok());
  vfs_.DropUnsynced();
  vfs_.Arm(Fault::kSyncError, "-wal", 1);
  ASSERT_THAT(store_->claims()->Sync(), Says(kUnavailable, "sync"));
  vfs_.Arm(Fault::kWriteError, "store.db", 1, /*is_lasting=*/true);
  EXPECT_THAT(store_->claims()->Sync(), Says(kDataLoss, "end every process"));
  EXPECT_THAT(Claim("a"), Says(kDataLoss, "end every process"));
  EXPECT_THAT(Apply("later", kMachine), Says(kDataLoss, "end every process"));
  store_ = nullptr;
  EXPECT_FALSE(vfs_.has_fired());
  vfs_.Disarm();
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("synced"));
  MustOpen();
  EXPECT_THAT(Effects(), ElementsAre("synced"));
  ASSERT_TRUE(Apply("later", kMachine).ok());
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("synced", "later"));
}

}  // namespace
}  // namespace once::sqlite
