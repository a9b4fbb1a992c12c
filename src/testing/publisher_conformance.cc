// The conformance tests of publishers.
#include "once/testing/publisher_conformance.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace once::testing {
namespace {

std::vector<absl::Status> PublishWith(PublisherFixture& fixture,
                                      const std::vector<OutgoingMessage>& messages,
                                      absl::Duration wait) {
  std::vector<absl::Status> outcomes(messages.size(), absl::UnknownError("not written"));
  fixture.publisher().Publish(messages, fixture.executor().Now() + wait, outcomes);
  return outcomes;
}

OutgoingMessage MessageTo(const std::string& topic, std::optional<std::string> key,
                          std::optional<std::string> value) {
  return {.topic = topic,
          .partition = std::nullopt,
          .key = std::move(key),
          .value = std::move(value),
          .headers = {}};
}

}  // namespace

std::string PublisherName(const ::testing::TestParamInfo<PublisherUnderTest>& info) {
  return info.param.name;
}

PublisherConformance::PublisherConformance() : fixture_(GetParam().make()) {}
PublisherConformance::~PublisherConformance() = default;

std::vector<absl::Status> PublisherConformance::Publish(
    const std::vector<OutgoingMessage>& messages) {
  return PublishWith(fixture(), messages, absl::Seconds(30));
}

void PublisherConformance::ExpectAllOk(const std::vector<absl::Status>& outcomes) {
  for (const absl::Status& outcome : outcomes) EXPECT_TRUE(outcome.ok()) << outcome;
}

TEST_P(PublisherConformance, WhatIsAcknowledgedCanBeRead) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    std::vector<OutgoingMessage> messages;
    messages.reserve(2000);
    for (int i = 0; i < 2000; ++i) messages.push_back(MessageTo(topic, "key", absl::StrCat(i)));
    ExpectAllOk(Publish(messages));
    const std::vector<StoredMessage> stored = fixture().Dump(topic);
    ASSERT_EQ(stored.size(), messages.size());
    for (std::size_t i = 0; i < stored.size(); ++i) {
      ASSERT_EQ(stored[i].message.value, absl::StrCat(i));
    }
  });
}

TEST_P(PublisherConformance, NothingToPublishIsFine) {
  fixture().Run([this] { EXPECT_TRUE(Publish({}).empty()); });
}

TEST_P(PublisherConformance, BytesHeadersAndTheirOrderAreKept) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const std::string bytes("\0\x01\xff", 3);
    std::vector<OutgoingMessage> messages = {
        MessageTo(topic, bytes, bytes),
        MessageTo(topic, std::nullopt, ""),
        MessageTo(topic, "", std::nullopt),
        MessageTo(topic, "k", "v"),
    };
    messages[3].headers = {{"b", "1"}, {"a", std::nullopt}, {"b", ""}, {"a", bytes}};
    ExpectAllOk(Publish(messages));
    const std::vector<StoredMessage> stored = fixture().Dump(topic);
    ASSERT_EQ(stored.size(), messages.size());
    for (std::size_t i = 0; i < stored.size(); ++i) {
      messages[i].partition = stored[i].message.partition;
      EXPECT_EQ(stored[i].message, messages[i]) << i;
    }
  });
}

TEST_P(PublisherConformance, OneKeyIsOnePartitionAndInOrder) {
  if (!capabilities().why_no_partitions.empty()) GTEST_SKIP() << capabilities().why_no_partitions;
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(4);
    std::vector<OutgoingMessage> messages;
    messages.reserve(1000);
    for (int i = 0; i < 1000; ++i) {
      messages.push_back(MessageTo(topic, absl::StrCat("key-", i % 20), absl::StrCat(i)));
    }
    ExpectAllOk(Publish({messages.begin(), messages.begin() + 500}));
    ExpectAllOk(Publish({messages.begin() + 500, messages.end()}));
    std::map<std::string, std::vector<int>> by_key;
    std::map<std::string, std::set<std::int32_t>> partitions;
    for (const StoredMessage& stored : fixture().Dump(topic)) {
      by_key[*stored.message.key].push_back(std::stoi(*stored.message.value));
      partitions[*stored.message.key].insert(*stored.message.partition);
    }
    EXPECT_EQ(by_key.size(), 20U);
    for (const auto& [key, values] : by_key) {
      EXPECT_EQ(values.size(), 50U) << key;
      EXPECT_TRUE(std::is_sorted(values.begin(), values.end())) << key;
      EXPECT_EQ(partitions[key].size(), 1U) << key;
    }
  });
}

TEST_P(PublisherConformance, AnExplicitPartitionIsObeyed) {
  if (!capabilities().why_no_partitions.empty()) GTEST_SKIP() << capabilities().why_no_partitions;
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(3);
    OutgoingMessage message = MessageTo(topic, "key", "value");
    for (std::int32_t i = 0; i < 3; ++i) {
      message.partition = i;
      ExpectAllOk(Publish({message}));
    }
    const std::vector<StoredMessage> stored = fixture().Dump(topic);
    ASSERT_EQ(stored.size(), 3U);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_EQ(stored[i].message.partition, static_cast<std::int32_t>(i));
    }
    message.partition = 99;
    EXPECT_TRUE(absl::IsInvalidArgument(Publish({message})[0])) << Publish({message})[0];
  });
}

TEST_P(PublisherConformance, WhatIsTooLargeIsRefusedAndItsNeighboursAreNot) {
  if (!capabilities().why_no_size_limit.empty()) GTEST_SKIP() << capabilities().why_no_size_limit;
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const std::vector<absl::Status> outcomes =
        Publish({MessageTo(topic, "k", "before"),
                 MessageTo(topic, "k", std::string(fixture().too_large_bytes(), 'x')),
                 MessageTo(topic, "k", "after")});
    EXPECT_TRUE(outcomes[0].ok()) << outcomes[0];
    EXPECT_TRUE(absl::IsInvalidArgument(outcomes[1])) << outcomes[1];
    EXPECT_TRUE(outcomes[2].ok()) << outcomes[2];
    EXPECT_EQ(fixture().Dump(topic).size(), 2U);
  });
}

TEST_P(PublisherConformance, ATopicThatDoesNotExistIsRefused) {
  if (!capabilities().why_no_unknown_topic.empty()) {
    GTEST_SKIP() << capabilities().why_no_unknown_topic;
  }
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const std::vector<absl::Status> outcomes =
        Publish({MessageTo(topic + "-missing", "k", "v"), MessageTo(topic, "k", "v")});
    EXPECT_TRUE(absl::IsInvalidArgument(outcomes[0])) << outcomes[0];
    EXPECT_TRUE(outcomes[1].ok()) << outcomes[1];
  });
}

TEST_P(PublisherConformance, AnUnreachableBrokerIsNotOkByTheDeadline) {
  if (!capabilities().why_no_unreachable.empty()) {
    GTEST_SKIP() << capabilities().why_no_unreachable;
  }
  fixture().Run([this] {
    const std::unique_ptr<PublisherFixture> unreachable = fixture().Unreachable();
    ASSERT_NE(unreachable, nullptr);
    const absl::Time before = unreachable->executor().Now();
    const std::vector<absl::Status> outcomes = PublishWith(
        *unreachable, {MessageTo("t", "k", "1"), MessageTo("t", "k", "2")}, absl::Seconds(1));
    const absl::Duration took = unreachable->executor().Now() - before;
    EXPECT_LT(took, absl::Seconds(3));
    for (const absl::Status& outcome : outcomes) {
      EXPECT_TRUE(absl::IsUnknown(outcome) || absl::IsUnavailable(outcome)) << outcome;
    }
  });
}

TEST_P(PublisherConformance, SeveralThreadsPublishAtOnce) {
  if (!capabilities().why_no_threads.empty()) GTEST_SKIP() << capabilities().why_no_threads;
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(2);
    std::vector<std::vector<absl::Status>> outcomes(4);
    {
      std::vector<std::unique_ptr<Task>> tasks;
      for (std::size_t i = 0; i < outcomes.size(); ++i) {
        tasks.push_back(fixture().executor().Spawn("publisher", [&, i] {
          for (int j = 0; j < 20; ++j) {
            for (absl::Status& outcome :
                 Publish({MessageTo(topic, absl::StrCat(i), absl::StrCat(j))})) {
              outcomes[i].push_back(std::move(outcome));
            }
          }
        }));
      }
    }
    for (const auto& of_one : outcomes) ExpectAllOk(of_one);
    EXPECT_EQ(fixture().Dump(topic).size(), 80U);
  });
}

}  // namespace once::testing
