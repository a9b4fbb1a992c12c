// One round of the relay: published and marked, delayed, parked; and one relay at a time.
#include "src/relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/manual_executor.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Rows by sequence; what became of them.
class RowsOutbox : public Outbox {
 public:
  absl::StatusOr<std::vector<PendingRow>> FindPending(std::size_t rows_max) override {
    if (!find_error.ok()) return find_error;
    std::vector<PendingRow> found;
    for (const auto& [sequence, topic] : rows) {
      if (found.size() >= rows_max) break;
      found.push_back({sequence, {.topic = topic}});
      if (const auto key = keys.find(sequence); key != keys.end()) {
        found.back().message.key = key->second;
      }
    }
    return found;
  }
  absl::StatusOr<std::size_t> CountPending() override { return rows.size(); }
  absl::Status MarkPublished(std::span<const std::int64_t> sequences) override {
    if (!mark_error.ok()) return mark_error;
    for (const std::int64_t sequence : sequences) rows.erase(sequence);
    return absl::OkStatus();
  }
  absl::Status Park(std::int64_t sequence, const absl::Status& reason) override {
    if (!park_error.ok()) return park_error;
    rows.erase(sequence);
    parked[sequence] = reason;
    return absl::OkStatus();
  }

  std::map<std::int64_t, std::string> rows;
  std::map<std::int64_t, std::string> keys;  // without one: no key
  std::map<std::int64_t, absl::Status> parked;
  absl::Status find_error;
  absl::Status mark_error;
  absl::Status park_error;
};

class ScriptedPublisher : public Publisher {
 public:
  void Publish(std::span<const OutgoingMessage> messages, absl::Time deadline,
               std::span<absl::Status> outcomes) override {
    last_deadline = deadline;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      sent.push_back(messages[i].topic);
      if (!failures.empty()) {
        outcomes[i] = failures.front();
        failures.erase(failures.begin());
        continue;
      }
      const auto answer = answers.find(messages[i].topic);
      outcomes[i] = answer == answers.end() ? absl::OkStatus() : answer->second;
    }
    if (during) during();
  }

  std::map<std::string, absl::Status> answers;  // by topic; OK without one
  std::vector<absl::Status> failures;           // of the first messages, whatever their topic
  std::vector<std::string> sent;
  absl::Time last_deadline;
  std::function<void()> during;
};

class RelayTest : public ::testing::Test {
 protected:
  absl::StatusOr<RelayRound> Round() {
    return RelayOnce({.outbox = outbox_,
                      .publisher = publisher_,
                      .executor = executor_,
                      .log = *log_,
                      .metrics = *metrics_,
                      .publish_timeout = absl::Seconds(30)});
  }

  RowsOutbox outbox_;
  ScriptedPublisher publisher_;
  ManualExecutor executor_;
  const std::shared_ptr<LogSink> log_ = NoLog();
  const std::shared_ptr<MetricsSink> metrics_ = NoMetrics();
};

TEST_F(RelayTest, AnEmptyOutboxCostsNoPublication) {
  const auto round = Round();
  ASSERT_TRUE(round.ok());
  EXPECT_EQ(round->found, 0U);
  EXPECT_THAT(publisher_.sent, IsEmpty());
}

TEST_F(RelayTest, PublishesInCommitOrderAndMarksWhatIsAcknowledged) {
  outbox_.rows = {{1, "a"}, {2, "b"}, {3, "c"}};
  const auto round = Round();
  ASSERT_TRUE(round.ok());
  EXPECT_THAT(publisher_.sent, ElementsAre("a", "b", "c"));
  EXPECT_EQ(round->published, 3U);
  EXPECT_THAT(outbox_.rows, IsEmpty());
  EXPECT_EQ(publisher_.last_deadline, executor_.Now() + absl::Seconds(30));
}

TEST_F(RelayTest, WhatTheBrokerDidNotAcknowledgeStaysPendingAndIsNoError) {
  outbox_.rows = {{1, "a"}, {2, "down"}, {3, "lost"}, {4, "stopping"}, {5, "b"}};
  publisher_.answers = {{"down", absl::UnavailableError("no leader")},
                        {"lost", absl::UnknownError("no acknowledgement")},
                        {"stopping", absl::CancelledError("stopping")}};
  const auto round = Round();
  ASSERT_TRUE(round.ok());
  EXPECT_EQ(round->found, 5U);
  EXPECT_EQ(round->published, 2U);
  EXPECT_EQ(round->parked, 0U);
  EXPECT_THAT(outbox_.rows,
              ElementsAre(std::pair(2, "down"), std::pair(3, "lost"), std::pair(4, "stopping")));
}

TEST_F(RelayTest, WhatNoRetryCanHelpIsParkedWithItsReasonAndTheRestGoesOn) {
  outbox_.rows = {{1, "too large"}, {2, "b"}};
  publisher_.answers = {{"too large", absl::InvalidArgumentError("2 MB")}};
  const auto round = Round();
  ASSERT_TRUE(round.ok());
  EXPECT_EQ(round->parked, 1U);
  EXPECT_EQ(round->published, 1U);
  EXPECT_THAT(outbox_.rows, IsEmpty());
  EXPECT_EQ(outbox_.parked.at(1), absl::InvalidArgumentError("2 MB"));
}

TEST_F(RelayTest, ALetterThatFailedForNowHoldsBackTheLaterOnesOfItsKeyOnly) {
  outbox_.rows = {{1, "a"}, {2, "a"}, {3, "a"}, {4, "a"}, {5, "b"}};
  outbox_.keys = {{1, "k"}, {2, "k"}, {3, "other"}, {5, "k"}};
  publisher_.failures = {absl::UnknownError("no acknowledgement")};
  const auto round = Round();
  ASSERT_TRUE(round.ok());
  EXPECT_EQ(round->published, 3U);
  EXPECT_THAT(outbox_.rows, ElementsAre(std::pair(1, "a"), std::pair(2, "a")));
  EXPECT_THAT(publisher_.sent, ElementsAre("a", "a", "a", "b"));
  EXPECT_EQ(Round()->published, 2U);
  EXPECT_THAT(outbox_.rows, IsEmpty());
}

TEST_F(RelayTest, ALetterThatIsParkedHoldsBackNothing) {
  outbox_.rows = {{1, "a"}, {2, "a"}};
  outbox_.keys = {{1, "k"}, {2, "k"}};
  publisher_.failures = {absl::InvalidArgumentError("2 MB")};
  const auto round = Round();
  ASSERT_TRUE(round.ok());
  EXPECT_EQ(round->parked, 1U);
  EXPECT_EQ(round->published, 1U);
}

TEST_F(RelayTest, ARoundEndsAtItsDeadlineHoweverManyLettersOneKeyHas) {
  outbox_.rows = {{1, "a"}, {2, "a"}, {3, "a"}};
  outbox_.keys = {{1, "k"}, {2, "k"}, {3, "k"}};
  publisher_.during = [this] { executor_.Advance(absl::Seconds(20)); };
  EXPECT_EQ(Round()->published, 2U);
  EXPECT_THAT(outbox_.rows, ElementsAre(std::pair(3, "a")));
}

TEST_F(RelayTest, AnUnreadableOutboxIsAnError) {
  outbox_.find_error = absl::UnavailableError("locked");
  EXPECT_EQ(Round().status().code(), absl::StatusCode::kUnavailable);
  outbox_.find_error = absl::OkStatus();
  EXPECT_TRUE(Round().ok()) << "the relay was not released";
}

TEST_F(RelayTest, RowsThatCouldNotBeMarkedArePublishedAgain) {
  outbox_.rows = {{1, "a"}};
  outbox_.mark_error = absl::InternalError("disk full");
  EXPECT_EQ(Round().status().code(), absl::StatusCode::kInternal);
  outbox_.mark_error = absl::OkStatus();
  EXPECT_EQ(Round()->published, 1U);
  EXPECT_THAT(publisher_.sent, ElementsAre("a", "a"));
}

TEST_F(RelayTest, ARowThatCannotBeParkedDoesNotKeepTheAcknowledgedOnesFromBeingMarked) {
  outbox_.rows = {{1, "too large"}, {2, "b"}};
  publisher_.answers = {{"too large", absl::InvalidArgumentError("2 MB")}};
  outbox_.park_error = absl::UnavailableError("locked");
  EXPECT_FALSE(Round().ok());
  EXPECT_THAT(outbox_.rows, ElementsAre(std::pair(1, "too large")));
}

TEST_F(RelayTest, ASecondRelayOfTheSameOutboxPublishesNothingMeanwhile) {
  outbox_.rows = {{1, "a"}};
  publisher_.during = [this] {
    publisher_.during = nullptr;
    const auto inner = Round();
    ASSERT_TRUE(inner.ok());
    EXPECT_EQ(inner->found, 0U);
  };
  EXPECT_EQ(Round()->published, 1U);
  EXPECT_THAT(publisher_.sent, ElementsAre("a"));
}

TEST_F(RelayTest, ARoundIsBounded) {
  for (std::size_t i = 0; i < kRelayRowsMax + 10; ++i) {
    outbox_.rows.emplace(static_cast<std::int64_t>(i), "t");
  }
  EXPECT_EQ(Round()->published, kRelayRowsMax);
  EXPECT_EQ(Round()->published, 10U);
}

}  // namespace
}  // namespace once
