// WrapUnderClaim: calls of a wrapped function without a transaction, over a store whose claims the
// test can jam, and a clock that stands still. What was charged is an effect outside of the store.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/jammed_claims.h"
#include "tests/unit/wrap_fixture.h"

namespace once {

inline constexpr absl::Duration kLease = absl::Seconds(30);

class WrapUnderClaim : public ::testing::Test {
 protected:
  WrapOptions<Charge> Options() { return ChargeOptions(store_, clock_); }

  // Ends as `end` says; done without a result becomes a numbered receipt.
  Wrapped<Charge> WrapCharging(WrapOptions<Charge> options, std::function<CallEnd()> end) {
    return Must(Wrap<Charge>(
        std::move(options),
        [this, end = std::move(end)](const Charge& charge,
                                     const Invocation& invocation) -> absl::StatusOr<std::string> {
          attempts_.push_back(invocation.attempt);
          repeated_.push_back(invocation.maybe_repeated);
          CallEnd ended = end();
          if (!ended.outcome.is_done()) return ended.outcome.status();
          charged_.push_back(charge.amount);
          return ended.result.value_or("receipt " + std::to_string(charged_.size()));
        }));
  }
  Wrapped<Charge> WrapCharging() {
    return WrapCharging(Options(), [] { return CallEnd(absl::OkStatus()); });
  }
  // One whose function returns an Outcome.
  Wrapped<Charge> WrapOutcome(WrapOptions<Charge> options, std::function<Outcome()> end) {
    return Must(
        Wrap<Charge>(std::move(options), [this, end = std::move(end)](const Charge&) -> Outcome {
          attempts_.push_back(0);
          return end();
        }));
  }

  // Leaves the claim of a process that died inside its function, as the store sees it once the
  // lease has ended.
  void DieInside(const Charge& charge) {
    WrapOptions<Charge> options = Options();
    const std::string scope = NamedScope(options.scope);
    ClaimStore& claims = *store_->claims();
    const Claim claim{.key = {.scope = scope, .id = charge.id}, .fence = claims.NewFence()};
    const ClaimRequest request{
        .key = claim.key, .fingerprint = Fingerprint::Of(charge.amount), .fence = claim.fence};
    ClaimResult result;
    absl::Status outcome;
    ASSERT_TRUE(claims.TryClaim(std::span(&request, 1), kLease, std::span(&result, 1)).ok());
    ASSERT_TRUE(claims.Begun(std::span(&claim, 1), std::span(&outcome, 1)).ok());
    ASSERT_TRUE(outcome.ok()) << outcome;
    clock_->Advance(kLease + absl::Seconds(1));
  }

  std::shared_ptr<FrozenExecutor> clock_ = std::make_shared<FrozenExecutor>();
  std::shared_ptr<JammedStore> store_ = std::make_shared<JammedStore>(
      memory::OpenStore({.now = [clock = clock_] { return clock->Now(); }}));
  std::vector<int> attempts_;         // of the invocations
  std::vector<bool> repeated_;        // what they were told by maybe_repeated
  std::vector<std::string> charged_;  // the effects
};

}  // namespace once
