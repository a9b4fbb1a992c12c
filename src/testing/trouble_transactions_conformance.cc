// Transactions in trouble: no space, a commit that fails or whose answer is lost, a power failure.
#include <memory>
#include <string>

#include <gmock/gmock.h>

#include "once/wrap.h"
#include "src/testing/store_words.h"
#include "src/testing/trouble_bench.h"

namespace once::testing {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Le;

// ---- No space ----

TROUBLE_CHECK(WithoutSpaceNothingIsCommittedAndTheSameStampsServeAfterwards) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  PositionStamp stamp = Take();
  int count = 0;
  for (const Durability wanted : {Durability::kMachine, Durability::kProcess}) {
    MustApply(++count, stamp, wanted);
    stamp = After(stamp, count);
    FillUp();
    const absl::Status refused = Apply(count + 1, stamp, wanted);
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    EXPECT_EQ(CountVisible(), count);
    EndTrouble();
    EXPECT_EQ(CountApplied(), count);
    MustApply(++count, stamp, wanted);
    stamp = After(stamp, count);
    EXPECT_EQ(CountApplied(), count);
  }
  Crash();
  EXPECT_EQ(CountApplied(), count);
}

TROUBLE_CHECK(ACommitThatFindsNoSpaceIsRefusedWhole) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  const PositionStamp stamp = Take();
  absl::Status failure;
  const auto transaction = Stage(1, stamp, failure);
  ASSERT_NE(transaction, nullptr) << failure;
  FillUp();
  const absl::Status refused = transaction->Commit(Durability::kMachine);
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_EQ(CountVisible(), 0);
  EndTrouble();
  EXPECT_EQ(CountApplied(), 0);
  MustApply(1, stamp);
  EXPECT_EQ(CountApplied(), 1);
}

// The store may have ended the transaction by itself; what the handler writes then must not end up
// outside of any.
TROUBLE_CHECK(SpaceThatEndsInsideAHandlerCostsItsWholeTransaction) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  const PositionStamp stamp = Take();
  absl::Status failure;
  const auto transaction = Stage(1, stamp, failure);
  ASSERT_NE(transaction, nullptr) << failure;
  FillUp();
  const absl::Status appended =
      fixture().AppendEffect(*transaction, std::string(1'000'000, 'x'));  // more than is cached
  const absl::Status open = transaction->CheckOpen();
  const absl::Status more = fixture().AppendEffect(*transaction, "of a handler that goes on");
  if (open.ok()) {
    EXPECT_TRUE(appended.ok()) << "a statement failed and the transaction is open: " << appended;
    const absl::Status refused = transaction->Commit(Durability::kMachine);
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused << ", after " << more;
  } else {
    EXPECT_TRUE(absl::IsAborted(open)) << open;
    transaction->Rollback();
  }
  EXPECT_EQ(CountVisible(), 0);
  EndTrouble();
  EXPECT_EQ(CountApplied(), 0);
  MustApply(1, stamp);
  EXPECT_EQ(CountApplied(), 1);
}

TROUBLE_CHECK(ARollbackNeedsNoSpace) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  const PositionStamp stamp = Take();
  absl::Status failure;
  const auto transaction = Stage(1, stamp, failure);
  ASSERT_NE(transaction, nullptr) << failure;
  FillUp();
  transaction->Rollback();
  EXPECT_EQ(CountVisible(), 0);
  EndTrouble();
  MustApply(1, stamp);
  EXPECT_EQ(CountApplied(), 1);
}

TROUBLE_CHECK(WithoutSpaceNoRowIsTaken) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  const PositionStamp stamp = Take();
  PartitionKey other = Key();
  other.partition.partition = 1;
  FillUp();
  const TakeRequest requests[] = {{.key = Key(), .writer = 77}, {.key = other, .writer = 78}};
  const auto refused = transactions().Take(requests);
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  EndTrouble();
  const auto stamps = transactions().ReadPositions({&other, 1});
  ASSERT_TRUE(stamps.ok()) << stamps.status();
  EXPECT_FALSE(stamps->front().has_value());
  MustApply(1, stamp);
  Take();
  EXPECT_EQ(CountApplied(), 1);
}

TROUBLE_CHECK(WithoutSpaceTheRelayMarksNothing) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_full_disk);
  MustApply(1, Take());
  Outbox& outbox = transactions().outbox();
  const auto pending = outbox.FindPending(10);
  ASSERT_TRUE(pending.ok() && pending->size() == 1) << pending.status();
  const std::int64_t sequence = pending->front().sequence;
  FillUp();
  const absl::Status marked = outbox.MarkPublished({&sequence, 1});
  EXPECT_TRUE(absl::IsResourceExhausted(marked)) << marked;
  const absl::Status parked = outbox.Park(sequence, absl::InternalError("too large"));
  EXPECT_TRUE(absl::IsResourceExhausted(parked)) << parked;
  EXPECT_EQ(CountVisible(), 1);
  EndTrouble();
  EXPECT_EQ(CountVisible(), 1);
  const absl::Status again = outbox.MarkPublished({&sequence, 1});
  EXPECT_TRUE(again.ok()) << again;
  EXPECT_EQ(outbox.CountPending().value_or(77), 0u);
}

// ---- Commits that fail ----

// kUnknown: may have been applied, and Take() tells. Any other error: not applied, neither here nor
// for whoever opens the store after a crash.
TROUBLE_CHECK(WhatACommitSaysIsTrueAndTakeTellsWhatItLeftOpen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_broken_writes);
  int count = 0;
  int failures = 0;
  for (int way = 0;; ++way) {
    absl::Status answer;
    const auto transaction = Stage(count + 1, Take(), answer);
    ASSERT_NE(transaction, nullptr) << answer;
    if (!BreakNextWrite(way)) break;
    answer = transaction->Commit(Durability::kMachine);
    EndTrouble();
    if (!answer.ok()) ++failures;
    if (IsDefinite(answer)) Crash();
    Take();
    const int found = CountApplied();
    EXPECT_THAT(found, AllOf(Ge(answer.ok() ? count + 1 : count),
                             Le(IsDefinite(answer) ? count : count + 1)))
        << "way " << way << ", which said " << answer;
    Crash();
    EXPECT_EQ(CountApplied(), found) << "way " << way << ": Take() has told something else";
    count = found;
  }
  EXPECT_GT(failures, 0) << "nothing was broken";
}

TROUBLE_CHECK(ATakeThatFailedMayBeRepeated) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_broken_writes);
  int failures = 0;
  Take();
  for (int way = 0;; ++way) {
    const TakeRequest request{.key = Key(), .writer = 1000 + static_cast<std::uint64_t>(way)};
    const auto before = transactions().ReadPositions({&Key(), 1});
    if (!BreakNextWrite(way)) break;
    const auto taken = transactions().Take({&request, 1});
    EndTrouble();
    if (IsDefinite(taken.status())) {
      const auto after = transactions().ReadPositions({&Key(), 1});
      ASSERT_TRUE(before.ok() && after.ok());
      EXPECT_EQ(before->front()->writer, after->front()->writer) << way << ": " << taken.status();
    }
    if (!taken.ok()) ++failures;
    absl::Status failure;
    const PositionStamp stamp = taken.ok() ? taken->front().current : Take();
    const auto transaction = Stage(1, stamp, failure);
    EXPECT_NE(transaction, nullptr) << "way " << way << ": " << failure;
  }
  EXPECT_GT(failures, 0) << "nothing was broken";
}

// ---- Power failures ----

TROUBLE_CHECK(WhatWasCommittedForTheMachineIsThereAfterAPowerFailure) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  PositionStamp stamp = Take();
  MustApply(1, stamp, Durability::kProcess);
  MustApply(2, After(stamp, 1), Durability::kMachine);
  LosePower();
  EXPECT_EQ(CountApplied(), 2);
}

// Nothing is in it, and yet there is something to sync.
TROUBLE_CHECK(WhatATransactionHasOnlyReadIsThereOnceItWasCommittedForTheMachine) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  MustApply(1, Take(), Durability::kProcess);
  auto begun = transactions().Begin({});
  ASSERT_TRUE(begun.ok()) << begun.status();
  const absl::Status read = begun->transaction->Commit(Durability::kMachine);
  EXPECT_TRUE(read.ok()) << read;
  LosePower();
  EXPECT_EQ(CountApplied(), 1);
}

// As a consumer of the same scope commits it, which syncs only later.
TROUBLE_CHECK(AnAnswerThatACallWasGivenStaysTrueAfterAPowerFailure) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  const std::string scope = NamedScope("charges");
  for (const IdState state : {IdState::kCompleted, IdState::kDead, IdState::kDiscarded}) {
    const std::string id(ToString(state));
    const IdWrite write{.key = {.scope = scope, .id = id}, .record = {.state = state}};
    auto begun = transactions().Begin({});
    ASSERT_TRUE(begun.ok()) << begun.status();
    ASSERT_TRUE(begun->transaction->PutIds({&write, 1}).ok());
    ASSERT_TRUE(begun->transaction->Commit(Durability::kProcess).ok());
    {
      const auto charge = Wrap<std::string>(
          {.store = std::shared_ptr<DedupStore>(std::shared_ptr<DedupStore>(), &fixture().store()),
           .scope = "charges",
           .id = [](const std::string& name) { return name; },
           .log = NoLog()},
          [](const std::string&, Transaction&, const Invocation&) -> Outcome { return Done(); });
      ASSERT_TRUE(charge.ok()) << charge.status();
      const auto answer = (*charge)(id);
      ASSERT_TRUE(answer.ok()) << answer.status();
      EXPECT_TRUE(answer->is_settled()) << ToString(answer->verdict);
      EXPECT_NE(answer->verdict, CallVerdict::kDone);
    }
    LosePower();
    begun = transactions().Begin({});
    ASSERT_TRUE(begun.ok()) << begun.status();
    IdRecord found;
    ASSERT_TRUE(begun->transaction->FindIds({&write.key, 1}, {&found, 1}).ok());
    EXPECT_EQ(found.state, state) << "the caller was told of it, and it is gone";
    begun->transaction->Rollback();
    begun->transaction.reset();
  }
}

TROUBLE_CHECK(APowerFailureLeavesTheStateOfOneMomentAndStampsFromLaterAreRefused) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  PositionStamp stamp = Take();
  MustApply(1, stamp);
  stamp = After(stamp, 1);
  for (int number = 2; number <= 4; ++number) {
    MustApply(number, stamp, Durability::kProcess);
    stamp = After(stamp, number);
  }
  LosePower();
  const int left = CountApplied();
  EXPECT_THAT(left, AllOf(Ge(1), Le(4)));
  const PositionLock lock{.key = Key(), .expected = stamp};
  const auto begun = transactions().Begin({&lock, 1});
  ASSERT_TRUE(begun.ok()) << begun.status();
  EXPECT_EQ(begun->transaction == nullptr, left < 4) << "the row is not what it was";
}

TROUBLE_CHECK(TheNextCommitForTheMachineSpeaksForTheOneThatFailedToo) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_transactions);
  SKIP_UNLESS_EMPTY(capabilities().why_no_broken_writes);
  SKIP_UNLESS_EMPTY(capabilities().why_no_power_loss);
  for (int way = 0;; ++way) {
    PositionStamp stamp = Take();
    int count = CountApplied();
    MustApply(++count, stamp, Durability::kProcess);
    absl::Status answer;
    const auto transaction = Stage(count + 1, After(stamp, count), answer);
    ASSERT_NE(transaction, nullptr) << answer;
    if (!BreakNextWrite(way)) break;
    answer = transaction->Commit(Durability::kMachine);
    EndTrouble();
    stamp = Take();
    count = CountApplied();
    MustApply(++count, stamp);
    LosePower();
    EXPECT_EQ(CountApplied(), count) << "way " << way << ", which said " << answer;
  }
}

}  // namespace

void LinkTransactionTroubles() {}

}  // namespace once::testing
