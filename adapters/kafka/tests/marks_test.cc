// Side topics, read from librdkafka's mock cluster: whole, and again on demand.
#include "once/kafka/marks.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "once/kafka/publisher.h"
#include "once/sequence.h"

namespace once::kafka {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class MarksTest : public ::testing::Test {
 protected:
  MarksTest() {
    std::array<char, 512> reason{};
    handle_ = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), reason.data(), reason.size());
    cluster_ = rd_kafka_mock_cluster_new(handle_, 1);
    rd_kafka_mock_topic_create(cluster_, MarksTopic("orders").c_str(), 2, 1);
    brokers_ = rd_kafka_mock_cluster_bootstraps(cluster_);
  }
  ~MarksTest() override {
    publisher_.reset();
    marks_.reset();
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(handle_);
  }

  void SetUp() override {
    auto publisher = OpenPublisher({.brokers = brokers_, .log = NoLog()});
    ASSERT_TRUE(publisher.ok()) << publisher.status();
    publisher_ = *std::move(publisher);
    auto marks = OpenMarks({.brokers = brokers_, .log = NoLog()});
    ASSERT_TRUE(marks.ok()) << marks.status();
    marks_ = *std::move(marks);
  }

  void Write(std::int32_t partition, const std::string& key, const std::string& value) {
    const OutgoingMessage message = {.topic = MarksTopic("orders"),
                                     .partition = partition,
                                     .key = key,
                                     .value = value,
                                     .headers = {}};
    absl::Status outcome;
    publisher_->Publish(std::span(&message, 1), absl::Now() + absl::Seconds(20),
                        std::span(&outcome, 1));
    ASSERT_TRUE(outcome.ok()) << outcome;
  }

  // Everything there is.
  std::vector<std::string> ReadAll() {
    std::vector<std::string> keys;
    const absl::Time deadline = absl::Now() + absl::Seconds(30);
    while (!marks_->has_caught_up() && absl::Now() < deadline) {
      const auto received = marks_->Poll(1);
      EXPECT_TRUE(received.ok()) << received.status();
      if (!received.ok()) break;
      for (const ReceivedMark& mark : *received) keys.push_back(mark.topic + "/" + mark.key);
      if (received->empty()) absl::SleepFor(absl::Milliseconds(5));
    }
    EXPECT_TRUE(marks_->has_caught_up());
    return keys;
  }

  rd_kafka_t* handle_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
  std::string brokers_;
  std::shared_ptr<Publisher> publisher_;
  std::shared_ptr<MarkSource> marks_;
};

TEST_F(MarksTest, EveryPartitionOfASideTopicIsReadFromItsBeginning) {
  Write(0, "a", "1");
  Write(1, "b", "2");
  const std::vector<std::string> topics = {"orders"};
  ASSERT_TRUE(marks_->Follow(topics).ok());

  EXPECT_THAT(ReadAll(), UnorderedElementsAre("orders/a", "orders/b"));
}

TEST_F(MarksTest, WhoeverFollowsAgainReadsAllOfItAgain) {
  Write(0, "a", "1");
  const std::vector<std::string> topics = {"orders"};
  ASSERT_TRUE(marks_->Follow(topics).ok());
  ASSERT_THAT(ReadAll(), UnorderedElementsAre("orders/a"));
  Write(0, "b", "1");
  ASSERT_TRUE(marks_->Follow(topics).ok());

  EXPECT_THAT(ReadAll(), UnorderedElementsAre("orders/a", "orders/b"));
}

TEST_F(MarksTest, NothingIsReadBeforeAnybodyFollows) {
  Write(0, "a", "1");
  const auto received = marks_->Poll(10);

  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_THAT(*received, IsEmpty());
  EXPECT_FALSE(marks_->has_caught_up());
}

TEST(MarkOptions, NameWhatIsWrong) {
  EXPECT_EQ(OpenMarks({}).status().code(), absl::StatusCode::kInvalidArgument);
  const auto grouped = OpenMarks({.brokers = "localhost:1", .properties = {{"group.id", "mine"}}});
  EXPECT_THAT(std::string(grouped.status().message()), ::testing::HasSubstr("group.id"));
}

}  // namespace
}  // namespace once::kafka
