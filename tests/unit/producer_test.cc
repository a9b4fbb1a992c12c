// What a sender sees: outcomes, ids, numbers, room, the end.
#include "once/producer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_join.h"
#include "tests/unit/producer_world.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class ProducerTest : public ::testing::Test {
 protected:
  NamedFaults faults_;
  ProducerWorld world_{faults_};
};

TEST_F(ProducerTest, AMessageIsStoredWithItsIdAndItsNumberAndTheTicketSaysSo) {
  world_.Run([this](Producer& producer) {
    OutgoingMessage message = MessageOf("v");
    message.headers = {{"once-id", "order-7"}, {"color", "red"}};
    Ticket ticket = producer.Send(message);
    EXPECT_EQ(ticket.TryGet(), nullptr);
    const SendOutcome* outcome = ticket.Wait(world_.In(absl::Seconds(5)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_TRUE(outcome->status.ok()) << outcome->status;
    EXPECT_EQ(outcome->id, "order-7");
    EXPECT_EQ(outcome->topic, "t");
    EXPECT_EQ(outcome->partition, 0);
    EXPECT_EQ(outcome->offset, 0);
    EXPECT_EQ(outcome->sequence, 1U);
    ASSERT_THAT(world_.topics().messages(), SizeIs(1));
    const OutgoingMessage& stored = world_.topics().messages()[0];
    EXPECT_EQ(stored.value, "v");
    EXPECT_EQ(LastHeader(stored, "color"), "red");
    std::string buffer;
    const auto stamp = StampOf(stored, buffer);
    ASSERT_TRUE(stamp.has_value());
    EXPECT_EQ(stamp->sequence, 1U);
    EXPECT_EQ(stamp->by.producer, "p");
    EXPECT_FALSE(stamp->is_from_outbox);
  });
}

TEST_F(ProducerTest, MessagesWithoutAnIdGetDifferentOnesOrAreRefused) {
  world_.Run([this](Producer& producer) {
    Ticket first = producer.Send(MessageOf("1"));
    Ticket second = producer.Send(MessageOf("2"));
    ASSERT_NE(second.Wait(world_.In(absl::Seconds(5))), nullptr);
    EXPECT_THAT(first.TryGet()->id, SizeIs(32));
    EXPECT_NE(first.TryGet()->id, second.TryGet()->id);
    EXPECT_EQ(LastHeader(world_.topics().messages()[0], "once-id"), first.TryGet()->id);
  });
  ProducerOptions options = world_.Options();
  options.ids = {.header = "order-id", .is_drawn = false};
  world_.Run(std::move(options), [](Producer& producer) {
    Ticket refused = producer.Send(MessageOf("3"));
    ASSERT_TRUE(refused.is_done());
    EXPECT_TRUE(absl::IsInvalidArgument(refused.TryGet()->status)) << refused.TryGet()->status;
    EXPECT_EQ(refused.TryGet()->sequence, 0U);
  });
}

TEST_F(ProducerTest, AStampOfAnotherLifeIsTakenOut) {
  ProducerOptions options = world_.Options();
  options.stamps.mode = Stamping::kOff;
  world_.Run(std::move(options), [this](Producer& producer) {
    OutgoingMessage forwarded = MessageOf("v");
    forwarded.headers = {{std::string(kSequenceHeader), "d/9/0/325e96ec/18c5f0a2b3d4e5f6/other"}};
    EXPECT_NE(producer.Send(forwarded).Wait(world_.In(absl::Seconds(5))), nullptr);
    EXPECT_FALSE(LastHeader(world_.topics().messages()[0], kSequenceHeader).has_value());
  });
}

TEST_F(ProducerTest, ObservedStreamsAreNumberedAndNothingIsWritten) {
  ProducerOptions options = world_.Options();
  options.stamps.mode = Stamping::kObserve;
  world_.Run(std::move(options), [this](Producer& producer) {
    Ticket ticket = producer.Send(MessageOf("v"));
    EXPECT_EQ(ticket.Wait(world_.In(absl::Seconds(5)))->sequence, 1U);
    producer.Close(world_.In(absl::Seconds(5)));
  });
  EXPECT_FALSE(LastHeader(world_.topics().messages()[0], kSequenceHeader).has_value());
  EXPECT_THAT(world_.Values("t.once-marks"), IsEmpty());
  EXPECT_EQ(world_.metrics().counter("once_producer_numbered_total"), 1);
}

TEST_F(ProducerTest, PartitionsAreChosenByKeyOrByTheCallerAndNumberedEachForItself) {
  world_.topics().CreateTopic("wide", 10);
  world_.Run([this](Producer& producer) {
    OutgoingMessage keyed = MessageOf("k", "wide");
    keyed.key = "foobar";
    OutgoingMessage chosen = MessageOf("c", "wide");
    chosen.partition = 3;
    Ticket first = producer.Send(keyed);
    Ticket second = producer.Send(chosen);
    Ticket third = producer.Send(keyed);
    chosen.partition = 10;
    Ticket missing = producer.Send(chosen);
    ASSERT_NE(third.Wait(world_.In(absl::Seconds(5))), nullptr);
    EXPECT_EQ(first.TryGet()->partition, (-790332482 & 0x7fffffff) % 10);
    EXPECT_EQ(second.TryGet()->partition, 3);
    EXPECT_EQ(second.TryGet()->sequence, 1U);
    EXPECT_EQ(third.TryGet()->sequence, 2U);
    EXPECT_TRUE(absl::IsInvalidArgument(missing.TryGet()->status)) << missing.TryGet()->status;
  });
}

TEST_F(ProducerTest, ATopicThatDoesNotExistIsSaidAtOnce) {
  world_.Run([](Producer& producer) {
    Ticket ticket = producer.Send(MessageOf("v", "nowhere"));
    ASSERT_TRUE(ticket.is_done());
    EXPECT_TRUE(absl::IsInvalidArgument(ticket.TryGet()->status)) << ticket.TryGet()->status;
  });
}

TEST_F(ProducerTest, CallbacksHearEachOutcomeOnce) {
  std::vector<std::string> heard;
  world_.Run([&](Producer& producer) {
    for (int i = 0; i < 3; ++i) {
      producer.Send(MessageOf(std::to_string(i)), [&heard](const SendOutcome& outcome) {
        heard.push_back(outcome.status.ok() ? std::to_string(outcome.sequence)
                                            : outcome.status.ToString());
      });
    }
    EXPECT_EQ(producer.Flush(world_.In(absl::Seconds(5))).count, 0U);
    EXPECT_THAT(heard, ElementsAre("1", "2", "3"));
  });
  EXPECT_THAT(heard, SizeIs(3));
}

// The memory of a message is used for the next one, whatever parts either has.
TEST_F(ProducerTest, AMessageHasNothingOfThoseBefore) {
  std::vector<OutgoingMessage> shapes(6, MessageOf("v"));
  shapes[0].value = std::string(400, 'a');
  shapes[0].headers = {{"id", "first"}, {"color", std::string(100, 'c')}, {"null", std::nullopt}};
  shapes[1].key = std::nullopt;
  shapes[1].headers = {{"id", "second"}};
  shapes[2].value = std::nullopt;
  shapes[2].headers = {{"size", "9"}, {"id", "third"}, {"color", ""}};
  shapes[3].value = std::string(5000, 'b');
  shapes[3].headers = {{"id", std::string(60, 'i')}};
  shapes[4].value = "";
  shapes[4].headers = {{"a", "1"}, {"b", "2"}, {"c", std::nullopt}, {"id", "fifth"}};
  shapes[5].headers = {{"id", "sixth"}};
  constexpr std::size_t kSends = 60;
  ProducerOptions options = world_.Options();
  options.ids = {.header = "id", .is_drawn = false};
  options.stamps.mode = Stamping::kOff;
  std::vector<std::string> ids;
  world_.Run(std::move(options), [&](Producer& producer) {
    for (std::size_t i = 0; i < kSends; ++i) {
      producer.Send(shapes[(i + i / 7) % shapes.size()], [&ids](const SendOutcome& outcome) {
        EXPECT_TRUE(outcome.status.ok()) << outcome.status;
        EXPECT_EQ(outcome.topic, "t");
        ids.push_back(outcome.id);
      });
      if (i % 3 == 2) producer.Flush(world_.In(absl::Seconds(5)));
    }
  });
  ASSERT_THAT(ids, SizeIs(kSends));
  ASSERT_THAT(world_.topics().messages(), SizeIs(kSends));
  for (std::size_t i = 0; i < kSends; ++i) {
    OutgoingMessage stored = world_.topics().messages()[i];
    const OutgoingMessage& sent = shapes[(i + i / 7) % shapes.size()];
    EXPECT_EQ(ids[i], LastHeader(sent, "id"));
    stored.partition = std::nullopt;
    EXPECT_EQ(stored, sent) << "message " << i;
  }
}

TEST_F(ProducerTest, AFullQueueMakesSendersWaitAndThenSaysSo) {
  ProducerOptions options = world_.Options();
  options.limits.messages_max = 2;
  options.times.send_timeout = absl::Seconds(3);
  world_.Run(std::move(options), [this](Producer& producer) {
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5)))->status.ok());
    world_.topics().set_is_reachable(false);
    Ticket first = producer.Send(MessageOf("1"));
    Ticket second = producer.Send(MessageOf("2"));
    const absl::Time before = world_.Now();
    Ticket refused = producer.Send(MessageOf("3"));
    EXPECT_EQ(world_.Now() - before, absl::Seconds(3));
    ASSERT_TRUE(refused.is_done());
    EXPECT_TRUE(absl::IsResourceExhausted(refused.TryGet()->status)) << refused.TryGet()->status;
    // And one that waits gets the room of one that is stored.
    world_.scheduler().At(world_.In(absl::Seconds(1)),
                          [this] { world_.topics().set_is_reachable(true); });
    Ticket waited = producer.Send(MessageOf("4"));
    ASSERT_NE(waited.Wait(world_.In(absl::Seconds(5))), nullptr);
    EXPECT_TRUE(waited.TryGet()->status.ok()) << waited.TryGet()->status;
    EXPECT_TRUE(first.TryGet()->status.ok() && second.TryGet()->status.ok());
  });
  EXPECT_THAT(world_.Values("t"), ElementsAre("0", "1", "2", "4"));
}

TEST_F(ProducerTest, BytesAreBoundedToo) {
  ProducerOptions options = world_.Options();
  options.limits.bytes_max = 1000;
  options.times.send_timeout = absl::Milliseconds(1);
  world_.Run(std::move(options), [this](Producer& producer) {
    Ticket large = producer.Send(MessageOf(std::string(1000, 'x')));
    EXPECT_TRUE(absl::IsInvalidArgument(large.TryGet()->status)) << large.TryGet()->status;
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5)))->status.ok());
    world_.topics().set_is_reachable(false);
    Ticket first = producer.Send(MessageOf(std::string(500, 'x')));
    Ticket second = producer.Send(MessageOf(std::string(500, 'x')));
    EXPECT_TRUE(absl::IsResourceExhausted(second.TryGet()->status)) << second.TryGet()->status;
    world_.topics().set_is_reachable(true);
    EXPECT_NE(first.Wait(world_.In(absl::Seconds(5))), nullptr);
  });
}

TEST_F(ProducerTest, AClientThatIsFullIsTriedAgain) {
  world_.Run([this](Producer& producer) {
    faults_.Arm("queue-full");
    Ticket first = producer.Send(MessageOf("1"));
    Ticket second = producer.Send(MessageOf("2"));
    ASSERT_NE(second.Wait(world_.In(absl::Seconds(5))), nullptr);
    EXPECT_EQ(first.TryGet()->sequence, 1U);
    EXPECT_EQ(second.TryGet()->sequence, 2U);
  });
  EXPECT_THAT(world_.Values("t"), ElementsAre("1", "2"));
}

TEST_F(ProducerTest, ATicketThatNobodyLooksAtIsNoisyOnlyWhenItsMessageIsLost) {
  ProducerOptions options = world_.Options();
  options.times.delivery_timeout = absl::Seconds(2);
  world_.Run(std::move(options), [this](Producer& producer) {
    { Ticket fine = producer.Send(MessageOf("fine")); }
    producer.Flush(world_.In(absl::Seconds(5)));
    EXPECT_THAT(world_.log().actions(), Not(Contains("send_unobserved")));
    // Lost after its ticket has gone …
    world_.topics().set_is_reachable(false);
    { Ticket lost = producer.Send(MessageOf("lost")); }
    EXPECT_THAT(world_.log().actions(), Not(Contains("send_unobserved")));
    world_.Sleep(absl::Seconds(5));
    EXPECT_THAT(world_.log().actions(), Contains("send_unobserved"));
    // … and before it: three losses, and no more than a line a second.
    world_.topics().set_is_reachable(true);
    { Ticket lost = producer.Send(MessageOf("no topic", "nowhere")); }
    { Ticket lost = producer.Send(MessageOf("no topic", "nowhere")); }
    // One that was looked at is no such loss.
    Ticket seen = producer.Send(MessageOf("no topic", "nowhere"));
    EXPECT_FALSE(seen.TryGet()->status.ok());
  });
  EXPECT_EQ(world_.metrics().counter("once_producer_unobserved_total"), 3);
  const auto actions = world_.log().actions();
  EXPECT_EQ(std::count(actions.begin(), actions.end(), "send_unobserved"), 2)
      << absl::StrJoin(world_.log().messages(), "\n");
}

TEST_F(ProducerTest, FlushNamesWhatIsStillOnItsWay) {
  world_.Run([this](Producer& producer) {
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5)))->status.ok());
    world_.topics().set_is_reachable(false);
    OutgoingMessage message = MessageOf("1");
    message.headers = {{"once-id", "late"}};
    Ticket late = producer.Send(message);
    const Undelivered undelivered = producer.Flush(world_.In(absl::Seconds(3)));
    ASSERT_EQ(undelivered.count, 1U);
    EXPECT_EQ(undelivered.messages[0].id, "late");
    EXPECT_TRUE(absl::IsUnknown(undelivered.messages[0].status));
    EXPECT_FALSE(late.is_done()) << "it is still being sent";
    world_.topics().set_is_reachable(true);
    EXPECT_EQ(producer.Flush(world_.In(absl::Seconds(3))).count, 0U);
    EXPECT_TRUE(late.TryGet()->status.ok());
  });
}

TEST_F(ProducerTest, SomeRoomIsRoomEnoughAfterAWhile) {
  ProducerOptions options = world_.Options();
  options.limits.messages_max = 16;
  options.times.delivery_timeout = absl::Seconds(10);
  world_.Run(std::move(options), [this](Producer& producer) {
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5)))->status.ok());
    world_.topics().set_is_reachable(false);
    std::vector<Ticket> tickets;
    tickets.push_back(producer.Send(MessageOf("the first to be given up")));
    world_.Sleep(absl::Seconds(5));
    for (int i = 1; i < 16; ++i) tickets.push_back(producer.Send(MessageOf(absl::StrCat(i))));
    const absl::Time before = world_.Now();
    tickets.push_back(producer.Send(MessageOf("waits for that")));
    EXPECT_LE(world_.Now() - before, absl::Seconds(6));
    EXPECT_FALSE(tickets.back().is_done());
  });
}

TEST_F(ProducerTest, FlushReturnsOnceOutcomesHaveBeenToldNotWhenTheyAreKnown) {
  world_.Run([this](Producer& producer) {
    bool is_told = false;
    producer.Send(MessageOf("1"), [&](const SendOutcome&) {
      world_.Sleep(absl::Milliseconds(50));  // a processor that is busy with others
      is_told = true;
    });
    EXPECT_EQ(producer.Flush(world_.In(absl::Seconds(5))).count, 0U);
    EXPECT_TRUE(is_told);
  });
}

TEST_F(ProducerTest, FlushDoesNotWaitForTheMarksOfWhatOthersSendMeanwhile) {
  world_.Run([this](Producer& producer) {
    bool is_over = false;
    world_.scheduler().Spawn("others", world_.process(), [&] {
      while (!is_over) {
        producer.Send(MessageOf("other"), nullptr);
        world_.Sleep(absl::Microseconds(100));
      }
    });
    ASSERT_TRUE(producer.Send(MessageOf("1")).Wait(world_.In(absl::Seconds(5)))->status.ok());
    const absl::Time before = world_.Now();
    const std::size_t marks_before = world_.Values("t.once-marks").size();
    EXPECT_EQ(producer.Flush(world_.In(absl::Seconds(5))).count, 0U);
    EXPECT_LT(world_.Now() - before, absl::Seconds(1));
    EXPECT_LE(world_.Values("t.once-marks").size() - marks_before, 3U);
    EXPECT_GE(world_.Values("t.once-marks").size(), 1U);
    is_over = true;
    world_.Sleep(absl::Seconds(1));
  });
}

TEST_F(ProducerTest, CloseGivesUpWhatIsLeftAndNamesIt) {
  world_.Run([this](Producer& producer) {
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5)))->status.ok());
    world_.topics().set_is_reachable(false);
    OutgoingMessage message = MessageOf("1");
    message.headers = {{"once-id", "lost"}};
    Ticket lost = producer.Send(message);
    const Undelivered undelivered = producer.Close(world_.In(absl::Seconds(3)));
    ASSERT_EQ(undelivered.count, 1U);
    EXPECT_EQ(undelivered.messages[0].id, "lost");
    ASSERT_TRUE(lost.is_done());
    EXPECT_TRUE(absl::IsDeadlineExceeded(lost.TryGet()->status)) << lost.TryGet()->status;
    Ticket after = producer.Send(MessageOf("2"));
    EXPECT_TRUE(absl::IsFailedPrecondition(after.TryGet()->status)) << after.TryGet()->status;
    EXPECT_EQ(producer.Close(world_.In(absl::Seconds(3))).count, 0U);
  });
  EXPECT_THAT(world_.log().actions(), Contains("send_undelivered"));
  EXPECT_EQ(world_.metrics().counter("once_producer_undelivered_total"), 1);
  EXPECT_THAT(world_.Values("t"), ElementsAre("0"));
}

TEST_F(ProducerTest, ATicketMayOutliveItsProducer) {
  std::optional<Ticket> ticket;
  world_.Run([&](Producer& producer) { ticket = producer.Send(MessageOf("1")); });
  ASSERT_TRUE(ticket.has_value());
  ASSERT_NE(ticket->TryGet(), nullptr);
  EXPECT_TRUE(ticket->TryGet()->status.ok()) << ticket->TryGet()->status;
}

TEST_F(ProducerTest, OptionsAreChecked) {
  const auto refused = [this](const std::function<void(ProducerOptions&)>& change) {
    ProducerOptions options = world_.Options();
    change(options);
    return Producer::Create(std::move(options)).status();
  };
  for (const absl::Status& status :
       {refused([](auto& options) { options.clients = nullptr; }),
        refused([](auto& options) { options.ids.header = ""; }),
        refused([](auto& options) { options.sticky_messages = 0; }),
        refused([](auto& options) { options.limits.messages_max = 0; }),
        refused([](auto& options) { options.times.delivery_timeout = absl::ZeroDuration(); }),
        refused([](auto& options) { options.times.send_timeout = absl::Seconds(-1); }),
        refused([](auto& options) { options.stamps.mark_interval = absl::ZeroDuration(); }),
        refused([](auto& options) { options.stamps.producer = "no/slash"; })}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  }
}

}  // namespace
}  // namespace once
