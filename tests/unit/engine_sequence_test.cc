// Messages that are told apart by the numbers of their producer's outbox (DedupBy::kSequence): one
// effect each, whatever comes again, and no record of an id but where one is needed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/sequence.h"
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr bool kDirect = false;

class EngineSequenceTest : public EngineTest {
 protected:
  EngineSequenceTest() { options_.dedup = DedupBy::kSequence; }

  static std::string IdOf(std::uint64_t number) { return absl::StrCat("id-", number); }
  void SendNumber(std::uint64_t number, const std::string& id, bool is_from_outbox = true,
                  std::uint64_t epoch = 7) {
    const std::string stream = StreamName("orders", 0, {.producer = "shop-1", .epoch = epoch});
    log_->Append(
        kOrders0,
        {.value = "v",
         .headers = {{"id", id},
                     {std::string(kSequenceHeader), EncodeStamp(stream, number, is_from_outbox)}}});
  }
  void SendNumbers(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t number = first; number <= last; ++number) SendNumber(number, IdOf(number));
  }
  // So that numbers are in charge of the stream.
  void StartInCharge() {
    SendNumbers(1, 1);
    StartAndSettle({kOrders0});
    SendNumbers(2, 2);
    Settle();
  }
  // From the beginning, by an operator's order.
  void StartOver() {
    consumer_.reset();
    ASSERT_TRUE(store_->operations()
                    ->OrderPosition({.key = KeyOf(kOrders0),
                                     .directive = PositionDirective::kSet,
                                     .position = 0,
                                     .writer = 77})
                    .ok());
    Restart({kOrders0});
    Settle();
  }

  IdState StateOf(const std::string& id) {
    const auto found = store_->operations()->FindId(id);
    return found.ok() && !found->empty() ? found->front().record.state : IdState::kAbsent;
  }
  std::vector<std::string> IdsKept(std::uint64_t last) {
    std::vector<std::string> kept;
    for (std::uint64_t number = 1; number <= last; ++number) {
      if (StateOf(IdOf(number)) != IdState::kAbsent) kept.push_back(IdOf(number));
    }
    return kept;
  }
};

TEST_F(EngineSequenceTest, AMessageIsHandledOnceAndNoIdIsKept) {
  StartInCharge();
  SendNumbers(3, 5);
  SendNumbers(1, 5);
  SendNumbers(4, 6);
  Settle();

  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-3", "id-4", "id-5", "id-6"));
  EXPECT_EQ(stats().duplicates, 7U);
  EXPECT_THAT(IdsKept(6), IsEmpty());
  EXPECT_GT(stats().by_sequence, 7U);
}

TEST_F(EngineSequenceTest, WhatWasSettledBeforeARestartStaysSettled) {
  SendNumbers(1, 4);
  StartAndSettle({kOrders0});
  Restart({kOrders0});
  SendNumbers(2, 5);
  Settle();

  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-3", "id-4", "id-5"));
  StartOver();
  EXPECT_EQ(effects().size(), 5U);
  EXPECT_THAT(IdsKept(5), IsEmpty());
}

TEST_F(EngineSequenceTest, AFullBatchOfABacklogAsksForNoId) {
  const auto full = static_cast<std::uint64_t>(options_.limits.batch_messages_max);
  ASSERT_EQ(full, 5000U);
  StartInCharge();
  const std::uint64_t before = stats().by_sequence;
  SendNumbers(3, full + 2);
  Settle(200);
  EXPECT_EQ(effects().size(), full + 2);
  EXPECT_EQ(stats().by_sequence - before, full);
}

TEST_F(EngineSequenceTest, AFailedAttemptIsCountedBesideAFingerprint) {
  StartInCharge();
  When("id-3", [](const Message&, Transaction&) -> Outcome { return Retry("not yet"); });
  SendNumbers(3, 3);
  Settle();
  EXPECT_EQ(StateOf("id-3"), IdState::kRetrying);
  EXPECT_EQ(store_->operations()->FindId("id-3")->front().record.fingerprint, Fingerprint::Of("v"));
}

// It may refuse one; whether it is asked does not depend on what a neighbour does.
TEST_F(EngineSequenceTest, AFingerprintThatThrowsRejectsTheMessageWhateverItsNeighboursDo) {
  options_.fingerprint = [](const Message& message) -> Fingerprint {
    const std::string_view id = message.FindHeader("id")->value.value();
    if (id == "id-4" || id == "id-7") throw std::runtime_error("no hash for it");
    return Fingerprint::Of(message.value());
  };
  StartInCharge();
  When("id-3", [](const Message&, Transaction&) -> Outcome { return Reject("broken"); });
  SendNumbers(3, 5);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-5"));
  SendNumbers(6, 8);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-5", "id-6", "id-8"));
  EXPECT_THAT(publisher_->published(), SizeIs(3));
}

TEST_F(EngineSequenceTest, AnIdUnderAnotherNumberIsAnotherMessage) {
  StartInCharge();
  SendNumber(3, "same");
  SendNumber(4, "same");
  Settle();
  SendNumber(5, "same");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "same", "same", "same"));
}

TEST_F(EngineSequenceTest, IdsAreInChargeOfWhatDidNotComeThroughAnOutbox) {
  StartInCharge();
  SendNumber(3, "direct", kDirect);
  SendNumber(4, "direct", kDirect);
  Send(kOrders0, "plain");
  Send(kOrders0, "plain");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "direct", "plain"));
  EXPECT_EQ(StateOf("direct"), IdState::kCompleted);
}

TEST_F(EngineSequenceTest, ALateNumberIsHandledAndItsCopyIsNot) {
  StartInCharge();
  SendNumbers(5, 6);
  Settle();
  SendNumbers(3, 3);
  SendNumbers(3, 3);
  SendNumbers(5, 5);
  Settle();
  SendNumbers(3, 4);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-5", "id-6", "id-3", "id-4"));
  EXPECT_THAT(IdsKept(6), IsEmpty());
}

TEST_F(EngineSequenceTest, AttemptsAreCountedOverRestartsAndForgottenWithSuccess) {
  StartInCharge();
  int failures = 0;
  std::vector<int> attempts;
  When("id-4", [&](const Message& message, Transaction& transaction) -> Outcome {
    attempts.push_back(message.attempt());
    if (failures++ < 2) return Retry("not yet");
    return Book(message, transaction);
  });
  SendNumbers(3, 5);
  Settle();
  EXPECT_EQ(StateOf("id-4"), IdState::kRetrying);
  Restart({kOrders0});
  Advance(absl::Seconds(2));
  Settle();
  Advance(absl::Seconds(3));
  Settle();

  EXPECT_THAT(attempts, ElementsAre(1, 2, 3));
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-3", "id-4", "id-5"));
  EXPECT_THAT(IdsKept(5), IsEmpty());
}

TEST_F(EngineSequenceTest, AFailedMessageThatIsReadFromFurtherBackKeepsItsAttempts) {
  StartInCharge();
  std::vector<int> attempts;
  When("id-4", [&](const Message& message, Transaction&) -> Outcome {
    attempts.push_back(message.attempt());
    return Retry("never");
  });
  SendNumbers(3, 4);
  Settle();
  Advance(absl::Seconds(2));
  StartOver();
  EXPECT_THAT(attempts, ElementsAre(1, 2));
}

TEST_F(EngineSequenceTest, ADeadLetterKeepsItsIdAndComesBackByIt) {
  StartInCharge();
  bool is_mended = false;
  When("id-3", [&](const Message& message, Transaction& transaction) -> Outcome {
    if (!is_mended) return Reject("broken");
    return Book(message, transaction);
  });
  SendNumbers(3, 4);
  SendNumbers(3, 3);
  Settle();
  EXPECT_EQ(StateOf("id-3"), IdState::kDead);
  EXPECT_EQ(stats().dead_lettered, 1U);
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-4"));

  is_mended = true;
  const auto failures = store_->operations()->FindFailures({});
  ASSERT_TRUE(failures.ok());
  ASSERT_EQ(failures->size(), 1U);
  ASSERT_EQ(publisher_->published().size(), 1U);
  const StoredFailure& failure = failures->front();
  OutboxRow row{.origin = failure.origin,
                .message = MakeRedrive(failure.letter, kOrders0, "redrive-1", 1),
                .scope = failure.scope,
                .id = failure.id};
  row.origin.ordinal = -1;
  ASSERT_TRUE(store_->operations()->Redrive({.number = failure.number, .row = row}).ok());
  Advance(absl::Seconds(2));
  Settle();
  ASSERT_EQ(publisher_->published().size(), 2U);
  const OutgoingMessage redriven = publisher_->published().back();
  log_->Append(kOrders0, {.value = redriven.value, .headers = redriven.headers});
  SendNumbers(3, 3);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-4", "id-3"));
}

TEST_F(EngineSequenceTest, WhatIsRolledBackIsNotSettled) {
  StartInCharge();
  int commits = 0;
  store_->OnCommit(
      [&](const auto&) { return ++commits == 1 ? CommitFate::kRefused : CommitFate::kHappens; });
  SendNumbers(3, 4);
  Settle();
  Advance(absl::Seconds(10));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-3", "id-4"));
}

TEST_F(EngineSequenceTest, ACommitWithoutAnAnswerIsFoundOut) {
  for (const CommitFate fate : {CommitFate::kUnknownDone, CommitFate::kUnknownUndone}) {
    SCOPED_TRACE(static_cast<int>(fate));
    const std::uint64_t first = effects().size() + 1;
    bool is_first = true;
    store_->OnCommit(
        [&](const auto&) { return std::exchange(is_first, false) ? fate : CommitFate::kHappens; });
    SendNumbers(first, first + 2);
    if (consumer_ == nullptr) {
      StartAndSettle({kOrders0});
    } else {
      Settle();
    }
    Advance(absl::Seconds(10));
    SendNumbers(1, first + 2);
    Settle(24);
    EXPECT_EQ(effects().size(), first + 2);
  }
}

TEST_F(EngineSequenceTest, IdsOfBeforeStillCountWhenNumbersTakeOver) {
  options_.dedup = DedupBy::kId;
  SendNumbers(1, 4);
  StartAndSettle({kOrders0});
  options_.dedup = DedupBy::kSequence;
  StartOver();
  SendNumbers(5, 6);
  SendNumbers(2, 5);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-3", "id-4", "id-5", "id-6"));
  EXPECT_EQ(StateOf("id-6"), IdState::kAbsent);
}

TEST_F(EngineSequenceTest, NumbersOfBeforeStillCountWhenIdsTakeOver) {
  SendNumbers(1, 3);
  StartAndSettle({kOrders0});
  SendNumbers(4, 4);
  Settle();
  options_.dedup = DedupBy::kId;
  StartOver();
  EXPECT_EQ(effects().size(), 4U);
  SendNumbers(5, 7);
  SendNumbers(3, 5);
  Settle();
  EXPECT_EQ(effects().size(), 7U);
  EXPECT_THAT(IdsKept(7), ElementsAre("id-5", "id-6", "id-7"));

  // And back: what ids have settled meanwhile is not handled by number.
  options_.dedup = DedupBy::kSequence;
  StartOver();
  SendNumbers(8, 9);
  Settle();
  SendNumbers(1, 9);
  Settle();
  EXPECT_EQ(effects().size(), 9U);
  EXPECT_EQ(StateOf("id-9"), IdState::kAbsent);
}

// A relay sends a round again that was handled before numbers took over.
TEST_F(EngineSequenceTest, LateCopiesOfWhatIdsHaveSettledAreNotHandledByNumber) {
  options_.dedup = DedupBy::kId;
  SendNumbers(1, 4);
  StartAndSettle({kOrders0});
  options_.dedup = DedupBy::kSequence;
  Restart({kOrders0});
  Settle();
  SendNumbers(3, 3);
  Settle();
  SendNumbers(3, 4);
  Settle();
  SendNumber(1, "other-1", true, 8);
  Settle();
  SendNumber(2, "other-2", true, 8);
  SendNumbers(2, 5);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-3", "id-4", "other-1", "other-2", "id-5"));
}

TEST_F(EngineSequenceTest, LateCopiesOfWhatAMemberWithIdsHasSettledAreNotHandled) {
  SendNumbers(1, 3);
  StartAndSettle({kOrders0});
  options_.dedup = DedupBy::kId;
  Restart({kOrders0});
  SendNumbers(4, 8);
  Settle();
  options_.dedup = DedupBy::kSequence;
  Restart({kOrders0});
  SendNumbers(3, 10);
  Settle();
  SendNumbers(4, 11);
  Settle();
  EXPECT_EQ(effects().size(), 11U);
  EXPECT_EQ(StateOf("id-11"), IdState::kAbsent);
}

TEST_F(EngineSequenceTest, AnIdOfADeadMessageSaysNothingOfAnotherNumber) {
  bool is_broken = true;
  When("same", [&](const Message& message, Transaction& transaction) -> Outcome {
    if (is_broken) return Reject("broken");
    return Book(message, transaction);
  });
  StartInCharge();
  SendNumber(3, "same");
  Settle();
  EXPECT_EQ(StateOf("same"), IdState::kDead);
  // A failure has no place of its own to be counted in: it is a letter, and nothing is lost.
  SendNumber(4, "same");
  Settle();
  EXPECT_EQ(stats().conflicts, 1U);
  is_broken = false;
  SendNumber(5, "same");
  SendNumber(6, "same");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "same", "same"));
  EXPECT_EQ(StateOf("same"), IdState::kDead) << "its letter may come back";
}

TEST_F(EngineSequenceTest, OfTheMessagesInHandAtTheTakingOverTheIdsAreAsked) {
  options_.dedup = DedupBy::kId;
  SendNumbers(1, 6);
  StartAndSettle({kOrders0});
  options_.dedup = DedupBy::kSequence;
  options_.limits.batch_messages_max = 2;
  StartOver();
  Settle(40);
  EXPECT_EQ(effects().size(), 6U);
}

TEST_F(EngineSequenceTest, ACopyInTheSpanOfABatchHandlerIsLeftOut) {
  std::vector<std::string> spans;
  auto consumer = Consumer::Create(
      [&] {
        log_->Assign({kOrders0});
        return WholeOptions();
      }(),
      [&](std::span<const Message* const> messages, Transaction& transaction) -> BatchOutcome {
        std::string span;
        for (const Message* message : messages) {
          absl::StrAppend(&span, std::string(message->id()), " ");
          AppendEffect(transaction, message->id());
        }
        spans.push_back(span);
        return Done();
      });
  ASSERT_TRUE(consumer.ok()) << consumer.status();
  consumer_ = *std::move(consumer);
  SendNumbers(1, 2);
  Settle();
  SendNumbers(3, 4);
  SendNumbers(2, 5);
  Settle();
  EXPECT_THAT(spans, ElementsAre("id-1 id-2 ", "id-3 id-4 id-5 "));
  EXPECT_EQ(stats().duplicates, 3U);
}

TEST_F(EngineSequenceTest, AnUncleanEndLeavesNoRecordOfAttempts) {
  StartInCharge();
  SendNumbers(3, 4);
  When("id-3", [this](const Message&, Transaction&) -> Outcome {
    store_->Die();
    return Retry("the process dies");
  });
  ASSERT_TRUE(StepUntilDeath());
  When("id-3", &EngineTest::Book);
  Restart({kOrders0});
  Settle(40);
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-3", "id-4"));
  EXPECT_THAT(IdsKept(4), IsEmpty());
}

TEST_F(EngineSequenceTest, NoAttemptIsRecordedForACopyAfterAnUncleanEnd) {
  StartInCharge();
  SendNumbers(3, 3);
  SendNumbers(1, 1);
  SendNumbers(4, 4);
  When("id-4", [this](const Message&, Transaction&) -> Outcome {
    store_->Die();
    return Retry("the process dies");
  });
  ASSERT_TRUE(StepUntilDeath());
  When("id-4", &EngineTest::Book);
  Restart({kOrders0});
  Settle(40);
  EXPECT_THAT(effects(), ElementsAre("id-1", "id-2", "id-3", "id-4"));
  EXPECT_THAT(IdsKept(4), IsEmpty());
}

TEST_F(EngineSequenceTest, WhatCannotBeIsRefused) {
  options_.scope = "all";
  EXPECT_THAT(Consumer::Create(WholeOptions(), &EngineTest::Book).status().ToString(),
              HasSubstr("scope"));
  options_.scope.reset();
  const auto plain = Consumer::Create(WholeOptions(), [](const Message&) { return Done(); });
  EXPECT_THAT(plain.status().ToString(), HasSubstr("DedupBy::kSequence"));
}

TEST_F(EngineSequenceTest, TheGuaranteeSaysWhatANumberMeans) {
  StartConsumer();
  EXPECT_THAT(consumer_->guarantee().assumptions,
              ::testing::Contains(HasSubstr("publishes twice")));
}

}  // namespace
}  // namespace once
