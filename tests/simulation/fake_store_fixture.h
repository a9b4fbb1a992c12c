// A FakeStore as the conformance suites take it, in a world where nothing goes wrong but what the
// suite of troubles asks for. Thread-safety: none.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "once/testing/fake_store.h"
#include "once/testing/trouble_conformance.h"

namespace once::testing {

// Says no to every question until it is armed, and then yes to the next one that is about a fault.
class ArmedOracle final : public Oracle {
 public:
  ArmedOracle() : Oracle({.faults = 1'000'000, .preemptions = 0}) {}
  void Arm(bool is_armed) { is_armed_ = is_armed; }
  // Only a question of this name.
  void ArmAt(std::string_view tag) {
    is_armed_ = true;
    tag_ = tag;
  }
  bool is_armed() const { return is_armed_; }

 protected:
  int Pick(std::string_view tag, int /*choices*/, Cost cost) override {
    if (cost != Cost::kFault || (!tag_.empty() && tag != tag_)) return 0;
    return std::exchange(is_armed_, false) ? 1 : 0;
  }

 private:
  bool is_armed_ = false;
  std::string_view tag_;
};

template <StoreModel kModel>
class FakeStoreFixture : public TroubleFixture {
 public:
  FakeStoreFixture() : connection_(server_.Connect(process_)) {}

  DedupStore& store() override { return *connection_; }
  absl::Status AppendEffect(Transaction& transaction, std::string_view row) override {
    Effects(transaction)->Append({.value = std::string(row)});
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::string>> ReadEffects() override {
    std::vector<std::string> values;
    for (const EffectRow& row : server_.state().effects) values.push_back(row.value);
    return values;
  }
  absl::Status Reopen() override {
    connection_ = server_.Connect(process_);
    return absl::OkStatus();
  }
  absl::Status Crash() override {
    scheduler_.Kill(*process_);
    process_ = scheduler_.NewProcess("next");
    return Reopen();
  }
  absl::Status AdvanceClock(absl::Duration duration) override {
    const absl::Time end = scheduler_.Now() + duration;
    Condition never(scheduler_);
    while (scheduler_.Now() < end) never.WaitUntil(end);
    return absl::OkStatus();
  }
  // It fills up at a call that writes, and stays so until time has passed.
  void FillUp() override {
    Arm(Fault::kNoSpace);
    is_full_ = true;
    const absl::Status refused = connection_->transactions()->outbox().MarkPublished({});
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  }
  bool BreakNextWrite(int way) override {
    static constexpr Fault kWays[] = {Fault::kFailure, Fault::kUnknownApplied,
                                      Fault::kUnknownNotApplied, Fault::kUnknownAppliedLater,
                                      Fault::kNoSpace};
    const auto index = static_cast<std::size_t>(way);
    if (index >= std::size(kWays)) return false;
    is_full_ = kWays[index] == Fault::kNoSpace;
    Arm(kWays[index]);
    return true;
  }
  void EndTrouble() override {
    oracle_.Arm(false);
    if (std::exchange(is_full_, false)) AdvanceClock(kNoSpace).IgnoreError();
  }
  absl::Status LosePower() override {
    scheduler_.Kill(*process_);
    server_.LoseCommits(std::size_t{1'000'000});
    process_ = scheduler_.NewProcess("next");
    return Reopen();
  }

 protected:
  const std::shared_ptr<DedupStore>& connection() const { return connection_; }

 private:
  static constexpr absl::Duration kNoSpace = absl::Minutes(1);

  void Arm(Fault fault) {
    gate_.set_faults({fault});
    oracle_.Arm(true);
  }

  ArmedOracle oracle_;
  FiberScheduler scheduler_{oracle_};
  SeamGate gate_{scheduler_, {}};
  FakeStore server_{gate_,
                    {.model = kModel,
                     .no_space = kNoSpace,
                     .loss = StoreLoss::kUnsynced,
                     .has_one_owner = kModel == StoreModel::kOneTransaction,
                     .has_outgoing = true},
                    nullptr};
  std::shared_ptr<Process> process_ = scheduler_.NewProcess("first");
  std::shared_ptr<DedupStore> connection_;
  bool is_full_ = false;
};

template <StoreModel kModel>
StoreUnderTest FakeStoreUnderTest(std::string name) {
  return {.name = std::move(name),
          .capabilities = {.why_no_threads = "fibres of one thread"},
          .make = [] { return std::make_unique<FakeStoreFixture<kModel>>(); }};
}

}  // namespace once::testing
