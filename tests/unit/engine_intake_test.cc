// What the source says and what it is told: revocations, messages of an older assignment, bounded
// buffers, copies of what has to wait, hints to the broker, and the graceful stop.
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class EngineIntake : public EngineTest {
 protected:
  // The calls about one thing only: "commit", "pause", …
  std::vector<std::string> CallsTo(std::string_view verb) const {
    std::vector<std::string> found;
    for (const std::string& call : log_->calls()) {
      if (call.substr(0, verb.size()) == verb) found.push_back(call);
    }
    return found;
  }
};

TEST_F(EngineIntake, NothingIsFetchedBeforeTheRowIsTaken) {
  store_->OnTake([] { return absl::UnavailableError("down"); });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(CallsTo("start"), IsEmpty());
}

TEST_F(EngineIntake, ARevokedPartitionIsCommittedAndNoLongerHandled) {
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  log_->Revoke({kOrders0});
  Send(kOrders0, "c");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_THAT(log_->calls(), Contains("verify orders[0]@2"));
}

TEST_F(EngineIntake, ALostPartitionIsNotCommittedAtAll) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  log_->ForgetCalls();
  log_->Revoke({kOrders0}, Revocation::kLost);
  Settle();
  Advance(absl::Minutes(1));
  Settle();
  EXPECT_THAT(CallsTo("verify"), IsEmpty());
  EXPECT_THAT(CallsTo("commit"), IsEmpty());
}

TEST_F(EngineIntake, WhatARevocationLeavesBehindTheNextOwnerHandles) {
  When("a", [calls = 0](const Message& message, Transaction& transaction) mutable -> Outcome {
    if (++calls == 1) return Retry("down");
    AppendEffect(transaction, message.id());
    return Done();
  });
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  log_->Revoke({kOrders0});
  Settle();
  EXPECT_THAT(effects(), IsEmpty());
  log_->Assign({kOrders0});
  Advance(absl::Seconds(1));
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
}

TEST_F(EngineIntake, OtherPartitionsAreKeptOverARevocation) {
  Send(kOrders0, "a");
  Send(kOrders1, "b");
  StartAndSettle({kOrders0, kOrders1});
  log_->ForgetCalls();
  log_->Revoke({kOrders0});
  Send(kOrders1, "c");
  Settle();
  EXPECT_THAT(effects(), Contains("c"));
  EXPECT_THAT(CallsTo("start"), IsEmpty());
}

TEST_F(EngineIntake, APartitionAssignedAgainBeforeItWasRevokedStartsFromItsRow) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  log_->Assign({kOrders0});
  Send(kOrders0, "b");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b"));
  EXPECT_THAT(invoked(), SizeIs(2));
}

TEST_F(EngineIntake, MessagesOfAnOlderAssignmentAreDropped) {
  StartAndSettle({kOrders0});
  log_->Revoke({kOrders0});
  log_->Assign({kOrders0});
  Settle();
  log_->DeliverStray(kOrders0, 0, /*assignment=*/1, {.headers = {{"id", "stale"}}});
  Settle();
  EXPECT_THAT(invoked(), IsEmpty());
  Send(kOrders0, "a");
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a"));
}

TEST_F(EngineIntake, MessagesOfAPartitionThatIsNotAssignedAreDropped) {
  StartAndSettle({kOrders0});
  log_->DeliverStray(kOrders1, 0, /*assignment=*/1, {.headers = {{"id", "stray"}}});
  Settle();
  EXPECT_THAT(invoked(), IsEmpty());
}

TEST_F(EngineIntake, AMessageDeliveredTwiceIsTakenOnce) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  log_->DeliverStray(kOrders0, 0, /*assignment=*/1, {.value = "v", .headers = {{"id", "a"}}});
  Settle();
  EXPECT_THAT(invoked(), SizeIs(1));
  EXPECT_EQ(stats().duplicates, 0U);
}

TEST_F(EngineIntake, HolesInTheLogAreNoReasonToWait) {
  StartAndSettle({kOrders0});
  for (const std::int64_t offset : {3, 7, 8}) {
    log_->DeliverStray(kOrders0, offset, /*assignment=*/1,
                       {.headers = {{"id", std::to_string(offset)}}});
  }
  Settle();
  EXPECT_THAT(effects(), ElementsAre("3", "7", "8"));
  EXPECT_EQ(PositionOf(kOrders0), 9);
}

TEST_F(EngineIntake, NoPollAsksForMoreThanABatch) {
  options_.limits = {.batch_messages_max = 4, .inflight_messages_max = 10};
  When("0", [](const Message&, Transaction&) { return Retry("down"); });
  for (int i = 0; i < 50; ++i) Send(kOrders0, std::to_string(i));
  StartAndSettle({kOrders0});
  for (const PollOptions& poll : log_->polls()) EXPECT_LE(poll.messages_max, 4U);
}

TEST_F(EngineIntake, AWaitingPartitionIsPausedAndFetchedOnFromItsNextOffsetLater) {
  options_.limits = {.batch_messages_max = 4, .inflight_messages_max = 8};
  When("0", [calls = 0](const Message& message, Transaction& transaction) mutable -> Outcome {
    if (++calls == 1) return Retry("down");
    AppendEffect(transaction, message.id());
    return Done();
  });
  for (int i = 0; i < 30; ++i) Send(kOrders0, std::to_string(i));
  StartAndSettle({kOrders0});
  EXPECT_THAT(CallsTo("pause"), ElementsAre("pause orders[0]"));
  log_->ForgetCalls();
  Advance(absl::Seconds(1));
  Settle(40);
  EXPECT_THAT(effects(), SizeIs(30));
  ASSERT_THAT(CallsTo("start"), Not(IsEmpty()));
  // Half of the buffer was kept meanwhile; what was dropped is fetched again, and nothing else.
  EXPECT_EQ(CallsTo("start")[0], "start orders[0]@4");
  EXPECT_THAT(invoked(), SizeIs(31));
}

TEST_F(EngineIntake, TheBufferIsBoundedInBytesToo) {
  options_.limits.inflight_bytes_max = 10'000;
  options_.limits.batch_messages_max = 2;
  When("0", [](const Message&, Transaction&) { return Retry("down"); });
  for (int i = 0; i < 50; ++i) Send(kOrders0, std::to_string(i), std::string(4000, 'x'));
  StartAndSettle({kOrders0});
  EXPECT_THAT(CallsTo("pause"), ElementsAre("pause orders[0]"));
}

TEST_F(EngineIntake, AWaitingPartitionFillsItsShareOnlyAndOthersGoOn) {
  options_.limits = {.batch_messages_max = 4, .inflight_messages_max = 16};
  When("0", [](const Message&, Transaction&) { return RetryAfter(absl::Hours(1)); });
  for (int i = 0; i < 100; ++i) Send(kOrders0, std::to_string(i));
  for (int i = 100; i < 200; ++i) Send(kOrders1, std::to_string(i));
  log_->Assign({kOrders0, kOrders1});
  StartConsumer();
  Settle(100);
  EXPECT_THAT(effects(), SizeIs(100));
  EXPECT_THAT(CallsTo("pause"), Contains("pause orders[0]"));
}

TEST_F(EngineIntake, WhatWaitsLongIsCopiedAndGivesTheReceiveBuffersBack) {
  When("a", [](const Message&, Transaction&) { return RetryAfter(absl::Hours(1)); });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id, "value of " + std::string(id));
  log_->Assign({kOrders0});
  StartConsumer();
  Settle(2);
  EXPECT_EQ(log_->pinned_batches(), 1U);
  Settle();
  EXPECT_EQ(log_->pinned_batches(), 0U);
}

TEST_F(EngineIntake, WhatWaitsLongOnlyTheSecondTimeIsCopiedThen) {
  When("a", [calls = 0](const Message&, Transaction&) mutable {
    return RetryAfter(++calls == 1 ? absl::Milliseconds(50) : absl::Hours(1));
  });
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  Advance(absl::Milliseconds(50));
  Settle();
  EXPECT_THAT(invoked(), SizeIs(2));
  EXPECT_EQ(log_->pinned_batches(), 0U);
}

TEST_F(EngineIntake, ASecondWaitOfAsManyMessagesCopiesThemToo) {
  for (const char* id : {"a", "d"}) {
    When(id, [calls = 0](const Message& message, Transaction& transaction) mutable -> Outcome {
      if (++calls == 1) return RetryAfter(absl::Hours(1));
      return Book(message, transaction);
    });
  }
  for (const char* id : {"a", "b", "c"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  Advance(absl::Hours(1));
  Settle();
  for (const char* id : {"d", "e", "f"}) Send(kOrders0, id);
  Settle();
  EXPECT_THAT(effects(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(log_->pinned_batches(), 0U);
  Advance(absl::Hours(1));
  Settle();
  EXPECT_THAT(effects(), SizeIs(6));
}

TEST_F(EngineIntake, APauseThatTheSourceIgnoresLosesNothing) {
  options_.limits = {.batch_messages_max = 4, .inflight_messages_max = 8};
  log_->IgnorePauses();
  When("0", [calls = 0](const Message& message, Transaction& transaction) mutable -> Outcome {
    if (++calls == 1) return RetryAfter(absl::Hours(1));
    return Book(message, transaction);
  });
  std::vector<std::string> expected;
  for (int i = 0; i < 60; ++i) {
    Send(kOrders0, std::to_string(i));
    expected.push_back(std::to_string(i));
  }
  StartAndSettle({kOrders0});
  Advance(absl::Hours(1));
  Settle(60);
  EXPECT_EQ(effects(), expected);
}

TEST_F(EngineIntake, ACopiedMessageIsHandledWithAllItHad) {
  std::string seen;
  When("a", [&, calls = 0](const Message& message, Transaction&) mutable -> Outcome {
    if (++calls == 1) return RetryAfter(absl::Hours(1));
    seen = std::string(*message.key()) + " " + std::string(*message.value()) + " " +
           std::string(*message.FindHeader("trace")->value) + " " +
           std::to_string(message.offset()) + " " + std::to_string(message.attempt());
    return Done();
  });
  log_->Append(kOrders0, {.key = "k", .value = "v", .headers = {{"id", "a"}, {"trace", "t"}}});
  StartAndSettle({kOrders0});
  Advance(absl::Hours(1));
  Settle();
  EXPECT_EQ(seen, "k v t 0 2");
}

TEST_F(EngineIntake, HandledMessagesGiveTheReceiveBuffersBack) {
  for (int i = 0; i < 20; ++i) Send(kOrders0, std::to_string(i));
  StartAndSettle({kOrders0});
  EXPECT_EQ(log_->pinned_batches(), 0U);
}

TEST_F(EngineIntake, HintsFollowTheStoresPositionAndNeverPassIt) {
  When("c", [](const Message&, Transaction&) { return RetryAfter(absl::Hours(1)); });
  for (const char* id : {"a", "b", "c", "d"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  Advance(options_.times.commit_interval);
  Settle();
  EXPECT_EQ(CallsTo("commit").back(), "commit orders[0]@2");
  EXPECT_EQ(PositionOf(kOrders0), 2);
}

TEST_F(EngineIntake, HintsAreSentOncePerIntervalAndOnlyWhenTheyChange) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Advance(options_.times.commit_interval);
  Settle();
  log_->ForgetCalls();
  for (int i = 0; i < 5; ++i) {
    Advance(options_.times.commit_interval);
    Settle();
  }
  EXPECT_THAT(CallsTo("commit"), IsEmpty());
}

TEST_F(EngineIntake, AHintThatFailedIsMadeGoodByTheNext) {
  log_->AnswerHintsWith(absl::UnavailableError("coordinator moves"));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  log_->AnswerHintsWith(absl::OkStatus());
  Advance(options_.times.commit_interval);
  Settle();
  EXPECT_EQ(log_->committed(kOrders0), 1);
}

TEST_F(EngineIntake, AHintThatGotLostIsSaidAgainWithoutTraffic) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Advance(options_.times.commit_interval);
  Settle();
  log_->SetCommitted(kOrders0, 0, "");  // it never reached the broker
  Advance(absl::Seconds(30));
  Settle();
  EXPECT_EQ(log_->committed(kOrders0), 0) << "not with every turn";
  Advance(absl::Minutes(1));
  Settle();
  EXPECT_EQ(log_->committed(kOrders0), 1);
}

TEST_F(EngineIntake, AHintNeverSpeaksOfAnUnknownCommit) {
  store_->OnCommit([](const auto&) { return CommitFate::kUnknownUndone; });
  store_->OnTake([takes = 0]() mutable {
    return ++takes == 1 ? absl::OkStatus() : absl::UnavailableError("down");
  });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  Advance(absl::Seconds(10));
  Settle();
  EXPECT_EQ(log_->committed(kOrders0).value_or(0), 0);
}

TEST_F(EngineIntake, StopCommitsAtTheBrokerAndLeavesTheGroup) {
  for (const char* id : {"a", "b"}) Send(kOrders0, id);
  StartAndSettle({kOrders0});
  EXPECT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(log_->committed(kOrders0), 2);
  EXPECT_EQ(log_->calls().back(), "close");
}

TEST_F(EngineIntake, AfterAStopThereAreNoMoreSteps) {
  StartAndSettle({kOrders0});
  ASSERT_TRUE(consumer_->Stop().ok());
  EXPECT_EQ(consumer_->Step().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(consumer_->Stop().ok());
}

TEST_F(EngineIntake, ARunAfterAStepIsRefused) {
  StartAndSettle({kOrders0});
  EXPECT_EQ(consumer_->Run({}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(EngineIntake, DestructionWithoutAStopLeavesTheGroupAndSaysSo) {
  StartAndSettle({kOrders0});
  consumer_.reset();
  EXPECT_THAT(log_->calls(), Contains("close"));
  EXPECT_THAT(events_->actions(), Contains("abandoned"));
}

TEST_F(EngineIntake, ASourceThatCannotGoOnEndsTheConsumerWithItsError) {
  StartAndSettle({kOrders0});
  log_->FailPoll(absl::PermissionDeniedError("group authorization failed"));
  const absl::Status status = consumer_->Step().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(status.message()), HasSubstr("source scripted"));
}

TEST_F(EngineIntake, AStepSaysWhetherItSettledAnything) {
  log_->Assign({kOrders0});
  StartConsumer();
  EXPECT_EQ(*consumer_->Step(), false);
  Send(kOrders0, "a");
  EXPECT_EQ(*consumer_->Step(), true);
  EXPECT_EQ(*consumer_->Step(), false);
}

TEST_F(EngineIntake, APartitionThatIsGivenAwayIsNoLongerListedAsStopped) {
  When("a", [](const Message&, Transaction&) { return Pause("closed"); });
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  ASSERT_THAT(consumer_->stopped_partitions(), SizeIs(1));
  log_->Revoke({kOrders0});
  Settle();
  EXPECT_THAT(consumer_->stopped_partitions(), IsEmpty());
  log_->Assign({kOrders0});
  Settle();
  EXPECT_THAT(consumer_->stopped_partitions(), SizeIs(1));
}

}  // namespace
}  // namespace once
