// The conformance tests of a store with several users, one after the other and at once: exclusion,
// threads, reopening, crashes.
#include "once/testing/store_conformance.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "src/testing/store_words.h"

namespace once::testing {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// Here, so that a linker that takes the suite out of an archive takes this file too.
void TransactionalStoreConformance::TearDown() { fixture_.reset(); }

namespace {

TEST_P(TransactionalStoreConformance, ASecondTransactionOnTheSameRowsIsKeptOut) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_exclusion);
  const PartitionKey key = Partition(0);
  const PositionStamp stamp = Take(key, 1);
  auto first = Begin(key, stamp);
  ASSERT_NE(first, nullptr);
  const PositionLock lock{.key = key, .expected = stamp};
  const auto second = transactions().Begin({&lock, 1});
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  const TakeRequest request{.key = key, .writer = 2};
  const auto taken = transactions().Take({&request, 1});
  EXPECT_TRUE(absl::IsUnavailable(taken.status())) << taken.status();

  const PositionStamp after = Commit(std::move(first), key, stamp);
  EXPECT_NE(Begin(key, after), nullptr);
}

TEST_P(TransactionalStoreConformance, WhoeverWaitsGetsItsTurnAndSeesWhatWasCommitted) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  SKIP_UNLESS_EMPTY(capabilities().why_no_exclusion);
  const PartitionKey key = Partition(0);
  const PositionStamp stamp = Take(key, 1);
  auto first = Begin(key, stamp);
  ASSERT_NE(first, nullptr);
  std::atomic<bool> is_first_open = true;
  std::thread waiting([&] {
    const PositionLock lock{.key = key, .expected = stamp};
    auto second = transactions().Begin({&lock, 1});
    while (absl::IsUnavailable(second.status())) second = transactions().Begin({&lock, 1});
    EXPECT_FALSE(is_first_open);
    ASSERT_TRUE(second.ok()) << second.status();
    ASSERT_THAT(second->mismatches, SizeIs(1));
    EXPECT_EQ(second->mismatches[0].actual, (PositionStamp{1, 2, 1}));
  });
  is_first_open = false;
  Commit(std::move(first), key, stamp);
  waiting.join();
}

TEST_P(TransactionalStoreConformance, WritersOnManyThreadsNeverLoseAnUpdate) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  constexpr int kThreads = 4;
  constexpr int kCommits = 25;
  const PartitionKey key = Partition(0);
  Take(key, 1);
  const auto work = [&](int number) {
    for (int done = 0; done < kCommits;) {
      const PositionStamp seen = transactions().ReadPositions({&key, 1}).value()[0].value();
      const PositionLock lock{.key = key, .expected = seen};
      auto begun = transactions().Begin({&lock, 1});
      if (!begun.ok() || !begun->transaction) continue;  // somebody was quicker
      const PositionUpdate update{.key = key, .position = seen.position + 1};
      AppendEffect(*begun->transaction, absl::StrCat(number));
      ASSERT_TRUE(begun->transaction->SetPositions({&update, 1}).ok());
      ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
      ++done;
    }
  };
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) threads.emplace_back(work, number);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0],
            (PositionStamp{kThreads * kCommits, kThreads * kCommits + 1, 1}));
  EXPECT_THAT(Effects(), SizeIs(kThreads * kCommits));
}

TEST_P(TransactionalStoreConformance, TheRelayAndTheWorkerShareTheStore) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  constexpr std::size_t kLetters = 50;
  std::thread worker([&] {
    for (std::size_t i = 0; i < kLetters;) {
      auto begun = transactions().Begin({});
      if (absl::IsUnavailable(begun.status())) continue;
      ASSERT_TRUE(begun.ok()) << begun.status();
      PutOutgoing(*begun->transaction,
                  Letter(Partition(0), static_cast<std::int64_t>(i), absl::StrCat(i)));
      ASSERT_TRUE(begun->transaction->Commit(Durability::kMachine).ok());
      ++i;
    }
  });
  std::vector<std::string> published;
  while (published.size() < kLetters) {
    const std::vector<PendingRow> rows = Pending(7);
    std::vector<std::int64_t> sequences;
    for (const PendingRow& row : rows) sequences.push_back(row.sequence);
    const absl::Status marked = outbox().MarkPublished(sequences);
    if (absl::IsUnavailable(marked)) continue;
    EXPECT_TRUE(marked.ok()) << marked;
    for (const std::string& value : Values(rows)) published.push_back(value);
  }
  worker.join();
  std::vector<std::string> expected;
  for (std::size_t i = 0; i < kLetters; ++i) expected.push_back(absl::StrCat(i));
  EXPECT_EQ(published, expected);
}

// Both have found it absent and believe that they may handle it. A store may keep the second one
// out at any step, but not let both commit.
TEST_P(TransactionalStoreConformance, TwoTransactionsThatFoundTheSameIdAbsentNeverBothCommitIt) {
  const PositionStamp zero = Take(Partition(0), 1);
  const PositionStamp one = Take(Partition(1), 1);
  const PositionLock locks[] = {{Partition(0), zero}, {Partition(1), one}};
  std::vector<std::unique_ptr<StoreTransaction>> open;
  const IdKey key{"scope", "id"};
  for (const PositionLock& lock : locks) {
    auto begun = transactions().Begin({&lock, 1});
    if (!begun.ok()) continue;
    ASSERT_NE(begun->transaction, nullptr);
    IdRecord record;
    if (!begun->transaction->FindIds({&key, 1}, {&record, 1}).ok()) continue;
    EXPECT_EQ(record, IdRecord{});
    open.push_back(std::move(begun->transaction));
  }
  ASSERT_THAT(open, Not(IsEmpty()));
  std::size_t committed = 0;
  for (const auto& transaction : open) {
    const IdWrite write{.key = key, .record = kCompletedRecord};
    if (!transaction->PutIds({&write, 1}).ok()) continue;
    if (!fixture().AppendEffect(*transaction, "effect").ok()) continue;
    if (transaction->Commit(Durability::kMachine).ok()) ++committed;
  }
  EXPECT_EQ(committed, 1u);
  EXPECT_THAT(Effects(), ElementsAre("effect"));
}

TEST_P(TransactionalStoreConformance, ThreadsThatFindTheSameIdAbsentCommitItOnce) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_threads);
  constexpr int kThreads = 4;
  constexpr int kIds = 20;
  const auto work = [&] {
    for (int i = 0; i < kIds;) {
      const std::string id = absl::StrCat("id ", i);
      const IdKey key{"scope", id};
      auto begun = transactions().Begin({});
      if (!begun.ok() || !begun->transaction) continue;
      IdRecord record;
      if (!begun->transaction->FindIds({&key, 1}, {&record, 1}).ok()) continue;
      if (record.state == IdState::kAbsent) {
        const IdWrite write{.key = key, .record = kCompletedRecord};
        if (!begun->transaction->PutIds({&write, 1}).ok()) continue;
        AppendEffect(*begun->transaction, id);
        if (!begun->transaction->Commit(Durability::kMachine).ok()) continue;
      }
      ++i;
    }
  };
  std::vector<std::thread> threads;
  for (int number = 0; number < kThreads; ++number) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(Effects(), SizeIs(kIds));
}

// ---- Commits that are not synced ----

TEST_P(TransactionalStoreConformance, AnUnsyncedCommitIsVisibleAndBelowASyncedOne) {
  const PartitionKey key = Partition(0);
  PositionStamp stamp = Take(key, 1);
  for (const Durability wanted :
       {Durability::kProcess, Durability::kMachine, Durability::kProcess, Durability::kNothing}) {
    const auto transaction = Begin(key, stamp);
    ASSERT_NE(transaction, nullptr);
    AppendEffect(*transaction, absl::StrCat("effect ", stamp.position));
    const PositionUpdate update{.key = key, .position = stamp.position + 1};
    ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
    const absl::Status committed = transaction->Commit(wanted);
    ASSERT_TRUE(committed.ok()) << committed;
    stamp = {stamp.position + 1, stamp.revision + 1, stamp.writer};
    EXPECT_EQ(transactions().ReadPositions({&key, 1}).value()[0], stamp);
  }
  EXPECT_THAT(Effects(), ElementsAre("effect 0", "effect 1", "effect 2", "effect 3"));
}

TEST_P(TransactionalStoreConformance, AnUnsyncedCommitSurvivesTheDeathOfTheProcess) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_crash);
  const PartitionKey key = Partition(0);
  const PositionStamp stamp = Take(key, 1);
  const auto transaction = Begin(key, stamp);
  ASSERT_NE(transaction, nullptr);
  const IdRecord attempt = {.state = IdState::kRetrying, .attempt = 1};
  Put(*transaction, {"scope", "id"}, attempt);
  const PositionUpdate update{.key = key, .position = 0, .reach = 500};
  ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
  ASSERT_TRUE(transaction->Commit(Durability::kProcess).ok());

  const absl::Status crashed = fixture().Crash();
  ASSERT_TRUE(crashed.ok()) << crashed;
  EXPECT_EQ(FindCommitted({"scope", "id"}), attempt);
  const TakeRequest request{.key = key, .writer = 2};
  const auto taken = transactions().Take({&request, 1});
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->front().previous, (PositionStamp{0, stamp.revision + 1, 1}));
  EXPECT_EQ(taken->front().reach, 500);
}

// ---- Reopening and crashing ----

TEST_P(TransactionalStoreConformance, ACompletedIdStaysCompletedAfterReopen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  const std::vector<IdRecord> records = RecordsOfEveryKind();
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  for (std::size_t i = 0; i < records.size(); ++i) {
    Put(*transaction, {"scope", absl::StrCat("id", i)}, records[i]);
  }
  AppendEffect(*transaction, "effect");
  PutOutgoing(*transaction, Letter(Partition(0), 1, "letter"));
  const PositionStamp after = Commit(std::move(transaction), Partition(0), stamp);

  const absl::Status reopened = fixture().Reopen();
  ASSERT_TRUE(reopened.ok()) << reopened;
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(FindCommitted({"scope", absl::StrCat("id", i)}), records[i]) << "record " << i;
  }
  EXPECT_THAT(Effects(), ElementsAre("effect"));
  EXPECT_THAT(Values(Pending()), ElementsAre("letter"));
  EXPECT_NE(Begin(Partition(0), after), nullptr);
}

TEST_P(TransactionalStoreConformance, ReachAndLastRecordSurviveReopen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  constexpr AppliedRecord kApplied = {
      .offset = 4, .timestamp_ms = 123, .fingerprint = {.high = 1, .low = 2}};
  for (const Durability wanted : {Durability::kMachine, Durability::kProcess}) {
    const PartitionKey key = Partition(wanted == Durability::kMachine ? 0 : 1);
    const auto transaction = Begin(key, Take(key, 1));
    ASSERT_NE(transaction, nullptr);
    const PositionUpdate update{.key = key, .position = 5, .reach = 9, .last_applied = kApplied};
    ASSERT_TRUE(transaction->SetPositions({&update, 1}).ok());
    ASSERT_TRUE(transaction->Commit(wanted).ok());
    ASSERT_TRUE(fixture().Reopen().ok());
    const TakeRequest request{.key = key, .writer = 2};
    const auto taken = transactions().Take({&request, 1});
    ASSERT_TRUE(taken.ok()) << taken.status();
    EXPECT_EQ(taken->front().current.position, 5);
    EXPECT_EQ(taken->front().reach, 9);
    EXPECT_EQ(taken->front().last_applied, kApplied);
  }
}

TEST_P(TransactionalStoreConformance, IdentityStaysAndEveryOpeningIsCounted) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  const StoreTraits before = fixture().store().traits();
  EXPECT_THAT(before.id, Not(IsEmpty()));
  EXPECT_LE(before.id.size(), 64u);
  for (const char byte : before.id) EXPECT_TRUE(byte >= ' ' && byte <= '~') << before.id;
  ASSERT_TRUE(fixture().Reopen().ok());
  const StoreTraits after = fixture().store().traits();
  EXPECT_EQ(after.id, before.id);
  EXPECT_GT(after.open_count, before.open_count);
}

TEST_P(TransactionalStoreConformance, APublishedOriginStaysTakenAfterReopen) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_reopen);
  auto transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "published"));
  PutOutgoing(*transaction, Letter(Partition(0), 2, "parked"));
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  const std::vector<PendingRow> rows = Pending();
  ASSERT_THAT(rows, SizeIs(2));
  ASSERT_TRUE(outbox().MarkPublished({&rows[0].sequence, 1}).ok());
  ASSERT_TRUE(outbox().Park(rows[1].sequence, absl::InvalidArgumentError("too large")).ok());

  ASSERT_TRUE(fixture().Reopen().ok());
  EXPECT_THAT(Pending(), IsEmpty());
  transaction = Begin(std::span<const PositionLock>());
  ASSERT_NE(transaction, nullptr);
  PutOutgoing(*transaction, Letter(Partition(0), 1, "replayed"));
  PutOutgoing(*transaction, Letter(Partition(0), 2, "replayed"));
  PutOutgoing(*transaction, Letter(Partition(0), 3, "new"));
  ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
  ASSERT_THAT(Values(Pending()), ElementsAre("new"));
  EXPECT_GT(Pending()[0].sequence, rows[1].sequence);
}

TEST_P(TransactionalStoreConformance, ACrashForgetsTheOpenTransactionAndNothingElse) {
  SKIP_UNLESS_EMPTY(capabilities().why_no_crash);
  const PositionStamp stamp = Take(Partition(0), 1);
  auto transaction = Begin(Partition(0), stamp);
  ASSERT_NE(transaction, nullptr);
  Put(*transaction, {"scope", "committed"}, kCompletedRecord);
  AppendEffect(*transaction, "committed");
  PutOutgoing(*transaction, Letter(Partition(0), 1, "committed"));
  const PositionStamp after = Commit(std::move(transaction), Partition(0), stamp);

  const auto open = Begin(Partition(0), after);
  ASSERT_NE(open, nullptr);
  Put(*open, {"scope", "open"}, kCompletedRecord);
  AppendEffect(*open, "open");
  PutOutgoing(*open, Letter(Partition(0), 2, "open"));
  const PositionUpdate update{.key = Partition(0), .position = 2};
  ASSERT_TRUE(open->SetPositions({&update, 1}).ok());

  const absl::Status crashed = fixture().Crash();
  ASSERT_TRUE(crashed.ok()) << crashed;
  EXPECT_EQ(FindCommitted({"scope", "committed"}), kCompletedRecord);
  EXPECT_EQ(FindCommitted({"scope", "open"}), IdRecord{});
  EXPECT_THAT(Effects(), ElementsAre("committed"));
  EXPECT_THAT(Values(Pending()), ElementsAre("committed"));
  EXPECT_NE(Begin(Partition(0), after), nullptr);
}

}  // namespace
}  // namespace once::testing
