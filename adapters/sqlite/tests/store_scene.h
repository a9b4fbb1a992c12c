// What the tests of the SQLite store share: a folder of their own, SQL in one line, and a store
// with a table of effects. Thread-safety: none.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/sqlite/store.h"
#include "tests/scratch_folder.h"

namespace once::sqlite {

using testing::ScratchFolder;

// Runs SQL on any connection; the rows, columns joined by '|'. The code of a failure comes first.
struct SqlResult {
  int code = SQLITE_OK;
  std::string error;
  std::vector<std::string> rows;
};

inline SqlResult RunSql(sqlite3* connection, const std::string& sql) {
  SqlResult result;
  char* error = nullptr;
  const auto add_row = [](void* rows, int count, char** values, char** /*names*/) {
    std::string row;
    for (int i = 0; i < count; ++i) {
      absl::StrAppend(&row, i == 0 ? "" : "|", values[i] != nullptr ? values[i] : "null");
    }
    static_cast<std::vector<std::string>*>(rows)->push_back(row);
    return 0;
  };
  result.code = sqlite3_exec(connection, sql.c_str(), add_row, &result.rows, &error);
  if (error != nullptr) result.error = error;
  sqlite3_free(error);
  return result;
}

// A connection such as a user's own program would open.
class OwnConnection {
 public:
  explicit OwnConnection(const std::string& path, int flags = SQLITE_OPEN_READWRITE) {
    code_ = sqlite3_open_v2(path.c_str(), &connection_, flags, nullptr);
    sqlite3_busy_timeout(connection_, 1000);
  }
  ~OwnConnection() { sqlite3_close(connection_); }
  OwnConnection(const OwnConnection&) = delete;
  OwnConnection& operator=(const OwnConnection&) = delete;

  SqlResult Run(const std::string& sql) {
    return code_ == SQLITE_OK ? RunSql(connection_, sql) : SqlResult{code_, "cannot open", {}};
  }
  sqlite3* get() { return connection_; }

 private:
  sqlite3* connection_ = nullptr;
  int code_ = SQLITE_OK;
};

inline absl::Status CreateEffects(sqlite3* connection) {
  const SqlResult result = RunSql(connection, "CREATE TABLE IF NOT EXISTS effects(row TEXT)");
  return result.code == SQLITE_OK ? absl::OkStatus() : absl::InternalError(result.error);
}

inline StoreOptions OptionsFor(const std::string& path) {
  return {.path = path, .busy_timeout = absl::Milliseconds(20), .setup = CreateEffects};
}

inline absl::Status AddEffect(Transaction& transaction, std::string_view row) {
  sqlite3_stmt* statement = nullptr;
  sqlite3* connection = Connection(transaction);
  sqlite3_prepare_v2(connection, "INSERT INTO effects VALUES(?1)", -1, &statement, nullptr);
  sqlite3_bind_text(statement, 1, row.data(), static_cast<int>(row.size()), SQLITE_STATIC);
  const int code = sqlite3_step(statement);
  sqlite3_finalize(statement);
  return code == SQLITE_DONE ? absl::OkStatus() : absl::InternalError(sqlite3_errmsg(connection));
}

inline PartitionKey Orders(std::int32_t partition = 0) {
  return {.cluster = "cluster", .group = "group", .partition = {"orders", partition}};
}

// One store and the usual steps on it; every step that must succeed fails the test otherwise.
class StoreScene : public ::testing::Test {
 protected:
  // Before the members of derived classes are gone: a FaultVfs must outlive the files.
  void TearDown() override { store_.reset(); }

  std::string path() const { return folder_.File("store.db"); }

  absl::Status Open(StoreOptions options) {
    store_.reset();
    auto store = OpenStore(std::move(options));
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }
  void MustOpen(StoreOptions options) {
    const absl::Status opened = Open(std::move(options));
    ASSERT_TRUE(opened.ok()) << opened;
  }
  void MustOpen() { MustOpen(OptionsFor(path())); }

  TransactionalStore& transactions() { return *store_->transactions(); }

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
  absl::Status Apply(const std::string& id) {
    auto begun = transactions().Begin({});
    if (!begun.ok()) return begun.status();
    if (absl::Status effect = AddEffect(*begun->transaction, id); !effect.ok()) return effect;
    if (absl::Status put = Complete(*begun->transaction, id); !put.ok()) return put;
    return begun->transaction->Commit(Durability::kMachine);
  }

  bool IsCompleted(std::string_view id) {
    const auto transaction = Begin();
    if (transaction == nullptr) return false;
    const IdKey key{"scope", id};
    IdRecord record;
    const absl::Status found = transaction->FindIds({&key, 1}, {&record, 1});
    EXPECT_TRUE(found.ok()) << found;
    return record.state == IdState::kCompleted;
  }

  std::vector<std::string> Effects() {
    return OwnConnection(path()).Run("SELECT row FROM effects ORDER BY rowid").rows;
  }

  ScratchFolder folder_;
  std::shared_ptr<DedupStore> store_;
};

// Statuses in assertions: EXPECT_THAT(status, Says(kUnavailable, "locked")).
MATCHER_P2(Says, code, text, "") {
  *result_listener << "where the status is " << arg.ToString();
  return arg.code() == code && absl::StrContains(arg.message(), text);
}

}  // namespace once::sqlite
