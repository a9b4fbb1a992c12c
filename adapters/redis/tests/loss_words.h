// What tests of losses wait for and expect.
// Thread-safety: as the store's.
#pragma once

#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "once/dedup_store.h"

namespace once::redis::testing {

// Until `is_so` says so; a failure when it takes too long.
template <typename Condition>
void AwaitThat(const Condition& is_so, const char* what, std::chrono::seconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!is_so()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << what;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

inline void ExpectSyncFailsOnce(DedupStore& store, const char* reason) {
  const absl::Status first = store.claims()->Sync();
  EXPECT_TRUE(absl::IsUnavailable(first)) << first;
  EXPECT_THAT(first.ToString(), ::testing::HasSubstr(reason));
  const absl::Status second = store.claims()->Sync();
  EXPECT_TRUE(second.ok()) << second;
}

}  // namespace once::redis::testing
