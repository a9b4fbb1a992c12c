// The vocabulary of the conformance tests of claims, and how one is written:
//
//   CLAIM_CHECK(AnAbsentIdIsFresh) { EXPECT_EQ(TryClaim("id").verdict, ClaimVerdict::kFresh); }
//
// Each check is a test of the suite, and a value in ClaimChecks(). Private to src/testing.
// Thread-safety: as the store's for what calls the store; the rest is for one thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/testing/claims_conformance.h"
#include "src/testing/store_words.h"

namespace once::testing {

inline constexpr std::string_view kScope = "scope";
inline constexpr Fingerprint kPrint = {.high = 1, .low = 2};
inline constexpr Fingerprint kOtherPrint = {.high = 3, .low = 4};
// Does not end while a test runs.
inline constexpr absl::Duration kLongLease = absl::Hours(1);

// A claim that owns its bytes: what a consumer remembers of a message at hand.
struct Holder {
  std::string id;
  Fence fence;
  ClaimResult result;
  std::string scope = std::string(kScope);

  Claim claim() const { return {.key = {.scope = scope, .id = id}, .fence = fence}; }
};

class ClaimBench {
 public:
  explicit ClaimBench(const StoreUnderTest& under_test);
  virtual ~ClaimBench() = default;

  // False, and a failure, when the store has no claims.
  virtual bool CanRun();
  virtual void Check() = 0;

 protected:
  StoreFixture& fixture() { return *fixture_; }
  ClaimStore& claims() { return *fixture_->store().claims(); }
  TransactionalStore& transactions() { return *fixture_->store().transactions(); }
  const StoreCapabilities& capabilities() const { return capabilities_; }

  // One request; a failure when the store does not answer.
  ClaimResult TryClaim(std::string_view id, const Fence& fence, absl::Duration lease = kLongLease,
                       const Fingerprint& print = kPrint);
  // With a new fence.
  Holder Ask(std::string_view id, absl::Duration lease = kLongLease,
             const Fingerprint& print = kPrint);
  // Ask() until nobody else holds the id and it is due: at most a few seconds.
  Holder AskUntilFree(std::string_view id, absl::Duration lease = kLongLease);
  // A lease that ends soon, or when PassLease() says so.
  absl::Duration ShortLease() const;
  void PassLease();

  // Lost after its handler had begun: the lease of the former owner has ended.
  Holder LoseBegun(std::string_view id);
  Holder LoseUnbegun(std::string_view id);
  // Ends in the state that the name says, from absent.
  void LeaveCompleted(std::string_view id, std::string_view result = "");
  void LeaveRetrying(std::string_view id);
  void LeaveDead(std::string_view id);
  void LeaveUncertain(std::string_view id);
  void LeaveDiscarded(std::string_view id);

  // The outcome of one claim; the call as a whole must be OK.
  absl::Status Begun(const Holder& holder);
  absl::Status Renew(const Holder& holder, absl::Duration lease = kLongLease);
  absl::Status Complete(const Holder& holder, std::string_view result = "");
  absl::Status Fail(const Holder& holder, absl::Duration delay = absl::ZeroDuration(),
                    absl::Time first_failed_at = absl::InfinitePast());
  absl::Status Dying(const Holder& holder, Disposition disposition = Disposition::kRejected,
                     int attempt = 1);
  absl::Status Kill(const Holder& holder);
  absl::Status Discard(const Holder& holder);
  absl::Status Release(const Holder& holder);

  // Every call but TryClaim, by its name.
  struct Call {
    std::string_view name;
    absl::Status (ClaimBench::*run)(const Holder& holder);
  };
  static std::span<const Call> EveryCall();

  // What a transaction sees of the id.
  IdRecord FindInTransaction(std::string_view id);
  void PutInTransaction(std::string_view id, const IdRecord& record);

 private:
  // For EveryCall(), which takes the defaults of the others.
  absl::Status RenewLong(const Holder& holder) { return Renew(holder); }
  absl::Status CompleteEmpty(const Holder& holder) { return Complete(holder); }
  absl::Status FailNow(const Holder& holder) { return Fail(holder); }
  absl::Status DyingRejected(const Holder& holder) { return Dying(holder); }

  const StoreCapabilities capabilities_;
  const std::unique_ptr<StoreFixture> fixture_;
  bool has_clock_ = false;
};

// Registers a check; called before main() by CLAIM_CHECK.
bool ListClaimCheck(std::string_view name, void (*run)(const StoreUnderTest&));

// So that a linker that takes the suite out of an archive takes all its files.
void LinkVerdictChecks();
void LinkFenceChecks();
void LinkLeaseChecks();
void LinkSharingChecks();

#define CLAIM_CHECK(check_name) \
  STORE_CHECK(ClaimStoreConformance, ClaimBench, ListClaimCheck, check_name)

}  // namespace once::testing
