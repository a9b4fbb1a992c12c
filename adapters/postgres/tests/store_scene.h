// What the tests of the PostgreSQL store share: a schema of their own, and a store with a table of
// effects. Thread-safety: none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "adapters/postgres/tests/test_server.h"
#include "once/abseil.h"
#include "once/postgres/store.h"

namespace once::postgres {

using testing::PrivateServer;
using testing::RunSql;
using testing::TestSchema;

inline StoreOptions OptionsFor(const std::string& connection, const std::string& schema) {
  return {.connection = connection,
          .schema = schema,
          .lock_timeout = absl::Milliseconds(100),
          .answer_timeout = absl::Seconds(20)};
}

// Behind all rows that are there.
inline absl::Status AddEffect(Transaction& transaction, const TestSchema& schema,
                              std::string_view row) {
  return Connection(transaction)
      .Execute(absl::StrCat("INSERT INTO ", schema.effects(), "(body) VALUES($1)"), {Bytes{row}})
      .status();
}

inline std::vector<std::string> ReadEffects(const std::string& connection,
                                            const TestSchema& schema) {
  std::vector<std::string> rows;
  for (const auto& row : RunSql(connection, absl::StrCat("SELECT encode(body, 'escape') FROM ",
                                                         schema.effects(), " ORDER BY number"))) {
    rows.push_back(row[0]);
  }
  return rows;
}

inline PartitionKey Orders(std::int32_t partition = 0) {
  return {.cluster = "cluster", .group = "group", .partition = {"orders", partition}};
}

// One store and the usual steps on it; every step that must succeed fails the test otherwise.
class StoreScene : public ::testing::Test {
 protected:
  // On the shared server, unless a test says otherwise.
  virtual std::string connection() const { return testing::SharedServer(); }
  const TestSchema& schema() {
    if (!schema_) schema_ = std::make_unique<TestSchema>(connection());
    return *schema_;
  }
  StoreOptions Options() { return OptionsFor(connection(), schema().name()); }

  static std::shared_ptr<DedupStore> MustOpen(StoreOptions options) {
    auto store = OpenStore(std::move(options));
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }
  void MustOpen() {
    store_ = MustOpen(Options());
    ASSERT_NE(store_, nullptr);
  }

  TransactionalStore& transactions() { return *store_->transactions(); }

  static PositionStamp Take(DedupStore& store, std::uint64_t writer) {
    const TakeRequest request{.key = Orders(), .writer = writer};
    const auto taken = store.transactions()->Take({&request, 1});
    EXPECT_TRUE(taken.ok()) << taken.status();
    return taken.ok() ? taken->front().current : PositionStamp{};
  }
  static std::unique_ptr<StoreTransaction> Begin(DedupStore& store, const PositionStamp& expected) {
    const PositionLock lock{.key = Orders(), .expected = expected};
    auto begun = store.transactions()->Begin({&lock, 1});
    EXPECT_TRUE(begun.ok()) << begun.status();
    EXPECT_TRUE(begun.ok() && begun->mismatches.empty());
    return begun.ok() ? std::move(begun->transaction) : nullptr;
  }
  std::unique_ptr<StoreTransaction> Begin() {
    auto begun = transactions().Begin({});
    EXPECT_TRUE(begun.ok()) << begun.status();
    return begun.ok() ? std::move(begun->transaction) : nullptr;
  }

  static absl::Status Complete(StoreTransaction& transaction, std::string_view id) {
    const IdWrite write{.key = {"scope", id}, .record = {.state = IdState::kCompleted}};
    return transaction.PutIds({&write, 1});
  }

  // An effect and its id in one transaction.
  absl::Status Apply(const std::string& id, Durability wanted = Durability::kMachine) {
    auto begun = transactions().Begin({});
    if (!begun.ok()) return begun.status();
    absl::Status effect = AddEffect(*begun->transaction, schema(), id);
    if (!effect.ok()) return effect;
    if (absl::Status put = Complete(*begun->transaction, id); !put.ok()) return put;
    return begun->transaction->Commit(wanted);
  }
  void MustApply(const std::string& id, Durability wanted = Durability::kMachine) {
    const absl::Status applied = Apply(id, wanted);
    ASSERT_TRUE(applied.ok()) << applied;
  }

  absl::StatusOr<IdRecord> Find(std::string_view id) {
    auto begun = transactions().Begin({});
    if (!begun.ok()) return begun.status();
    const IdKey key{"scope", id};
    IdRecord record;
    const absl::Status found = begun->transaction->FindIds({&key, 1}, {&record, 1});
    if (!found.ok()) return found;
    return record;
  }
  bool IsCompleted(std::string_view id) {
    const auto record = Find(id);
    EXPECT_TRUE(record.ok()) << record.status();
    return record.ok() && record->state == IdState::kCompleted;
  }
  std::vector<std::string> Effects() { return ReadEffects(connection(), schema()); }

  std::unique_ptr<TestSchema> schema_;
  std::shared_ptr<DedupStore> store_;
};

// Statuses in assertions: EXPECT_THAT(status, Says(kUnavailable, "locked")).
MATCHER_P2(Says, code, text, "") {
  *result_listener << "where the status is " << arg.ToString();
  return arg.code() == code && ToStd(arg.message()).find(text) != std::string_view::npos;
}

}  // namespace once::postgres
