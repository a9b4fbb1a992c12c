// What the checks of stores in trouble share: a count that is kept in four places. The n-th message
// moves the position to n and leaves an effect, a completed id and an outbox row of its number, all
// in one transaction; what is there afterwards must be one number. Private to src/testing.
// Thread-safety: as the store's.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "once/testing/trouble_conformance.h"
#include "src/testing/claim_bench.h"

namespace once::testing {

class TroubleBench : public ClaimBench {
 public:
  using ClaimBench::ClaimBench;
  bool CanRun() override;

 protected:
  static const PartitionKey& Key();
  // What a definite failure is: not OK, and no doubt about it.
  static bool IsDefinite(const absl::Status& status);

  // Takes the row with a new writer tag; a failure unless it says OK.
  PositionStamp Take();
  // A transaction with the `number`-th message in it; null, and `failure`, where a call said no.
  std::unique_ptr<StoreTransaction> Stage(int number, const PositionStamp& expected,
                                          absl::Status& failure);
  // The same and its commit.
  absl::Status Apply(int number, const PositionStamp& expected,
                     Durability wanted = Durability::kMachine);
  void MustApply(int number, const PositionStamp& expected,
                 Durability wanted = Durability::kMachine);
  // What a row says that Apply() has moved to `number`.
  static PositionStamp After(PositionStamp before, int number);

  // How many messages are there by effects, outbox and row; a failure where these differ.
  int CountVisible();
  // The same by ids too, which needs a transaction.
  int CountApplied();

  void FillUp() { trouble_->FillUp(); }
  bool BreakNextWrite(int way) { return trouble_->BreakNextWrite(way); }
  void EndTrouble() { trouble_->EndTrouble(); }
  void Crash();
  void LosePower();

 private:
  TroubleFixture* trouble_ = nullptr;  // the fixture
  std::uint64_t writers_ = 0;
};

// Registers a check; called before main() by TROUBLE_CHECK.
bool ListTroubleCheck(std::string_view name, void (*run)(const StoreUnderTest&));

// So that a linker that takes the suite out of an archive takes all its files.
void LinkTransactionTroubles();
void LinkClaimTroubles();
void LinkSyncTroubles();

#define TROUBLE_CHECK(check_name) \
  STORE_CHECK(StoreTroubleConformance, TroubleBench, ListTroubleCheck, check_name)

}  // namespace once::testing
