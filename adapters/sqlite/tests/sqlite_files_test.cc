// The files of a store: who may open them, and that what is damaged or gone is never begun anew.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "adapters/sqlite/schema.h"
#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
constexpr auto kFailedPrecondition = absl::StatusCode::kFailedPrecondition;
constexpr auto kInvalidArgument = absl::StatusCode::kInvalidArgument;
constexpr auto kNotFound = absl::StatusCode::kNotFound;
constexpr auto kPermissionDenied = absl::StatusCode::kPermissionDenied;

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void WriteFile(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

class SqliteFiles : public StoreScene {
 protected:
  // A closed store with three pages of ids or more.
  void FillAndClose() {
    MustOpen();
    const auto transaction = Begin();
    for (int i = 0; i < 2000; ++i) {
      ASSERT_TRUE(Complete(*transaction, absl::StrCat("a rather long message id ", i)).ok());
    }
    ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
    store_.reset();
  }

  // The status of opening the store in a child of this process, as text.
  std::string OpenInChild() {
    int pipe_ends[2];
    if (::pipe(pipe_ends) != 0) return "pipe";
    const pid_t child = ::fork();
    if (child == 0) {
      const auto opened = OpenStore(OptionsFor(path()));
      const std::string text = opened.status().ToString();
      ::_exit(::write(pipe_ends[1], text.data(), text.size()) > 0 ? 0 : 1);
    }
    ::close(pipe_ends[1]);
    char text[2048];
    const ssize_t size = ::read(pipe_ends[0], text, sizeof text);
    ::close(pipe_ends[0]);
    ::waitpid(child, nullptr, 0);
    return std::string(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  }
};

TEST_F(SqliteFiles, OpeningCreatesTheStoreAndSaysWhatItIs) {
  MustOpen();
  EXPECT_EQ(store_->traits().name, "sqlite");
  EXPECT_FALSE(store_->traits().is_shared);
  EXPECT_NE(store_->claims(), nullptr);
  EXPECT_NE(store_->operations(), nullptr);
  if (store_->traits().durability != Durability::kMachine) {
    EXPECT_THAT(store_->traits().weakness, HasSubstr("file system"));  // a /tmp in memory
  }
  const SqlResult header = OwnConnection(path()).Run("PRAGMA application_id; PRAGMA journal_mode");
  EXPECT_THAT(header.rows, ElementsAre("1869505381", "wal"));
}

TEST_F(SqliteFiles, WeakerSyncingIsAdmitted) {
  for (const auto& [synchronous, name] :
       {std::pair(Synchronous::kNormal, "NORMAL"), std::pair(Synchronous::kOff, "OFF")}) {
    MustOpen({.path = path(), .synchronous = synchronous});
    EXPECT_EQ(store_->traits().durability, Durability::kProcess);
    EXPECT_THAT(store_->traits().weakness, HasSubstr(name));
    EXPECT_THAT(store_->traits().weakness, HasSubstr("kFull"));
  }
}

TEST_F(SqliteFiles, OptionsAreChecked) {
  EXPECT_THAT(Open({}), Says(kInvalidArgument, "path"));
  EXPECT_THAT(Open({.path = ":memory:"}), Says(kInvalidArgument, "forget"));
  EXPECT_THAT(Open({.path = "file:x.db?mode=memory"}), Says(kInvalidArgument, "file"));
  EXPECT_THAT(Open({.path = folder_.path()}), Says(kInvalidArgument, "not a regular file"));
  EXPECT_THAT(Open({.path = folder_.File("none/store.db")}), Says(kNotFound, "none/store.db"));
  EXPECT_THAT(Open({.path = path(), .busy_timeout = -absl::Seconds(1)}),
              Says(kInvalidArgument, "busy_timeout"));
  EXPECT_THAT(Open({.path = path(), .cache_bytes = 0}), Says(kInvalidArgument, "cache_bytes"));
  EXPECT_THAT(Open({.path = path(), .recent_ids_bytes = 0}),
              Says(kInvalidArgument, "recent_ids_bytes"));
  EXPECT_THAT(Open({.path = path(), .runs_max = 0}), Says(kInvalidArgument, "runs_max"));
  EXPECT_THAT(Open({.path = path(), .filter_bits = 0}), Says(kInvalidArgument, "filter_bits"));
}

TEST_F(SqliteFiles, MustExistLeavesNothingBehindAMistypedPath) {
  EXPECT_THAT(Open({.path = path(), .must_exist = true}), Says(kNotFound, "must_exist"));
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  MustOpen();
  MustOpen({.path = path(), .must_exist = true});
}

TEST_F(SqliteFiles, OneProcessOpensAFileOnceWhateverItCallsIt) {
  MustOpen();
  const std::string link = folder_.File("link.db");
  std::filesystem::create_symlink(path(), link);
  for (const std::string& name : {path(), link, folder_.path() + "/./store.db"}) {
    const absl::Status again = OpenStore(OptionsFor(name)).status();
    EXPECT_THAT(again, Says(kFailedPrecondition, "share the one open store"));
    EXPECT_THAT(std::string(again.message()), HasSubstr(path()));
  }
  EXPECT_TRUE(Apply("still fine").ok());
}

TEST_F(SqliteFiles, ASecondHardLinkIsRefused) {
  FillAndClose();
  std::filesystem::create_hard_link(path(), folder_.File("other.db"));
  EXPECT_THAT(Open(OptionsFor(path())), Says(kFailedPrecondition, "2 hard links"));
}

TEST_F(SqliteFiles, ASecondProcessIsToldWhoHasTheStore) {
  MustOpen();
  const std::string status = OpenInChild();
  EXPECT_THAT(status, HasSubstr("FAILED_PRECONDITION"));
  EXPECT_THAT(status, HasSubstr(absl::StrCat("another process (", ::getpid(), ")")));
  EXPECT_THAT(status, HasSubstr(path()));
  EXPECT_TRUE(Apply("still fine").ok());
  store_.reset();
  EXPECT_THAT(OpenInChild(), "OK");
}

TEST_F(SqliteFiles, AForkedChildCannotUseTheStoreAndDoesTheParentNoHarm) {
  MustOpen();
  ASSERT_TRUE(Apply("before").ok());
  const pid_t child = ::fork();
  if (child == 0) {
    const bool is_refused =
        absl::IsFailedPrecondition(transactions().Begin({}).status()) &&
        absl::IsFailedPrecondition(transactions().outbox().CountPending().status());
    store_.reset();
    ::_exit(is_refused ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Apply("after").ok());
  EXPECT_THAT(OpenInChild(), HasSubstr("another process"));
  MustOpen();
  EXPECT_THAT(Effects(), ElementsAre("before", "after"));
}

TEST_F(SqliteFiles, AReadOnlyFileOrFolderIsRefusedWithThePath) {
  FillAndClose();
  std::filesystem::remove(path() + ".once-lock");
  ASSERT_EQ(::chmod(path().c_str(), 0444), 0);
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0777), 0);
  const bool is_root = ::geteuid() == 0;
  if (is_root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  const absl::Status file = Open(OptionsFor(path()));
  if (is_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ASSERT_EQ(::chmod(path().c_str(), 0644), 0);
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0555), 0);
  std::filesystem::remove(path() + ".once-lock");
  if (is_root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  const absl::Status folder = Open(OptionsFor(path()));
  if (is_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  EXPECT_THAT(file, Says(kPermissionDenied, path()));
  EXPECT_THAT(folder, Says(kPermissionDenied, path()));
  MustOpen();
  EXPECT_TRUE(IsCompleted("a rather long message id 7"));
}

// ---- Damaged ----

TEST_F(SqliteFiles, SomethingElseThanADatabaseIsLeftAlone) {
  const std::string text(10'000, 'x');
  WriteFile(path(), text);
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, path()));
  EXPECT_EQ(ReadFile(path()), text);
}

TEST_F(SqliteFiles, ADamagedHeaderIsLeftAlone) {
  FillAndClose();
  std::string content = ReadFile(path());
  content.replace(0, 16, 16, '?');
  WriteFile(path(), content);
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, path()));
  EXPECT_EQ(ReadFile(path()), content);
}

TEST_F(SqliteFiles, TheIntegrityCheckFindsDamagedPagesBeforeAnyIdIsTrusted) {
  FillAndClose();
  std::string content = ReadFile(path());
  ASSERT_GT(content.size(), 12 * 4096u);
  content.replace(10 * 4096, 4096, 4096, '\xff');
  WriteFile(path(), content);
  StoreOptions options = OptionsFor(path());
  options.integrity_check = true;
  EXPECT_THAT(Open(options), Says(kDataLoss, path()));
  EXPECT_EQ(ReadFile(path()), content);
}

TEST_F(SqliteFiles, ADamagedPageMeansDataLossNeverAnAbsentId) {
  FillAndClose();
  std::string content = ReadFile(path());
  for (std::size_t page = 9; (page + 1) * 4096 <= content.size(); ++page) {
    content.replace(page * 4096, 4096, 4096, '\xff');
  }
  WriteFile(path(), content);
  const absl::Status opened = Open({.path = path()});
  if (!opened.ok()) {
    EXPECT_THAT(opened, Says(kDataLoss, path()));
    return;
  }
  int damaged = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto transaction = Begin();
    const std::string id = absl::StrCat("a rather long message id ", i);
    const IdKey key{"scope", id};
    IdRecord record;
    const absl::Status found = transaction->FindIds({&key, 1}, {&record, 1});
    if (found.ok()) {
      ASSERT_EQ(record.state, IdState::kCompleted) << id;
    } else {
      ASSERT_THAT(found, Says(kDataLoss, path()));
      ASSERT_THAT(transaction->Commit(Durability::kMachine), Says(kDataLoss, path()));
      ++damaged;
    }
  }
  EXPECT_GT(damaged, 0);
}

TEST_F(SqliteFiles, ATruncatedFileIsNeverBegunAnew) {
  FillAndClose();
  const std::string content = ReadFile(path());
  StoreOptions options = OptionsFor(path());
  options.integrity_check = true;
  for (const std::size_t size : {content.size() / 2, std::size_t{4096}, std::size_t{100}}) {
    WriteFile(path(), content.substr(0, size));
    EXPECT_THAT(Open(options), Says(kDataLoss, path())) << size;
    EXPECT_EQ(ReadFile(path()).size(), size);
  }
}

// ---- Gone ----

TEST_F(SqliteFiles, AVanishedFileIsNotBegunAnewUntilTheLockFileIsRemoved) {
  FillAndClose();
  std::filesystem::remove(path());
  const absl::Status opened = Open(OptionsFor(path()));
  EXPECT_THAT(opened, Says(kDataLoss, path() + ": it is missing or empty"));
  EXPECT_THAT(opened, Says(kDataLoss, "remove the lock file"));
  EXPECT_FALSE(std::filesystem::exists(path()));
  std::filesystem::remove(path() + ".once-lock");
  MustOpen();
  EXPECT_FALSE(IsCompleted("a rather long message id 7"));
}

TEST_F(SqliteFiles, AnEmptiedFileIsNotBegunAnew) {
  FillAndClose();
  WriteFile(path(), "");
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "missing or empty"));
  EXPECT_THAT(Open({.path = path(), .must_exist = true}), Says(kDataLoss, "missing or empty"));
  EXPECT_EQ(ReadFile(path()), "");
}

TEST_F(SqliteFiles, AnUnreadableLockFileCountsAsAStoreOnlyWhenTheDatabaseIsGone) {
  FillAndClose();
  WriteFile(path() + ".once-lock", "garbage");
  MustOpen();
  store_.reset();
  WriteFile(path() + ".once-lock", "garbage");
  std::filesystem::remove(path());
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "unreadable"));
}

TEST_F(SqliteFiles, AWalWhoseDatabaseIsGoneIsNotDestroyed) {
  WriteFile(path() + "-wal", "the newest commits");
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "-wal has content"));
  EXPECT_EQ(ReadFile(path() + "-wal"), "the newest commits");
}

TEST_F(SqliteFiles, ADatabaseWithoutTheStoresTablesIsNotFilledAnew) {
  FillAndClose();
  std::filesystem::remove(path());
  ASSERT_EQ(OwnConnection(path(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
                .Run("CREATE TABLE mine(x)")
                .code,
            SQLITE_OK);
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "its tables are gone"));
  std::filesystem::remove(path() + ".once-lock");
  MustOpen();  // beside the tables that are there
}

TEST_F(SqliteFiles, AnotherStoreInTheSamePlaceIsRefused) {
  FillAndClose();
  const std::string other = folder_.File("other.db");
  MustOpen(OptionsFor(other));
  store_.reset();
  std::filesystem::copy_file(other, path(), std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(Open(OptionsFor(path())), Says(kFailedPrecondition, "where store"));
  std::filesystem::remove(path() + ".once-lock");
  MustOpen();
}

TEST_F(SqliteFiles, AnOlderCopyOfTheSameStoreIsWelcome) {
  FillAndClose();
  const std::string backup = ReadFile(path());
  MustOpen();
  ASSERT_TRUE(Apply("after the backup").ok());
  store_.reset();
  WriteFile(path(), backup);
  MustOpen();  // the strict compare-and-set notices the rollback
  EXPECT_FALSE(IsCompleted("after the backup"));
  EXPECT_TRUE(IsCompleted("a rather long message id 7"));
}

class SqliteFilesGoneWhileOpen : public SqliteFiles,
                                 public ::testing::WithParamInterface<const char*> {};

TEST_P(SqliteFilesGoneWhileOpen, StopTheStoreUntilTheyAreBack) {
  const std::string file = path() + GetParam();
  const std::string away = folder_.File("away");
  MustOpen();
  ASSERT_TRUE(Apply("before").ok());
  const auto open = Begin();
  ASSERT_TRUE(AddEffect(*open, "open").ok());

  std::filesystem::rename(file, away);
  EXPECT_THAT(open->Commit(Durability::kMachine), Says(kDataLoss, file + " was removed"));
  EXPECT_THAT(transactions().Begin({}).status(), Says(kDataLoss, "was removed"));
  const PartitionKey key = Orders();
  EXPECT_THAT(transactions().ReadPositions({&key, 1}).status(), Says(kDataLoss, "was removed"));
  WriteFile(file, "something else");
  EXPECT_THAT(transactions().Begin({}).status(), Says(kDataLoss, file + " was replaced"));

  std::filesystem::rename(away, file);
  EXPECT_TRUE(Apply("after").ok());
  EXPECT_THAT(Effects(), ElementsAre("before", "after"));
}

INSTANTIATE_TEST_SUITE_P(Files, SqliteFilesGoneWhileOpen,
                         ::testing::Values("", "-wal", "-shm", ".once-lock"));

// ---- Versions ----

TEST_F(SqliteFiles, ANewerFormatIsRefused) {
  FillAndClose();
  ASSERT_EQ(OwnConnection(path()).Run("UPDATE once_meta SET value = 99 WHERE key = 'format'").code,
            SQLITE_OK);
  EXPECT_THAT(Open(OptionsFor(path())),
              Says(kFailedPrecondition,
                   absl::StrCat("format 99, this one knows ", Migrations().back().version)));
}

TEST_F(SqliteFiles, TablesOfSomebodyElseAreNotTakenOver) {
  ASSERT_EQ(OwnConnection(path(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)
                .Run("CREATE TABLE Once_Upon(a_time)")
                .code,
            SQLITE_OK);
  EXPECT_THAT(Open(OptionsFor(path())), Says(kFailedPrecondition, "rename them"));
}

// The migrations there are, and one that is to come.
std::vector<Migration> MigrationsAnd(const char* sql) {
  std::vector<Migration> migrations(Migrations().begin(), Migrations().end());
  migrations.push_back({migrations.back().version + 1, sql});
  return migrations;
}

TEST_F(SqliteFiles, MigrationsRunOnceEachAndKeepTheData) {
  const auto next = MigrationsAnd("ALTER TABLE once_positions ADD COLUMN x DEFAULT 7");
  FillAndClose();
  OwnConnection connection(path());
  ASSERT_EQ(connection
                .Run("INSERT INTO once_positions VALUES(x'61', x'62', x'63', 0, 1, 2, 3, 4, "
                     "NULL, NULL, NULL, NULL, NULL, NULL)")
                .code,
            SQLITE_OK);
  for (const std::int64_t opening : {2, 3}) {
    const auto identity = PrepareSchema(connection.get(), {.path = path(), .migrations = next});
    ASSERT_TRUE(identity.ok()) << identity.status();
    EXPECT_EQ(identity->open_count, opening);
  }
  EXPECT_THAT(connection.Run("SELECT position, x FROM once_positions").rows, ElementsAre("1|7"));
  EXPECT_THAT(connection.Run("SELECT value FROM once_meta WHERE key = 'format'").rows,
              ElementsAre(absl::StrCat(next.back().version)));
}

TEST_F(SqliteFiles, AFailedMigrationLeavesTheFormatThatWas) {
  const auto next =
      MigrationsAnd("ALTER TABLE once_positions ADD COLUMN x; SELECT no_such_function()");
  FillAndClose();
  OwnConnection connection(path());
  const auto identity = PrepareSchema(connection.get(), {.path = path(), .migrations = next});
  EXPECT_THAT(std::string(identity.status().message()),
              HasSubstr(absl::StrCat("migrate to format ", next.back().version)));
  EXPECT_NE(connection.Run("SELECT x FROM once_positions").code, SQLITE_OK);
  MustOpen();
  EXPECT_TRUE(IsCompleted("a rather long message id 7"));
}

TEST_F(SqliteFiles, TraitsNameTheStoreAndCountItsOpenings) {
  MustOpen();
  const std::string id = store_->traits().id;
  EXPECT_THAT(id, ::testing::MatchesRegex("[0-9a-f]{32}"));
  EXPECT_EQ(store_->traits().open_count, 1u);
  MustOpen();
  EXPECT_EQ(store_->traits().id, id);
  EXPECT_EQ(store_->traits().open_count, 2u);
  MustOpen(OptionsFor(folder_.File("other.db")));
  EXPECT_NE(store_->traits().id, id);
}

class SqliteFilesDamagedId : public SqliteFiles,
                             public ::testing::WithParamInterface<const char*> {};

TEST_P(SqliteFilesDamagedId, IsRefusedSinceBrokerCommitsWouldCarryIt) {
  FillAndClose();
  std::filesystem::remove(path() + ".once-lock");
  ASSERT_EQ(OwnConnection(path()).Run(GetParam()).code, SQLITE_OK);
  EXPECT_THAT(Open(OptionsFor(path())), Says(kDataLoss, "the id of the store"));
}

INSTANTIATE_TEST_SUITE_P(
    Ids, SqliteFilesDamagedId,
    ::testing::Values("DELETE FROM once_meta WHERE key = 'store'",
                      "UPDATE once_meta SET value = '' WHERE key = 'store'",
                      "UPDATE once_meta SET value = 'two words' WHERE key = 'store'",
                      "UPDATE once_meta SET value = x'c3a9' WHERE key = 'store'",
                      "UPDATE once_meta SET value = printf('%065d', 1) WHERE key = 'store'"));

TEST_F(SqliteFiles, AStoreHasOneIdForLife) {
  MustOpen();
  const std::vector<std::string> id =
      OwnConnection(path()).Run("SELECT value FROM once_meta WHERE key = 'store'").rows;
  MustOpen();
  EXPECT_EQ(OwnConnection(path()).Run("SELECT value FROM once_meta WHERE key = 'store'").rows, id);
  EXPECT_THAT(OwnConnection(path()).Run("SELECT value FROM once_meta WHERE key = 'opened'").rows,
              ElementsAre("2"));
}

}  // namespace
}  // namespace once::sqlite
