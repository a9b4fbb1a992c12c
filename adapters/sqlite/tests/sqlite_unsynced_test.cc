// What is synced when: a commit that need only survive the process syncs nothing, the next one that
// must survive the machine syncs all of it, and a sync that failed is never taken for a later one.
#include "adapters/sqlite/tests/sync_scene.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using SqliteUnsynced = SyncScene;

TEST_F(SqliteUnsynced, ACommitForTheProcessSyncsNothingAndOutlivesIt) {
  MustOpen();
  ASSERT_TRUE(Apply("synced", kMachine).ok());
  EXPECT_EQ(CountSyncs([&] {
              ASSERT_TRUE(Apply("one", kProcess).ok());
              ASSERT_TRUE(Apply("two", kProcess).ok());
            }),
            0);
  EXPECT_THAT(Effects(), ElementsAre("synced", "one", "two"));
  EXPECT_THAT(AfterCrash("SELECT row FROM effects ORDER BY rowid"),
              ElementsAre("synced", "one", "two"));
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("synced"));
}

TEST_F(SqliteUnsynced, TheNextCommitForTheMachineSyncsAllOfIt) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kProcess).ok());
  ASSERT_TRUE(Apply("two", kProcess).ok());
  EXPECT_EQ(CountSyncs([&] { ASSERT_TRUE(Apply("three", kMachine).ok()); }), 1);
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("one", "two", "three"));
}

TEST_F(SqliteUnsynced, ACommitForTheMachineWithoutAnyWriteStillSyncsWhatItMayHaveRead) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kProcess).ok());
  const auto transaction = Begin();
  EXPECT_TRUE(transaction->Commit(kMachine).ok());
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("one"));
  EXPECT_EQ(CountSyncs([&] { EXPECT_TRUE(Begin()->Commit(kMachine).ok()); }), 0);
}

TEST_F(SqliteUnsynced, AHandlersPragmasAreRefusedAsEver) {
  MustOpen();
  for (const Durability wanted : {kProcess, kMachine}) {
    const auto transaction = Begin();
    sqlite3* connection = Connection(*transaction);
    EXPECT_EQ(RunSql(connection, "PRAGMA synchronous = OFF").code, SQLITE_AUTH);
    EXPECT_THAT(RunSql(connection, "PRAGMA synchronous").rows, ElementsAre("2"));
    EXPECT_TRUE(transaction->Commit(wanted).ok());
  }
}

TEST_F(SqliteUnsynced, SyncingClaimsIsOneSyncForAllAndNoneWhenNothingWasWritten) {
  MustOpen();
  EXPECT_EQ(CountSyncs([&] {
              for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(Claim(id).ok());
            }),
            0);
  EXPECT_EQ(CountSyncs([&] { EXPECT_TRUE(store_->claims()->Sync().ok()); }), 1);
  EXPECT_THAT(AfterPowerFailure("SELECT count(*) FROM once_open"), ElementsAre("3"));
  EXPECT_EQ(CountSyncs([&] { EXPECT_TRUE(store_->claims()->Sync().ok()); }), 0);
}

TEST_F(SqliteUnsynced, SyncDoesNothingOnceACommitHasSyncedTheClaims) {
  MustOpen();
  ASSERT_TRUE(Claim("a").ok());
  ASSERT_TRUE(Apply("one", kMachine).ok());
  EXPECT_EQ(CountSyncs([&] { EXPECT_TRUE(store_->claims()->Sync().ok()); }), 0);
  EXPECT_THAT(AfterPowerFailure("SELECT count(*) FROM once_open"), ElementsAre("1"));
}

TEST_F(SqliteUnsynced, TheHeaderOfANewWalIsSyncedWhateverTheCommitAsksFor) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kMachine).ok());
  ASSERT_THAT(OwnConnection(path()).Run("PRAGMA wal_checkpoint(TRUNCATE)").rows,
              ElementsAre("0|0|0"));
  EXPECT_EQ(CountSyncs([&] { ASSERT_TRUE(Apply("two", kProcess).ok()); }), 1);
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("one"));
  EXPECT_EQ(CountSyncs([&] { ASSERT_TRUE(Apply("three", kProcess).ok()); }), 0);
  ASSERT_TRUE(Apply("four", kMachine).ok());
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("one", "two", "three", "four"));
}

TEST_F(SqliteUnsynced, ACheckpointSyncsTheWalBeforeItTouchesTheDatabase) {
  StoreOptions options = OptionsFor(path());
  options.setup = CheckpointAtEveryCommit;
  MustOpen(options);
  ASSERT_TRUE(Apply("one", kMachine).ok());
  for (const std::string id : {"two", "three", "four"}) {
    const int before = vfs_.CountSyncs("-wal");
    ASSERT_TRUE(Apply(id, kProcess).ok());
    EXPECT_GT(vfs_.CountSyncs("-wal"), before) << id;
  }
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("one", "two", "three", "four"));
  EXPECT_EQ(CountSyncs([&] { EXPECT_TRUE(store_->claims()->Sync().ok()); }), 0);
}

TEST_F(SqliteUnsynced, ASpilledTransactionForTheProcessIsWholeAndSyncsNothing) {
  StoreOptions options = OptionsFor(path());
  options.cache_bytes = 40 * 1024;
  MustOpen(options);
  ASSERT_TRUE(Apply("synced", kMachine).ok());
  const auto transaction = Begin();
  // Many pages, and the first of them once more after they were spilled.
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(AddEffect(*transaction, absl::StrCat(i % 100, std::string(4000, 'x'))).ok());
  }
  ASSERT_EQ(RunSql(Connection(*transaction), "UPDATE effects SET row = substr(row, 1, 2)").code,
            SQLITE_OK);
  EXPECT_EQ(CountSyncs([&] { EXPECT_TRUE(transaction->Commit(kProcess).ok()); }), 0);
  EXPECT_THAT(AfterCrash("SELECT count(*) FROM effects"), ElementsAre("301"));
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("synced"));
}

TEST_F(SqliteUnsynced, AWeakerStoreSyncsNoMoreThanItSays) {
  StoreOptions options = OptionsFor(path());
  options.synchronous = Synchronous::kNormal;
  MustOpen(options);
  ASSERT_TRUE(Apply("first", kMachine).ok());
  EXPECT_EQ(CountSyncs([&] {
              ASSERT_TRUE(Apply("one", kMachine).ok());
              ASSERT_TRUE(Claim("a").ok());
              EXPECT_TRUE(store_->claims()->Sync().ok());
            }),
            0);
}

// Such a store syncs no commit, so the first sync after one is that of a checkpoint.
TEST_F(SqliteUnsynced, ACheckpointOfAWeakerStoreSyncsTheWalBeforeItTouchesTheDatabase) {
  StoreOptions options = OptionsFor(path());
  options.synchronous = Synchronous::kNormal;
  options.setup = CheckpointAtEveryCommit;
  MustOpen(options);
  ASSERT_TRUE(Apply("one", kMachine).ok());
  const int before = vfs_.CountSyncs("-wal");
  ASSERT_TRUE(Apply("two", kProcess).ok());
  const std::string database = ReadFile(path());
  vfs_.Arm(Fault::kSyncError, "-wal", vfs_.CountSyncs("-wal") - before, /*is_lasting=*/true);
  ASSERT_TRUE(Apply("three", kProcess).ok());
  EXPECT_TRUE(vfs_.has_fired());
  EXPECT_EQ(ReadFile(path()), database);
  EXPECT_THAT(Claim("a"), Says(kUnavailable, "a sync of the -wal has failed"));
  vfs_.Disarm();
  ASSERT_TRUE(Claim("a").ok());
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("one", "two", "three"));
}

// ---- Syncs that fail ----

TEST_F(SqliteUnsynced, ASyncThatFailsIsSaidAndTheNextOneDoesNotRelyOnIt) {
  MustOpen();
  ASSERT_TRUE(Claim("a").ok());
  vfs_.Arm(Fault::kSyncError, "-wal", 1);
  const absl::Status failed = store_->claims()->Sync();
  EXPECT_THAT(failed, Says(kUnavailable, "sync " + path()));
  EXPECT_THAT(failed, Says(kUnavailable, "Input/output error"));
  vfs_.Disarm();
  EXPECT_THAT(AfterPowerFailure("SELECT count(*) FROM once_open"), ElementsAre("0"));
  // The system may have dropped the pages of the -wal and call its next sync a success, so their
  // content must be written once more.
  ASSERT_TRUE(store_->claims()->Sync().ok());
  EXPECT_THAT(AfterPowerFailure("SELECT count(*) FROM once_open"), ElementsAre("1"));
  EXPECT_EQ(CountSyncs([&] { EXPECT_TRUE(store_->claims()->Sync().ok()); }), 0);
}

TEST_F(SqliteUnsynced, ACommitWhoseSyncFailsOverUnsyncedOnesDoesNotLeaveAHoleBeforeTheNext) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kProcess).ok());
  const TakeRequest take{.key = Orders(), .writer = 1};
  vfs_.Arm(Fault::kSyncError, "-wal", 1);
  EXPECT_TRUE(absl::IsUnknown(Apply("lost", kMachine)));
  vfs_.Disarm();
  ASSERT_TRUE(transactions().Take({&take, 1}).ok());
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("one"));
  EXPECT_THAT(Effects(), ElementsAre("one"));
}

// A power failure in the midst of a checkpoint is mended from the -wal, so nothing may be moved out
// of one of which nobody knows whether the disk has it.
TEST_F(SqliteUnsynced, TheDatabaseIsLeftAloneUntilTheWalIsDurableAgain) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kProcess).ok());
  vfs_.Arm(Fault::kSyncError, "-wal", 1);
  ASSERT_FALSE(store_->claims()->Sync().ok());
  vfs_.Arm(Fault::kWriteError, "store.db", 1, /*is_lasting=*/true);
  EXPECT_TRUE(store_->claims()->Sync().ok());
  EXPECT_FALSE(vfs_.has_fired());
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("one"));
}

TEST_F(SqliteUnsynced, AReaderThatKeepsTheWalIsNotWaitedForAfterASyncHasFailed) {
  MustOpen();
  OwnConnection reader(path(), SQLITE_OPEN_READONLY);
  ASSERT_TRUE(Apply("one", kMachine).ok());
  ASSERT_EQ(reader.Run("BEGIN; SELECT * FROM effects").code, SQLITE_OK);
  ASSERT_TRUE(Claim("a").ok());
  vfs_.Arm(Fault::kSyncError, "-wal", 1);
  ASSERT_FALSE(store_->claims()->Sync().ok());
  vfs_.Disarm();
  EXPECT_TRUE(store_->claims()->Sync().ok());
  EXPECT_THAT(AfterPowerFailure("SELECT count(*) FROM once_open"), ElementsAre("1"));
  EXPECT_THAT(reader.Run("SELECT row FROM effects").rows, ElementsAre("one"));
}

TEST_F(SqliteUnsynced,
       AStoreThatIsClosedInDoubtLeavesTheDatabaseAloneAndTheNextOneWritesTheWalAnew) {
  MustOpen();
  ASSERT_TRUE(Apply("one", kProcess).ok());
  vfs_.Arm(Fault::kSyncError, "-wal", 1);
  ASSERT_FALSE(store_->claims()->Sync().ok());
  vfs_.Arm(Fault::kWriteError, "store.db", 1, /*is_lasting=*/true);
  store_ = nullptr;
  EXPECT_FALSE(vfs_.has_fired());
  vfs_.Disarm();
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre());
  MustOpen();
  EXPECT_THAT(EffectsAfterPowerFailure(), ElementsAre("one"));
}

TEST_F(SqliteUnsynced, NothingGoesOnUntilTheWalCouldBeWrittenAnew) {
  MustOpen();
  ASSERT_TRUE(Claim("a").ok());
  vfs_.Arm(Fault::kSyncError, "-wal", 1);
  ASSERT_FALSE(store_->claims()->Sync().ok());
  for (const Fault fault : {Fault::kWriteError, Fault::kSyncError}) {
    vfs_.Arm(fault, "-wal", 1, /*is_lasting=*/true);
    EXPECT_THAT(store_->claims()->Sync(), Says(kUnavailable, "a sync of the -wal has failed"));
    EXPECT_THAT(transactions().Begin({}).status(),
                Says(kUnavailable, "a sync of the -wal has failed"));
    EXPECT_THAT(Claim("b"), Says(kUnavailable, "a sync of the -wal has failed"));
  }
  vfs_.Disarm();
  EXPECT_TRUE(Claim("b").ok());
  EXPECT_TRUE(store_->claims()->Sync().ok());
  EXPECT_THAT(AfterPowerFailure("SELECT count(*) FROM once_open"), ElementsAre("2"));
}

}  // namespace
}  // namespace once::sqlite
