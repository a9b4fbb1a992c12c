// RunEveryCrash over a real RocksDB store: each process opens the folder anew.
#include "once/testing/crash_test.h"

#include <map>

#include "adapters/rocksdb/tests/store_scene.h"

namespace once::rocksdb {
namespace {

using ::once::testing::CrashHandler;
using ::once::testing::CrashReport;
using ::once::testing::CrashTest;
using ::once::testing::CrashWorld;
using ::once::testing::RunEveryCrash;

StoreOptions OptionsIn(const CrashWorld& world) {
  StoreOptions options = OptionsFor(world.folder + "/orders.rocksdb");
  options.tables = {"orders"};
  options.is_synced = false;
  options.serve_operators = false;
  options.now = world.now;
  return options;
}

// Counts how often an order was booked.
absl::Status BookOrder(const Message& message, Transaction& transaction) {
  absl::StatusOr<Table> orders = TableOf(transaction, "orders");
  if (!orders.ok()) return orders.status();
  const auto before = orders->Get(message.id());
  if (!before.ok()) return before.status();
  return orders->Put(message.id(), before->value_or("") + "x");
}

TEST(RocksCrash, AHandlerInTheTransactionSurvivesEveryCrash) {
  const CrashReport report = RunEveryCrash(
      {.open_store = [](const CrashWorld& world) { return OpenStore(OptionsIn(world)); },
       .messages = {{.id = "a", .value = "1"},
                    {.id = "b", .value = "2"},
                    {.id = "b", .value = "2"}},
       .handler = BookOrder,
       .check = [](const CrashWorld& world) -> absl::Status {
         const auto store = OpenStore(OptionsIn(world));
         if (!store.ok()) return store.status();
         std::string all;
         absl::Status read =
             ForEachCommitted(**store, "orders", [&](std::string_view key, std::string_view x) {
               absl::StrAppend(&all, ToAbsl(key), " ", ToAbsl(x), ";");
               return true;
             });
         if (!read.ok() || all == "a x;b x;") return read;
         return absl::InternalError("orders: " + all);
       },
       .pairs_max = 0});
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_GT(report.singles, 50);
}

}  // namespace
}  // namespace once::rocksdb
