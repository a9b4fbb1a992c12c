// RunEveryCrash over a real SQLite store: each process opens the file anew.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "once/sqlite/store.h"
#include "once/testing/crash_test.h"

namespace once::sqlite {
namespace {

using ::once::testing::CrashHandler;
using ::once::testing::CrashReport;
using ::once::testing::CrashTest;
using ::once::testing::CrashVerdict;
using ::once::testing::CrashWorld;
using ::once::testing::RunEveryCrash;

absl::Status Execute(sqlite3* db, const std::string& sql) {
  const int code = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : absl::UnavailableError(sqlite3_errmsg(db));
}

absl::Status CreateTables(sqlite3* db) {
  return Execute(db, "CREATE TABLE IF NOT EXISTS orders(id TEXT NOT NULL)");
}

absl::Status Insert(sqlite3* db, const Message& message) {
  return Execute(db, absl::StrCat("INSERT INTO orders VALUES('", std::string(message.id()), "')"));
}

absl::Status BookOrder(const Message& message, Transaction& transaction) {
  return Insert(Connection(transaction), message);
}

// "a 1, b 1": how often each order is in the table of that file.
std::string CountOrders(const std::string& path) {
  sqlite3* db = nullptr;
  sqlite3_open(path.c_str(), &db);
  std::string counts;
  const auto add = [](void* text, int, char** columns, char**) {
    auto& all = *static_cast<std::string*>(text);
    absl::StrAppend(&all, all.empty() ? "" : ", ", columns[0], " ", columns[1]);
    return 0;
  };
  sqlite3_exec(db, "SELECT id, count(*) FROM orders GROUP BY id ORDER BY id", add, &counts,
               nullptr);
  sqlite3_close(db);
  return counts;
}

CrashTest OrdersTest(CrashHandler handler) {
  return {
      .open_store =
          [](const CrashWorld& world) {
            return OpenStore({.path = world.folder + "/orders.db",
                              .synchronous = Synchronous::kOff,
                              .serve_operators = false,
                              .now = world.now,
                              .setup = CreateTables});
          },
      .messages = {{.id = "a", .value = "1"}, {.id = "b", .value = "2"}, {.id = "b", .value = "2"}},
      .handler = std::move(handler),
      .check =
          [](const CrashWorld& world) {
            const std::string counts = CountOrders(world.folder + "/orders.db");
            if (counts == "a 1, b 1") return absl::OkStatus();
            return absl::InternalError("orders: " + counts);
          },
      .pairs_max = 100};
}

TEST(SqliteCrash, AHandlerInTheTransactionSurvivesEveryCrash) {
  const CrashReport report = RunEveryCrash(OrdersTest(BookOrder));
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_GT(report.singles, 50);
}

TEST(SqliteCrash, AHandlerWithAConnectionOfItsOwnBooksTwice) {
  std::string path;
  CrashTest test = OrdersTest([&path](const Message& message, Transaction&) {
    sqlite3* own = nullptr;
    sqlite3_open(path.c_str(), &own);
    absl::Status status = CreateTables(own);
    if (status.ok()) status = Insert(own, message);
    sqlite3_close(own);
    return status;
  });
  test.reset = [&](const CrashWorld& world) {
    path = world.folder + "/elsewhere.db";
    return absl::OkStatus();
  };
  test.check = [&](const CrashWorld&) {
    const std::string counts = CountOrders(path);
    return counts == "a 1, b 1" ? absl::OkStatus() : absl::InternalError("orders: " + counts);
  };
  const CrashReport report = RunEveryCrash(test);
  ASSERT_TRUE(report.witness.has_value()) << report;
  EXPECT_EQ(report.witness->verdict, CrashVerdict::kWrongState) << report;
  EXPECT_NE(report.witness->what.find("a 2"), std::string::npos) << report;
}

TEST(SqliteCrash, StatementsKeptByAHandlerGoWithItsProcess) {
  // Prepared at the first call, finalised with the copy of the handler that each process has.
  struct Booking {
    std::shared_ptr<sqlite3_stmt> insert;
    absl::Status operator()(const Message& message, Transaction& transaction) {
      if (insert == nullptr) {
        sqlite3_stmt* statement = nullptr;
        sqlite3_prepare_v2(Connection(transaction), "INSERT INTO orders VALUES(?)", -1, &statement,
                           nullptr);
        insert = {statement, sqlite3_finalize};
      }
      sqlite3_bind_text64(insert.get(), 1, message.id().data(), message.id().size(),
                          SQLITE_TRANSIENT, SQLITE_UTF8);
      sqlite3_step(insert.get());
      return sqlite3_reset(insert.get()) == SQLITE_OK ? absl::OkStatus()
                                                      : absl::UnavailableError("insert");
    }
  };
  CrashTest test = OrdersTest(Booking());
  test.pairs_max = 0;
  const CrashReport report = RunEveryCrash(test);
  EXPECT_TRUE(report.ok()) << report;
}

TEST(SqliteCrash, APlainHandlerIsToldThatItMayBeRepeated) {
  int calls = 0;
  CrashTest test = OrdersTest([&calls](const Message&) {
    ++calls;
    return absl::OkStatus();
  });
  test.check = nullptr;
  const CrashReport report = RunEveryCrash(test);
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_GT(report.announced_repeats, 0) << report;
  EXPECT_GT(calls, 2 * report.executions);
}

}  // namespace
}  // namespace once::sqlite
