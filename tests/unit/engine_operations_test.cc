// An operator beside a consumer: dead letters that are found by their message's id, sent around
// once more or given up, and retries that are called off.
#include "once/operations.h"
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class EngineOperations : public EngineTest {
 protected:
  StoreOperations& operations() { return *store_->operations(); }
  std::string scope() const { return GroupTopicScope("billing", "orders"); }

  std::vector<StoredFailure> Failures() {
    const auto found = operations().FindFailures({});
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : std::vector<StoredFailure>();
  }

  void Redrive(const StoredFailure& failure) {
    OutboxRow row{.origin = failure.origin,
                  .message = MakeRedrive(failure.letter, failure.origin.key.partition, "redrive-1",
                                         failure.redrives + 1),
                  .scope = failure.scope,
                  .id = failure.id};
    row.origin.ordinal = -(failure.redrives + 1);
    const absl::Status redriven = operations().Redrive({.number = failure.number, .row = row});
    EXPECT_TRUE(redriven.ok()) << redriven;
    // The relay looks at the outbox once a second; nobody tells it what an operator put there.
    Advance(absl::Seconds(2));
    Settle();
  }

  // What the broker does with a message that was published to one of its partitions.
  void DeliverLastPublished() {
    const OutgoingMessage message = publisher_->published().back();
    ASSERT_TRUE(message.partition.has_value());
    log_->Append({message.topic, *message.partition},
                 {.key = message.key, .value = message.value, .headers = message.headers});
  }

  void RejectWhileBroken(const std::string& id) {
    When(id, [this](const Message& message, Transaction& transaction) -> Outcome {
      return is_broken_ ? Reject("no such account") : Book(message, transaction);
    });
  }

  bool is_broken_ = true;
};

TEST_F(EngineOperations, ALetterIsFoundByTheIdAndTheScopeOfItsMessage) {
  RejectWhileBroken("bad");
  Send(kOrders0, "good");
  Send(kOrders0, "bad");
  StartAndSettle({kOrders0});
  ASSERT_THAT(Failures(), SizeIs(1));
  const StoredFailure failure = Failures().front();
  EXPECT_EQ(failure.id, "bad");
  EXPECT_EQ(failure.scope, scope());
  EXPECT_EQ(failure.state, IdState::kDead);
  EXPECT_TRUE(failure.is_published);
  EXPECT_EQ(failure.origin.offset, 1);
  EXPECT_EQ(HeaderOf(failure.letter, "once-error-message"), "no such account");
}

TEST_F(EngineOperations, ALetterWithoutAnIdOfItsOwnIsFoundByItsNumberOnly) {
  Send(kOrders0, "a", "one");
  Send(kOrders0, "a", "another");
  Send(kOrders0, std::string(80, 'x'));
  log_->Append(kOrders0, {.value = "no id"});
  StartAndSettle({kOrders0});
  ASSERT_THAT(Failures(), SizeIs(3));
  for (const StoredFailure& failure : Failures()) {
    EXPECT_EQ(failure.id, "") << HeaderOf(failure.letter, "once-disposition");
    EXPECT_TRUE(operations().DropLetter(failure.number).ok());
  }
  EXPECT_THAT(Failures(), IsEmpty());
}

TEST_F(EngineOperations, ARedrivenMessageIsHandledOnceMoreAndThenIsADuplicate) {
  RejectWhileBroken("bad");
  Send(kOrders0, "bad");
  StartAndSettle({kOrders0});
  is_broken_ = false;
  Send(kOrders0, "bad");  // a copy does not bring it back
  Settle();
  EXPECT_THAT(effects(), IsEmpty());

  ASSERT_THAT(Failures(), SizeIs(1));
  Redrive(Failures().front());
  ASSERT_THAT(publisher_->published(), SizeIs(2)) << "the letter, and the redriven message";
  EXPECT_EQ(HeaderOf(publisher_->published().back(), "once-redrive-id"), "redrive-1");
  EXPECT_EQ(HeaderOf(publisher_->published().back(), "once-error-code"), "(none)");
  DeliverLastPublished();
  DeliverLastPublished();  // the relay may publish twice
  Settle();
  EXPECT_THAT(effects(), ElementsAre("bad"));
  EXPECT_EQ(stats().duplicates, 1);
  EXPECT_THAT(Failures(), IsEmpty());
}

TEST_F(EngineOperations, ARedrivenMessageThatFailsAgainHasOneLetterTheNewOne) {
  RejectWhileBroken("bad");
  Send(kOrders0, "bad");
  StartAndSettle({kOrders0});
  Redrive(Failures().front());
  DeliverLastPublished();
  Settle();
  ASSERT_THAT(Failures(), SizeIs(1));
  EXPECT_EQ(Failures().front().redrives, 1);
  EXPECT_EQ(Failures().front().origin.offset, 1);
  is_broken_ = false;
  Redrive(Failures().front());
  EXPECT_EQ(HeaderOf(publisher_->published().back(), "once-redrive-count"), "2");
  DeliverLastPublished();
  Settle();
  EXPECT_THAT(effects(), ElementsAre("bad"));
}

TEST_F(EngineOperations, AWaitingRetryThatIsDiscardedIsPassedAndNeverHandledAgain) {
  When("slow", [](const Message&, Transaction&) { return Retry("locked"); });
  Send(kOrders0, "slow");
  Send(kOrders0, "next");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), SizeIs(::testing::Ge(1)));
  const std::size_t before = invoked().size();
  const absl::Status discarded = operations().Discard({.scope = scope(), .id = "slow"});
  ASSERT_TRUE(discarded.ok()) << discarded;
  Advance(absl::Minutes(1));
  Settle();
  EXPECT_EQ(invoked().size(), before + 1) << "only the next message was handled";
  EXPECT_THAT(effects(), ElementsAre("next"));
  EXPECT_EQ(stats().discarded, 1);
  EXPECT_EQ(PositionOf(kOrders0), 2);
}

}  // namespace
}  // namespace once
