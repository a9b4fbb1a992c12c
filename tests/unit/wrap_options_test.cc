// What Wrap refuses, with the way out, and what it says that its calls rest on.
#include <string>
#include <utility>

#include "tests/unit/faulty_store.h"
#include "tests/unit/jammed_claims.h"
#include "tests/unit/wrap_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

absl::Status Plain(const Charge&) { return absl::OkStatus(); }
absl::Status InTransaction(const Charge&, Transaction&) { return absl::OkStatus(); }

WrapOptions<Charge> Options() {
  return ChargeOptions(memory::OpenStore(), std::make_shared<FrozenExecutor>());
}

// What Wrap says to options that `change` has spoilt.
template <typename F>
std::string Refusal(F change, absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  WrapOptions<Charge> options = Options();
  change(options);
  const auto wrapped = Wrap<Charge>(std::move(options), Plain);
  EXPECT_EQ(wrapped.status().code(), code) << wrapped.status();
  return std::string(wrapped.status().message());
}

TEST(WrapOptions, ThatAreFineAreTaken) {
  EXPECT_TRUE(Wrap<Charge>(Options(), Plain).ok());
  EXPECT_TRUE(Wrap<Charge>(Options(), InTransaction).ok());
}

TEST(WrapOptions, ThatLackSomethingAreRefusedByTheNameOfTheField) {
  EXPECT_THAT(Refusal([](auto& options) { options.store = nullptr; }), HasSubstr("::store"));
  EXPECT_THAT(Refusal([](auto& options) { options.scope = ""; }), HasSubstr("::scope"));
  EXPECT_THAT(Refusal([](auto& options) { options.id = nullptr; }), HasSubstr("::id"));
  EXPECT_THAT(Refusal([](auto& options) { options.log = nullptr; }), HasSubstr("NoLog()"));
  EXPECT_THAT(Refusal([](auto& options) { options.random = nullptr; }), HasSubstr("SystemRandom"));
  EXPECT_THAT(Refusal([](auto& options) { options.executor = nullptr; }),
              HasSubstr("SystemExecutor"));
  EXPECT_THAT(Refusal([](auto& options) { options.on_lost = LostClaim::kReconcile; }),
              HasSubstr("::reconcile"));
}

TEST(WrapOptions, ThatCannotWorkAreRefused) {
  for (const absl::Duration lease :
       {absl::Milliseconds(999), absl::Hours(24) + absl::Nanoseconds(1), absl::InfiniteDuration(),
        -absl::InfiniteDuration()}) {
    EXPECT_THAT(Refusal([&](auto& options) { options.lease = lease; }),
                HasSubstr("WrapOptions::lease: must be between a second and a day"))
        << lease;
  }
  EXPECT_THAT(Refusal([](auto& options) { options.retry.max_attempts = 0; }),
              HasSubstr("retry.max_attempts"));
}

TEST(WrapOptions, AFunctionWithoutATransactionNeedsAStoreWithClaims) {
  // A store whose claims are hidden.
  const auto refusal =
      Refusal([](auto& options) { options.store = std::make_shared<FaultyStore>(); },
              absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refusal, HasSubstr("no claims"));
  EXPECT_THAT(refusal, HasSubstr("Transaction&"));
}

TEST(WrapOptions, AFunctionWithATransactionNeedsAStoreWithTransactions) {
  WrapOptions<Charge> options = Options();
  options.store = std::make_shared<JammedStore>(memory::OpenStore());
  const auto wrapped = Wrap<Charge>(std::move(options), InTransaction);
  EXPECT_EQ(wrapped.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(wrapped.status().message()), HasSubstr("sqlite"));
}

// A store that says it is durable.
class DurableStore final : public DedupStore {
 public:
  StoreTraits traits() const override { return traits_; }
  TransactionalStore* transactions() override { return inner_->transactions(); }
  ClaimStore* claims() override { return inner_->claims(); }

 private:
  const std::shared_ptr<DedupStore> inner_ = memory::OpenStore();
  const StoreTraits traits_ = {.name = "durable", .durability = Durability::kMachine};
};

TEST(WrapGuarantee, IsEffectivelyOnceInTransactionsAndDeduplicatedUnderClaims) {
  WrapOptions<Charge> options = Options();
  options.store = std::make_shared<DurableStore>();
  const Guarantee transactional = Must(Wrap<Charge>(options, InTransaction)).guarantee();
  EXPECT_EQ(transactional.level, GuaranteeLevel::kEffectivelyOnce);
  EXPECT_THAT(transactional.assumptions, Contains(HasSubstr("C7")));
  EXPECT_THAT(transactional.assumptions, Contains(HasSubstr("C6")));
  EXPECT_EQ(Must(Wrap<Charge>(options, Plain)).guarantee().level, GuaranteeLevel::kDeduplicated);
}

TEST(WrapGuarantee, IsNoMoreThanAtLeastOnceOverAStoreThatForgets) {
  const Guarantee guarantee = Must(Wrap<Charge>(Options(), InTransaction)).guarantee();
  EXPECT_EQ(guarantee.level, GuaranteeLevel::kAtLeastOnce);
  EXPECT_THAT(guarantee.reasons, Contains(HasSubstr("forgets")));
}

TEST(WrapGuarantee, SaysThatNobodyNoticesConflictsWithoutFingerprints) {
  WrapOptions<Charge> options = Options();
  options.fingerprint = nullptr;
  EXPECT_THAT(Must(Wrap<Charge>(std::move(options), Plain)).guarantee().reasons,
              Contains(HasSubstr("fingerprint")));
}

}  // namespace
}  // namespace once
