// Code of the user's that misbehaves: handlers that throw, end the transaction or take their time,
// and functions of the options that throw. Nothing of it reaches the consumer's threads.
#include <new>
#include <stdexcept>

#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class EngineHandler : public EngineTest {
 protected:
  IdRecord RecordOf(std::string_view id) {
    return store_->FindId(GroupTopicScope("billing", "orders"), id);
  }
};

TEST_F(EngineHandler, AnExceptionIsAFailedAttempt) {
  int calls = 0;
  When("a", [&](const Message& message, Transaction& transaction) -> Outcome {
    AppendEffect(transaction, "half");
    if (++calls == 1) throw std::runtime_error("parser broke");
    return Book(message, transaction);
  });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_EQ(RecordOf("a").attempt, 1);
  EXPECT_THAT(effects(), IsEmpty());
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("half", "a"));
}

TEST_F(EngineHandler, AnExceptionOfAnyTypeIsAFailedAttempt) {
  options_.retry.max_attempts = 1;
  When("a", [](const Message&, Transaction&) -> Outcome { throw 42; });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "retries-exhausted");
  EXPECT_THAT(HeaderOf(publisher_->published()[0], "once-error-message"), HasSubstr("threw"));
}

TEST_F(EngineHandler, RunningOutOfMemorySaysNothingAboutTheMessageAndStopsThePartition) {
  When("a", [](const Message&, Transaction&) -> Outcome { throw std::bad_alloc(); });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_EQ(RecordOf("a").state, IdState::kAbsent);
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_THAT(std::string(consumer_->stopped_partitions()[0].reason.message()),
              HasSubstr("bad_alloc"));
}

TEST_F(EngineHandler, AHandlerThatEndsTheTransactionIsRejectedAndItsNeighboursCommit) {
  When("b", [this](const Message& message, Transaction& transaction) -> Outcome {
    store_->EndNextTransactionWith(absl::FailedPreconditionError("the handler rolled back"));
    return Book(message, transaction);
  });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a", "c"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "rejected");
}

// A server takes nothing more after a statement that failed, and the handler says so by itself.
TEST_F(EngineHandler, AHandlerThatReportsItsFailedStatementIsTriedAgainLikeAnyOther) {
  int calls = 0;
  When("b", [&](const Message& message, Transaction& transaction) -> Outcome {
    if (++calls > 2) return Book(message, transaction);
    store_->FailNextStatement();
    return Retry("the account is locked");
  });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_EQ(RecordOf("b").state, IdState::kRetrying);
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_EQ(RecordOf("b").attempt, 2);
  Advance(absl::Seconds(2));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  EXPECT_THAT(publisher_->published(), IsEmpty());
}

// What a handler says counts in the replay with savepoints as it does before.
class EngineFailedStatement : public EngineHandler {
 protected:
  // A neighbour in another partition fails, so that the batch is replayed with savepoints; in that
  // replay a statement of "b" fails, once.
  void Play(absl::Status undone) {
    int neighbour = 0;
    When("x", [&neighbour](const Message& message, Transaction& transaction) -> Outcome {
      return ++neighbour > 1 ? Book(message, transaction) : Retry("not yet");
    });
    int calls = 0;
    When("b", [this, &calls, undone](const Message& message, Transaction& transaction) -> Outcome {
      if (++calls != 1) return Book(message, transaction);
      AppendEffect(transaction, "half");
      store_->FailNextStatement(undone);
      return Retry("the account is locked");
    });
    Send(kOrders0, "x");
    for (const char* id : {"b", "c"}) Send(kOrders1, id);
    StartAndSettle({kOrders0, kOrders1});
    state_ = RecordOf("b").state;
    attempt_ = RecordOf("b").attempt;
    for (int i = 0; i < 4; ++i) {
      Advance(absl::Seconds(2));
      Settle();
    }
  }

  IdState state_ = IdState::kAbsent;  // of "b", before its next attempt
  int attempt_ = 0;
};

TEST_F(EngineFailedStatement, IsUndoneByTheSavepointAndItsMessageTriedAgain) {
  Play(absl::OkStatus());
  EXPECT_EQ(state_, IdState::kRetrying);
  EXPECT_EQ(attempt_, 1);
  EXPECT_THAT(effects(), UnorderedElementsAre("x", "b", "c"));
  EXPECT_THAT(publisher_->published(), IsEmpty());
}

TEST_F(EngineFailedStatement, ChargesNobodyWhenTheStoreIsAway) {
  Play(absl::UnavailableError("connection lost"));
  EXPECT_EQ(attempt_, 0);
  EXPECT_THAT(effects(), UnorderedElementsAre("x", "b", "c"));
  EXPECT_THAT(publisher_->published(), IsEmpty());
}

TEST_F(EngineFailedStatement, IsJudgedByTheHandlersWordWhenTheTransactionIsOver) {
  Play(absl::FailedPreconditionError("there is no such savepoint"));
  EXPECT_EQ(state_, IdState::kRetrying);
  EXPECT_THAT(effects(), UnorderedElementsAre("x", "b", "c"));
  EXPECT_THAT(publisher_->published(), IsEmpty());
}

TEST_F(EngineHandler, AStoreThatEndsTheTransactionByItselfChargesNobody) {
  int calls = 0;
  When("b", [&](const Message& message, Transaction& transaction) -> Outcome {
    if (++calls == 1) store_->EndNextTransactionWith(absl::AbortedError("the disk is full"));
    return Book(message, transaction);
  });
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(stats().retried, 0U);
}

TEST_F(EngineHandler, AnIdExtractorThatThrowsMakesAnInvalidId) {
  options_.id = IdExtractor("mine", [](const Message& message, std::string&) {
    if (message.value() == "bad") throw std::runtime_error("no parser for it");
    return message.value();
  });
  Send(kOrders0, "x", "bad");
  Send(kOrders0, "x", "good");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("good"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "invalid-id");
  EXPECT_THAT(HeaderOf(publisher_->published()[0], "once-error-message"),
              HasSubstr("no parser for it"));
}

TEST_F(EngineHandler, AFingerprintThatThrowsRejectsTheMessageAndRunsNoHandler) {
  options_.fingerprint = [](const Message& message) -> Fingerprint {
    if (message.value() == "bad") throw std::runtime_error("no hash for it");
    return Fingerprint::Of(message.value());
  };
  Send(kOrders0, "a", "bad");
  Send(kOrders0, "b", "good");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), ElementsAre("b"));
  EXPECT_THAT(publisher_->published(), SizeIs(1));
}

TEST_F(EngineHandler, AClassificationThatThrowsStopsThePartitionAlone) {
  options_.retry.classify = [](const absl::Status&) -> FailureClass {
    throw std::runtime_error("classify broke");
  };
  When("a", [](const Message&, Transaction&) { return absl::UnavailableError("down"); });
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(effects(), ElementsAre("b"));
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  EXPECT_THAT(std::string(consumer_->stopped_partitions()[0].reason.message()),
              HasSubstr("classify broke"));
}

TEST_F(EngineHandler, ATopicFunctionThatThrowsStopsThePartitionAlone) {
  options_.dead_letters.topic = [](std::string_view, std::string_view) -> std::string {
    throw std::runtime_error("topic broke");
  };
  When("a", [](const Message&, Transaction&) { return Reject("no"); });
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_THAT(effects(), ElementsAre("b"));
  EXPECT_EQ(PositionOf(kOrders0), 0);
  EXPECT_THAT(consumer_->stopped_partitions(), SizeIs(1));
}

TEST_F(EngineHandler, ABatchThatTakesTooLongEndsBetweenTwoMessages) {
  options_.limits.batch_max_duration = absl::Seconds(1);
  When("b", [this](const Message& message, Transaction& transaction) -> Outcome {
    Advance(absl::Seconds(1));
    return Book(message, transaction);
  });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  log_->Assign({kOrders0});
  StartConsumer();
  Settle(2);
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(PositionOf(kOrders0), 2);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
}

TEST_F(EngineHandler, EvenTheSlowestMessageIsHandledAndEverySlowFailureIsCharged) {
  options_.limits.batch_max_duration = absl::Milliseconds(1);
  When("slow", [this](const Message&, Transaction&) -> Outcome {
    Advance(absl::Minutes(1));
    return Retry("too slow");
  });
  Send(kOrders0, "a");
  Send(kOrders0, "slow");
  StartAndSettle({kOrders0});
  EXPECT_EQ(RecordOf("slow").attempt, 1);
  EXPECT_THAT(effects(), ElementsAre("a"));
}

}  // namespace
}  // namespace once
