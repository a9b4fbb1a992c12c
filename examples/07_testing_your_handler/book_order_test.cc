// Runs BookOrder through every crash point, on the store it has in production.
#include <gtest/gtest.h>
#include <once/sqlite/store.h>
#include <once/testing/crash_test.h>
#include <sqlite3.h>

#include <iostream>
#include <memory>
#include <string>

#include "book_order.h"

using once::testing::CrashReport;
using once::testing::CrashWorld;
using once::testing::RunEveryCrash;

// The orders of this world must be in the table once each, counted without a unique key.
absl::Status EachOrderIsBookedOnce(const CrashWorld& world) {
  sqlite3* db = nullptr;
  sqlite3_open((world.folder + "/orders.db").c_str(), &db);
  std::string orders;
  const auto add = [](void* text, int, char** columns, char**) {
    *static_cast<std::string*>(text) += std::string(columns[0]) + "×" + columns[1] + " ";
    return 0;
  };
  sqlite3_exec(db, "SELECT id, count(*) FROM orders GROUP BY id ORDER BY id", add, &orders,
               nullptr);
  sqlite3_close(db);
  return orders == "a×1 b×1 " ? absl::OkStatus() : absl::InternalError("orders: " + orders);
}

absl::StatusOr<std::shared_ptr<once::DedupStore>> OpenOrders(const CrashWorld& world) {
  return once::sqlite::OpenStore({.path = world.folder + "/orders.db",
                                  .serve_operators = false,  // nobody asks this store for anything
                                  .now = world.now,
                                  .setup = CreateTables});
}

TEST(BookOrder, SurvivesEveryCrash) {
  const CrashReport report = RunEveryCrash({.open_store = OpenOrders,
                                            .messages = {{.id = "a", .value = "tea"},
                                                         {.id = "b", .value = "bread"},
                                                         {.id = "b", .value = "bread"}},
                                            .handler = BookOrder,
                                            .check = EachOrderIsBookedOnce});
  EXPECT_TRUE(report.ok());
  std::cout << report;
}
