// Clients that break, answers that are lost, processes that die: what is sent again, in which
// order, and under which number.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/forwarding_seams.h"
#include "tests/unit/producer_world.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using testing::Fault;
using ::testing::SizeIs;

class ProducerTrouble : public ::testing::Test {
 protected:
  NamedFaults faults_;
  ProducerWorld world_{faults_};
};

TEST_F(ProducerTrouble, ABrokenClientIsReplacedAndWhatHasNoAnswerIsSentAgainInItsOldOrder) {
  world_.Run([this](Producer& producer) {
    faults_.Arm("client-breaks", 1, 2);  // at the third record
    faults_.Arm("given-up", 1);          // which is stored, and nobody hears of it
    std::vector<Ticket> tickets;
    for (int i = 1; i <= 5; ++i) tickets.push_back(producer.Send(MessageOf(absl::StrCat(i))));
    EXPECT_EQ(producer.Flush(world_.In(absl::Seconds(30))).count, 0U);
    for (std::size_t i = 0; i < tickets.size(); ++i) {
      ASSERT_TRUE(tickets[i].is_done());
      EXPECT_TRUE(tickets[i].TryGet()->status.ok()) << tickets[i].TryGet()->status;
      EXPECT_EQ(tickets[i].TryGet()->sequence, i + 1) << "the same number as at first";
    }
  });
  EXPECT_THAT(world_.Values("t"), ElementsAre("1", "2", "3", "3", "4", "5"));
  EXPECT_THAT(world_.log().actions(), Contains("client_replaced"));
  EXPECT_EQ(world_.metrics().counter("once_producer_clients_replaced_total"), 1);
}

// Small ones are copied by the client, which gives them back; large ones stay with the producer.
TEST_F(ProducerTrouble, WhatIsSentAgainIsWhole) {
  std::vector<OutgoingMessage> messages;
  for (int i = 0; i < 6; ++i) {
    OutgoingMessage message = MessageOf(std::string(i % 2 == 0 ? 5 : 9000, 'x'));
    message.headers = {{"id", absl::StrCat(std::string(i < 3 ? 4 : 70, 'i'), i)},
                       {"null", std::nullopt},
                       {"color", "green"}};
    if (i == 4) message.value = std::nullopt;
    messages.push_back(message);
  }
  ProducerOptions options = world_.Options();
  options.ids = {.header = "id", .is_drawn = false};
  std::vector<std::string> ids;
  world_.Run(std::move(options), [&](Producer& producer) {
    faults_.Arm("client-breaks");
    for (const OutgoingMessage& message : messages) {
      producer.Send(message, [&ids](const SendOutcome& outcome) {
        EXPECT_TRUE(outcome.status.ok()) << outcome.status;
        EXPECT_EQ(outcome.topic, "t");
        ids.push_back(outcome.id);
      });
    }
    EXPECT_EQ(producer.Flush(world_.In(absl::Seconds(30))).count, 0U);
  });
  EXPECT_EQ(world_.metrics().counter("once_producer_retries_total"), 6);
  std::vector<OutgoingMessage> stored;
  for (OutgoingMessage message : world_.topics().messages()) {
    if (message.topic != "t") continue;
    EXPECT_EQ(message.headers.back().name, kSequenceHeader);
    message.headers.pop_back();
    message.partition = std::nullopt;
    stored.push_back(std::move(message));
  }
  EXPECT_EQ(stored, messages);
  ASSERT_THAT(ids, SizeIs(messages.size()));
  for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(ids[i], messages[i].headers[0].value);
}

// A client that keeps what it was to give back.
class GreedyClient final : public testing::ForwardingRecordClient {
 public:
  using ForwardingRecordClient::ForwardingRecordClient;
  void Poll(absl::Time deadline, const Listener& listener) override {
    ForwardingRecordClient::Poll(deadline, [&](std::span<const RecordReport> reports) {
      std::vector<RecordReport> others(reports.begin(), reports.end());
      for (RecordReport& report : others) report.returned = nullptr;
      listener(others);
    });
  }
};

TEST_F(ProducerTrouble, WhatAClientDoesNotGiveBackIsTold) {
  ProducerOptions options = world_.Options();
  options.clients =
      [open = options.clients](
          const RecordClientOptions& contract) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
    return std::make_unique<GreedyClient>(*open(contract));
  };
  world_.Run(std::move(options), [this](Producer& producer) {
    faults_.Arm("client-breaks");
    Ticket ticket = producer.Send(MessageOf("1"));
    const SendOutcome* outcome = ticket.Wait(world_.In(absl::Seconds(5)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_TRUE(absl::IsInternal(outcome->status)) << outcome->status;
    EXPECT_THAT(outcome->status.message(), ::testing::HasSubstr("not given it back"));
    EXPECT_EQ(outcome->topic, "t");
    Ticket next = producer.Send(MessageOf("2"));
    ASSERT_NE(next.Wait(world_.In(absl::Seconds(30))), nullptr);
    EXPECT_TRUE(next.TryGet()->status.ok()) << next.TryGet()->status;
  });
  EXPECT_THAT(world_.Values("t"), ElementsAre("2"));
}

TEST_F(ProducerTrouble, WhatComesWhileThereIsNoClientWaitsForTheNextOne) {
  world_.Run([this](Producer& producer) {
    faults_.Arm("client-breaks");
    Ticket first = producer.Send(MessageOf("1"));
    while (world_.metrics().counter("once_producer_clients_replaced_total") == 0) {
      world_.Sleep(absl::Milliseconds(1));
    }
    Ticket second = producer.Send(MessageOf("2"));
    Ticket other = producer.Send(MessageOf("3", "t.once-marks"));
    ASSERT_NE(second.Wait(world_.In(absl::Seconds(30))), nullptr);
    EXPECT_TRUE(second.TryGet()->status.ok());
    EXPECT_TRUE(first.TryGet()->status.ok());
    ASSERT_NE(other.Wait(world_.In(absl::Seconds(30))), nullptr);
    EXPECT_TRUE(other.TryGet()->status.ok()) << other.TryGet()->status;
  });
  EXPECT_THAT(world_.Values("t"), ElementsAre("1", "2"));
}

TEST_F(ProducerTrouble, ALostAnswerIsAResendUnderTheSameIdAndNumber) {
  world_.gate().set_faults({Fault::kUnknownApplied});
  world_.Run([this](Producer& producer) {
    faults_.Arm("publish");
    Ticket ticket = producer.Send(MessageOf("1"));
    ASSERT_NE(ticket.Wait(world_.In(absl::Seconds(5))), nullptr);
    EXPECT_TRUE(ticket.TryGet()->status.ok());
    EXPECT_EQ(ticket.TryGet()->offset, 1);
  });
  const auto& stored = world_.topics().messages();
  ASSERT_GE(stored.size(), 2U);
  EXPECT_EQ(stored[0], stored[1]);
  EXPECT_EQ(world_.metrics().counter("once_producer_retries_total"), 1);
}

TEST_F(ProducerTrouble, NothingNewOvertakesWhatIsSentAgain) {
  world_.gate().set_faults({Fault::kFailure});
  world_.Run([this](Producer& producer) {
    faults_.Arm("publish");
    std::vector<Ticket> tickets;
    tickets.push_back(producer.Send(MessageOf("1")));
    tickets.push_back(producer.Send(MessageOf("2")));
    // Sent as soon as the first report is there, while the second record is inside.
    ASSERT_NE(tickets[1].Wait(world_.In(absl::Seconds(5))), nullptr);
    tickets.push_back(producer.Send(MessageOf("3")));
    ASSERT_NE(tickets[2].Wait(world_.In(absl::Seconds(5))), nullptr);
    EXPECT_TRUE(tickets[0].TryGet()->status.ok());
  });
  EXPECT_THAT(world_.Values("t"), ElementsAre("2", "1", "3"));
}

TEST_F(ProducerTrouble, AfterTheDeliveryTimeoutTheTicketSaysWhetherItMayBeStored) {
  ProducerOptions options = world_.Options();
  options.times.delivery_timeout = absl::Seconds(5);
  world_.gate().set_faults({Fault::kUnknownNotApplied});
  world_.Run(std::move(options), [this](Producer& producer) {
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5)))->status.ok());
    faults_.Arm("publish");
    std::optional<Ticket> maybe = producer.Send(MessageOf("maybe"));
    world_.scheduler().Yield();
    world_.topics().set_is_reachable(false);
    std::optional<Ticket> never = producer.Send(MessageOf("never"));
    ASSERT_NE(maybe->Wait(world_.In(absl::Seconds(60))), nullptr);
    ASSERT_NE(never->Wait(world_.In(absl::Seconds(60))), nullptr);
    EXPECT_TRUE(absl::IsDeadlineExceeded(never->TryGet()->status)) << never->TryGet()->status;
    world_.topics().set_is_reachable(true);
  });
}

TEST(ProducerOvertime, AnOutcomeDoesNotWaitForAClientThatHasNoAnswer) {
  NamedFaults faults;
  ProducerWorld world(faults, {.overtime = absl::Minutes(1)});
  ProducerOptions options = world.Options();
  options.times.delivery_timeout = absl::Seconds(10);
  world.Run(std::move(options), [&](Producer& producer) {
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world.In(absl::Seconds(5)))->status.ok());
    world.topics().set_is_reachable(false);
    const std::string text(5000, 'x');  // not copied: the client points at it
    Ticket late = producer.Send(MessageOf(text));
    ASSERT_NE(late.Wait(world.In(absl::Seconds(15))), nullptr);
    EXPECT_TRUE(absl::IsUnknown(late.TryGet()->status)) << late.TryGet()->status;
    EXPECT_EQ(late.TryGet()->topic, "t");
    EXPECT_THAT(late.TryGet()->id, SizeIs(32));
    // The client still has it, and its bytes.
    world.topics().set_is_reachable(true);
    Ticket after = producer.Send(MessageOf("2"));
    ASSERT_NE(after.Wait(world.In(absl::Seconds(15))), nullptr);
    EXPECT_TRUE(after.TryGet()->status.ok()) << after.TryGet()->status;
    EXPECT_THAT(world.Values("t"), ElementsAre("0", text, "2"));
    EXPECT_EQ(producer.Flush(world.In(absl::Seconds(5))).count, 0U);
  });
  EXPECT_EQ(world.metrics().counter("once_producer_voids_total"), 1);
  EXPECT_EQ(world.metrics().gauge("once_producer_queue_messages"), 0);
}

// Knows every topic, also while nobody answers.
class WellReadClient final : public testing::ForwardingRecordClient {
 public:
  using ForwardingRecordClient::ForwardingRecordClient;
  absl::StatusOr<std::int32_t> CountPartitions(const std::string&, absl::Time) override {
    return 1;
  }
};

// A map that grows moves what it holds: who looks where it was is seen by AddressSanitizer.
TEST_F(ProducerTrouble, WhoWaitsForRoomInVainIsNotDisturbedByNewTopics) {
  ProducerOptions options = world_.Options();
  options.limits.messages_max = 1;
  options.times.send_timeout = absl::Seconds(1);
  options.clients =
      [open = options.clients](
          const RecordClientOptions& contract) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
    return std::make_unique<WellReadClient>(*open(contract));
  };
  world_.Run(std::move(options), [this](Producer& producer) {
    world_.topics().set_is_reachable(false);
    Ticket first = producer.Send(MessageOf("the only one that there is room for"));
    std::vector<std::unique_ptr<Task>> senders;
    constexpr int kTopics = 40;
    for (int i = 0; i < kTopics; ++i) {
      senders.push_back(world_.process()->Spawn("sender", [&producer, i] {
        Ticket ticket = producer.Send(MessageOf("v", absl::StrCat("topic-", i)));
        ASSERT_TRUE(ticket.is_done());
        EXPECT_TRUE(absl::IsResourceExhausted(ticket.TryGet()->status)) << ticket.TryGet()->status;
      }));
      world_.Sleep(absl::Milliseconds(50));
    }
    senders.clear();
    EXPECT_FALSE(first.is_done());
    world_.topics().set_is_reachable(true);
    EXPECT_EQ(producer.Flush(world_.In(absl::Seconds(60))).count, 0U);
    EXPECT_TRUE(first.is_done());
  });
}

TEST(ProducerBatches, AMessageIsTooLargeOnlyIfItIsAlone) {
  NamedFaults faults;
  ProducerWorld world(faults, {.together_bytes_max = 1500});
  world.Run([&](Producer& producer) {
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world.In(absl::Seconds(5)))->status.ok());
    world.topics().set_is_reachable(false);
    std::vector<Ticket> tickets;
    for (int i = 1; i <= 6; ++i) {
      tickets.push_back(
          producer.Send(MessageOf(std::string(i == 3 ? 2000 : 300, static_cast<char>('0' + i)))));
    }
    world.topics().set_is_reachable(true);
    EXPECT_EQ(producer.Flush(world.In(absl::Seconds(30))).count, 1U);
    for (std::size_t i = 0; i < tickets.size(); ++i) {
      ASSERT_TRUE(tickets[i].is_done());
      const absl::Status& status = tickets[i].TryGet()->status;
      EXPECT_EQ(absl::IsInvalidArgument(status), i == 2) << i << ": " << status;
    }
    // And then messages go together again.
    world.topics().set_is_reachable(false);
    Ticket one = producer.Send(MessageOf("7"));
    Ticket other = producer.Send(MessageOf("8"));
    world.topics().set_is_reachable(true);
    EXPECT_EQ(producer.Flush(world.In(absl::Seconds(30))).count, 0U);
  });
  std::string order;
  for (const std::string& value : world.Values("t")) order += value.front();
  EXPECT_EQ(order, "01245678");
}

// A client whose TrySend() takes its time.
class SlowClient final : public testing::ForwardingRecordClient {
 public:
  SlowClient(std::unique_ptr<RecordClient> client, ProducerWorld& world)
      : ForwardingRecordClient(std::move(client)), world_(world) {}
  absl::Status TrySend(const OutgoingRecord& record) override {
    if (record.message.value == "slow") world_.Sleep(absl::Seconds(6));
    return ForwardingRecordClient::TrySend(record);
  }

 private:
  ProducerWorld& world_;
};

TEST_F(ProducerTrouble, NoClientHasAMessageWhoseOutcomeCloseHasTold) {
  ProducerOptions options = world_.Options();
  SlowClient* client = nullptr;
  options.clients =
      [&, open = options.clients](
          const RecordClientOptions& contract) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
    auto slow = std::make_unique<SlowClient>(*open(contract), world_);
    client = slow.get();
    return slow;
  };
  world_.Run(std::move(options), [&](Producer& producer) {
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5)))->status.ok());
    world_.topics().set_is_reachable(false);
    // One sender asks for partitions, and so has the client; another one is in the middle of
    // handing over.
    world_.scheduler().Spawn("asks", world_.process(),
                             [&] { producer.Send(MessageOf("1", "new"), nullptr); });
    bool is_told = false;
    world_.scheduler().Spawn("hands over", world_.process(), [&] {
      producer.Send(MessageOf("slow"), [&](const SendOutcome&) { is_told = true; });
    });
    world_.Sleep(absl::Seconds(1));
    producer.Close(world_.In(absl::Seconds(1)));
    EXPECT_TRUE(is_told);
    EXPECT_EQ(client->CountInside(), 0U);
    world_.Sleep(absl::Minutes(2));
  });
}

TEST_F(ProducerTrouble, WhatIsGivenUpIsDeclaredVoidAndMarksGoOn) {
  ProducerOptions options = world_.Options();
  options.times.delivery_timeout = absl::Seconds(5);
  world_.Run(std::move(options), [this](Producer& producer) {
    ASSERT_TRUE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5)))->status.ok());
    world_.topics().set_is_reachable(false);
    Ticket lost = producer.Send(MessageOf("lost"));
    ASSERT_NE(lost.Wait(world_.In(absl::Seconds(60))), nullptr);
    EXPECT_EQ(lost.TryGet()->sequence, 2U);
    world_.topics().set_is_reachable(true);
    Ticket third = producer.Send(MessageOf("2"));
    EXPECT_EQ(third.Wait(world_.In(absl::Seconds(5)))->sequence, 3U);
    EXPECT_EQ(producer.Flush(world_.In(absl::Seconds(5))).count, 0U);
  });
  std::vector<DecodedMark> marks;
  for (const OutgoingMessage& message : world_.topics().messages()) {
    if (message.topic != "t.once-marks") continue;
    const auto mark = DecodeMark(*message.key, *message.value, "t");
    ASSERT_TRUE(mark.has_value()) << *message.value;
    marks.push_back(*mark);
  }
  ASSERT_GE(marks.size(), 2U);
  EXPECT_THAT(marks,
              Contains(::testing::Field(&DecodedMark::gone, StreamVoid{.first = 2, .last = 2})));
  EXPECT_EQ(marks.back().mark, (StreamMark{.last = 3, .last_offset = 1, .first_offset = 0}));
}

TEST_F(ProducerTrouble, MarksComeWithTimeAndOnlyWhenThereIsNews) {
  world_.Run([this](Producer& producer) {
    ASSERT_NE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5))), nullptr);
    EXPECT_THAT(world_.Values("t.once-marks"), SizeIs(0));
    world_.Sleep(absl::Seconds(11));
    EXPECT_THAT(world_.Values("t.once-marks"), ElementsAre("mark/1/0/0"));
    world_.Sleep(absl::Seconds(60));
    EXPECT_THAT(world_.Values("t.once-marks"), SizeIs(1));
    producer.Close(world_.In(absl::Seconds(5)));
    EXPECT_THAT(world_.Values("t.once-marks"), SizeIs(1));
  });
}

TEST_F(ProducerTrouble, ATopicOfMarksThatIsMissingIsReportedOnceAndDisturbsNothing) {
  world_.topics().CreateTopic("bare", 1);
  ProducerOptions options = world_.Options();
  options.times.delivery_timeout = absl::Seconds(5);
  world_.Run(std::move(options), [this](Producer& producer) {
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(
          producer.Send(MessageOf("v", "bare")).Wait(world_.In(absl::Seconds(5)))->status.ok());
      world_.Sleep(absl::Minutes(2));
    }
    // Once somebody has created it, marks are written.
    world_.topics().CreateTopic("bare.once-marks", 1);
    world_.Sleep(absl::Minutes(2));
    EXPECT_THAT(world_.Values("bare.once-marks"), ElementsAre("mark/3/2/0"));
  });
  const auto actions = world_.log().actions();
  EXPECT_EQ(std::count(actions.begin(), actions.end(), "marks_missing"), 1);
}

TEST_F(ProducerTrouble, ATopicOfMarksIsCreatedWhereThatIsWanted) {
  world_.topics().CreateTopic("bare", 1);
  ProducerOptions options = world_.Options();
  options.stamps.create_marks_topic = [this](const std::string& topic, absl::Time) {
    world_.topics().CreateTopic(topic, 1);
    return absl::OkStatus();
  };
  world_.Run(std::move(options), [this](Producer& producer) {
    ASSERT_NE(producer.Send(MessageOf("v", "bare")).Wait(world_.In(absl::Seconds(5))), nullptr);
    producer.Flush(world_.In(absl::Seconds(5)));
  });
  EXPECT_THAT(world_.Values("bare.once-marks"), ElementsAre("mark/1/0/0"));
}

TEST_F(ProducerTrouble, ADeadProcessEndsEveryWait) {
  for (const bool is_after : {false, true}) {
    NamedFaults faults;
    ProducerWorld world(faults);
    world.gate().set_faults({is_after ? Fault::kCrashAfter : Fault::kCrashBefore});
    int cancelled = 0;
    world.Run([&](Producer& producer) {
      faults.Arm("publish", 1, 1);  // at the second record
      std::vector<Ticket> tickets;
      for (int i = 0; i < 3; ++i) tickets.push_back(producer.Send(MessageOf(absl::StrCat(i))));
      for (Ticket& ticket : tickets) ticket.Wait(world.In(absl::Seconds(5)));
      producer.Close(world.In(absl::Seconds(5)));
      for (Ticket& ticket : tickets) {
        ASSERT_TRUE(ticket.is_done());
        if (!ticket.TryGet()->status.ok()) ++cancelled;
      }
    });
    EXPECT_GE(cancelled, 2);
    EXPECT_THAT(world.Values("t"), SizeIs(is_after ? 2 : 1));
  }
}

}  // namespace
}  // namespace once
