// What is Kafka's own, against a real broker: static members, the partition of a key, dead letter
// topics, batches on other threads.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "once/dead_letter.h"
#include "once/kafka/dead_letter_topic.h"
#include "once/kafka/publisher.h"
#include "once/kafka/source.h"

namespace once::kafka {
namespace {

using ::testing::HasSubstr;
using testing::UniqueName;

// Starts everything at 0 and counts.
class CountingListener final : public SourceListener {
 public:
  explicit CountingListener(LogSource& source) : source_(source) {}
  int assigned = 0;
  int revoked = 0;
  int lost = 0;

 private:
  void OnAssigned(const Assignment& assignment) override {
    ++assigned;
    for (const TopicPartition& partition : assignment.partitions) {
      const PartitionOffset start = {partition, 0};
      EXPECT_TRUE(source_.Start(std::span(&start, 1)).ok());
    }
  }
  void OnRevoked(std::span<const TopicPartition>, Revocation kind) override {
    ++(kind == Revocation::kLost ? lost : revoked);
  }
  void OnPartitionError(const TopicPartition&, const absl::Status& error) override {
    ADD_FAILURE() << error;
  }

  LogSource& source_;
};

std::unique_ptr<LogSource> NewSource(const testing::TestBroker& broker, const std::string& group,
                                     const std::string& topic, std::string instance = "") {
  auto source = Subscribe({.brokers = broker.brokers(),
                           .group = group,
                           .topics = {topic},
                           .instance_id = std::move(instance),
                           .session_timeout = absl::Seconds(20),
                           .log = NoLog()});
  EXPECT_TRUE(source.ok()) << source.status();
  return *std::move(source);
}

template <typename Done>
absl::Status PollUntil(LogSource& source, CountingListener& listener, Done done) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (!done()) {
    auto batch = source.Poll({.deadline = absl::Now() + absl::Milliseconds(50)}, listener);
    if (!batch.ok()) return batch.status();
    if (absl::Now() > deadline) return absl::DeadlineExceededError("it did not happen");
  }
  return absl::OkStatus();
}

OutgoingMessage Letter(const std::string& topic, const std::string& origin) {
  return {.topic = topic,
          .partition = std::nullopt,
          .key = "k",
          .value = "v",
          .headers = {{"once-origin-topic", origin}}};
}

absl::Status PublishOne(Publisher& publisher, const OutgoingMessage& message) {
  absl::Status outcome;
  publisher.Publish(std::span(&message, 1), absl::Now() + absl::Seconds(30),
                    std::span(&outcome, 1));
  return outcome;
}

TEST(KafkaSource, AStaticMemberThatRestartsCausesNoRebalance) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(2);
  const std::string group = UniqueName("group");
  auto other = NewSource(broker, group, topic, "other");
  CountingListener other_listener(*other);
  ASSERT_TRUE(PollUntil(*other, other_listener, [&] { return other_listener.assigned == 1; }).ok());
  {
    auto first = NewSource(broker, group, topic, "restarting");
    CountingListener listener(*first);
    ASSERT_TRUE(PollUntil(*first, listener, [&] {
                  EXPECT_TRUE(PollUntil(*other, other_listener, [] { return true; }).ok());
                  auto batch = other->Poll({.deadline = absl::Now() + absl::Milliseconds(20)},
                                           other_listener);
                  EXPECT_TRUE(batch.ok()) << batch.status();
                  return listener.assigned == 1 && other_listener.assigned == 2;
                }).ok());
    EXPECT_TRUE(first->Close(absl::Now() + absl::Seconds(5), listener).ok());
    EXPECT_EQ(listener.revoked, 1) << "our own listener is told all the same";
  }
  const int before = other_listener.assigned;
  auto again = NewSource(broker, group, topic, "restarting");
  CountingListener listener(*again);
  const absl::Time start = absl::Now();
  ASSERT_TRUE(PollUntil(*again, listener, [&] { return listener.assigned == 1; }).ok());
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  ASSERT_TRUE(
      other->Poll({.deadline = absl::Now() + absl::Milliseconds(500)}, other_listener).ok());
  EXPECT_EQ(other_listener.assigned, before);
}

TEST(KafkaSource, AFencedStaticMemberFailsAndCannotCommit) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const std::string group = UniqueName("group");
  auto first = NewSource(broker, group, topic, "same");
  CountingListener first_listener(*first);
  ASSERT_TRUE(PollUntil(*first, first_listener, [&] { return first_listener.assigned == 1; }).ok());
  auto second = NewSource(broker, group, topic, "same");
  CountingListener second_listener(*second);
  ASSERT_TRUE(
      PollUntil(*second, second_listener, [&] { return second_listener.assigned == 1; }).ok());
  const PartitionOffset position = {{topic, 0}, 0};
  const absl::Status committed = first->Commit(std::span(&position, 1), CommitMode::kVerified);
  EXPECT_TRUE(absl::IsFailedPrecondition(committed)) << committed;
  const absl::Status polled = PollUntil(*first, first_listener, [] { return false; });
  EXPECT_TRUE(absl::IsFailedPrecondition(polled)) << polled;
  EXPECT_THAT(std::string(polled.message()), HasSubstr("fatal"));
  EXPECT_TRUE(first->Close(absl::Now() + absl::Seconds(5), first_listener).ok());
  EXPECT_EQ(first_listener.lost, 1);
  EXPECT_TRUE(second->Commit(std::span(&position, 1), CommitMode::kVerified).ok());
}

TEST(KafkaSource, ReadsHowLongATopicKeepsItsRecords) {
  ONCE_REQUIRE_KAFKA(broker);
  const auto retention_with =
      [&](const std::vector<std::pair<std::string, std::string>>& configuration) {
        const std::string topic = UniqueName("retention");
        auto whole = configuration;
        whole.emplace_back("segment.ms", "60000");
        broker.CreateTopic(topic, 1, whole);
        return NewSource(broker, UniqueName("group"), topic)->ReadRetention(topic);
      };
  EXPECT_EQ(*retention_with({{"retention.ms", "3600000"}}), absl::Minutes(61));
  EXPECT_EQ(*retention_with({{"retention.ms", "-1"}}), absl::InfiniteDuration());
  EXPECT_EQ(*retention_with({{"retention.ms", "5"}, {"cleanup.policy", "compact"}}),
            absl::InfiniteDuration());
  EXPECT_EQ(*retention_with({{"retention.ms", "5000"}, {"cleanup.policy", "compact,delete"}}),
            absl::Seconds(65));
  const auto missing =
      NewSource(broker, UniqueName("group"), "nowhere")->ReadRetention(UniqueName("missing"));
  EXPECT_THAT(missing.status().ToString(), HasSubstr("asking for the retention of missing"));
}

TEST(KafkaSource, TopicsMayBeARegularExpression) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string prefix = UniqueName("pattern");
  broker.CreateTopic(prefix + "-a", 1);
  broker.CreateTopic(prefix + "-b", 1);
  auto source = NewSource(broker, UniqueName("group"), "^" + prefix + "-.*");
  CountingListener listener(*source);
  broker.Produce(
      {{.topic = prefix + "-b", .partition = 0, .key = {}, .value = "v", .headers = {}}});
  std::vector<std::string> topics;
  for (int i = 0; i < 300 && topics.empty(); ++i) {
    auto batch = source->Poll({.deadline = absl::Now() + absl::Milliseconds(100)}, listener);
    ASSERT_TRUE(batch.ok()) << batch.status();
    for (const Message& message : batch->messages()) topics.emplace_back(message.topic());
  }
  EXPECT_EQ(topics, std::vector<std::string>{prefix + "-b"});
}

TEST(KafkaSource, HeadersOfOneMessageAreReadByManyThreadsAndTheBatchMayDieOnAnother) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  broker.Produce({{.topic = topic,
                   .partition = 0,
                   .key = {},
                   .value = "v",
                   .headers = {{"a", "1"}, {"b", "2"}}}});
  auto source = NewSource(broker, UniqueName("group"), topic);
  CountingListener listener(*source);
  Batch batch;
  for (int i = 0; i < 300 && batch.empty(); ++i) {
    auto polled = source->Poll({.deadline = absl::Now() + absl::Milliseconds(100)}, listener);
    ASSERT_TRUE(polled.ok()) << polled.status();
    batch = *std::move(polled);
  }
  ASSERT_EQ(batch.size(), 1U);
  const Message& message = batch.messages()[0];
  constexpr std::size_t kReaders = 4;
  std::vector<std::thread> readers;
  readers.reserve(kReaders);
  for (std::size_t i = 0; i < kReaders; ++i) {
    readers.emplace_back([&message] {
      EXPECT_EQ(message.header_count(), 2U);
      EXPECT_EQ(message.FindHeader("b")->value, "2");
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_TRUE(source->Close(absl::Now() + absl::Seconds(5), listener).ok());
  source.reset();
  std::thread last([owned = std::move(batch)] { EXPECT_EQ(owned.messages()[0].value(), "v"); });
  last.join();
}

// The first message whose headers are read has them parsed by librdkafka at that moment, every
// later one as it arrives.
TEST(KafkaSource, HeadersAreTheSameWhetherParsedAtTheFirstLookOrAhead) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const std::string large(100'000, 'x');  // more than the room for copies grows by at a time
  const std::vector<OwnedHeader> headers = {{"a", "1"},    {"", "no name"}, {"null", std::nullopt},
                                            {"empty", ""}, {"a", "2"},      {"b", large}};
  auto source = NewSource(broker, UniqueName("group"), topic);
  CountingListener listener(*source);
  std::vector<Batch> batches;  // kept, so that later ones cannot write over them
  for (int message = 0; message < 3; ++message) {
    broker.Produce(
        {{.topic = topic, .partition = 0, .key = {}, .value = "v", .headers = headers},
         {.topic = topic, .partition = 0, .key = {}, .value = "without", .headers = {}}});
    std::size_t arrived = 0;
    for (int i = 0; i < 300 && arrived < 2; ++i) {
      auto polled = source->Poll({.deadline = absl::Now() + absl::Milliseconds(100)}, listener);
      ASSERT_TRUE(polled.ok()) << polled.status();
      arrived += polled->size();
      // From the second round on somebody has read a header.
      if (!polled->empty()) batches.push_back(*std::move(polled));
      if (!batches.empty()) static_cast<void>(batches.back().messages()[0].header_count());
    }
    ASSERT_EQ(arrived, 2U);
  }
  int with_headers = 0;
  for (const Batch& batch : batches) {
    for (const Message& message : batch.messages()) {
      if (message.value() == "without") {
        EXPECT_EQ(message.header_count(), 0U);
        EXPECT_FALSE(message.FindHeader("a").has_value());
        continue;
      }
      ++with_headers;
      EXPECT_EQ(CopyHeaders(message), headers);
      EXPECT_EQ(message.FindHeader("a")->value, "2");
      EXPECT_EQ(message.FindHeader("null")->value, std::nullopt);
      EXPECT_EQ(message.FindHeader("empty")->value, "");
      EXPECT_FALSE(message.FindHeader("c").has_value());
    }
  }
  EXPECT_EQ(with_headers, 3);
}

// Once headers are read small messages are copied and given back to the client, and large ones are
// kept: nobody can tell, not even when the source is gone and others' memory was used again.
TEST(KafkaSource, MessagesAreTheSameWhetherCopiedOrKept) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(1);
  const std::string large(5'000, 'x');
  std::vector<OutgoingMessage> sent;
  for (const std::optional<std::string>& key :
       {std::optional<std::string>(), std::optional<std::string>(""),
        std::optional<std::string>("key"), std::optional<std::string>(large)}) {
    for (const std::optional<std::string>& value :
         {std::optional<std::string>(), std::optional<std::string>(""),
          std::optional<std::string>("value"), std::optional<std::string>(large)}) {
      sent.push_back({.topic = topic, .partition = 0, .key = key, .value = value});
      sent.back().headers = {{absl::StrCat("name-", sent.size() % 3), absl::StrCat(sent.size())},
                             {"same", value}};
    }
  }
  auto source = NewSource(broker, UniqueName("group"), topic);
  CountingListener listener(*source);
  std::vector<Batch> batches;
  constexpr std::size_t kRounds = 4;  // nobody has read a header in the first
  for (std::size_t round = 0; round < kRounds; ++round) {
    broker.Produce(sent);
    std::size_t arrived = 0;
    for (int i = 0; i < 300 && arrived < sent.size(); ++i) {
      auto polled = source->Poll({.deadline = absl::Now() + absl::Milliseconds(100)}, listener);
      ASSERT_TRUE(polled.ok()) << polled.status();
      arrived += polled->size();
      if (!polled->empty()) batches.push_back(*std::move(polled));
    }
    ASSERT_EQ(arrived, sent.size());
    static_cast<void>(batches.back().messages()[0].header_count());
    if (round == 1) batches.pop_back();  // its memory is used again
  }
  EXPECT_TRUE(source->Close(absl::Now() + absl::Seconds(5), listener).ok());
  source.reset();
  for (const Batch& batch : batches) {
    for (const Message& message : batch.messages()) {
      const OutgoingMessage& was = sent[static_cast<std::size_t>(message.offset()) % sent.size()];
      EXPECT_EQ(message.topic(), topic);
      EXPECT_EQ(message.key(), was.key);
      EXPECT_EQ(message.value(), was.value);
      EXPECT_EQ(CopyHeaders(message), was.headers) << message.offset();
    }
  }
}

// Values of Java's Utils.murmur2, from Apache Kafka's UtilsTest.
TEST(KafkaPublisher, KeysGoWhereJavaClientsSendThem) {
  ONCE_REQUIRE_KAFKA(broker);
  constexpr std::int32_t kPartitions = 7;
  const std::string topic = broker.NewTopic(kPartitions);
  const std::vector<std::pair<std::string, std::int32_t>> hashes = {
      {"21", -973932308},
      {"foobar", -790332482},
      {"a-little-bit-long-string", -985981536},
      {"a-little-bit-longer-string", -1486304829},
      {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971}};
  auto publisher = OpenPublisher({.brokers = broker.brokers(), .log = NoLog()});
  ASSERT_TRUE(publisher.ok()) << publisher.status();
  for (const auto& [key, hash] : hashes) {
    ASSERT_TRUE(
        PublishOne(
            **publisher,
            {.topic = topic, .partition = std::nullopt, .key = key, .value = "", .headers = {}})
            .ok());
  }
  for (const auto& stored : broker.DumpTopic(topic)) {
    const auto expected = std::find_if(hashes.begin(), hashes.end(), [&](const auto& entry) {
      return entry.first == stored.message.key;
    });
    ASSERT_NE(expected, hashes.end());
    EXPECT_EQ(stored.message.partition, (expected->second & 0x7fffffff) % kPartitions)
        << expected->first;
  }
}

TEST(KafkaDeadLetterTopic, IsCreatedWithTheOriginsPartitions) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string origin = broker.NewTopic(3);
  auto sink = OpenDeadLetterTopic({.brokers = broker.brokers(), .log = NoLog()});
  ASSERT_TRUE(sink.ok()) << sink.status();
  const std::string topic = sink->topic(origin, "billing");
  EXPECT_EQ(topic, origin + ".billing.dlq");
  const absl::Status published = PublishOne(*sink->publisher, Letter(topic, origin));
  ASSERT_TRUE(published.ok()) << published;
  EXPECT_EQ(broker.PartitionCount(topic), 3);
  EXPECT_EQ(broker.DumpTopic(topic).size(), 1U);
  // Somebody else, at the same time or later.
  auto other =
      OpenDeadLetterTopic({.brokers = broker.brokers(), .create_topics = false, .log = NoLog()});
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_TRUE(PublishOne(*other->publisher, Letter(topic, origin)).ok());
}

// As with a broker whose metadata follow the controller's only after a moment.
TEST(KafkaDeadLetterTopic, AnOriginThatIsListedAMomentLaterDecidesThePartitions) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string origin = UniqueName("late");
  auto sink = OpenDeadLetterTopic({.brokers = broker.brokers(), .log = NoLog()});
  ASSERT_TRUE(sink.ok()) << sink.status();
  const std::string topic = sink->topic(origin, "billing");
  std::thread late([&] {
    absl::SleepFor(absl::Milliseconds(300));
    broker.CreateTopic(origin, 3);
  });
  const absl::Status published = PublishOne(*sink->publisher, Letter(topic, origin));
  late.join();
  ASSERT_TRUE(published.ok()) << published;
  EXPECT_EQ(broker.PartitionCount(topic), 3);
}

TEST(KafkaDeadLetterTopic, WithoutLeaveToCreateAMissingTopicIsRefused) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string origin = broker.NewTopic(1);
  auto sink =
      OpenDeadLetterTopic({.brokers = broker.brokers(), .create_topics = false, .log = NoLog()});
  ASSERT_TRUE(sink.ok()) << sink.status();
  const std::string missing = origin + ".missing";
  const std::vector<OutgoingMessage> letters = {Letter(missing, origin), Letter(origin, origin)};
  std::vector<absl::Status> outcomes(2);
  sink->publisher->Publish(letters, absl::Now() + absl::Seconds(30), outcomes);
  EXPECT_TRUE(absl::IsInvalidArgument(outcomes[0])) << outcomes[0];
  EXPECT_THAT(std::string(outcomes[0].message()), HasSubstr(missing));
  EXPECT_TRUE(outcomes[1].ok()) << outcomes[1];
}

TEST(KafkaDeadLetterTopic, TheOptionsDecideThePartitionsAndTheName) {
  ONCE_REQUIRE_KAFKA(broker);
  auto sink = OpenDeadLetterTopic(
      {.brokers = broker.brokers(),
       .topic = [](std::string_view origin,
                   std::string_view) { return absl::StrCat("dead-", std::string(origin)); },
       .partitions = 2,
       .replication = 1,
       .log = NoLog()});
  ASSERT_TRUE(sink.ok()) << sink.status();
  const std::string topic = sink->topic(UniqueName("t"), "g");
  ASSERT_TRUE(PublishOne(*sink->publisher, Letter(topic, "no-such-origin")).ok());
  EXPECT_EQ(broker.PartitionCount(topic), 2);
  // More replicas than there are brokers: no retry can help.
  auto wrong =
      OpenDeadLetterTopic({.brokers = broker.brokers(), .replication = 99, .log = NoLog()});
  ASSERT_TRUE(wrong.ok()) << wrong.status();
  const absl::Status refused = PublishOne(*wrong->publisher, Letter(UniqueName("t"), "o"));
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
}

}  // namespace
}  // namespace once::kafka
