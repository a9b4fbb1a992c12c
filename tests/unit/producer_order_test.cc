// What a producer does at once, and what has to wait: with a client that answers when a test says
// so, and as it says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/producer_world.h"

namespace once {
namespace {

using ::testing::ElementsAre;

// What was sent in one producer's life, and the answers that are to come.
struct Script {
  struct Sent {
    OutgoingMessage message;  // until it is given back
    std::string value;
    void* cookie = nullptr;
    bool is_copied = false;
  };

  explicit Script(Executor& executor) : changed(executor.NewEvent()) {}

  // What became of the record that was sent as number `index`, from 0 on.
  void Answer(std::size_t index, absl::Status status) {
    Sent& record = sent[index];
    RecordReport report{.cookie = record.cookie, .status = std::move(status)};
    if (report.status.ok()) report.offset = static_cast<std::int64_t>(index);
    if (record.is_copied && !report.status.ok()) report.returned = &record.message;
    answers.push_back(std::move(report));
    changed->Set();
  }
  std::vector<std::string> Values() const {
    std::vector<std::string> values;
    for (const Sent& record : sent) values.push_back(record.value);
    return values;
  }

  std::deque<Sent> sent;
  std::vector<RecordReport> answers;
  std::function<void(const OutgoingRecord&)> on_send = [](const OutgoingRecord&) {};
  std::unique_ptr<Event> changed;
};

class ScriptedClient final : public RecordClient {
 public:
  explicit ScriptedClient(Script& script) : script_(script) {}

  absl::StatusOr<std::int32_t> CountPartitions(const std::string&, absl::Time) override {
    return 1;
  }
  absl::Status TrySend(const OutgoingRecord& record) override {
    script_.on_send(record);
    ++inside_;
    script_.sent.push_back({.message = record.message,
                            .value = record.message.value.value_or("(null)"),
                            .cookie = record.cookie,
                            .is_copied = record.is_copied});
    return absl::OkStatus();
  }
  void Poll(absl::Time deadline, const Listener& listener) override {
    if (script_.answers.empty()) script_.changed->WaitUntil(deadline);
    const std::vector<RecordReport> answers = std::exchange(script_.answers, {});
    if (answers.empty()) return;
    listener(answers);
    inside_ -= answers.size();
  }
  void Wake() override { script_.changed->Set(); }
  void Purge() override {}
  std::size_t CountInside() const override { return inside_; }
  absl::Status status() const override { return {}; }

 private:
  Script& script_;
  std::size_t inside_ = 0;
};

class ProducerOrder : public ::testing::Test {
 protected:
  // The test answers everything before it ends.
  void Run(const std::function<void(Producer&, Script&)>& body) {
    world_.Run([&] {
      Script script(*world_.process());
      ProducerOptions options = world_.Options();
      options.ids.is_drawn = true;
      options.stamps.mark_interval = absl::InfiniteDuration();
      options.clients =
          [&script](const RecordClientOptions&) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
        return std::make_unique<ScriptedClient>(script);
      };
      auto producer = Producer::Create(std::move(options));
      ASSERT_TRUE(producer.ok()) << producer.status();
      body(**producer, script);
    });
  }
  void Settle() { world_.Sleep(absl::Milliseconds(10)); }
  static OutgoingMessage Named(const std::string& id, const std::string& value) {
    OutgoingMessage message{.topic = "t", .partition = 0, .value = value};
    message.headers.push_back({std::string(kProducerIdHeader), id});
    return message;
  }

  NamedFaults faults_;
  ProducerWorld world_{faults_};
};

TEST_F(ProducerOrder, NothingNewGoesAheadOfWhatFailedWhileOthersWereInside) {
  Run([this](Producer& producer, Script& script) {
    Ticket first = producer.Send(Named("a", "a"));
    Ticket second = producer.Send(Named("b", "b"));
    script.Answer(0, absl::UnavailableError("not now"));
    Settle();
    Ticket third = producer.Send(Named("c", "c"));
    Settle();
    EXPECT_THAT(script.Values(), ElementsAre("a", "b")) << "b is inside: a and c wait for it";
    script.Answer(1, {});
    Settle();
    EXPECT_THAT(script.Values(), ElementsAre("a", "b", "a", "c"));
    script.Answer(2, {});
    script.Answer(3, {});
    Settle();
    for (Ticket* ticket : {&first, &second, &third}) EXPECT_TRUE(ticket->TryGet()->status.ok());
    EXPECT_EQ(first.TryGet()->sequence, 1U);
    EXPECT_EQ(third.TryGet()->sequence, 3U);
  });
}

TEST_F(ProducerOrder, NothingJoinsAMessageThatGoesAlone) {
  Run([this](Producer& producer, Script& script) {
    Ticket large = producer.Send(Named("a", "large"));
    script.Answer(0, absl::OutOfRangeError("too large together"));
    Settle();
    ASSERT_THAT(script.Values(), ElementsAre("large", "large"));
    Ticket small = producer.Send(Named("b", "small"));
    Settle();
    EXPECT_THAT(script.Values(), ElementsAre("large", "large"));
    script.Answer(1, {});
    Settle();
    EXPECT_THAT(script.Values(), ElementsAre("large", "large", "small"));
    script.Answer(2, {});
    Settle();
    EXPECT_TRUE(large.TryGet()->status.ok());
    EXPECT_TRUE(small.TryGet()->status.ok());
  });
}

// The memory of a message is used for the next one.
TEST_F(ProducerOrder, AMessageDoesNotInheritWhatBecameOfOneBefore) {
  Run([this](Producer& producer, Script& script) {
    std::vector<std::string> told;
    const auto tell = [&told](const SendOutcome& outcome) {
      told.push_back(outcome.id + " " +
                     std::string(absl::StatusCodeToString(outcome.status.code())));
    };
    // It goes alone at last, may be stored, and is listed by a Flush().
    producer.Send(Named("first", "1"), tell);
    script.Answer(0, absl::UnknownError("no answer"));
    Settle();
    script.Answer(1, absl::OutOfRangeError("too large together"));
    Settle();
    Undelivered undelivered;
    const auto flush = world_.process()->Spawn(
        "flush", [&] { undelivered = producer.Flush(world_.In(absl::Seconds(10))); });
    Settle();
    script.Answer(2, absl::InvalidArgumentError("refused"));
    Settle();
    EXPECT_EQ(undelivered.count, 1U);
    // None of that is true of the next one.
    producer.Send(Named("second", "2"), tell);
    script.Answer(3, absl::OutOfRangeError("too large together"));
    Settle();
    ASSERT_EQ(script.sent.size(), 5U) << "it is tried alone first";
    script.Answer(4, absl::InvalidArgumentError("refused"));
    Settle();
    EXPECT_THAT(told, ElementsAre("first UNKNOWN", "second INVALID_ARGUMENT"));
  });
}

TEST_F(ProducerOrder, WhatComesWhileAnotherIsHandedOverFollowsAtOnce) {
  Run([this](Producer& producer, Script& script) {
    script.on_send = [this](const OutgoingRecord& record) {
      if (record.message.value == "slow") world_.Sleep(absl::Seconds(1));
    };
    const auto slow = world_.process()->Spawn(
        "slow", [&] { producer.Send(Named("a", "slow"), [](const SendOutcome&) {}); });
    world_.Sleep(absl::Milliseconds(500));
    Ticket next = producer.Send(Named("b", "next"));
    EXPECT_THAT(script.Values(), ElementsAre());
    world_.Sleep(absl::Milliseconds(501));
    EXPECT_THAT(script.Values(), ElementsAre("slow", "next"));
    script.Answer(0, {});
    script.Answer(1, {});
    Settle();
    EXPECT_TRUE(next.TryGet()->status.ok());
  });
}

TEST_F(ProducerOrder, AMessageThatTheClientHadNoRoomForIsTriedAgainSoon) {
  world_.Run([this](Producer& producer) {
    faults_.Arm("queue-full");
    Ticket ticket = producer.Send(Named("a", "v"));
    const SendOutcome* outcome = ticket.Wait(world_.In(absl::Seconds(1)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_TRUE(outcome->status.ok()) << outcome->status;
  });
}

}  // namespace
}  // namespace once
