// Commits that do not simply happen: refused ones are narrowed down to the message that causes
// them, a store in trouble is replayed, and a commit whose answer was lost is neither repeated nor
// believed before the row says what became of it.
#include <algorithm>

#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class EngineCommit : public EngineTest {
 protected:
  // The store refuses whatever completes this id.
  void RefuseCommitsOf(std::string id) {
    store_->OnCommit([id = std::move(id)](const std::vector<std::string>& completed) {
      const bool is_poison = std::find(completed.begin(), completed.end(), id) != completed.end();
      return is_poison ? CommitFate::kRefused : CommitFate::kHappens;
    });
  }
  // The first commit ends this way, all others happen.
  void FirstCommit(CommitFate fate) {
    store_->OnCommit([fate, commits = 0](const auto&) mutable {
      return ++commits == 1 ? fate : CommitFate::kHappens;
    });
  }
  // Waits out any backoff of the store.
  void SettleLater() {
    Advance(absl::Seconds(10));
    Settle();
  }
};

TEST_F(EngineCommit, ARefusedCommitIsNarrowedDownToTheMessageThatCausesIt) {
  RefuseCommitsOf("f");
  for (const char* id : {"a", "b", "c", "d", "e", "f", "g", "h"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_EQ(PositionOf(kOrders0), 5);
  const IdRecord record = store_->FindId(GroupTopicScope("billing", "orders"), "f");
  EXPECT_EQ(record.state, IdState::kRetrying);
  EXPECT_EQ(record.attempt, 1);
  EXPECT_EQ(stats().commits, 3U) << "halved: a to d, e, and f's failed attempt";
}

TEST_F(EngineCommit, AMessageWhoseCommitIsAlwaysRefusedEndsAsADeadLetter) {
  RefuseCommitsOf("b");
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  for (int i = 0; i < 3; ++i) SettleLater();
  EXPECT_THAT(effects(), ElementsAre("a", "c"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  const OutgoingMessage letter = publisher_->published()[0];
  EXPECT_EQ(HeaderOf(letter, "once-id"), "b");
  EXPECT_EQ(HeaderOf(letter, "once-attempt"), "3");
  EXPECT_THAT(HeaderOf(letter, "once-error-message"), HasSubstr("deferred constraint"));
}

TEST_F(EngineCommit, ARefusedCommitInOnePartitionDoesNotHoldTheOthers) {
  RefuseCommitsOf("bad");
  Send(kOrders0, "bad");
  Send(kOrders0, "behind");
  for (const char* id : {"x", "y", "z"}) Send(kOrders1, id);
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(effects(), ElementsAre("x", "y", "z"));
  for (int i = 0; i < 3; ++i) SettleLater();
  EXPECT_THAT(effects(), ElementsAre("x", "y", "z", "behind"));
}

TEST_F(EngineCommit, NothingOfARefusedCommitIsLeftBehind) {
  RefuseCommitsOf("a");
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), IsEmpty());
  EXPECT_EQ(PositionOf(kOrders0), 0);
}

TEST_F(EngineCommit, AStoreInTroubleIsTriedAgainAfterABackoffAndChargesNobody) {
  FirstCommit(CommitFate::kTrouble);
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), IsEmpty());
  EXPECT_THAT(invoked(), SizeIs(2));
  SettleLater();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(stats().retried, 0U);
  EXPECT_EQ(stats().rollbacks, 1U);
  EXPECT_THAT(events_->actions(), Contains("store_trouble"));
}

TEST_F(EngineCommit, AfterTroubleEveryPartitionOfTheBatchIsReplayed) {
  FirstCommit(CommitFate::kTrouble);
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartAndSettle({kOrders0, kOrders1});
  Send(kOrders0, "c");
  Send(kOrders1, "d");
  SettleLater();
  EXPECT_THAT(effects(), UnorderedElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(PositionOf(kOrders0), 2);
  EXPECT_EQ(PositionOf(kOrders1), 2);
}

TEST_F(EngineCommit, ABusyStoreAtBeginIsTriedAgain) {
  store_->OnBegin([calls = 0]() mutable {
    return ++calls == 1 ? absl::UnavailableError("locked") : absl::OkStatus();
  });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), IsEmpty());
  SettleLater();
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineCommit, ABrokenStoreEndsTheConsumer) {
  store_->OnBegin([] { return absl::DataLossError("page 7 is corrupt"); });
  Send(kOrders0, "a");
  log_->Assign({kOrders0});
  StartConsumer();
  absl::Status status;
  for (int i = 0; i < 5 && status.ok(); ++i) status = consumer_->Step().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("page 7"));
}

TEST_F(EngineCommit, AnUnknownCommitThatHappenedIsNotRepeated) {
  FirstCommit(CommitFate::kUnknownDone);
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  SettleLater();
  EXPECT_THAT(invoked(), ElementsAre("a", "b"));
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(stats().processed, 2U);
  EXPECT_EQ(stats().duplicates, 0U);
  EXPECT_EQ(stats().commits, 1U);
  EXPECT_EQ(stats().fenced, 0U);
  EXPECT_THAT(events_->actions(), Contains("commit_known"));
}

TEST_F(EngineCommit, AnUnknownCommitThatDidNotHappenIsReplayed) {
  FirstCommit(CommitFate::kUnknownUndone);
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  SettleLater();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(stats().processed, 2U);
  EXPECT_EQ(stats().commits, 1U);
  EXPECT_EQ(stats().fenced, 0U);
  EXPECT_THAT(events_->actions(), Not(Contains("commit_known")));
}

TEST_F(EngineCommit, MessagesThatArriveWhileTheRowIsReadAgainAreNotLost) {
  for (const CommitFate fate : {CommitFate::kUnknownDone, CommitFate::kUnknownUndone}) {
    FirstCommit(fate);
    Send(kOrders0, "a" + std::to_string(static_cast<int>(fate)));
    log_->Assign({kOrders0});
    StartConsumer();
    Settle(2);
    Send(kOrders0, "b" + std::to_string(static_cast<int>(fate)));
    Settle();
    SettleLater();
    ASSERT_TRUE(consumer_->Stop().ok());
  }
  EXPECT_THAT(effects(), ElementsAre("a3", "b3", "a4", "b4"));
}

TEST_F(EngineCommit, AnUnknownCommitOverTwoPartitionsIsCountedOnce) {
  FirstCommit(CommitFate::kUnknownDone);
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartAndSettle({kOrders0, kOrders1});
  SettleLater();
  EXPECT_EQ(stats().processed, 2U);
  EXPECT_EQ(stats().commits, 1U);
  EXPECT_THAT(effects(), UnorderedElementsAre("a", "b"));
}

TEST_F(EngineCommit, AFailureInsideAnUnknownCommitThatHappenedIsCountedToo) {
  FirstCommit(CommitFate::kUnknownDone);
  When("b", [](const Message&, Transaction&) { return Retry("down"); });
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_EQ(stats().processed, 1U);
  EXPECT_EQ(stats().retried, 1U);
}

TEST_F(EngineCommit, AFailureInsideAnUnknownCommitThatHappenedIsNotChargedTwice) {
  FirstCommit(CommitFate::kUnknownDone);
  When("a", [](const Message&, Transaction&) { return Retry("down"); });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), SizeIs(1));
  EXPECT_EQ(store_->FindId(GroupTopicScope("billing", "orders"), "a").attempt, 1);
}

TEST_F(EngineCommit, AfterAnUnknownCommitOnlyAVerifiedOwnerTakesTheRow) {
  FirstCommit(CommitFate::kUnknownUndone);
  log_->AnswerVerifiedCommitsWith(absl::FailedPreconditionError("unknown member"));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  store_->LetAnotherTake(KeyOf(kOrders0));
  for (int i = 0; i < 3; ++i) SettleLater();
  EXPECT_EQ(store_->Row(KeyOf(kOrders0))->writer, 999U);
  EXPECT_THAT(effects(), IsEmpty());

  log_->AnswerVerifiedCommitsWith(absl::OkStatus());
  SettleLater();
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineCommit, EveryCommitUnknownStillEndsWithOneEffectPerId) {
  store_->OnCommit([commits = 0](const auto&) mutable {
    constexpr CommitFate kFates[] = {CommitFate::kUnknownDone, CommitFate::kUnknownUndone,
                                     CommitFate::kTrouble, CommitFate::kHappens};
    return kFates[++commits % 4];
  });
  options_.limits.batch_messages_max = 3;
  std::vector<std::string> expected;
  for (int i = 0; i < 30; ++i) {
    Send({"orders", i % 2}, std::to_string(i));
    Send({"orders", 1 - i % 2}, std::to_string(i));
    expected.push_back(std::to_string(i));
  }
  StartAndSettle({kOrders0, kOrders1});
  for (int i = 0; i < 40; ++i) SettleLater();
  EXPECT_THAT(effects(), ::testing::UnorderedElementsAreArray(expected));
  EXPECT_EQ(stats().processed, 30U);
  EXPECT_EQ(stats().duplicates, 30U);
  EXPECT_EQ(PositionOf(kOrders0), 30);
}

TEST_F(EngineCommit, TheRowIsReadUntilTheStoreAnswers) {
  FirstCommit(CommitFate::kUnknownDone);
  store_->OnTake([takes = 0]() mutable {
    ++takes;
    return takes == 2 || takes == 3 ? absl::UnavailableError("down") : absl::OkStatus();
  });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Send(kOrders0, "b");
  for (int i = 0; i < 3; ++i) SettleLater();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
}

}  // namespace
}  // namespace once
