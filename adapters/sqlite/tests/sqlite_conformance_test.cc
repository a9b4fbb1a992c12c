// The public conformance suites over an SQLite file.
#include "adapters/sqlite/tests/store_scene.h"
#include "once/testing/claims_conformance.h"
#include "once/testing/half_message_conformance.h"
#include "once/testing/operations_conformance.h"
#include "once/testing/outgoing_conformance.h"
#include "once/testing/store_conformance.h"

namespace once::sqlite {
namespace {

class SqliteFixture final : public once::testing::StoreFixture {
 public:
  SqliteFixture() { EXPECT_TRUE(Open("0").ok()); }

  DedupStore& store() override { return *store_; }

  absl::Status AppendEffect(Transaction& transaction, std::string_view row) override {
    return AddEffect(transaction, row);
  }

  absl::StatusOr<std::vector<std::string>> ReadEffects() override {
    OwnConnection bystander(path_, SQLITE_OPEN_READWRITE);
    SqlResult result = bystander.Run("SELECT row FROM effects ORDER BY rowid");
    if (result.code != SQLITE_OK) return absl::InternalError(result.error);
    return std::move(result.rows);
  }

  absl::Status AdvanceClock(absl::Duration duration) override {
    *now_ += duration;
    return absl::OkStatus();
  }

  absl::Status Reopen() override {
    store_.reset();
    return Open(name_);
  }

  // What a process leaves when it dies is what the page cache holds at that moment: the database
  // and its -wal, copied while they are open. (A child really killed: sqlite_kill_test.cc.)
  absl::Status Crash() override {
    const std::string name = name_ + "+";
    const std::string copy = folder_.File(name);
    for (const std::string suffix : {"", "-wal", ".once-lock"}) {
      // In another process: closing a descriptor of the file here would drop SQLite's locks.
      if (std::system(absl::StrCat("cp ", path_, suffix, " ", copy, suffix).c_str()) != 0) {
        return absl::InternalError("cp");
      }
    }
    before_crash_.push_back(std::move(store_));
    return Open(name);
  }

 private:
  absl::Status Open(const std::string& name) {
    name_ = name;
    path_ = folder_.File(name);
    auto store = OpenStore({.path = path_,
                            .synchronous = Synchronous::kOff,
                            .busy_timeout = absl::Milliseconds(20),
                            .now = [now = now_] { return *now; },
                            .setup = CreateEffects});
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }

  // Shared with stores that have "crashed". Calls from several threads only read it.
  const std::shared_ptr<absl::Time> now_ =
      std::make_shared<absl::Time>(absl::FromUnixSeconds(1'700'000'000));
  ScratchFolder folder_;
  std::string name_;
  std::string path_;
  std::vector<std::shared_ptr<DedupStore>> before_crash_;
  std::shared_ptr<DedupStore> store_;
};

once::testing::StoreUnderTest Sqlite() {
  return {.name = "sqlite", .make = [] { return std::make_unique<SqliteFixture>(); }};
}

INSTANTIATE_TEST_SUITE_P(Sqlite, TransactionalStoreConformance, ::testing::Values(Sqlite()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Sqlite, OutgoingLogConformance, ::testing::Values(Sqlite()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Sqlite, ClaimStoreConformance, ::testing::Values(Sqlite()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Sqlite, HalfMessageConformance, ::testing::Values(Sqlite()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Sqlite, StoreOperationsConformance, ::testing::Values(Sqlite()),
                         once::testing::StoreName);

}  // namespace
}  // namespace once::sqlite
