// The public conformance suites over a RocksDB folder.
#include "adapters/rocksdb/tests/store_scene.h"
#include "once/testing/claims_conformance.h"
#include "once/testing/half_message_conformance.h"
#include "once/testing/operations_conformance.h"
#include "once/testing/outgoing_conformance.h"
#include "once/testing/store_conformance.h"

namespace once::rocksdb {
namespace {

class RocksFixture final : public once::testing::StoreFixture {
 public:
  RocksFixture() { EXPECT_TRUE(Open("0").ok()); }

  DedupStore& store() override { return *store_; }

  absl::Status AppendEffect(Transaction& transaction, std::string_view row) override {
    return AddEffect(transaction, row);
  }

  absl::StatusOr<std::vector<std::string>> ReadEffects() override {
    return rocksdb::ReadEffects(*store_);
  }

  absl::Status AdvanceClock(absl::Duration duration) override {
    *now_ += duration;
    return absl::OkStatus();
  }

  absl::Status Reopen() override {
    store_.reset();
    return Open(name_);
  }

  absl::Status Crash() override {
    const std::string name = name_ + "+";
    CopyStore(folder_.File(name_), folder_.File(name));
    before_crash_.push_back(std::move(store_));
    return Open(name);
  }

 private:
  absl::Status Open(const std::string& name) {
    name_ = name;
    StoreOptions options = OptionsFor(folder_.File(name));
    options.is_synced = false;
    options.now = [now = now_] { return *now; };
    auto store = OpenStore(std::move(options));
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }

  // Shared with stores that have "crashed". Calls from several threads only read it.
  const std::shared_ptr<absl::Time> now_ =
      std::make_shared<absl::Time>(absl::FromUnixSeconds(1'700'000'000));
  ScratchFolder folder_;
  std::string name_;
  std::vector<std::shared_ptr<DedupStore>> before_crash_;
  std::shared_ptr<DedupStore> store_;
};

once::testing::StoreUnderTest Rocks() {
  return {.name = "rocksdb", .make = [] { return std::make_unique<RocksFixture>(); }};
}

INSTANTIATE_TEST_SUITE_P(Rocks, TransactionalStoreConformance, ::testing::Values(Rocks()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Rocks, OutgoingLogConformance, ::testing::Values(Rocks()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Rocks, ClaimStoreConformance, ::testing::Values(Rocks()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Rocks, HalfMessageConformance, ::testing::Values(Rocks()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Rocks, StoreOperationsConformance, ::testing::Values(Rocks()),
                         once::testing::StoreName);

}  // namespace
}  // namespace once::rocksdb
