// What Subscribe, OpenPublisher and OpenDeadLetterTopic refuse, how they say so, and what they
// never say. No broker is needed.
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "once/kafka/dead_letter_topic.h"
#include "once/kafka/publisher.h"
#include "once/kafka/source.h"

namespace once::kafka {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Keeps every line.
class KeptLog final : public LogSink {
 public:
  LogLevel level() const override { return LogLevel::kDebug; }
  void Log(const LogEvent& event) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    text_ += event.message + "\n";
  }
  std::string text() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

class NoListener final : public SourceListener {
  void OnAssigned(const Assignment&) override {}
  void OnRevoked(std::span<const TopicPartition>, Revocation) override {}
  void OnPartitionError(const TopicPartition&, const absl::Status&) override {}
};

SourceOptions Good() {
  return {.brokers = "127.0.0.1:1", .group = "g", .topics = {"t"}, .log = NoLog()};
}

std::string Refusal(SourceOptions options) {
  const auto source = Subscribe(std::move(options));
  EXPECT_TRUE(absl::IsInvalidArgument(source.status())) << source.status();
  return std::string(source.status().message());
}

TEST(SourceOptions, TheDefaultsAreAccepted) {
  const auto source = Subscribe(Good());
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->traits().group, "g");
  EXPECT_EQ((*source)->traits().name, "kafka");
}

TEST(SourceOptions, ARefusalNamesTheField) {
  SourceOptions options = Good();
  options.brokers = "";
  EXPECT_THAT(Refusal(options), HasSubstr(".brokers"));
  options = Good();
  options.group = "";
  EXPECT_THAT(Refusal(options), HasSubstr(".group"));
  options = Good();
  options.topics = {};
  EXPECT_THAT(Refusal(options), HasSubstr(".topics"));
  options.topics = {"a", ""};
  EXPECT_THAT(Refusal(options), HasSubstr(".topics"));
  options = Good();
  options.session_timeout = absl::ZeroDuration();
  EXPECT_THAT(Refusal(options), HasSubstr(".session_timeout"));
  options = Good();
  options.poll_interval_max = absl::Seconds(10);
  EXPECT_THAT(Refusal(options), AllOf(HasSubstr(".poll_interval_max"), HasSubstr("45s")));
}

TEST(SourceOptions, AnUnknownPropertyIsNamed) {
  SourceOptions options = Good();
  options.properties = {{"fetch.wait.max.ms", "10"}, {"fetch.wiat.max.ms", "10"}};
  EXPECT_THAT(Refusal(options), HasSubstr("fetch.wiat.max.ms"));
}

TEST(SourceOptions, ABadValueIsNamedWithItsProperty) {
  SourceOptions options = Good();
  options.properties = {{"fetch.wait.max.ms", "soon"}};
  EXPECT_THAT(Refusal(options), HasSubstr("fetch.wait.max.ms"));
}

TEST(SourceOptions, WhatTheAdapterOwnsIsRefusedWithTheWayOut) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"enable.auto.commit", "acknowledged"},
      {"enable.auto.offset.store", "acknowledged"},
      {"auto.offset.reset", "::start"},
      {"group.id", ".group"},
      {"bootstrap.servers", ".brokers"},
      {"partition.assignment.strategy", ".assignment"},
      {"group.instance.id", ".instance_id"},
      {"session.timeout.ms", ".session_timeout"},
      {"max.poll.interval.ms", ".poll_interval_max"}};
  for (const auto& [name, way_out] : cases) {
    SourceOptions options = Good();
    options.properties = {{name, "1"}};
    EXPECT_THAT(Refusal(options), AllOf(HasSubstr(name), HasSubstr(way_out)));
  }
}

TEST(SourceOptions, NoSecretIsInAnErrorOrALogLine) {
  const std::string secret = "hunter2-hunter2";
  SourceOptions options = Good();
  options.properties = {{"sasl.password", secret}, {"security.protocol", secret}};
  EXPECT_THAT(Refusal(options), AllOf(HasSubstr("security.protocol"), Not(HasSubstr(secret))));
  options.properties = {{"ssl.key.pem", secret}, {"security.protocol", "ssl"}};
  EXPECT_THAT(Refusal(options), Not(HasSubstr(secret)));

  const auto log = std::make_shared<KeptLog>();
  options = Good();
  options.log = log;
  options.properties = {{"debug", "all"},
                        {"security.protocol", "sasl_plaintext"},
                        {"sasl.mechanisms", "PLAIN"},
                        {"sasl.username", "user"},
                        {"sasl.password", secret}};
  auto source = Subscribe(options);
  ASSERT_TRUE(source.ok()) << source.status();
  NoListener listener;
  EXPECT_TRUE((*source)->Poll({.deadline = absl::Now() + absl::Milliseconds(300)}, listener).ok());
  EXPECT_TRUE((*source)->Close(absl::Now() + absl::Seconds(5), listener).ok());
  EXPECT_THAT(log->text(), AllOf(HasSubstr("127.0.0.1:1"), Not(HasSubstr(secret))));
}

TEST(SourceOptions, BrokersThatAreDownAreWaitedForAndTheSourceCloses) {
  auto source = Subscribe(Good());
  ASSERT_TRUE(source.ok()) << source.status();
  NoListener listener;
  const absl::Time before = absl::Now();
  const auto batch = (*source)->Poll({.deadline = before + absl::Milliseconds(300)}, listener);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_TRUE(batch->empty());
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(299));
  const TopicPartition partition = {"t", 0};
  const auto bounds = (*source)->Describe(std::span(&partition, 1));
  EXPECT_FALSE(bounds.ok() && bounds->front().status.ok());
  const absl::Status closed = (*source)->Close(absl::Now() + absl::Seconds(5), listener);
  EXPECT_TRUE(closed.ok()) << closed;
}

TEST(PublisherOptions, ARefusalNamesTheFieldOrProperty) {
  const auto message = [](PublisherOptions options) {
    options.log = NoLog();
    const auto publisher = OpenPublisher(std::move(options));
    EXPECT_TRUE(absl::IsInvalidArgument(publisher.status())) << publisher.status();
    return std::string(publisher.status().message());
  };
  EXPECT_THAT(message({}), HasSubstr(".brokers"));
  EXPECT_THAT(message({.brokers = "b:1", .delivery_timeout = absl::ZeroDuration()}),
              HasSubstr(".delivery_timeout"));
  EXPECT_THAT(message({.brokers = "b:1", .linger = absl::Hours(1)}), HasSubstr(".linger"));
  EXPECT_THAT(message({.brokers = "b:1", .properties = {{"acks", "1"}}}), HasSubstr("acks"));
  EXPECT_THAT(message({.brokers = "b:1", .properties = {{"enable.idempotence", "false"}}}),
              HasSubstr("in-sync replica"));
  EXPECT_THAT(message({.brokers = "b:1", .properties = {{"compresion.type", "lz4"}}}),
              HasSubstr("compresion.type"));
  // Only librdkafka knows that the two do not go together.
  EXPECT_THAT(message({.brokers = "b:1", .properties = {{"max.in.flight", "100"}}}),
              HasSubstr("max.in.flight"));
}

TEST(DeadLetterOptions, ARefusalNamesTheField) {
  const auto message = [](DeadLetterOptions options) {
    options.log = NoLog();
    const auto sink = OpenDeadLetterTopic(std::move(options));
    EXPECT_TRUE(absl::IsInvalidArgument(sink.status())) << sink.status();
    return std::string(sink.status().message());
  };
  EXPECT_THAT(message({}), HasSubstr(".brokers"));
  EXPECT_THAT(message({.brokers = "b:1", .topic = nullptr}), HasSubstr(".topic"));
  EXPECT_THAT(message({.brokers = "b:1", .partitions = -1}), HasSubstr(".partitions"));
  EXPECT_THAT(message({.brokers = "b:1", .replication = 0}), HasSubstr(".replication"));
}

}  // namespace
}  // namespace once::kafka
