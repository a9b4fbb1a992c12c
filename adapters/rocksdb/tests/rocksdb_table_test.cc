// What a handler may do with its own tables.
#include "adapters/rocksdb/tests/store_scene.h"
#include "once/memory/store.h"

namespace once::rocksdb {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;
using ::testing::Pair;
using enum absl::StatusCode;

class RocksTables : public StoreScene {
 protected:
  void SetUp() override {
    StoreOptions options = OptionsFor(path());
    options.tables = {"orders", "totals"};
    MustOpen(options);
  }
  static Table Open(Transaction& transaction, std::string_view name = "orders") {
    absl::StatusOr<Table> table = TableOf(transaction, name);
    EXPECT_TRUE(table.ok()) << table.status();
    return *std::move(table);
  }
  static std::vector<std::pair<std::string, std::string>> All(const Table& table,
                                                              std::string_view first = "",
                                                              std::string_view end = "") {
    std::vector<std::pair<std::string, std::string>> rows;
    EXPECT_TRUE(table
                    .ForEach(first, end,
                             [&](std::string_view key, std::string_view value) {
                               rows.emplace_back(key, value);
                               return true;
                             })
                    .ok());
    return rows;
  }
};

TEST_F(RocksTables, ShowTheTransactionWhatItHasWrittenItself) {
  const auto transaction = Begin();
  Table orders = Open(*transaction);
  ASSERT_TRUE(orders.Put("b", "2").ok());
  ASSERT_TRUE(orders.Put("a", "1").ok());
  ASSERT_TRUE(orders.Put("c", "3").ok());
  ASSERT_TRUE(orders.Delete("c").ok());
  EXPECT_THAT(*orders.Get("a"), Optional(std::string("1")));
  EXPECT_EQ(*orders.Get("c"), std::nullopt);
  EXPECT_THAT(All(orders), ElementsAre(Pair("a", "1"), Pair("b", "2")));
  EXPECT_THAT(All(orders, "b"), ElementsAre(Pair("b", "2")));
  EXPECT_THAT(All(orders, "", "b"), ElementsAre(Pair("a", "1")));
}

TEST_F(RocksTables, AreApartFromEachOtherAndFromTheStoresOwn) {
  const auto transaction = Begin();
  ASSERT_TRUE(Open(*transaction, "orders").Put("key", "an order").ok());
  EXPECT_EQ(*Open(*transaction, "totals").Get("key"), std::nullopt);
  EXPECT_THAT(TableOf(*transaction, "once_ids").status(), Says(kNotFound, "no table"));
  EXPECT_THAT(TableOf(*transaction, "default").status(), Says(kNotFound, "no table"));
}

TEST_F(RocksTables, KeepWhatIsCommittedAndNothingElse) {
  auto transaction = Begin();
  ASSERT_TRUE(Open(*transaction).Put("kept", "1").ok());
  ASSERT_TRUE(transaction->SetSavepoint().ok());
  ASSERT_TRUE(Open(*transaction).Put("kept", "2").ok());
  ASSERT_TRUE(Open(*transaction).Put("undone", "1").ok());
  ASSERT_TRUE(transaction->RollbackToSavepoint().ok());
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  transaction = Begin();
  ASSERT_TRUE(Open(*transaction).Put("rolled back", "1").ok());
  transaction->Rollback();
  StoreOptions options = OptionsFor(path());
  options.tables = {};  // tables that are there need not be named again
  ASSERT_TRUE(StoreScene::Open(options).ok());
  transaction = Begin();
  EXPECT_THAT(All(Open(*transaction)), ElementsAre(Pair("kept", "1")));
}

TEST_F(RocksTables, RefuseToBeUsedAfterTheirTransaction) {
  auto transaction = Begin();
  Table orders = Open(*transaction);
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  EXPECT_THAT(orders.Put("late", "1"), Says(kFailedPrecondition, "over"));
  EXPECT_THAT(orders.Get("late").status(), Says(kFailedPrecondition, "over"));
  EXPECT_THAT(TableOf(*transaction, "orders").status(), Says(kFailedPrecondition, "already"));
  transaction.reset();
  EXPECT_THAT(orders.Delete("late"), Says(kFailedPrecondition, "over"));
}

TEST_F(RocksTables, RefuseWritesInsideOfForEach) {
  const auto transaction = Begin();
  Table orders = Open(*transaction);
  ASSERT_TRUE(orders.Put("a", "1").ok());
  absl::Status inside;
  ASSERT_TRUE(orders
                  .ForEach("", "",
                           [&](std::string_view key, std::string_view) {
                             inside = orders.Delete(key);
                             return true;
                           })
                  .ok());
  EXPECT_THAT(inside, Says(kFailedPrecondition, "ForEach"));
  EXPECT_TRUE(orders.Delete("a").ok());
}

TEST_F(RocksTables, AreNotThereInAnotherStore) {
  const auto memory = memory::OpenStore();
  auto begun = memory->transactions()->Begin({});
  ASSERT_TRUE(begun.ok());
  EXPECT_THAT(TableOf(*begun->transaction, "orders").status(),
              Says(kInvalidArgument, "another store"));
  EXPECT_THAT(ReadStatistics(*memory).status(), Says(kInvalidArgument, "another kind"));
}

TEST_F(RocksTables, ATransactionThatIsTooLargeIsRefusedSoThatFewerMessagesAreTried) {
  StoreOptions options = OptionsFor(path());
  options.transaction_bytes_max = 64 * 1024;
  ASSERT_TRUE(StoreScene::Open(options).ok());
  const auto transaction = Begin();
  absl::Status put;
  for (int i = 0; i < 100 && put.ok(); ++i) {
    put = Open(*transaction).Put(absl::StrCat(i), std::string(1024, 'x'));
  }
  EXPECT_THAT(put, Says(kOutOfRange, "transaction_bytes_max"));
}

TEST_F(RocksTables, StatisticsCountWhatIsThere) {
  for (int i = 0; i < 10; ++i) {
    const auto transaction = Begin();
    ASSERT_TRUE(Complete(*transaction, absl::StrCat(i)).ok());
    ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  }
  const auto statistics = ReadStatistics(*store_);
  ASSERT_TRUE(statistics.ok()) << statistics.status();
  EXPECT_EQ(statistics->ids_estimate, 10u);
  EXPECT_GT(statistics->log_bytes, 0u);
  EXPECT_GT(statistics->write_buffer_bytes, 0u);
  EXPECT_EQ(statistics->reopenings, 0u);
}

}  // namespace
}  // namespace once::rocksdb
