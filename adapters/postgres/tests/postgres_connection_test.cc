// What handlers do in the transactions of their messages, and what they are kept from.
#include <limits>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "adapters/postgres/tests/store_scene.h"
#include "once/memory/store.h"

namespace once::postgres {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

class ConnectionTest : public StoreScene {
 protected:
  void SetUp() override {
    MustOpen();
    transaction_ = Begin();
    ASSERT_NE(transaction_, nullptr);
  }
  Connection connection_of_handler() { return Connection(*transaction_); }
  std::string Text(std::string_view sql, const std::vector<Value>& values = {}) {
    auto rows = connection_of_handler().Query(sql, values);
    EXPECT_TRUE(rows.ok()) << sql << ": " << rows.status();
    return rows.ok() && rows->size() > 0 ? std::string(rows->Text(0, 0)) : "";
  }
  absl::Status Execute(std::string_view sql, const std::vector<Value>& values = {}) {
    return connection_of_handler().Execute(sql, values).status();
  }

  std::unique_ptr<StoreTransaction> transaction_;
};

TEST_F(ConnectionTest, ValuesOfEveryKindGoInAsTheyAre) {
  EXPECT_EQ(Text("SELECT $1::int8", {std::numeric_limits<std::int64_t>::min()}),
            "-9223372036854775808");
  EXPECT_EQ(Text("SELECT $1::bool", {true}), "t");
  EXPECT_EQ(Text("SELECT $1::float8 = 0.1", {0.1}), "t");
  EXPECT_EQ(Text("SELECT $1::text", {"'; DROP TABLE x; --"}), "'; DROP TABLE x; --");
  EXPECT_EQ(Text("SELECT $1::date + 1", {"2024-02-28"}), "2024-02-29");
  EXPECT_EQ(Text("SELECT $1::text IS NULL", {nullptr}), "t");
  const std::string bytes = "\0\xff\\x"s;
  const auto rows = connection_of_handler().Query("SELECT $1::bytea, 7, NULL", {Bytes{bytes}});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(*rows->Bytes(0, 0), bytes);
  EXPECT_EQ(*rows->Int(0, 1), 7);
  EXPECT_TRUE(rows->IsNull(0, 2));
  EXPECT_EQ(rows->columns(), 3u);
  EXPECT_TRUE(absl::IsOutOfRange(rows->Int(0, 0).status()));
}

// The store is not to blame for what the next message's handler finds on the connection.
TEST_F(ConnectionTest, WhatAHandlerLeavesOnItsSessionIsGoneForTheNextOne) {
  const auto leave_behind = [&] {
    EXPECT_EQ(Text("SELECT set_config('work_mem', '123kB', false)"), "123kB");
    EXPECT_EQ(Text("SELECT set_config('my.tenant', 'first', false)"), "first");
    EXPECT_TRUE(Execute("SELECT pg_advisory_lock(4711)").ok());
    EXPECT_TRUE(Execute("CREATE TEMP TABLE left_behind(number int8)").ok());
  };
  const std::string process = Text("SELECT pg_backend_pid()");
  const std::string work_mem = Text("SHOW work_mem");
  for (const bool is_committed : {true, false}) {
    leave_behind();
    if (is_committed) {
      EXPECT_TRUE(transaction_->Commit(Durability::kMachine).ok());
    } else {
      transaction_->Rollback();
    }
    transaction_ = Begin();
    ASSERT_EQ(Text("SELECT pg_backend_pid()"), process);
    EXPECT_EQ(Text("SHOW work_mem"), work_mem);
    EXPECT_EQ(Text("SELECT current_setting('my.tenant', true)"), "");
    EXPECT_EQ(Text("SELECT to_regclass('left_behind')"), "");
    // The store's own is shared.
    EXPECT_EQ(Text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = "
                   "'ExclusiveLock' AND pid = pg_backend_pid()"),
              "0");
    // The session's own settings are as they were made.
    EXPECT_EQ(Text("SHOW plan_cache_mode"), "force_custom_plan");
    EXPECT_EQ(Text("SHOW statement_timeout"), "5min");
  }
}

// The engine gives every invocation a number: that must not cost the short way.
TEST_F(ConnectionTest, AMessageThatSucceedsAtItsFirstAttemptTakesTheShortStatement) {
  const IdWrite write{.key = {"scope", "id"},
                      .record = {.state = IdState::kCompleted, .attempt = 1}};
  ASSERT_TRUE(transaction_->PutIds({&write, 1}).ok());
  ASSERT_TRUE(transaction_->Commit(Durability::kMachine).ok());
  transaction_ = Begin();
  const std::string used =
      "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE "
      "'INSERT INTO %.known_ids(%'";
  EXPECT_EQ(Text(used), "1");
  EXPECT_EQ(Text(used + " AND statement LIKE '%fence_incarnation%'"), "0");
}

// Each has a row that the other one wants: the server finds that out, and ends one of them.
TEST_F(ConnectionTest, OfTwoHandlersInADeadlockOneIsToldToTryAgain) {
  ASSERT_TRUE(AddEffect(*transaction_, schema(), "first").ok());
  ASSERT_TRUE(AddEffect(*transaction_, schema(), "second").ok());
  ASSERT_TRUE(transaction_->Commit(Durability::kMachine).ok());
  const std::string touch =
      absl::StrCat("UPDATE ", schema().effects(), " SET body = body WHERE body = $1");
  transaction_ = Begin();
  const auto other = Begin();
  ASSERT_TRUE(Execute(touch, {Bytes{"first"}}).ok());
  ASSERT_TRUE(Connection(*other).Execute(touch, {Bytes{"second"}}).ok());
  absl::Status others;
  std::thread waiting(
      [&] { others = Connection(*other).Execute(touch, {Bytes{"first"}}).status(); });
  const absl::Status ours = Execute(touch, {Bytes{"second"}});
  // Who has lost lets go of his row, and the other one has it.
  if (!ours.ok()) transaction_->Rollback();
  waiting.join();
  EXPECT_NE(ours.ok(), others.ok()) << ours << ", " << others;
  EXPECT_TRUE(absl::IsAborted(ours) || absl::IsAborted(others)) << ours << ", " << others;
}

TEST_F(ConnectionTest, TheStoreWaitsNoLongerForALockAfterAHandlerHas) {
  EXPECT_EQ(Text("SHOW lock_timeout"), "5s");
  ASSERT_TRUE(Complete(*transaction_, "id").ok());
  ASSERT_TRUE(transaction_->SetSavepoint().ok());
  EXPECT_EQ(Text("SHOW lock_timeout"), "5s");
  ASSERT_TRUE(transaction_->RollbackToSavepoint().ok());
  EXPECT_EQ(Text("SHOW lock_timeout"), "5s");
  // Somebody else's transaction has the id: found out as quickly as without a handler.
  const auto other = Begin();
  ASSERT_TRUE(Complete(*other, "held").ok());
  const absl::Time begin = absl::Now();
  EXPECT_TRUE(absl::IsUnavailable(Complete(*transaction_, "held")));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(3));
}

TEST_F(ConnectionTest, ABatchOfRowsGoesInOneStatement) {
  const std::vector<std::int64_t> numbers = {1, -2, 3};
  const std::vector<std::string> texts = {"plain", "a \"quote\", a \\ and a {", "NULL"};
  const std::vector<Bytes> bodies = {{"\0one"}, {""}, {"three"}};
  ASSERT_TRUE(
      Execute("CREATE TEMP TABLE batch(number int8, name text, body bytea) ON COMMIT DROP").ok());
  const auto inserted = connection_of_handler().Execute(
      "INSERT INTO batch SELECT * FROM unnest($1::int8[], $2::text[], $3::bytea[])",
      {std::span<const std::int64_t>(numbers), std::span<const std::string>(texts),
       std::span<const Bytes>(bodies)});
  ASSERT_TRUE(inserted.ok()) << inserted.status();
  EXPECT_EQ(*inserted, 3);
  const auto rows = connection_of_handler().Query("SELECT name, number FROM batch ORDER BY number");
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_EQ(rows->Text(0, 0), texts[1]);
  EXPECT_EQ(rows->Text(1, 0), texts[0]);
  EXPECT_EQ(rows->Text(2, 0), texts[2]);
}

TEST_F(ConnectionTest, WhatWouldEndTheTransactionIsRefusedAndChangesNothing) {
  ASSERT_TRUE(AddEffect(*transaction_, schema(), "kept").ok());
  for (const char* sql : {"COMMIT",
                          "commit",
                          " \n\tCommit;",
                          "; ;COMMIT",
                          "-- a comment\nCOMMIT",
                          "-- a comment\rCOMMIT",
                          "-- a comment\r\n-- another\r\fCOMMIT",
                          "EXECUTE once_12345",
                          "/* a /* nested */ one */ COMMIT",
                          "/**/COMMIT AND CHAIN",
                          "END",
                          "ROLLBACK",
                          "ROLLBACK TO SAVEPOINT once_savepoint",
                          "ABORT",
                          "BEGIN",
                          "START TRANSACTION",
                          "SAVEPOINT mine",
                          "RELEASE once_savepoint",
                          "PREPARE TRANSACTION 'x'",
                          "DEALLOCATE ALL",
                          "DISCARD ALL",
                          "SET search_path TO x",
                          "SET SESSION lock_timeout TO 0",
                          "SET TRANSACTION READ ONLY",
                          "RESET ALL",
                          "COPY effects FROM STDIN",
                          "LISTEN x"}) {
    const absl::Status refused = Execute(sql);
    EXPECT_THAT(refused, Says(absl::StatusCode::kInvalidArgument, "refused")) << sql;
  }
  EXPECT_TRUE(transaction_->CheckOpen().ok());
  ASSERT_TRUE(Execute("SET LOCAL lock_timeout TO 5").ok());
  EXPECT_TRUE(transaction_->Commit(Durability::kMachine).ok());
  EXPECT_THAT(Effects(), ::testing::ElementsAre("kept"));
}

TEST_F(ConnectionTest, NeitherASecondStatementNorAProcedureEndsIt) {
  ASSERT_TRUE(AddEffect(*transaction_, schema(), "not kept").ok());
  EXPECT_FALSE(Execute("SELECT 1; COMMIT").ok());
  EXPECT_FALSE(transaction_->CheckOpen().ok());
  transaction_->Rollback();
  transaction_ = Begin();
  ASSERT_TRUE(AddEffect(*transaction_, schema(), "not kept").ok());
  EXPECT_FALSE(Execute("DO $$ BEGIN COMMIT; END $$").ok());
  EXPECT_FALSE(transaction_->Commit(Durability::kMachine).ok());
  EXPECT_THAT(Effects(), ::testing::IsEmpty());
}

TEST_F(ConnectionTest, AFailedStatementIsTheHandlersAndASavepointMendsIt) {
  ASSERT_TRUE(transaction_->SetSavepoint().ok());
  EXPECT_THAT(Execute("SELECT 1 / 0"), Says(absl::StatusCode::kInvalidArgument, "22012"));
  EXPECT_THAT(transaction_->CheckOpen(),
              Says(absl::StatusCode::kFailedPrecondition, "must return it"));
  EXPECT_FALSE(AddEffect(*transaction_, schema(), "behind the error").ok());
  ASSERT_TRUE(transaction_->RollbackToSavepoint().ok());
  EXPECT_TRUE(transaction_->CheckOpen().ok());
  ASSERT_TRUE(AddEffect(*transaction_, schema(), "after all").ok());
  ASSERT_TRUE(Complete(*transaction_, "id").ok());
  EXPECT_TRUE(transaction_->Commit(Durability::kMachine).ok());
  EXPECT_THAT(Effects(), ::testing::ElementsAre("after all"));
  EXPECT_TRUE(IsCompleted("id"));
}

TEST_F(ConnectionTest, ErrorsSayWhatKindTheyAre) {
  ASSERT_TRUE(
      Execute("CREATE TEMP TABLE one(id int PRIMARY KEY CHECK (id > 0)) ON COMMIT DROP").ok());
  ASSERT_TRUE(Execute("INSERT INTO one VALUES(1)").ok());
  ASSERT_TRUE(transaction_->SetSavepoint().ok());
  const std::pair<const char*, absl::StatusCode> kErrors[] = {
      {"INSERT INTO one VALUES(1)", absl::StatusCode::kAlreadyExists},
      {"INSERT INTO one VALUES(0)", absl::StatusCode::kFailedPrecondition},
      {"SELEC 1", absl::StatusCode::kInvalidArgument},
      {"SELECT * FROM no_such_table", absl::StatusCode::kInvalidArgument},
      {"DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", absl::StatusCode::kAborted},
      {"DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", absl::StatusCode::kResourceExhausted},
      {"DO $$ BEGIN RAISE SQLSTATE 'XX001'; END $$", absl::StatusCode::kDataLoss},
      {"DO $$ BEGIN RAISE EXCEPTION 'no credit'; END $$", absl::StatusCode::kFailedPrecondition},
  };
  for (const auto& [sql, code] : kErrors) {
    EXPECT_EQ(Execute(sql).code(), code) << sql;
    ASSERT_TRUE(transaction_->RollbackToSavepoint().ok());
  }
}

// A handler that is always too slow must be charged for it, or it would be tried for ever.
TEST_F(ConnectionTest, AStatementThatTakesTooLongIsGivenUpAndTheHandlersOwn) {
  transaction_.reset();
  StoreOptions options = Options();
  options.statement_timeout = absl::Milliseconds(50);
  store_ = MustOpen(options);
  transaction_ = Begin();
  EXPECT_THAT(Execute("SELECT pg_sleep(30)"),
              Says(absl::StatusCode::kDeadlineExceeded, "too long"));
  EXPECT_TRUE(absl::IsFailedPrecondition(transaction_->CheckOpen()));
}

// What the store trips over itself must not be held against messages.
TEST_F(ConnectionTest, ABrokenSchemaIsNoVerdictOnAMessage) {
  RunSql(connection(), "ALTER TABLE " + schema().name() + ".known_ids RENAME COLUMN state TO gone");
  EXPECT_THAT(Complete(*transaction_, "id"), Says(absl::StatusCode::kInternal, "42703"));
}

TEST_F(ConnectionTest, ADeferredConstraintIsAnswerOfTheCommitAndRefusesIt) {
  ASSERT_TRUE(Execute("CREATE TEMP TABLE one(id int UNIQUE DEFERRABLE INITIALLY DEFERRED) "
                      "ON COMMIT DROP")
                  .ok());
  ASSERT_TRUE(Execute("INSERT INTO one VALUES(1), (1)").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(transaction_->Commit(Durability::kMachine)));
}

TEST_F(ConnectionTest, AZeroByteInATextIsRefusedInsteadOfCut) {
  EXPECT_THAT(Execute("SELECT $1::text", {"a\0b"sv}),
              Says(absl::StatusCode::kInvalidArgument, "zero byte"));
  EXPECT_TRUE(transaction_->CheckOpen().ok());
}

TEST_F(ConnectionTest, NothingWorksWhenTheTransactionIsOver) {
  Connection connection = connection_of_handler();
  ASSERT_TRUE(transaction_->Commit(Durability::kMachine).ok());
  EXPECT_THAT(connection.Query("SELECT 1").status(),
              Says(absl::StatusCode::kFailedPrecondition, "is over"));
  transaction_.reset();
  EXPECT_TRUE(absl::IsFailedPrecondition(connection.Execute("SELECT 1").status()));
}

TEST_F(ConnectionTest, TheTransactionOfAnotherStoreIsNotOurs) {
  const auto other = memory::OpenStore();
  auto begun = other->transactions()->Begin({});
  ASSERT_TRUE(begun.ok());
  Connection connection(*begun->transaction);
  EXPECT_THAT(connection.Query("SELECT 1").status(),
              Says(absl::StatusCode::kInvalidArgument, "another store"));
}

}  // namespace
}  // namespace once::postgres
