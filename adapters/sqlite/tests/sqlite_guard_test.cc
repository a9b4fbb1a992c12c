// What a handler may and may not do with the store's connection, and what becomes of a transaction
// that SQLite rolls back by itself.
#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SqliteGuard : public StoreScene {
 protected:
  void SetUp() override { MustOpen(); }
};

class OtherTransaction final : public Transaction {};

TEST_F(SqliteGuard, TheConnectionIsNullForAnotherStoresTransaction) {
  OtherTransaction other;
  EXPECT_EQ(Connection(other), nullptr);
}

TEST_F(SqliteGuard, TheConnectionIsNullOnceTheTransactionIsOver) {
  const auto transaction = Begin();
  EXPECT_NE(Connection(*transaction), nullptr);
  transaction->Rollback();
  EXPECT_EQ(Connection(*transaction), nullptr);
}

class SqliteGuardRefuses : public SqliteGuard, public ::testing::WithParamInterface<const char*> {};

TEST_P(SqliteGuardRefuses, WhatWouldEndTheTransactionOrTouchTheStore) {
  const auto transaction = Begin();
  ASSERT_TRUE(AddEffect(*transaction, "effect").ok());
  ASSERT_TRUE(Complete(*transaction, "id").ok());
  const SqlResult result = RunSql(Connection(*transaction), GetParam());
  EXPECT_EQ(result.code, SQLITE_AUTH) << result.error;
  // The refusal costs nothing: the transaction goes on.
  EXPECT_TRUE(transaction->CheckOpen().ok()) << transaction->CheckOpen();
  const absl::Status committed = transaction->Commit(Durability::kMachine);
  EXPECT_TRUE(committed.ok()) << committed;
  EXPECT_THAT(Effects(), ElementsAre("effect"));
  EXPECT_TRUE(IsCompleted("id"));
}

INSTANTIATE_TEST_SUITE_P(
    Statements, SqliteGuardRefuses,
    ::testing::Values(
        "COMMIT", "ROLLBACK", "END", "BEGIN", "SAVEPOINT mine", "RELEASE once_savepoint",
        "ROLLBACK TO once_savepoint", "ATTACH ':memory:' AS other", "DETACH main",
        "DELETE FROM once_open", "DELETE FROM ONCE_OPEN", "DELETE FROM main.\"once_open\"",
        "UPDATE once_positions SET position = 0", "INSERT INTO once_scopes(name) VALUES('x')",
        "DROP TABLE once_open", "ALTER TABLE once_open RENAME TO mine",
        "ALTER TABLE once_open ADD COLUMN mine", "CREATE INDEX mine ON once_open(row)",
        "DROP INDEX once_outbox_pending", "CREATE TABLE once_mine(x)",
        "CREATE TEMP TABLE once_open(x)", "CREATE VIEW once_view AS SELECT 1",
        "CREATE TRIGGER mine AFTER INSERT ON once_open BEGIN SELECT 1; END",
        "CREATE TEMP TRIGGER mine AFTER INSERT ON main.once_open BEGIN SELECT 1; END",
        "PRAGMA synchronous = OFF", "PRAGMA journal_mode = DELETE", "PRAGMA writable_schema = ON",
        "PRAGMA locking_mode = EXCLUSIVE", "PRAGMA query_only = ON", "PRAGMA wal_checkpoint",
        "PRAGMA user_version = 7", "PRAGMA foreign_keys = ON",
        "PRAGMA ignore_check_constraints = 1", "PRAGMA busy_timeout = 1"));

class SqliteGuardAllows : public SqliteGuard, public ::testing::WithParamInterface<const char*> {};

TEST_P(SqliteGuardAllows, WhatBelongsToTheHandler) {
  const auto transaction = Begin();
  const SqlResult result = RunSql(Connection(*transaction), GetParam());
  EXPECT_EQ(result.code, SQLITE_OK) << result.error;
  EXPECT_TRUE(transaction->CheckOpen().ok());
  EXPECT_TRUE(transaction->Commit(Durability::kMachine).ok());
}

INSTANTIATE_TEST_SUITE_P(
    Statements, SqliteGuardAllows,
    ::testing::Values(
        "INSERT INTO effects VALUES('x') RETURNING row", "UPDATE effects SET row = 'y'",
        "DELETE FROM effects", "SELECT count(*) FROM once_open",
        "CREATE TABLE mine(once_count, x); UPDATE mine SET once_count = 1",
        "CREATE TABLE t(x INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES(1);"
        "DROP TABLE t",
        "CREATE TEMP TABLE scratch(x)", "CREATE INDEX mine ON effects(row)",
        "CREATE TRIGGER mine AFTER INSERT ON effects BEGIN SELECT 1; END",
        "CREATE VIEW mine AS SELECT * FROM effects", "PRAGMA table_info(effects)",
        "PRAGMA journal_mode", "PRAGMA defer_foreign_keys = ON",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5) "
        "SELECT max(i) FROM n"));

TEST_F(SqliteGuard, ATriggerOfTheHandlersCannotTouchTheStoreEither) {
  const auto transaction = Begin();
  sqlite3* connection = Connection(*transaction);
  ASSERT_EQ(RunSql(connection,
                   "CREATE TRIGGER sly AFTER INSERT ON effects "
                   "BEGIN DELETE FROM once_open; END")
                .code,
            SQLITE_OK);
  EXPECT_EQ(RunSql(connection, "INSERT INTO effects VALUES('x')").code, SQLITE_AUTH);
}

TEST_F(SqliteGuard, TheStoreGoesOnAfterAHandlerChangedTheSchema) {
  ASSERT_TRUE(Apply("before").ok());
  const auto transaction = Begin();
  ASSERT_TRUE(Complete(*transaction, "first").ok());
  ASSERT_EQ(RunSql(Connection(*transaction), "CREATE TABLE mine(x)").code, SQLITE_OK);
  // SQLite prepares the store's statements again now, with the authorizer in place.
  ASSERT_TRUE(Complete(*transaction, "second").ok());
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  ASSERT_EQ(RunSql(Connection(*transaction), "DROP TABLE mine").code, SQLITE_OK);
  ASSERT_TRUE(transaction->RollbackToSavepoint().ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_TRUE(IsCompleted("second"));
  EXPECT_TRUE(Apply("after").ok());
}

TEST_F(SqliteGuard, AStatementMayBeKeptFromOneInvocationToTheNext) {
  sqlite3_stmt* kept = nullptr;
  for (const char* id : {"one", "two"}) {
    const auto transaction = Begin();
    if (kept == nullptr) {
      sqlite3_prepare_v2(Connection(*transaction), "INSERT INTO effects VALUES(?1)", -1, &kept,
                         nullptr);
    }
    sqlite3_bind_text(kept, 1, id, -1, SQLITE_STATIC);
    EXPECT_EQ(sqlite3_step(kept), SQLITE_DONE);
    sqlite3_reset(kept);
    EXPECT_TRUE(transaction->Commit(Durability::kMachine).ok());
  }
  EXPECT_THAT(Effects(), ElementsAre("one", "two"));
  // Outside any transaction it would commit by itself; the guard does not let it.
  EXPECT_EQ(sqlite3_step(kept), SQLITE_CONSTRAINT);
  sqlite3_finalize(kept);
  EXPECT_THAT(Effects(), ElementsAre("one", "two"));
  EXPECT_TRUE(Apply("three").ok());
}

TEST_F(SqliteGuard, AStatementThatOutlivesTheStoreStaysWithoutEffect) {
  sqlite3_stmt* kept = nullptr;
  sqlite3_prepare_v2(Connection(*Begin()), "INSERT INTO effects VALUES('late')", -1, &kept,
                     nullptr);
  store_.reset();
  EXPECT_EQ(sqlite3_step(kept), SQLITE_CONSTRAINT);
  sqlite3_finalize(kept);
  EXPECT_THAT(Effects(), IsEmpty());
  MustOpen();
  EXPECT_TRUE(Apply("next").ok());
}

TEST_F(SqliteGuard, ACommitPreparedElsewhereRollsBackAndIsReported) {
  sqlite3_stmt* sly = nullptr;
  StoreOptions options = OptionsFor(path());
  options.setup = [&](sqlite3* connection) {
    sqlite3_prepare_v2(connection, "COMMIT", -1, &sly, nullptr);
    return absl::OkStatus();
  };
  MustOpen(options);
  const auto transaction = Begin();
  ASSERT_TRUE(AddEffect(*transaction, "effect").ok());
  // Preparing again (the authorizer is newer than the statement) is what refuses it.
  EXPECT_NE(sqlite3_step(sly), SQLITE_DONE);
  sqlite3_finalize(sly);
  transaction->Rollback();
  EXPECT_THAT(Effects(), IsEmpty());
}

TEST_F(SqliteGuard, WithoutTheAuthorizerTheCommitHookStillRefuses) {
  const auto transaction = Begin();
  ASSERT_TRUE(AddEffect(*transaction, "effect").ok());
  ASSERT_TRUE(Complete(*transaction, "id").ok());
  sqlite3_set_authorizer(Connection(*transaction), nullptr, nullptr);
  EXPECT_EQ(RunSql(Connection(*transaction), "COMMIT").code, SQLITE_CONSTRAINT);
  EXPECT_THAT(transaction->CheckOpen(),
              Says(absl::StatusCode::kFailedPrecondition, "handler tried to commit"));
  EXPECT_THAT(transaction->Commit(Durability::kMachine),
              Says(absl::StatusCode::kFailedPrecondition, "handler tried to commit"));
  EXPECT_THAT(Effects(), IsEmpty());
  EXPECT_FALSE(IsCompleted("id"));
}

TEST_F(SqliteGuard, ATransactionOfTheHandlersOwnIsNotTakenForTheStores) {
  const auto transaction = Begin();
  ASSERT_TRUE(Complete(*transaction, "id").ok());
  sqlite3_set_authorizer(Connection(*transaction), nullptr, nullptr);
  ASSERT_EQ(
      RunSql(Connection(*transaction), "ROLLBACK; BEGIN; INSERT INTO effects VALUES('x')").code,
      SQLITE_OK);
  EXPECT_THAT(transaction->CheckOpen(), Says(absl::StatusCode::kAborted, "rolled"));
  EXPECT_FALSE(Complete(*transaction, "late").ok());
  EXPECT_FALSE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(Effects(), IsEmpty());
  EXPECT_FALSE(IsCompleted("id"));
}

TEST_F(SqliteGuard, AReplacedHookIsNoticed) {
  const auto transaction = Begin();
  sqlite3_commit_hook(
      Connection(*transaction), [](void*) { return 0; }, nullptr);
  EXPECT_THAT(transaction->CheckOpen(),
              Says(absl::StatusCode::kFailedPrecondition, "replaced the connection's commit"));
  EXPECT_FALSE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_TRUE(Apply("next").ok());  // ours is back
}

TEST_F(SqliteGuard, OnConflictRollbackInAHandlerIsItsOwnDoing) {
  const auto transaction = Begin();
  sqlite3* connection = Connection(*transaction);
  ASSERT_TRUE(Complete(*transaction, "id").ok());
  ASSERT_EQ(RunSql(connection, "CREATE TABLE one(x UNIQUE); INSERT INTO one VALUES(1)").code,
            SQLITE_OK);
  EXPECT_EQ(RunSql(connection, "INSERT OR ROLLBACK INTO one VALUES(1)").code, SQLITE_CONSTRAINT);
  EXPECT_THAT(transaction->CheckOpen(),
              Says(absl::StatusCode::kFailedPrecondition, "ON CONFLICT ROLLBACK"));
  EXPECT_FALSE(Complete(*transaction, "late").ok());
  EXPECT_FALSE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_FALSE(IsCompleted("id"));
  EXPECT_FALSE(IsCompleted("late"));
}

TEST_F(SqliteGuard, AfterAnAutomaticRollbackNothingRunsInAutocommit) {
  StoreOptions options = OptionsFor(path());
  options.setup = [](sqlite3* connection) {
    RunSql(connection, "CREATE TABLE IF NOT EXISTS effects(row TEXT); PRAGMA max_page_count = 40");
    return absl::OkStatus();
  };
  MustOpen(options);
  ASSERT_TRUE(Apply("before").ok());
  const auto transaction = Begin();
  sqlite3* connection = Connection(*transaction);
  ASSERT_TRUE(Complete(*transaction, "id").ok());
  ASSERT_TRUE(AddEffect(*transaction, "small").ok());
  EXPECT_EQ(RunSql(connection, "INSERT INTO effects VALUES(zeroblob(1000000))").code, SQLITE_FULL);
  ASSERT_NE(sqlite3_get_autocommit(connection), 0) << "SQLite did not roll back by itself";
  // A handler that does not look at results goes on:
  EXPECT_EQ(RunSql(connection, "INSERT INTO effects VALUES('stray')").code, SQLITE_CONSTRAINT);
  EXPECT_THAT(transaction->CheckOpen(), Says(absl::StatusCode::kAborted, "by itself"));
  EXPECT_FALSE(Complete(*transaction, "id").ok());
  EXPECT_FALSE(transaction->RollbackToSavepoint().ok());
  EXPECT_THAT(transaction->Commit(Durability::kMachine),
              Says(absl::StatusCode::kAborted, "by itself"));
  EXPECT_THAT(Effects(), ElementsAre("before"));
  EXPECT_FALSE(IsCompleted("id"));
  EXPECT_TRUE(Apply("after").ok());
}

TEST_F(SqliteGuard, AHandlersUnfinishedReadHoldsNothingBack) {
  sqlite3_stmt* unfinished = nullptr;
  auto transaction = Begin();
  ASSERT_EQ(RunSql(Connection(*transaction), "INSERT INTO effects VALUES('a'), ('b')").code,
            SQLITE_OK);
  sqlite3_prepare_v2(Connection(*transaction), "SELECT row FROM effects", -1, &unfinished, nullptr);
  ASSERT_EQ(sqlite3_step(unfinished), SQLITE_ROW);
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  ASSERT_EQ(sqlite3_step(unfinished), SQLITE_ROW);
  ASSERT_TRUE(transaction->RollbackToSavepoint().ok());
  ASSERT_EQ(sqlite3_step(unfinished), SQLITE_ROW);
  const absl::Status committed = transaction->Commit(Durability::kMachine);
  EXPECT_TRUE(committed.ok()) << committed;
  EXPECT_TRUE(Apply("c").ok());
  // A checkpoint that may not reset the -wal because of a reader says so in its first column.
  EXPECT_THAT(OwnConnection(path()).Run("PRAGMA wal_checkpoint(TRUNCATE)").rows,
              ElementsAre("0|0|0"));
  sqlite3_finalize(unfinished);
}

TEST_F(SqliteGuard, AnUnfinishedInsertReturningIsCommitted) {
  sqlite3_stmt* unfinished = nullptr;
  const auto transaction = Begin();
  sqlite3_prepare_v2(Connection(*transaction),
                     "INSERT INTO effects VALUES('a'), ('b') RETURNING row", -1, &unfinished,
                     nullptr);
  ASSERT_EQ(sqlite3_step(unfinished), SQLITE_ROW);
  const absl::Status committed = transaction->Commit(Durability::kMachine);
  EXPECT_TRUE(committed.ok()) << committed;
  sqlite3_finalize(unfinished);
  EXPECT_THAT(Effects(), ElementsAre("a", "b"));
}

TEST_F(SqliteGuard, ADeferredConstraintRefusesTheCommitAndLeavesNothing) {
  StoreOptions options = OptionsFor(path());
  options.setup = [](sqlite3* connection) {
    RunSql(connection,
           "PRAGMA foreign_keys = ON; CREATE TABLE parent(id INTEGER PRIMARY KEY);"
           "CREATE TABLE child(parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED)");
    return absl::OkStatus();
  };
  MustOpen(options);
  const auto transaction = Begin();
  ASSERT_TRUE(Complete(*transaction, "orphan").ok());
  ASSERT_EQ(RunSql(Connection(*transaction), "INSERT INTO child VALUES(1)").code, SQLITE_OK);
  EXPECT_THAT(transaction->Commit(Durability::kMachine),
              Says(absl::StatusCode::kFailedPrecondition, "FOREIGN KEY constraint failed"));
  EXPECT_FALSE(IsCompleted("orphan"));
  EXPECT_TRUE(Apply("next").ok());
}

TEST_F(SqliteGuard, ASetupThatLeavesATransactionOpenIsRefused) {
  StoreOptions options = OptionsFor(path());
  options.setup = [](sqlite3* connection) {
    RunSql(connection, "BEGIN");
    return absl::OkStatus();
  };
  EXPECT_THAT(Open(options), Says(absl::StatusCode::kFailedPrecondition, "setup"));
  options.setup = [](sqlite3*) { return absl::InternalError("no such module"); };
  EXPECT_THAT(Open(options), Says(absl::StatusCode::kInternal, "no such module"));
}

TEST_F(SqliteGuard, ASetupCannotWeakenTheSyncing) {
  StoreOptions options = OptionsFor(path());
  options.setup = [](sqlite3* connection) {
    RunSql(connection, "PRAGMA synchronous = OFF");
    return absl::OkStatus();
  };
  MustOpen(options);
  const auto transaction = Begin();
  EXPECT_THAT(RunSql(Connection(*transaction), "PRAGMA synchronous").rows, ElementsAre("2"));
}

}  // namespace
}  // namespace once::sqlite
