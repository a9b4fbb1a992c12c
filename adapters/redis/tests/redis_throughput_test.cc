// What claims cost over Redis. Disabled: a measurement is no test. It prints ids per second, each
// claimed, begun and completed, in batches that are synced:
//
//   once_redis_test --gtest_also_run_disabled_tests --gtest_filter='*Throughput*'
#include <chrono>
#include <iostream>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/tests/claim_words.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

void HandleBatch(ClaimStore& claims, int first, int count) {
  std::vector<std::string> ids;
  for (int i = 0; i < count; ++i) ids.push_back(absl::StrCat("message-", first + i));
  std::vector<ClaimRequest> requests;
  std::vector<Claim> held;
  std::vector<CompletedClaim> completed;
  for (const std::string& id : ids) {
    requests.push_back({.key = {"scope", id}, .fingerprint = {1, 2}, .fence = claims.NewFence()});
    held.push_back({.key = requests.back().key, .fence = requests.back().fence});
    completed.push_back({.claim = held.back()});
  }
  std::vector<ClaimResult> results(ids.size());
  std::vector<absl::Status> outcomes(ids.size());
  ASSERT_TRUE(claims.TryClaim(requests, absl::Minutes(1), results).ok());
  ASSERT_TRUE(claims.Begun(held, outcomes).ok());
  ASSERT_TRUE(claims.Complete(completed, outcomes).ok());
  ASSERT_TRUE(claims.Sync().ok());
}

TEST(RedisThroughput, DISABLED_IdsPerSecondByBatch) {
  for (const char* const fsync : {"always", "everysec"}) {
    testing::RedisServer server({absl::StrCat("appendfsync ", fsync)});
    const auto store = testing::MustOpen({.url = server.url()});
    int first = 0;
    for (const int batch : {1, 16, 256, 1000}) {
      const auto start = std::chrono::steady_clock::now();
      const int begun = first;
      std::chrono::duration<double> passed{};
      while (passed.count() < 2) {
        HandleBatch(*store->claims(), first, batch);
        first += batch;
        passed = std::chrono::steady_clock::now() - start;
      }
      std::cout << "appendfsync " << fsync << ", batches of " << batch << ": "
                << static_cast<int>((first - begun) / passed.count()) << " ids a second\n";
    }
  }
}

}  // namespace
}  // namespace once::redis
