// The public conformance suites over a Redis server, and over a cluster: claims, and why there is
// nothing for those of operations, which begin with transactions. redis_operations_test.cc tries
// what there is.
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/redis/tests/redis_cluster.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"
#include "once/testing/claims_conformance.h"
#include "once/testing/operations_conformance.h"

namespace once::redis {
namespace {

class RedisFixture final : public once::testing::StoreFixture {
 public:
  explicit RedisFixture(std::string url) : url_(std::move(url)) { EXPECT_TRUE(Open().ok()); }

  DedupStore& store() override { return *store_; }

  absl::Status AdvanceClock(absl::Duration duration) override {
    *skew_seconds_ += absl::ToInt64Seconds(duration);
    return absl::OkStatus();
  }
  absl::Status Reopen() override {
    store_.reset();
    return Open();
  }
  absl::Status Crash() override {
    before_crash_.push_back(std::move(store_));
    return Open();
  }

 private:
  absl::Status Open() {
    auto store =
        OpenStore({.url = url_, .key_prefix = prefix_, .clock_skew = [skew = skew_seconds_] {
                     return absl::Seconds(skew->load());
                   }});
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }

  const std::string url_;
  const std::string prefix_ = testing::NewPrefix();
  const std::shared_ptr<std::atomic<std::int64_t>> skew_seconds_ =
      std::make_shared<std::atomic<std::int64_t>>(0);
  std::vector<std::shared_ptr<DedupStore>> before_crash_;
  std::shared_ptr<DedupStore> store_;
};

once::testing::StoreUnderTest In(const char* name, std::function<std::string()> url) {
  return {
      .name = name,
      .capabilities = {.why_no_transactions = "Redis has no transaction for a handler's effect"},
      .make = [url = std::move(url)] { return std::make_unique<RedisFixture>(url()); }};
}

const auto kStores =
    ::testing::Values(In("redis", [] { return testing::SharedServer().url(); }),
                      In("redis_cluster", [] { return testing::SharedCluster().url(); }));

INSTANTIATE_TEST_SUITE_P(Redis, ClaimStoreConformance, kStores, once::testing::StoreName);
INSTANTIATE_TEST_SUITE_P(Redis, StoreOperationsConformance, kStores, once::testing::StoreName);

}  // namespace
}  // namespace once::redis
