// Batch handlers: one call for all new messages of a batch, an outcome for each or one for all, and
// what is handed over again when some of them failed.
#include <set>
#include <stdexcept>

#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Messages = std::span<const Message* const>;
using Ids = std::vector<std::string>;

class EngineBatchHandler : public EngineTest {
 protected:
  template <typename F>
  void Start(F handler, std::vector<TopicPartition> partitions = {kOrders0}) {
    log_->Assign(std::move(partitions));
    auto consumer = Consumer::Create(WholeOptions(), std::move(handler));
    ASSERT_TRUE(consumer.ok()) << consumer.status();
    consumer_ = *std::move(consumer);
    Settle();
  }

  // Books all, and notes what the span held.
  void BookAll(Messages messages, Transaction& transaction) {
    Ids& call = calls_.emplace_back();
    for (const Message* message : messages) {
      call.emplace_back(message->id());
      AppendEffect(transaction, message->id());
    }
  }
  // One outcome for each: of the ids in `failing` the one that `outcome` makes.
  std::vector<Outcome> Each(Messages messages, const std::set<std::string>& failing,
                            const std::function<Outcome()>& outcome) {
    std::vector<Outcome> outcomes;
    for (const Message* message : messages) {
      outcomes.push_back(failing.contains(std::string(message->id())) ? outcome() : Done());
    }
    return outcomes;
  }
  IdRecord RecordOf(std::string_view id) {
    return store_->FindId(GroupTopicScope("billing", "orders"), id);
  }
  void SendAll(const Ids& ids) {
    for (const std::string& id : ids) Send(kOrders0, id);
  }

  std::vector<Ids> calls_;  // the ids of every span
};

TEST_F(EngineBatchHandler, GetsABatchInOneCallInTheOrderOfItsPartition) {
  SendAll({"a", "b", "c"});
  Start([&](Messages messages, Transaction& transaction) -> absl::Status {
    for (const Message* message : messages) {
      EXPECT_EQ(message->attempt(), 1);
      EXPECT_EQ(message->scope(), GroupTopicScope("billing", "orders"));
    }
    BookAll(messages, transaction);
    return absl::OkStatus();
  });
  EXPECT_THAT(calls_, ElementsAre(Ids{"a", "b", "c"}));
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(PositionOf(kOrders0), 3);
  EXPECT_EQ(stats().processed, 3U);
  EXPECT_EQ(RecordOf("b").state, IdState::kCompleted);
}

TEST_F(EngineBatchHandler, NeverSeesAnIdTwice) {
  SendAll({"a", "b", "a"});
  Send(kOrders1, "a");
  Start(
      [&](Messages messages, Transaction& transaction) -> Outcome {
        BookAll(messages, transaction);
        return Done();
      },
      {kOrders0, kOrders1});
  SendAll({"b", "c"});
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(stats().duplicates, 3U);
  EXPECT_EQ(PositionOf(kOrders0), 5);
  EXPECT_EQ(PositionOf(kOrders1), 1);
}

TEST_F(EngineBatchHandler, ACopyWithAnotherValueInOneBatchIsAConflict) {
  Send(kOrders0, "a", "10.00");
  Send(kOrders0, "a", "99.00");
  Start([&](Messages messages, Transaction& transaction) -> Outcome {
    BookAll(messages, transaction);
    return Done();
  });
  EXPECT_THAT(effects(), ElementsAre("a"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "conflict");
}

TEST_F(EngineBatchHandler, IsNotCalledForABatchOfDuplicates) {
  SendAll({"a"});
  Start([&](Messages messages, Transaction& transaction) -> Outcome {
    BookAll(messages, transaction);
    return Done();
  });
  SendAll({"a", "a"});
  Settle();
  EXPECT_THAT(calls_, ElementsAre(Ids{"a"}));
  EXPECT_EQ(PositionOf(kOrders0), 3);
}

TEST_F(EngineBatchHandler, TheMessagesItNamesAreJudgedAndTheOthersHandedOverAgain) {
  SendAll({"a", "b", "c", "d"});
  Start([&](Messages messages, Transaction& transaction) -> std::vector<Outcome> {
    BookAll(messages, transaction);
    return Each(messages, {"b", "d"}, [] { return Reject("no such account"); });
  });
  EXPECT_THAT(calls_, ElementsAre(Ids{"a", "b", "c", "d"}, Ids{"a", "c"}));
  EXPECT_THAT(effects(), ElementsAre("a", "c"));
  EXPECT_THAT(publisher_->published(), SizeIs(2));
  EXPECT_EQ(RecordOf("b").state, IdState::kDead);
  EXPECT_EQ(RecordOf("b").attempt, 1);
  EXPECT_EQ(RecordOf("c").attempt, 1);
  EXPECT_EQ(PositionOf(kOrders0), 4);
}

TEST_F(EngineBatchHandler, AMessageThatWaitsHoldsBackThoseBehindItInItsPartitionOnly) {
  SendAll({"a", "b", "c"});
  Send(kOrders1, "x");
  int failures = 0;
  Start(
      [&](Messages messages, Transaction& transaction) -> std::vector<Outcome> {
        BookAll(messages, transaction);
        std::vector<Outcome> outcomes =
            Each(messages, {"b"}, [&] { return ++failures == 1 ? Retry("locked") : Done(); });
        return outcomes;
      },
      {kOrders0, kOrders1});
  EXPECT_THAT(effects(), ElementsAre("a", "x"));
  EXPECT_EQ(PositionOf(kOrders0), 1);
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "x", "b", "c"));
  EXPECT_EQ(RecordOf("b").attempt, 2);
  EXPECT_EQ(stats().retried, 1U);
}

TEST_F(EngineBatchHandler, WhereNobodyIsNamedTheMessagesAreTriedOneByOne) {
  SendAll({"a", "b", "c"});
  Start([&](Messages messages, Transaction& transaction) -> absl::Status {
    BookAll(messages, transaction);
    for (const Message* message : messages) {
      if (message->id() == "b") return absl::InvalidArgumentError("no such account");
    }
    return absl::OkStatus();
  });
  EXPECT_THAT(calls_, ElementsAre(Ids{"a", "b", "c"}, Ids{"a"}, Ids{"b"}, Ids{"c"}));
  EXPECT_THAT(effects(), ElementsAre("a", "c"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_THAT(HeaderOf(publisher_->published()[0], "once-error-message"),
              HasSubstr("no such account"));
}

TEST_F(EngineBatchHandler, AnExceptionIsAFailureOfWhoeverThrowsItAlone) {
  options_.retry.max_attempts = 1;
  SendAll({"a", "b"});
  Start([&](Messages messages, Transaction& transaction) -> Outcome {
    BookAll(messages, transaction);
    if (messages.front()->id() == "b" || messages.size() > 1) throw std::runtime_error("boom");
    return Done();
  });
  EXPECT_THAT(effects(), ElementsAre("a"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "retries-exhausted");
}

TEST_F(EngineBatchHandler, ASkipIsRecordedAndThePauseOfOnePartitionLeavesTheOtherAlone) {
  SendAll({"a", "b", "c"});
  Send(kOrders1, "x");
  Start(
      [&](Messages messages, Transaction& transaction) -> std::vector<Outcome> {
        BookAll(messages, transaction);
        std::vector<Outcome> outcomes;
        for (const Message* message : messages) {
          outcomes.push_back(message->id() == "a"   ? Skip("test order")
                             : message->id() == "b" ? Pause("the ledger is closed")
                                                    : Done());
        }
        return outcomes;
      },
      {kOrders0, kOrders1});
  EXPECT_THAT(effects(), ElementsAre("x"));
  EXPECT_EQ(RecordOf("a").state, IdState::kDiscarded);
  EXPECT_THAT(StopReason(), HasSubstr("the ledger is closed"));
  EXPECT_EQ(PositionOf(kOrders0), 1);
  EXPECT_EQ(PositionOf(kOrders1), 1);
}

TEST_F(EngineBatchHandler, ANumberOfOutcomesThatDoesNotFitIsAFailureAndNothingIsSettled) {
  options_.retry.max_attempts = 2;
  SendAll({"a", "b"});
  Start([&](Messages messages, Transaction& transaction) -> std::vector<Outcome> {
    BookAll(messages, transaction);
    return {};
  });
  EXPECT_THAT(effects(), IsEmpty());
  EXPECT_EQ(PositionOf(kOrders0), 0);
  EXPECT_EQ(RecordOf("a").state, IdState::kRetrying);
  Advance(absl::Seconds(1));
  Settle();
  ASSERT_FALSE(publisher_->published().empty());
  EXPECT_THAT(HeaderOf(publisher_->published()[0], "once-error-message"),
              HasSubstr("0 outcomes for 1 messages"));
}

TEST_F(EngineBatchHandler, AFailedStatementIsTheFailureOfTheMessageThatIsNamed) {
  SendAll({"a", "b", "c"});
  Start([&](Messages messages, Transaction& transaction) -> std::vector<Outcome> {
    BookAll(messages, transaction);
    if (messages.size() == 3) {
      store_->EndNextTransactionWith(absl::FailedPreconditionError("a statement failed"));
    }
    return Each(messages, {"b"}, [] { return Reject("no such account"); });
  });
  EXPECT_THAT(calls_, ElementsAre(Ids{"a", "b", "c"}, Ids{"a", "c"}));
  EXPECT_THAT(effects(), ElementsAre("a", "c"));
}

TEST_F(EngineBatchHandler, ACallThatEndsTheTransactionAndSaysDoneIsTriedOneByOne) {
  SendAll({"a", "b"});
  Start([&](Messages messages, Transaction& transaction) -> Outcome {
    BookAll(messages, transaction);
    for (const Message* message : messages) {
      if (message->id() != "b") continue;
      store_->EndNextTransactionWith(absl::FailedPreconditionError("the handler rolled back"));
    }
    return Done();
  });
  EXPECT_THAT(effects(), ElementsAre("a"));
  ASSERT_THAT(publisher_->published(), SizeIs(1));
  EXPECT_EQ(HeaderOf(publisher_->published()[0], "once-disposition"), "rejected");
}

TEST_F(EngineBatchHandler, AStoreThatEndsTheTransactionByItselfChargesNobody) {
  SendAll({"a", "b"});
  bool is_first = true;
  Start([&](Messages messages, Transaction& transaction) -> Outcome {
    BookAll(messages, transaction);
    if (std::exchange(is_first, false)) {
      store_->EndNextTransactionWith(absl::AbortedError("the disk is full"));
    }
    return Done();
  });
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(stats().retried, 0U);
}

TEST_F(EngineBatchHandler, ARefusedCommitFindsTheMessageThatCausesIt) {
  options_.retry.max_attempts = 1;
  store_->OnCommit([](const Ids& completed) {
    const bool has_b = std::find(completed.begin(), completed.end(), "b") != completed.end();
    return has_b ? CommitFate::kRefused : CommitFate::kHappens;
  });
  SendAll({"a", "b", "c"});
  Start([&](Messages messages, Transaction& transaction) -> Outcome {
    BookAll(messages, transaction);
    return Done();
  });
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "c"));
  EXPECT_THAT(publisher_->published(), SizeIs(1));
}

TEST_F(EngineBatchHandler, WhoNamesOnlyTheFirstFailureIsAskedOneByOneInTheEnd) {
  options_.retry.max_attempts = 1;
  Ids all;
  for (int i = 0; i < 20; ++i) all.push_back("id-" + std::to_string(i));
  SendAll(all);
  Start([&](Messages messages, Transaction& transaction) -> std::vector<Outcome> {
    BookAll(messages, transaction);
    std::vector<Outcome> outcomes(messages.size(), Done());
    outcomes.front() = Reject("the first one it met");
    return outcomes;
  });
  EXPECT_THAT(effects(), IsEmpty());
  EXPECT_THAT(publisher_->published(), SizeIs(20));
  EXPECT_LE(calls_.size(), 4U + 20U);
}

TEST_F(EngineBatchHandler, ACallThatFailsWithoutNamingAnybodySaysWhyInTheLog) {
  SendAll({"a", "b"});
  Start([&](Messages messages, Transaction& transaction) -> absl::Status {
    BookAll(messages, transaction);
    return messages.size() > 1 ? absl::ResourceExhaustedError("the statement is too large")
                               : absl::OkStatus();
  });
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_EQ(stats().retried, 0U);
  EXPECT_THAT(events_->messages(), Contains(HasSubstr("the statement is too large")));
}

// The call for all of them has used up the batch's time: it must not be made anew for each message.
TEST_F(EngineBatchHandler, ASlowCallThatFailsIsNotRepeatedForEveryMessage) {
  int large = 0;
  SendAll({"a", "b", "c", "d"});
  Start([&](Messages messages, Transaction& transaction) -> absl::Status {
    BookAll(messages, transaction);
    if (messages.size() == 1) return absl::OkStatus();
    ++large;
    Advance(absl::Seconds(5));
    return absl::InternalError("some of it");
  });
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(large, 1);
}

TEST_F(EngineBatchHandler, AnEmptyFunctionIsRefused) {
  const auto consumer = Consumer::Create(WholeOptions(), BatchHandlerFunction());
  EXPECT_THAT(std::string(consumer.status().message()), HasSubstr("the handler is empty"));
}

}  // namespace
}  // namespace once
