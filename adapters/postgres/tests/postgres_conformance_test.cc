// The public conformance suites over a PostgreSQL server.
#include <atomic>

#include "adapters/postgres/tests/store_scene.h"
#include "once/testing/claims_conformance.h"
#include "once/testing/half_message_conformance.h"
#include "once/testing/operations_conformance.h"
#include "once/testing/outgoing_conformance.h"
#include "once/testing/store_conformance.h"

namespace once::postgres {
namespace {

class PostgresFixture final : public once::testing::StoreFixture {
 public:
  PostgresFixture() { EXPECT_TRUE(Open().ok()); }

  DedupStore& store() override { return *store_; }

  absl::Status AppendEffect(Transaction& transaction, std::string_view row) override {
    return AddEffect(transaction, schema_, row);
  }
  absl::StatusOr<std::vector<std::string>> ReadEffects() override {
    return postgres::ReadEffects(testing::SharedServer(), schema_);
  }
  absl::Status AdvanceClock(absl::Duration duration) override {
    *skew_micros_ += absl::ToInt64Microseconds(duration);
    return absl::OkStatus();
  }
  absl::Status Reopen() override {
    store_.reset();
    return Open();
  }
  absl::Status Crash() override {
    schema_.EndSessions();
    before_crash_.push_back(std::move(store_));
    return Open();
  }

 private:
  absl::Status Open() {
    StoreOptions options = OptionsFor(testing::SharedServer(), schema_.name());
    options.clock_skew = [skew = skew_micros_] { return absl::Microseconds(skew->load()); };
    auto store = OpenStore(std::move(options));
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }

  const std::shared_ptr<std::atomic<std::int64_t>> skew_micros_ =
      std::make_shared<std::atomic<std::int64_t>>(0);
  TestSchema schema_{testing::SharedServer()};
  std::vector<std::shared_ptr<DedupStore>> before_crash_;
  std::shared_ptr<DedupStore> store_;
};

once::testing::StoreUnderTest Postgres() {
  return {.name = "postgres", .make = [] { return std::make_unique<PostgresFixture>(); }};
}

INSTANTIATE_TEST_SUITE_P(Postgres, TransactionalStoreConformance, ::testing::Values(Postgres()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Postgres, ClaimStoreConformance, ::testing::Values(Postgres()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Postgres, HalfMessageConformance, ::testing::Values(Postgres()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Postgres, StoreOperationsConformance, ::testing::Values(Postgres()),
                         once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Postgres, OutgoingLogConformance, ::testing::Values(Postgres()),
                         once::testing::StoreName);

}  // namespace
}  // namespace once::postgres
