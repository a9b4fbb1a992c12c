// Crash-proof attempts: what the row says of invocations before they happen, and how messages run
// after a process has ended in the middle of one.
#include "absl/strings/str_cat.h"
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class EngineAttempts : public EngineTest {
 protected:
  // The process dies in the middle of this message's handler, the first `times` times.
  void DieIn(std::string id, int times = 1000) {
    When(std::move(id),
         [this, deaths = 0, times](const Message& message, Transaction& transaction) mutable {
           attempts_.push_back(message.attempt());
           if (++deaths <= times) store_->Die();
           return Book(message, transaction);
         });
  }
  // As many processes, one after the other, each until it dies.
  void RunUntilItLives(int processes_max) {
    for (int i = 0; i < processes_max && StepUntilDeath(); ++i) Restart({kOrders0});
  }
  // The partition's messages wait in the consumer, behind one that is due in a second.
  void BufferBehindARetry(const TopicPartition& partition, int count) {
    const std::string first = ToString(partition) + "first";
    When(first, [calls = 0](const Message& message, Transaction& transaction) mutable {
      return ++calls == 1 ? Retry("later") : Book(message, transaction);
    });
    Send(partition, first);
    for (int i = 1; i < count; ++i) Send(partition, ToString(partition) + std::to_string(i));
    StartAndSettle({partition});
    ASSERT_EQ(PositionOf(partition), 0);
    Advance(absl::Seconds(1));
  }
  std::int64_t Reach(const TopicPartition& partition = kOrders0) {
    return store_->FindRow(KeyOf(partition)).reach;
  }
  std::uint64_t Batches() const { return stats().commits; }
  void SettleLater() {
    Advance(absl::Seconds(10));
    Settle();
  }
  std::size_t CountInvocations(const std::string& id) const {
    const std::vector<std::string> all = invoked();
    return static_cast<std::size_t>(std::count(all.begin(), all.end(), id));
  }

  std::vector<int> attempts_;  // of the messages that DieIn() was called for
};

TEST_F(EngineAttempts, NothingIsInvokedBeyondTheReach) {
  options_.limits.batch_messages_max = 3;
  std::vector<std::int64_t> distances;
  for (int i = 0; i < 10; ++i) {
    Send(kOrders0, std::to_string(i));
    When(std::to_string(i), [&](const Message& message, Transaction& transaction) {
      distances.push_back(Reach() - message.offset());
      return Book(message, transaction);
    });
  }
  StartAndSettle({kOrders0});
  ASSERT_THAT(distances, SizeIs(10));
  EXPECT_THAT(distances, Each(Ge(1)));
}

TEST_F(EngineAttempts, UnderTrafficTheReachGrowsWithTheCommits) {
  options_.limits.batch_messages_max = 2;
  BufferBehindARetry(kOrders0, 20);
  int marks = 0;
  store_->OnMark([&marks] {
    ++marks;
    return CommitFate::kHappens;
  });
  Settle(10);
  ASSERT_THAT(effects(), SizeIs(20));
  EXPECT_LE(marks, 1);
}

TEST_F(EngineAttempts, WithoutTrafficTheRowSaysThatNothingRuns) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_EQ(Reach(), 1);
  EXPECT_EQ(PositionOf(kOrders0), 1);
}

TEST_F(EngineAttempts, AGracefulStopUnderTrafficIsClean) {
  options_.limits.batch_messages_max = 2;
  BufferBehindARetry(kOrders0, 20);
  Settle(4);
  ASSERT_LT(PositionOf(kOrders0), 20);
  ASSERT_GT(Reach(), PositionOf(kOrders0));
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(Reach(), PositionOf(kOrders0));
  const std::int64_t applied = store_->FindRow(KeyOf(kOrders0)).last_applied->offset;
  EXPECT_EQ(applied, PositionOf(kOrders0) - 1) << "kept by the last word";
}

TEST_F(EngineAttempts, ARevocationInTimeIsCleanAndALostPartitionIsNot) {
  options_.limits.batch_messages_max = 2;
  for (const Revocation kind : {Revocation::kRevoked, Revocation::kLost}) {
    const TopicPartition partition = kind == Revocation::kRevoked ? kOrders0 : kOrders1;
    BufferBehindARetry(partition, 20);
    Settle(4);
    ASSERT_GT(Reach(partition), PositionOf(partition));
    log_->Revoke({partition}, kind);
    Settle(2);
    EXPECT_EQ(Reach(partition) == PositionOf(partition), kind == Revocation::kRevoked);
  }
}

TEST_F(EngineAttempts, AProcessThatDiesBetweenBatchesLeavesSingleMessagesToTheNextOne) {
  options_.limits.batch_messages_max = 4;
  BufferBehindARetry(kOrders0, 16);
  Settle(2);
  const std::int64_t position = PositionOf(kOrders0);
  const std::int64_t reach = Reach();
  ASSERT_GT(reach, position);
  store_->Die();
  EXPECT_TRUE(StepUntilDeath());
  Restart({kOrders0});
  Settle(40);
  EXPECT_THAT(effects(), SizeIs(16));
  const auto singles = static_cast<std::uint64_t>(reach - position);
  EXPECT_EQ(Batches(), singles + (16 - static_cast<std::uint64_t>(reach) + 3) / 4);
  EXPECT_EQ(Reach(), 16);
}

// A process with 320 messages in hand, of which it has settled none, dies.
class EngineSuspects : public EngineAttempts {
 protected:
  static constexpr int kMessages = 320;

  void DieWithABatchInHand() {
    for (int i = 0; i < kMessages; ++i) Send(kOrders0, std::to_string(i));
    DieIn(std::to_string(kMessages - 1), 1);
    log_->Assign({kOrders0});
    StartConsumer();
    ASSERT_TRUE(StepUntilDeath());
    ASSERT_EQ(PositionOf(kOrders0), 0);
    ASSERT_EQ(Reach(), kMessages);
  }
};

TEST_F(EngineSuspects, WhatWasCutOffRunsInBatchesOfASixteenthOfWhatIsLeftNotOneByOne) {
  DieWithABatchInHand();
  Restart({kOrders0});
  Settle(120);
  EXPECT_THAT(effects(), SizeIs(kMessages));
  EXPECT_LT(Batches(), 80u);
  EXPECT_EQ(stats().processed, static_cast<std::uint64_t>(kMessages));
}

TEST_F(EngineSuspects, TheReachOfEachIsItsOwnEnd) {
  DieWithABatchInHand();
  std::vector<std::int64_t> distances;
  for (int i = 0; i < kMessages; ++i) {
    When(std::to_string(i), [&](const Message& message, Transaction& transaction) {
      distances.push_back(Reach() - message.offset());
      return Book(message, transaction);
    });
  }
  Restart({kOrders0});
  Settle(120);
  ASSERT_THAT(distances, SizeIs(kMessages));
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(distances[i], 20 - static_cast<std::int64_t>(i)) << i;
  }
  EXPECT_THAT(distances, Each(Ge(1)));
}

TEST_F(EngineSuspects, PoisonAmongManyIsFoundInAFewDeathsAndNobodyElseIsCharged) {
  constexpr int kPoison = 217;
  std::map<std::string, std::vector<int>> neighbours;
  for (int i = 0; i < kMessages; ++i) {
    Send(kOrders0, std::to_string(i));
    if (i == kPoison) continue;
    When(std::to_string(i), [&neighbours](const Message& message, Transaction& transaction) {
      neighbours[std::string(message.id())].push_back(message.attempt());
      return Book(message, transaction);
    });
  }
  DieIn(std::to_string(kPoison));
  log_->Assign({kOrders0});
  StartConsumer();
  RunUntilItLives(12);
  Settle(120);
  // In the batch of 320 and in a sixteenth of what was left, charged to nobody; then as often as it
  // may.
  EXPECT_THAT(attempts_, ElementsAre(1, 1, 1, 2, 3));
  for (const auto& [id, attempts] : neighbours) EXPECT_THAT(attempts, Each(1)) << id;
  EXPECT_THAT(effects(), SizeIs(kMessages - 1));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-attempt"), "3");
}

TEST_F(EngineSuspects, OtherPartitionsGoOnBesideThem) {
  DieWithABatchInHand();
  for (int i = 0; i < 100; ++i) Send(kOrders1, absl::StrCat("other", i));
  Restart({kOrders0, kOrders1});
  Settle(6);
  EXPECT_EQ(PositionOf(kOrders1), 100);
  EXPECT_LT(PositionOf(kOrders0), kMessages);
  EXPECT_GT(PositionOf(kOrders0), 0);
}

TEST_F(EngineSuspects, AStopAmongThemIsNotClean) {
  DieWithABatchInHand();
  Restart({kOrders0});
  Settle(5);
  ASSERT_GT(PositionOf(kOrders0), 0);
  ASSERT_LT(PositionOf(kOrders0), kMessages);
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(Reach(), kMessages) << "all that were suspect still are";
}

// Compacted, or with aborted transactions: a hundred offsets without a message before each.
TEST_F(EngineSuspects, GapsBetweenOffsetsHideNoPoison) {
  constexpr std::int64_t kGap = 100;
  for (int i = 0; i < 40; ++i) {
    for (std::int64_t hole = 0; hole < kGap; ++hole) log_->AppendHole(kOrders0);
    Send(kOrders0, std::to_string(i));
  }
  DieIn("20");
  log_->Assign({kOrders0});
  StartConsumer();
  RunUntilItLives(12);
  Settle(120);
  EXPECT_THAT(effects(), SizeIs(39));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-id"), "20");
}

TEST_F(EngineAttempts, PoisonThatKillsEveryProcessIsDeadLetteredAndItsNeighboursAreNotCharged) {
  DieIn("poison");
  std::map<std::string, std::vector<int>> neighbours;
  for (const char* id : {"a", "b", "poison", "c", "d"}) {
    Send(kOrders0, id);
    if (std::string(id) == "poison") continue;
    When(id, [&neighbours](const Message& message, Transaction& transaction) {
      neighbours[std::string(message.id())].push_back(message.attempt());
      return Book(message, transaction);
    });
  }
  Send(kOrders1, "elsewhere");
  log_->Assign({kOrders0});
  StartConsumer();
  RunUntilItLives(10);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(attempts_, ElementsAre(1, 1, 2, 3)) << "the first one was charged to nobody";
  for (const auto& [id, attempts] : neighbours) EXPECT_THAT(attempts, Each(1)) << id;
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  const OutgoingMessage letter = publisher_->published()[0];
  EXPECT_EQ(HeaderOf(letter, "once-id"), "poison");
  EXPECT_EQ(HeaderOf(letter, "once-disposition"), "retries-exhausted");
  EXPECT_EQ(HeaderOf(letter, "once-attempt"), "3");
  EXPECT_EQ(PositionOf(kOrders0), 5);
}

TEST_F(EngineAttempts, WhatKillsTheProcessNowAndThenIsHandledInTheEnd) {
  DieIn("flaky", 2);
  for (const char* id : {"a", "flaky", "b"}) Send(kOrders0, id);
  log_->Assign({kOrders0});
  StartConsumer();
  RunUntilItLives(10);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "flaky", "b"));
  EXPECT_THAT(attempts_, ElementsAre(1, 1, 2));
  EXPECT_THAT(publisher_->published(), IsEmpty());
}

TEST_F(EngineAttempts, CrashesAndFailuresCountTogether) {
  int invocations = 0;
  When("poison", [&](const Message& message, Transaction&) -> Outcome {
    attempts_.push_back(message.attempt());
    if (++invocations <= 2) store_->Die();
    return Retry("down");
  });
  for (const char* id : {"a", "poison", "b"}) Send(kOrders0, id);
  log_->Assign({kOrders0});
  StartConsumer();
  RunUntilItLives(10);
  for (int i = 0; i < 5; ++i) SettleLater();
  EXPECT_THAT(attempts_, ElementsAre(1, 1, 2, 3));
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-error-message"), "down");
}

// After an unclean end, "a" at offset 0 waits to run singly.
class EngineSingles : public EngineAttempts {
 protected:
  void SetUp() override {
    When("a", [this](const Message&, Transaction&) -> Outcome {
      store_->Die();
      return Done();
    });
    for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
    log_->Assign({kOrders0});
    StartConsumer();
    ASSERT_TRUE(StepUntilDeath());
    ASSERT_THAT(effects(), IsEmpty());
    handlers_.clear();
    When("a", [this](const Message& message, Transaction& transaction) {
      attempts_.push_back(message.attempt());
      return Book(message, transaction);
    });
  }
  void FirstMark(CommitFate fate) {
    store_->OnMark(
        [fate, marks = 0]() mutable { return ++marks == 1 ? fate : CommitFate::kHappens; });
  }
};

TEST_F(EngineSingles, AnAttemptIsCommittedBeforeItsHandlerIsInvoked) {
  IdRecord met;
  When("a", [&](const Message& message, Transaction& transaction) {
    const IdKey key{.scope = message.scope(), .id = "a"};
    EXPECT_TRUE(dynamic_cast<StoreTransaction&>(transaction)
                    .FindIds(std::span(&key, 1), std::span(&met, 1))
                    .ok());
    return Book(message, transaction);
  });
  Restart({kOrders0});
  Settle();
  EXPECT_EQ(met.state, IdState::kRetrying);
  EXPECT_EQ(met.attempt, 1);
  EXPECT_EQ(store_->FindId(GroupTopicScope("billing", "orders"), "a").state, IdState::kCompleted);
}

TEST_F(EngineSingles, AnAttemptIsReusedUntilItsVerdictIsDurable) {
  store_->OnCommit([commits = 0](const auto&) mutable {
    switch (++commits) {
      case 1:
        return CommitFate::kTrouble;
      case 2:
        return CommitFate::kUnknownUndone;
      default:
        return CommitFate::kHappens;
    }
  });
  Restart({kOrders0});
  for (int i = 0; i < 4; ++i) SettleLater();
  EXPECT_THAT(attempts_, ElementsAre(1, 1, 1));
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineSingles, AVerdictWhoseCommitTurnsOutToHaveHappenedEndsTheAttempt) {
  When("a", [this](const Message& message, Transaction& transaction) -> Outcome {
    attempts_.push_back(message.attempt());
    if (attempts_.size() == 1) return Retry("down");
    return Book(message, transaction);
  });
  store_->OnCommit([commits = 0](const auto&) mutable {
    return ++commits == 1 ? CommitFate::kUnknownDone : CommitFate::kHappens;
  });
  Restart({kOrders0});
  for (int i = 0; i < 4; ++i) SettleLater();
  EXPECT_THAT(attempts_, ElementsAre(1, 2));
}

TEST_F(EngineSingles, ARecordedAttemptWhoseAnswerIsLostIsNotRecordedAgain) {
  FirstMark(CommitFate::kUnknownDone);
  Restart({kOrders0});
  for (int i = 0; i < 3; ++i) SettleLater();
  EXPECT_THAT(attempts_, ElementsAre(1));
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineSingles, ARecordedAttemptThatDidNotHappenIsRecorded) {
  FirstMark(CommitFate::kUnknownUndone);
  DieIn("a", 1);
  Restart({kOrders0});
  EXPECT_FALSE(StepUntilDeath(1));
  Advance(absl::Seconds(10));
  RunUntilItLives(3);
  EXPECT_THAT(attempts_, ElementsAre(1, 2));
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineSingles, ARecordedAttemptThatFailedToCommitIsTriedAgain) {
  FirstMark(CommitFate::kTrouble);
  Restart({kOrders0});
  for (int i = 0; i < 3; ++i) SettleLater();
  EXPECT_THAT(attempts_, ElementsAre(1));
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineSingles, AnAttemptThatAsksForAPauseIsNotCounted) {
  When("a", [this](const Message& message, Transaction&) -> Outcome {
    attempts_.push_back(message.attempt());
    return Pause("the downstream is out");
  });
  for (int i = 0; i < 5; ++i) {
    Restart({kOrders0});
    Settle();
    EXPECT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  }
  EXPECT_THAT(attempts_, ElementsAre(1, 1, 1, 1, 1));
  EXPECT_EQ(store_->FindId(GroupTopicScope("billing", "orders"), "a").state, IdState::kAbsent);
}

TEST_F(EngineSingles, AStopWhileMessagesStillRunSinglyIsNotClean) {
  When("a", [](const Message&, Transaction&) -> Outcome { return Retry("later"); });
  Restart({kOrders0});
  Settle();
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(Reach(), 3);
  EXPECT_EQ(PositionOf(kOrders0), 0);
}

TEST_F(EngineSingles, ARereadOfOurOwnRowChangesNothing) {
  Send(kOrders0, "d");
  store_->OnCommit([commits = 0](const auto&) mutable {
    return ++commits == 2 ? CommitFate::kUnknownDone : CommitFate::kHappens;
  });
  Restart({kOrders0});
  for (int i = 0; i < 3; ++i) SettleLater();
  EXPECT_EQ(Batches(), 4U) << "each by itself, c too";
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(stats().processed, 4U);
}

TEST_F(EngineSingles, SinglesDoNotHoldOtherPartitions) {
  for (int i = 0; i < 10; ++i) Send(kOrders1, std::to_string(i));
  Restart({kOrders0, kOrders1});
  Settle(6);
  EXPECT_THAT(effects(), SizeIs(13));
}

TEST_F(EngineSingles, AMessageWithoutAnIdAndADuplicateAreSettledAsEver) {
  log_->Append(kOrders0, {.value = "no id"});
  Send(kOrders0, "b");
  When("c", [this](const Message& message, Transaction& transaction) {
    if (CountInvocations("c") == 1) store_->Die();
    return Book(message, transaction);
  });
  Restart({kOrders0});
  RunUntilItLives(3);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "no-id");
  EXPECT_EQ(stats().duplicates, 1U);
  EXPECT_EQ(Reach(), 5);
}

TEST_F(EngineSingles, AnotherOwnersUncleanEndIsMetAtAnyReadingOfTheRow) {
  // Live and well, until another process takes the row, marks an invocation, and dies.
  Restart({kOrders0});
  Settle();
  ASSERT_THAT(effects(), ElementsAre("a", "b", "c"));
  const PartitionKey key = KeyOf(kOrders0);
  store_->LetAnotherTake(key);
  store_->LetAnotherWrite({.key = key, .position = 3, .reach = 5});
  const std::uint64_t before = Batches();
  for (const char* id : {"d", "e", "f", "g"}) Send(kOrders0, id);
  Settle(20);
  EXPECT_EQ(Batches() - before, 3U) << "d, e, and the rest at once";
}

}  // namespace
}  // namespace once
