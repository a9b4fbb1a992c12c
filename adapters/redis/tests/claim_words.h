// Words about one id, for tests that tell a story. Thread-safety: as the store's.
#pragma once

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/redis/store.h"

namespace once::redis::testing {

// What a test needs open; a failure, and null, when it does not open.
inline std::shared_ptr<DedupStore> MustOpen(StoreOptions options) {
  auto store = OpenStore(std::move(options));
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

// Every connection asks whether the server is as before, and so does every call.
inline StoreOptions WatchfulOptions(const std::string& url) {
  return {.url = url, .inspection_interval = absl::ZeroDuration()};
}

struct Owner {
  std::string id;
  Fence fence;
  ClaimResult result = {};

  Claim claim() const { return {.key = {.scope = "scope", .id = id}, .fence = fence}; }
};

inline absl::StatusOr<Owner> TryClaim(DedupStore& store, const std::string& id,
                                      absl::Duration lease = absl::Hours(1)) {
  Owner owner{.id = id, .fence = store.claims()->NewFence()};
  const ClaimRequest request{.key = {.scope = "scope", .id = id},
                             .fingerprint = {.high = 1, .low = 2},
                             .fence = owner.fence};
  absl::Status claimed = store.claims()->TryClaim({&request, 1}, lease, {&owner.result, 1});
  if (!claimed.ok()) return claimed;
  return owner;
}

// A failure unless the store answers.
inline ClaimVerdict Ask(DedupStore& store, const std::string& id) {
  const absl::StatusOr<Owner> owner = TryClaim(store, id);
  EXPECT_TRUE(owner.ok()) << owner.status();
  return owner.ok() ? owner->result.verdict : ClaimVerdict::kUncertain;
}

// The call's failure, or the claim's.
inline absl::Status Complete(DedupStore& store, const Owner& owner, std::string_view result = "") {
  const CompletedClaim completed{.claim = owner.claim(), .result = result};
  absl::Status outcome;
  absl::Status call = store.claims()->Complete({&completed, 1}, {&outcome, 1});
  return call.ok() ? outcome : call;
}

// From absent to completed.
inline void LeaveCompleted(DedupStore& store, const std::string& id) {
  const absl::StatusOr<Owner> owner = TryClaim(store, id);
  ASSERT_TRUE(owner.ok()) << owner.status();
  EXPECT_EQ(owner->result.verdict, ClaimVerdict::kFresh) << id;
  const absl::Status completed = Complete(store, *owner);
  EXPECT_TRUE(completed.ok()) << completed;
}

}  // namespace once::redis::testing
