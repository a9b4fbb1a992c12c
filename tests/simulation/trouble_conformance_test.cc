// The suite of troubles is itself tested: each planted bug must fail some of its checks, and a
// store without a bug none. A bug is a fake store behind a wrapper that lies in one case.
#include "once/testing/trouble_conformance.h"

#include <gtest/gtest.h>

#include "tests/simulation/fake_store_fixture.h"
#include "tests/simulation/wrapped_seams.h"
#include "tests/unit/suite_runner.h"

namespace once::testing {
namespace {

class FullIsTakenForCommitted final : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status Commit(Durability wanted) override {
    const absl::Status committed = WrappedTransaction::Commit(wanted);
    return absl::IsResourceExhausted(committed) ? absl::OkStatus() : committed;
  }
};

class ALostAnswerIsTakenForAFailure final : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status Commit(Durability wanted) override {
    const absl::Status committed = WrappedTransaction::Commit(wanted);
    return absl::IsUnknown(committed) ? absl::UnavailableError("failed") : committed;
  }
};

class NoCommitIsSynced final : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status Commit(Durability /*wanted*/) override {
    return WrappedTransaction::Commit(Durability::kProcess);
  }
};

class NobodyLooksWhetherItIsOpen final : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status CheckOpen() override { return absl::OkStatus(); }
};

class OnlySyncedStatementsCount final : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  // The effect is in a file of its own, and that file has no transactions.
  void Append(EffectRow row) override { row_ = std::move(row); }
  absl::Status Commit(Durability wanted) override {
    if (wanted == Durability::kMachine && row_.has_value()) WrappedTransaction::Append(*row_);
    return WrappedTransaction::Commit(wanted);
  }

 private:
  std::optional<EffectRow> row_;
};

class TakeHidesThatItFailed final : public WrappedStore {
 public:
  using WrappedStore::WrappedStore;
  absl::StatusOr<std::vector<TakenPosition>> Take(std::span<const TakeRequest> requests) override {
    auto taken = WrappedStore::Take(requests);
    if (taken.ok()) return taken;
    std::vector<TakenPosition> invented(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      invented[i].current = {.revision = 1, .writer = requests[i].writer};
    }
    return invented;
  }
};

class SyncIsAWord final : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Sync() override { return absl::OkStatus(); }
};

class ASyncThatFailedIsForgotten final : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Sync() override {
    if (std::exchange(has_failed_, false)) return absl::OkStatus();
    const absl::Status synced = WrappedClaims::Sync();
    has_failed_ = !synced.ok();
    return synced;
  }

 private:
  bool has_failed_ = false;
};

class FullIsTakenForClaimed final : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const absl::Status claimed = WrappedClaims::TryClaim(requests, lease, results);
    return absl::IsResourceExhausted(claimed) ? absl::OkStatus() : claimed;
  }
};

class ALostAnswerIsTakenForAWordUnheard final : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Complete(std::span<const CompletedClaim> claims,
                        std::span<absl::Status> outcomes) override {
    const absl::Status completed = WrappedClaims::Complete(claims, outcomes);
    return absl::IsUnknown(completed) ? absl::UnavailableError("failed") : completed;
  }
};

// What could not be written for want of space is written by the next word, whatever that is.
class AWordIsKeptForLater final : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    const absl::Status begun = WrappedClaims::Begun(claims, outcomes);
    is_late_ = absl::IsResourceExhausted(begun);
    return begun;
  }
  absl::Status Release(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    if (std::exchange(is_late_, false)) WrappedClaims::Begun(claims, outcomes).IgnoreError();
    return WrappedClaims::Release(claims, outcomes);
  }

 private:
  bool is_late_ = false;
};

struct TroubleBug {
  std::string name;
  std::shared_ptr<DedupStore> (*plant)(const std::shared_ptr<DedupStore>& inner);
};

template <typename S>
std::shared_ptr<DedupStore> Plant(const std::shared_ptr<DedupStore>& inner) {
  return std::make_shared<S>(inner);
}

// The first one is no bug.
const TroubleBug kBugs[] = {
    {"nothing", Plant<StoreOf<WrappedTransaction>>},
    {"FullIsTakenForCommitted", Plant<StoreOf<FullIsTakenForCommitted>>},
    {"ALostAnswerIsTakenForAFailure", Plant<StoreOf<ALostAnswerIsTakenForAFailure>>},
    {"NoCommitIsSynced", Plant<StoreOf<NoCommitIsSynced>>},
    {"NobodyLooksWhetherItIsOpen", Plant<StoreOf<NobodyLooksWhetherItIsOpen>>},
    {"OnlySyncedStatementsCount", Plant<StoreOf<OnlySyncedStatementsCount>>},
    {"TakeHidesThatItFailed", Plant<TakeHidesThatItFailed>},
    {"SyncIsAWord", Plant<ClaimsOf<SyncIsAWord>>},
    {"ASyncThatFailedIsForgotten", Plant<ClaimsOf<ASyncThatFailedIsForgotten>>},
    {"FullIsTakenForClaimed", Plant<ClaimsOf<FullIsTakenForClaimed>>},
    {"ALostAnswerIsTakenForAWordUnheard", Plant<ClaimsOf<ALostAnswerIsTakenForAWordUnheard>>},
    {"AWordIsKeptForLater", Plant<ClaimsOf<AWordIsKeptForLater>>},
};

class WrongFixture final : public FakeStoreFixture<StoreModel::kOneTransaction> {
 public:
  explicit WrongFixture(const TroubleBug& bug) : bug_(bug) {}
  // The wrapper dies with the connection that it wraps.
  DedupStore& store() override {
    if (std::exchange(wrapped_, connection()) != connection()) wrong_ = bug_.plant(connection());
    return *wrong_;
  }

 private:
  const TroubleBug& bug_;
  std::shared_ptr<DedupStore> wrapped_;
  std::shared_ptr<DedupStore> wrong_;
};

class TroubleSuite : public ::testing::TestWithParam<TroubleBug> {};

TEST_P(TroubleSuite, NoticesABugAndNothingElse) {
  const StoreUnderTest store{.name = "wrong",
                             .make = [] { return std::make_unique<WrongFixture>(GetParam()); }};
  const std::vector<std::string> failed = ChecksThatFail(TroubleChecks(), store);
  ExpectNoticed(failed, GetParam().name);
}

INSTANTIATE_TEST_SUITE_P(Planted, TroubleSuite, ::testing::ValuesIn(kBugs),
                         [](const auto& bug) { return bug.param.name; });

TEST(TroubleChecks, AreTheTestsOfTheSuite) {
  EXPECT_GT(TroubleChecks().size(), 0u);
  EXPECT_EQ(TroubleChecks().size() * 2, CountTests("FakeStore/StoreTroubleConformance"));
}

}  // namespace
}  // namespace once::testing
