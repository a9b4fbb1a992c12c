// Random courses of transactions over a handler's tables, step by step beside maps that do the
// same: what a transaction reads is what is committed with its own writes over it, whatever was
// written, looked up, scanned and undone before.
#include <functional>
#include <optional>
#include <random>

#include "adapters/rocksdb/tests/store_scene.h"

namespace once::rocksdb {
namespace {

using Rows = std::map<std::string, std::string>;
using Tables = std::map<std::string, Rows>;

class RocksTableCourses : public StoreScene, public ::testing::WithParamInterface<unsigned> {
 protected:
  void SetUp() override {
    random_.seed(GetParam());
    Reopen();
  }

  void Reopen() {
    StoreOptions options = OptionsFor(path());
    options.tables = {"orders", "totals"};
    options.is_synced = false;
    // Rows get from the log to files on the way.
    options.write_buffer_bytes = 64 * 1024;
    MustOpen(options);
  }

  std::size_t Draw(std::size_t end) { return random_() % end; }

  // Few, so that they meet again; all orders of bytes and lengths among them.
  std::string DrawKey() {
    constexpr std::string_view kBytes(
        "\x00\x01"
        "a\x7f\x80\xff",
        6);
    std::string key;
    for (std::size_t size = Draw(3); size > 0; --size) key += kBytes[Draw(kBytes.size())];
    return key;
  }
  std::string DrawValue() {
    return Draw(20) == 0 ? std::string(5000, 'v')
                         : std::string(Draw(4), static_cast<char>(Draw(256)));
  }

  void Step(StoreTransaction& transaction) {
    const std::string name = Draw(3) == 0 ? "totals" : "orders";
    auto table = TableOf(transaction, name);
    ASSERT_TRUE(table.ok()) << table.status();
    Rows& rows = now_[name];
    const std::string key = DrawKey();
    switch (Draw(9)) {
      case 0:
      case 1:
      case 2: {
        const std::string value = DrawValue();
        ASSERT_TRUE(table->Put(key, value).ok());
        rows[key] = value;
        return;
      }
      case 3:
        ASSERT_TRUE(table->Delete(key).ok());
        rows.erase(key);
        return;
      case 4:
      case 5:
        return CheckGet(*table, rows, key);
      case 6:
        return CheckScan(*table, rows, Draw(3) == 0 ? "" : key, Draw(2) == 0 ? "" : DrawKey());
      case 7:
        ASSERT_TRUE(transaction.SetSavepoint().ok());
        savepoint_ = now_;
        return;
      default:
        if (!savepoint_) return;
        ASSERT_TRUE(transaction.RollbackToSavepoint().ok());
        now_ = *savepoint_;
    }
  }

  static void CheckGet(const Table& table, const Rows& rows, const std::string& key) {
    const auto found = table.Get(key);
    ASSERT_TRUE(found.ok()) << found.status();
    const auto wanted = rows.find(key);
    EXPECT_EQ(*found, wanted == rows.end() ? std::nullopt : std::optional(wanted->second));
  }

  // Stops early at times, and reads inside of the scan.
  void CheckScan(const Table& table, const Rows& rows, const std::string& first,
                 const std::string& end) {
    auto wanted = rows.lower_bound(first);
    std::size_t left = Draw(2) == 0 ? 1 + Draw(4) : rows.size() + 1;
    const bool is_reading = Draw(4) == 0;
    const absl::Status scanned =
        table.ForEach(first, end, [&](std::string_view key, std::string_view value) {
          EXPECT_TRUE(wanted != rows.end() && wanted->first == key && wanted->second == value);
          EXPECT_TRUE(end.empty() || key < end);
          if (is_reading) CheckGet(table, rows, std::string(key));
          if (wanted != rows.end()) ++wanted;
          return --left > 0;
        });
    ASSERT_TRUE(scanned.ok()) << scanned;
    EXPECT_TRUE(left == 0 || wanted == rows.end() || (!end.empty() && wanted->first >= end))
        << "a row was left out";
  }

  void RunTransaction() {
    const auto transaction = Begin();
    now_ = committed_;
    savepoint_.reset();
    for (std::size_t steps = Draw(80); steps > 0 && !HasFailure(); --steps) Step(*transaction);
    if (Draw(4) == 0) return transaction->Rollback();
    ASSERT_TRUE(transaction->Commit(Durability::kProcess).ok());
    committed_ = now_;
  }

  void CheckCommitted() {
    for (const std::string name : {"orders", "totals"}) {
      Rows found;
      const auto visit = [&](std::string_view key, std::string_view value) {
        return found.emplace(key, value).second;
      };
      ASSERT_TRUE(ForEachCommitted(*store_, name, visit).ok());
      EXPECT_EQ(found, committed_[name]);
    }
  }

  std::mt19937_64 random_;
  Tables committed_;
  Tables now_;  // as the open transaction sees them
  std::optional<Tables> savepoint_;
};

TEST_P(RocksTableCourses, ReadWhatMapsWouldHold) {
  for (int i = 0; i < 60 && !HasFailure(); ++i) {
    RunTransaction();
    CheckCommitted();
    if (i % 20 == 19) Reopen();
  }
  CheckCommitted();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RocksTableCourses, ::testing::Range(0u, 24u));

}  // namespace
}  // namespace once::rocksdb
