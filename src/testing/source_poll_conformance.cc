// The conformance tests of one poll: what a message carries, how long a poll waits, what wakes it.
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "once/testing/source_conformance.h"

namespace once::testing {
namespace {

constexpr absl::Duration kSlice = absl::Milliseconds(100);

std::optional<std::string> TextOf(const std::optional<std::string_view>& view) {
  return view.has_value() ? std::optional<std::string>(*view) : std::nullopt;
}

}  // namespace

// Here, so that a linker that takes the suite out of an archive takes this file too.
LogSourceConformance::LogSourceConformance() : fixture_(GetParam().make()) {}

TEST_P(LogSourceConformance, KeysValuesAndHeadersArriveAsTheyWereSent) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const std::string bytes("\0\xff\n", 3);
    const std::vector<OutgoingMessage> sent = {
        {.topic = topic, .partition = 0, .key = "k", .value = bytes, .headers = {}},
        {.topic = topic, .partition = 0, .key = std::nullopt, .value = "", .headers = {}},
        {.topic = topic,
         .partition = 0,
         .key = "",
         .value = std::nullopt,
         .headers = {{"a", "1"}, {"null", std::nullopt}, {"empty", ""}, {"a", bytes}}},
    };
    for (const OutgoingMessage& message : sent) fixture().Produce(message);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    std::vector<OutgoingMessage> got;
    const absl::Time deadline = fixture().executor().Now() + absl::Seconds(30);
    while (got.size() < sent.size() && fixture().executor().Now() < deadline) {
      absl::StatusOr<Batch> batch = member.source().Poll(
          {.deadline = fixture().executor().Now() + kSlice}, member.listener());
      ASSERT_TRUE(batch.ok()) << batch.status();
      for (const Message& message : batch->messages()) {
        got.push_back({.topic = std::string(message.topic()),
                       .partition = message.partition(),
                       .key = TextOf(message.key()),
                       .value = TextOf(message.value()),
                       .headers = CopyHeaders(message)});
        if (message.offset() != 2) continue;
        EXPECT_EQ(message.header_count(), 4U);
        ASSERT_TRUE(message.FindHeader("a").has_value());
        EXPECT_EQ(message.FindHeader("a")->value, bytes) << "the last one of that name";
        ASSERT_TRUE(message.FindHeader("null").has_value());
        EXPECT_EQ(message.FindHeader("null")->value, std::nullopt);
        EXPECT_EQ(message.FindHeader("empty")->value, std::string_view());
        EXPECT_FALSE(message.FindHeader("A").has_value());
      }
    }
    EXPECT_EQ(got, sent);
  });
}

TEST_P(LogSourceConformance, MessagesCarryTheTimeOfTheirRecord) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const absl::Time before = fixture().executor().Now();
    fixture().ProduceMany({topic, 0}, 1);
    const absl::Time after = fixture().executor().Now();
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    for (int i = 0; i < 300; ++i) {
      absl::StatusOr<Batch> batch = member.source().Poll(
          {.deadline = fixture().executor().Now() + kSlice}, member.listener());
      ASSERT_TRUE(batch.ok()) << batch.status();
      if (batch->empty()) continue;
      const absl::Time time = batch->messages()[0].timestamp();
      EXPECT_GE(time, before - absl::Milliseconds(1));
      EXPECT_LE(time, after + absl::Milliseconds(1));
      return;
    }
    FAIL() << "no message came";
  });
}

TEST_P(LogSourceConformance, AnIdlePollReturnsByItsDeadline) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    member.PollFor(absl::Milliseconds(300));
    for (const absl::Duration wait : {absl::ZeroDuration(), absl::Milliseconds(200)}) {
      const absl::Time before = fixture().executor().Now();
      member.PollOnce(wait);
      const absl::Duration took = fixture().executor().Now() - before;
      EXPECT_GE(took, wait - absl::Milliseconds(1));
      EXPECT_LT(took, wait + absl::Milliseconds(500));
    }
  });
}

TEST_P(LogSourceConformance, APollReturnsAsSoonAsThereIsAMessage) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    fixture().ProduceMany({topic, 0}, 2);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    const absl::Time before = fixture().executor().Now();
    for (int i = 0; i < 3 && member.received.empty(); ++i) {
      member.PollOnce(absl::Seconds(20), 1000);
    }
    EXPECT_FALSE(member.received.empty());
    EXPECT_LT(fixture().executor().Now() - before, absl::Seconds(10));
  });
}

TEST_P(LogSourceConformance, AWakeBeforeThePollIsNotLost) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    member.PollFor(absl::Milliseconds(300));
    member.source().Wake();
    const absl::Time before = fixture().executor().Now();
    member.PollOnce(absl::Seconds(20));
    EXPECT_LT(fixture().executor().Now() - before, absl::Seconds(5));
    // One wake, one early return.
    const absl::Time again = fixture().executor().Now();
    member.PollOnce(absl::Milliseconds(300));
    EXPECT_GE(fixture().executor().Now() - again, absl::Milliseconds(290));
  });
}

TEST_P(LogSourceConformance, AWakeEndsARunningPoll) {
  if (!capabilities().why_no_wake_from_task.empty()) {
    GTEST_SKIP() << capabilities().why_no_wake_from_task;
  }
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    member.PollFor(absl::Milliseconds(300));
    Executor& executor = fixture().executor();
    const absl::Time before = executor.Now();
    const std::unique_ptr<Task> waker = executor.Spawn("waker", [&] {
      executor.NewEvent()->WaitUntil(before + absl::Milliseconds(200));
      member.source().Wake();
    });
    member.PollOnce(absl::Seconds(20));
    const absl::Duration took = executor.Now() - before;
    EXPECT_GE(took, absl::Milliseconds(190));
    EXPECT_LT(took, absl::Seconds(5));
  });
}

TEST_P(LogSourceConformance, ABatchOutlivesCloseAndTheSource) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    fixture().Produce({.topic = topic,
                       .partition = 0,
                       .key = "key",
                       .value = "value",
                       .headers = {{"name", "text"}}});
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    Batch kept;
    for (int i = 0; i < 300 && kept.empty(); ++i) {
      absl::StatusOr<Batch> batch = member.source().Poll(
          {.deadline = fixture().executor().Now() + kSlice}, member.listener());
      ASSERT_TRUE(batch.ok()) << batch.status();
      kept = *std::move(batch);
    }
    ASSERT_EQ(kept.size(), 1U);
    EXPECT_TRUE(member.Close().ok());
    member.TakeSource().reset();
    const Message& message = kept.messages()[0];
    EXPECT_EQ(message.topic(), topic);
    EXPECT_EQ(message.key(), "key");
    EXPECT_EQ(message.value(), "value");
    ASSERT_TRUE(message.FindHeader("name").has_value());
    EXPECT_EQ(message.FindHeader("name")->value, "text");
  });
}

}  // namespace once::testing
