// Stores that sync beside transactions: what a sync speaks for, and what follows from one that
// fails.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "src/testing/trouble_bench.h"

namespace once::testing {
namespace {

std::string WhyNot(const TransactionalStore& store) {
  return store.syncs_beside() ? "" : "this store syncs with its commits only";
}

TROUBLE_CHECK(WhatWasSyncedBesideATransactionIsThereAfterAPowerFailure) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  SKIP_UNLESS_EMPTY(WhyNot(transactions()));
  const PositionStamp stamp = Take();
  MustApply(1, stamp, Durability::kProcess);
  absl::Status failure;
  {
    const auto open = Stage(2, After(stamp, 1), failure);
    ASSERT_NE(open, nullptr) << failure;
    const absl::Status synced = transactions().Sync();
    EXPECT_TRUE(synced.ok()) << synced;
    open->Rollback();
  }
  LosePower();
  EXPECT_EQ(CountApplied(), 1);
}

TROUBLE_CHECK(AfterASyncThatFailedTakeTellsWhatStays) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_broken_writes);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  SKIP_UNLESS_EMPTY(WhyNot(transactions()));
  int failures = 0;
  for (int way = 0;; ++way) {
    const PositionStamp stamp = Take();
    const int count = CountApplied() + 1;
    MustApply(count, stamp, Durability::kProcess);
    if (!BreakNextWrite(way)) break;
    const absl::Status answer = transactions().Sync();
    EndTrouble();
    if (!answer.ok()) {
      ++failures;
      Take();
    }
    const int told = CountApplied();
    EXPECT_TRUE(told == count || !answer.ok()) << "way " << way;
    LosePower();
    EXPECT_EQ(CountApplied(), told) << "way " << way << ", which said " << answer;
  }
  EXPECT_GT(failures, 0) << "nothing was broken";
}

// The failure of a sync is told once, and maybe not to the commit behind it.
TROUBLE_CHECK(ACommitDoesNotHideASyncThatFailedBesideIt) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_broken_writes);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  SKIP_UNLESS_EMPTY(WhyNot(transactions()));
  for (const Durability wanted : {Durability::kMachine, Durability::kProcess}) {
    int failures = 0;
    for (int way = 0;; ++way) {
      const PositionStamp stamp = Take();
      const int count = CountApplied() + 1;
      MustApply(count, stamp, Durability::kProcess);
      absl::Status answer;
      const auto open = Stage(count + 1, After(stamp, count), answer);
      ASSERT_NE(open, nullptr) << answer;
      if (!BreakNextWrite(way)) break;
      const absl::Status synced = transactions().Sync();
      EndTrouble();
      if (!synced.ok()) ++failures;
      answer = open->Commit(wanted);
      const bool is_durable = answer.ok() && wanted == Durability::kMachine;
      EXPECT_FALSE(is_durable && !synced.ok()) << "way " << way << " said " << synced;
      if (!is_durable) Take();
      const int told = CountApplied();
      EXPECT_TRUE(told == count + 1 || !answer.ok()) << "way " << way;
      LosePower();
      EXPECT_EQ(CountApplied(), told) << "way " << way << ": " << synced << ", " << answer;
    }
    EXPECT_GT(failures, 0) << "nothing was broken";
  }
}

}  // namespace

void LinkSyncTroubles() {}

}  // namespace once::testing
