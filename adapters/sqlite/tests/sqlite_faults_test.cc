// Full disks, failing writes and syncs, and other writers: what the store says is what a crash at
// that moment would leave, and it goes on once the trouble is over.
#include <sys/mount.h>

#include <filesystem>
#include <fstream>

#include "adapters/sqlite/tests/fault_vfs.h"
#include "adapters/sqlite/tests/ids_of_file.h"
#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kAborted = absl::StatusCode::kAborted;
constexpr auto kResourceExhausted = absl::StatusCode::kResourceExhausted;
constexpr auto kUnavailable = absl::StatusCode::kUnavailable;

class SqliteBusy : public StoreScene {
 protected:
  void SetUp() override { MustOpen(); }
};

TEST_F(SqliteBusy, AnotherWriterIsWaitedForAndNamed) {
  const PartitionKey key = Orders();
  const TakeRequest take{.key = key, .writer = 1};
  const std::int64_t sequence = 1;
  {
    OwnConnection other(path());
    ASSERT_EQ(other.Run("BEGIN IMMEDIATE; INSERT INTO effects VALUES('of another')").code,
              SQLITE_OK);
    EXPECT_THAT(transactions().Begin({}).status(),
                Says(kUnavailable, "begin on " + path() + ": database is locked for 20ms"));
    EXPECT_THAT(transactions().Take({&take, 1}).status(), Says(kUnavailable, "take on"));
    EXPECT_THAT(transactions().outbox().MarkPublished({&sequence, 1}), Says(kUnavailable, "mark"));
    // Readers wait for nobody.
    EXPECT_TRUE(transactions().ReadPositions({&key, 1}).ok());
    EXPECT_TRUE(transactions().outbox().CountPending().ok());
  }
  EXPECT_TRUE(transactions().Take({&take, 1}).ok());
  EXPECT_TRUE(Apply("ours").ok());
  EXPECT_THAT(Effects(), ElementsAre("ours"));
}

TEST_F(SqliteBusy, OpeningWaitsForAnotherWriterToo) {
  store_.reset();
  {
    OwnConnection other(path());
    ASSERT_EQ(other.Run("BEGIN IMMEDIATE").code, SQLITE_OK);
    EXPECT_THAT(Open(OptionsFor(path())), Says(kUnavailable, path()));
  }
  MustOpen();
}

TEST_F(SqliteBusy, ATransactionOfThisProcessIsWaitedForAndNamed) {
  const auto first = Begin();
  EXPECT_THAT(transactions().Begin({}).status(),
              Says(kUnavailable, "another transaction of this process has been open for 20ms"));
}

TEST_F(SqliteBusy, AReaderOfTheUsersOwnDoesNotDisturb) {
  ASSERT_TRUE(Apply("one").ok());
  OwnConnection reader(path(), SQLITE_OPEN_READONLY);
  ASSERT_EQ(reader.Run("BEGIN").code, SQLITE_OK);
  EXPECT_THAT(reader.Run("SELECT row FROM effects").rows, ElementsAre("one"));
  EXPECT_TRUE(Apply("two").ok());
  EXPECT_THAT(reader.Run("SELECT row FROM effects").rows, ElementsAre("one"));
  EXPECT_EQ(reader.Run("COMMIT").code, SQLITE_OK);
  EXPECT_THAT(reader.Run("SELECT row FROM effects").rows, ElementsAre("one", "two"));
}

// ---- A full disk ----

TEST_F(StoreScene, AFullDiskInsideAStatementOfTheHandlerCostsTheTransactionOnly) {
  StoreOptions options = OptionsFor(path());
  options.setup = [](sqlite3* connection) {
    RunSql(connection, "CREATE TABLE IF NOT EXISTS effects(row TEXT); PRAGMA max_page_count = 60");
    return absl::OkStatus();
  };
  MustOpen(options);
  ASSERT_TRUE(Apply("before").ok());
  const auto transaction = Begin();
  ASSERT_TRUE(Complete(*transaction, "id").ok());
  EXPECT_FALSE(AddEffect(*transaction, std::string(1'000'000, 'x')).ok());
  EXPECT_THAT(transaction->CheckOpen(), Says(kAborted, "by itself"));
  transaction->Rollback();
  EXPECT_FALSE(IsCompleted("id"));
  EXPECT_TRUE(Apply("after").ok());
  EXPECT_THAT(Effects(), ElementsAre("before", "after"));
}

TEST_F(StoreScene, AFullDiskInsideACallOfTheStoreIsNamed) {
  StoreOptions options = OptionsFor(path());
  options.setup = [](sqlite3* connection) {
    RunSql(connection, "CREATE TABLE IF NOT EXISTS effects(row TEXT); PRAGMA max_page_count = 40");
    return absl::OkStatus();
  };
  MustOpen(options);
  auto transaction = Begin();
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(Complete(*transaction, absl::StrCat("id-", i)).ok());
  }
  const absl::Status committed = transaction->Commit(Durability::kMachine);
  EXPECT_THAT(committed, Says(kResourceExhausted, "ids in " + path()));
  EXPECT_THAT(committed, Says(kResourceExhausted, "full"));
  transaction.reset();
  EXPECT_TRUE(Apply("small").ok());
  EXPECT_FALSE(IsCompleted("id-0"));
}

TEST_F(StoreScene, AFullFileSystemIsOutlivedWithoutARestart) {
  const std::string disk = folder_.File("disk");
  std::filesystem::create_directory(disk);
  if (::mount("once", disk.c_str(), "tmpfs", 0, "size=1m") != 0) {
    GTEST_SKIP() << "mounting a small file system needs root";
  }
  const std::string small = disk + "/store.db";
  MustOpen(OptionsFor(small));
  EXPECT_EQ(store_->traits().durability, Durability::kProcess);
  EXPECT_THAT(store_->traits().weakness, HasSubstr("in memory"));
  { std::ofstream(disk + "/filler") << std::string(700'000, 'x'); }

  absl::Status applied;
  int count = 0;
  while (applied.ok() && count < 10'000) applied = Apply(absl::StrCat("id-", count++));
  EXPECT_THAT(applied, Says(kResourceExhausted, "goes on once there is space again"));
  EXPECT_FALSE(IsCompleted(absl::StrCat("id-", count - 1)));
  EXPECT_TRUE(IsCompleted(absl::StrCat("id-", count - 2)));
  std::filesystem::remove(disk + "/filler");
  EXPECT_TRUE(Apply("after").ok());
  MustOpen(OptionsFor(small));
  EXPECT_TRUE(IsCompleted("after"));
  EXPECT_TRUE(IsCompleted("id-0"));
  EXPECT_EQ(OwnConnection(small).Run("SELECT count(*) FROM effects").rows,
            std::vector<std::string>{absl::StrCat(count)});
  store_.reset();
  ::umount(disk.c_str());
}

// ---- Failing files ----

struct FaultCase {
  const char* name;
  Fault fault;
  const char* suffix;
};

class SqliteFaults : public StoreScene {
 protected:
  // Whether `id` and its effect are there (never one without the other) if the process died now:
  // the files as the page cache has them, opened elsewhere.
  bool IsAppliedAfterCrash(const std::string& id) {
    const std::string copy = folder_.File(absl::StrCat("crash-", ++crashes_, ".db"));
    EXPECT_EQ(
        std::system(absl::StrCat("cp ", path(), " ", copy, " && cp ", path(), "-wal ", copy, "-wal")
                        .c_str()),
        0);
    const auto effects = OwnConnection(copy).Run("SELECT 1 FROM effects WHERE row = '" + id + "'");
    EXPECT_EQ(effects.code, SQLITE_OK) << effects.error;
    const std::vector<std::string> ids = NamesOfIds(copy);
    const bool is_known = std::find(ids.begin(), ids.end(), id) != ids.end();
    EXPECT_EQ(is_known, !effects.rows.empty()) << id;
    return is_known;
  }

  FaultVfs vfs_;
  int crashes_ = 0;
};

class SqliteCommitFaults : public SqliteFaults, public ::testing::WithParamInterface<FaultCase> {};

TEST_P(SqliteCommitFaults, WhatCommitSaysIsWhatACrashLeaves) {
  const FaultCase& fault = GetParam();
  MustOpen();
  const TakeRequest take{.key = Orders(), .writer = 1};
  ASSERT_TRUE(transactions().Take({&take, 1}).ok());
  int unknown = 0;
  for (int nth = 1;; ++nth) {
    ASSERT_LT(nth, 100);
    const std::string id = absl::StrCat("id-", nth);
    const auto transaction = Begin();
    ASSERT_TRUE(AddEffect(*transaction, id).ok());
    ASSERT_TRUE(Complete(*transaction, id).ok());
    vfs_.Arm(fault.fault, fault.suffix, nth);
    const absl::Status committed = transaction->Commit(Durability::kMachine);
    vfs_.Disarm();
    const bool is_applied = IsAppliedAfterCrash(id);
    if (committed.ok()) {
      EXPECT_TRUE(is_applied) << nth;
      if (!vfs_.has_fired()) break;
    } else if (absl::IsUnknown(committed)) {
      ++unknown;
      EXPECT_THAT(std::string(committed.message()), HasSubstr("taken again"));
      // From here on both the store and a crash say the same.
      ASSERT_TRUE(transactions().Take({&take, 1}).ok());
      EXPECT_EQ(IsAppliedAfterCrash(id), IsCompleted(id)) << nth;
    } else {
      EXPECT_FALSE(is_applied) << nth << ": " << committed;
      EXPECT_FALSE(IsCompleted(id)) << nth;
    }
    const absl::Status next = Apply(absl::StrCat("next-", nth));
    ASSERT_TRUE(next.ok()) << next;
  }
  EXPECT_EQ(unknown > 0, fault.fault != Fault::kDiskFull && *fault.suffix != '\0');
  MustOpen();
  EXPECT_EQ(NamesOfIds(path()),
            OwnConnection(path()).Run("SELECT DISTINCT row FROM effects ORDER BY 1").rows);
}

// One file at a time: a checkpoint writes to the database after the commit is in the -wal, and may
// fail without any harm to it.
INSTANTIATE_TEST_SUITE_P(Faults, SqliteCommitFaults,
                         ::testing::Values(FaultCase{"WriteError", Fault::kWriteError, "-wal"},
                                           FaultCase{"TornWrite", Fault::kTornWrite, "-wal"},
                                           FaultCase{"DiskFull", Fault::kDiskFull, "-wal"},
                                           FaultCase{"SyncError", Fault::kSyncError, "-wal"}),
                         [](const auto& test) { return test.param.name; });

TEST_F(SqliteFaults, ASyncThatFailsMayStillHaveCommitted) {
  MustOpen();
  const TakeRequest take{.key = Orders(), .writer = 1};
  const auto transaction = Begin();
  ASSERT_TRUE(AddEffect(*transaction, "id").ok());
  ASSERT_TRUE(Complete(*transaction, "id").ok());
  vfs_.Arm(Fault::kSyncError, "-wal", 1);
  const absl::Status committed = transaction->Commit(Durability::kMachine);
  vfs_.Disarm();
  ASSERT_TRUE(vfs_.has_fired());
  EXPECT_TRUE(absl::IsUnknown(committed)) << committed;
  EXPECT_FALSE(IsCompleted("id"));         // here it was rolled back,
  EXPECT_TRUE(IsAppliedAfterCrash("id"));  // but a crash now would bring it back:
  ASSERT_TRUE(transactions().Take({&take, 1}).ok());
  EXPECT_FALSE(IsCompleted("id"));  // after Take both agree.
  EXPECT_FALSE(IsAppliedAfterCrash("id"));
}

TEST_F(SqliteFaults, AFailingCheckpointDoesNotFailTheCommit) {
  StoreOptions options = OptionsFor(path());
  options.setup = [](sqlite3* connection) {
    RunSql(connection,
           "CREATE TABLE IF NOT EXISTS effects(row TEXT); PRAGMA wal_autocheckpoint = 1");
    return absl::OkStatus();
  };
  MustOpen(options);
  for (const Fault fault :
       {Fault::kWriteError, Fault::kTornWrite, Fault::kDiskFull, Fault::kSyncError}) {
    vfs_.Arm(fault, ".db", 1, /*is_lasting=*/true);
    for (const char* id : {"a", "b", "c"}) {
      const absl::Status applied = Apply(absl::StrCat(id, static_cast<int>(fault)));
      EXPECT_TRUE(applied.ok()) << applied;
    }
    EXPECT_TRUE(vfs_.has_fired());
    vfs_.Disarm();
    EXPECT_TRUE(IsAppliedAfterCrash(absl::StrCat("c", static_cast<int>(fault))));
  }
}

TEST_F(SqliteFaults, ATakeWhoseCommitIsUnknownMayBeRepeated) {
  MustOpen();
  const TakeRequest first{.key = Orders(), .writer = 1, .start = 5};
  vfs_.Arm(Fault::kSyncError, "-wal", 1);
  const auto failed = transactions().Take({&first, 1});
  vfs_.Disarm();
  EXPECT_TRUE(absl::IsUnknown(failed.status())) << failed.status();
  const TakeRequest second{.key = Orders(), .writer = 2, .start = 5};
  const auto taken = transactions().Take({&second, 1});
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->front().current.writer, 2u);
  EXPECT_EQ(taken->front().current.position, 5);
}

TEST_F(SqliteFaults, AFailingReadOfTheSharedMemoryIsTransient) {
  MustOpen();
  ASSERT_TRUE(Apply("before").ok());
  std::size_t failures = 0;
  for (int nth = 1; nth < 5; ++nth) {
    vfs_.Arm(Fault::kSharedMemory, "", nth);
    // Enough pages that the index of the -wal must grow.
    const auto transaction = Begin();
    if (transaction != nullptr) {
      for (int i = 0; i < 40; ++i) {
        ASSERT_TRUE(AddEffect(*transaction, std::string(1'000'000, 'x')).ok());
      }
      ASSERT_TRUE(Complete(*transaction, absl::StrCat(nth)).ok());
      const absl::Status committed = transaction->Commit(Durability::kMachine);
      if (vfs_.has_fired()) {
        ++failures;
        EXPECT_TRUE(absl::IsUnknown(committed) || absl::IsAborted(committed)) << committed;
      }
    }
    vfs_.Disarm();
    EXPECT_TRUE(Apply("after").ok());
  }
  EXPECT_GT(failures, 0u);
}

}  // namespace
}  // namespace once::sqlite
