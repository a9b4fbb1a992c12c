// Seams over fakes that pass everything on, for planted bugs to override one call, and how a bug is
// put into a scenario. The same bugs work over real stores: see tests/forwarding_seams.h.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "once/testing/simulation.h"
#include "tests/forwarding_seams.h"

namespace once::testing {

// Over a real store nobody asks for the effects of a fake one.
class WrappedTransaction : public ForwardingTransaction, public EffectWriter {
 public:
  using ForwardingTransaction::ForwardingTransaction;
  void Append(EffectRow row) override { Effects(*inner_)->Append(std::move(row)); }
  IdRecord Peek(const IdKey& key) const override { return Effects(*inner_)->Peek(key); }
  bool is_open() const override { return Effects(*inner_)->is_open(); }
};

// No duplicate check: ids are committed and never found again.
class IdsNeverFound : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status FindIds(std::span<const IdKey> keys, std::span<IdRecord> records) override {
    const absl::Status status = inner_->FindIds(keys, records);
    std::fill(records.begin(), records.end(), IdRecord{});
    return status;
  }
};

using WrappedStore = ForwardingStore;
using WrappedClaims = ForwardingClaims;
using WrappedSource = ForwardingSource;

// TryClaim with another verdict.
class OtherVerdict : public WrappedClaims {
 public:
  using WrappedClaims::WrappedClaims;
  absl::Status TryClaim(std::span<const ClaimRequest> requests, absl::Duration lease,
                        std::span<ClaimResult> results) override {
    const absl::Status status = inner_.TryClaim(requests, lease, results);
    for (ClaimResult& result : results) Change(result);
    return status;
  }

 private:
  virtual void Change(ClaimResult& result) const = 0;
};

// Nobody is told that a handler may have run before.
class TakeoverIsFresh : public OtherVerdict {
 public:
  using OtherVerdict::OtherVerdict;

 private:
  void Change(ClaimResult& result) const override {
    if (result.verdict == ClaimVerdict::kTakeover) result.verdict = ClaimVerdict::kFresh;
  }
};

// A store whose transactions are all `T`.
template <typename T>
class StoreOf : public WrappedStore {
 public:
  using WrappedStore::WrappedStore;
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    absl::StatusOr<BeginResult> result = inner().Begin(locks);
    if (result.ok() && result->transaction != nullptr) {
      result->transaction = std::make_unique<T>(std::move(result->transaction));
    }
    return result;
  }
};

template <typename S>
void PlantStore(Scenario& scenario) {
  scenario.wrap_store = [](std::shared_ptr<DedupStore> inner) -> std::shared_ptr<DedupStore> {
    return std::make_shared<S>(std::move(inner));
  };
}

template <typename T>
void PlantTransaction(Scenario& scenario) {
  PlantStore<StoreOf<T>>(scenario);
}

template <typename C>
void PlantClaims(Scenario& scenario) {
  PlantStore<ClaimsOf<C>>(scenario);
}

template <typename S>
void PlantSource(Scenario& scenario) {
  scenario.wrap_source = [](std::unique_ptr<LogSource> inner) -> std::unique_ptr<LogSource> {
    return std::make_unique<S>(std::move(inner));
  };
}

}  // namespace once::testing
