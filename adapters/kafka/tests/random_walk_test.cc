// Members of one group join, leave, die, seek and pause at random, in one thread, against a real
// broker. Whatever happens, what a member receives from a partition continues, without a gap or a
// repetition, from where it last started it. A failure names its seed.
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "once/kafka/source.h"

namespace once::kafka {
namespace {

using testing::UniqueName;

constexpr std::int32_t kPartitions = 6;
constexpr int kMessages = 400;
constexpr absl::Duration kDuration = absl::Seconds(8);
// Members that come and go may keep a slow broker rebalancing all that time: then they stay, and
// read for so long at most.
constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr std::size_t kReceivedMin = 100;

class Walker final : public SourceListener {
 public:
  Walker(std::unique_ptr<LogSource> source, std::mt19937& random)
      : source_(std::move(source)), random_(random) {}

  std::size_t Poll() {
    auto batch = source_->Poll(
        {.messages_max = 1 + random_() % 40,
         .deadline = absl::Now() + absl::Milliseconds(static_cast<int>(random_() % 20))},
        *this);
    if (!batch.ok()) {
      ADD_FAILURE() << batch.status();
      return 0;
    }
    for (const Message& message : batch->messages()) {
      const auto next = next_.find(message.partition());
      if (next == next_.end()) {
        ADD_FAILURE() << "partition " << message.partition() << " is not running here";
        continue;
      }
      EXPECT_EQ(message.offset(), next->second) << "partition " << message.partition();
      next->second = message.offset() + 1;
    }
    return batch->size();
  }
  void SeekSome() {
    for (const TopicPartition& partition : owned_) {
      if (random_() % 3 == 0) Start(partition);
    }
  }
  void PauseSome() {
    for (const TopicPartition& partition : owned_) {
      if (random_() % 3 != 0) continue;
      EXPECT_TRUE(source_->Pause(std::span(&partition, 1)).ok());
      next_.erase(partition.partition);
    }
  }
  void CommitSome(CommitMode mode) {
    std::vector<PartitionOffset> positions;
    for (const TopicPartition& partition : owned_) positions.push_back({partition, 1});
    const absl::Status status = source_->Commit(positions, mode);
    EXPECT_TRUE(status.ok() || absl::IsFailedPrecondition(status)) << status;
  }
  // While the group rebalances the broker answers a farewell only after the other members have
  // joined, which in this one thread they cannot.
  void Close() {
    const absl::Status closed = source_->Close(absl::Now() + absl::Seconds(2), *this);
    EXPECT_TRUE(closed.ok() || absl::IsDeadlineExceeded(closed)) << closed;
  }

 private:
  void OnAssigned(const Assignment& assignment) override {
    for (const TopicPartition& partition : assignment.partitions) {
      owned_.push_back(partition);
      if (random_() % 2 == 0) Start(partition);
    }
  }
  void OnRevoked(std::span<const TopicPartition> partitions, Revocation) override {
    for (const TopicPartition& partition : partitions) {
      EXPECT_EQ(std::erase(owned_, partition), 1U);
      next_.erase(partition.partition);
    }
  }
  void OnPartitionError(const TopicPartition& partition, const absl::Status& error) override {
    ADD_FAILURE() << ToString(partition) << ": " << error;
  }
  void Start(const TopicPartition& partition) {
    const PartitionOffset start = {partition, static_cast<std::int64_t>(random_() % kMessages)};
    EXPECT_TRUE(source_->Start(std::span(&start, 1)).ok());
    next_[partition.partition] = start.offset;
  }

  std::unique_ptr<LogSource> source_;
  std::mt19937& random_;
  std::vector<TopicPartition> owned_;
  std::map<std::int32_t, std::int64_t> next_;
};

class RandomWalk : public ::testing::TestWithParam<AssignmentStrategy> {};

TEST_P(RandomWalk, WhatAMemberReceivesContinuesFromItsLastStart) {
  ONCE_REQUIRE_KAFKA(broker);
  const std::string topic = broker.NewTopic(kPartitions);
  std::vector<OutgoingMessage> messages;
  for (int i = 0; i < kPartitions * kMessages; ++i) {
    messages.push_back({.topic = topic,
                        .partition = i % kPartitions,
                        .key = {},
                        .value = std::string(100, 'x'),
                        .headers = {}});
  }
  broker.Produce(messages);
  const std::string group = UniqueName("group");
  const auto seed = static_cast<std::uint32_t>(absl::ToUnixMicros(absl::Now()));
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937 random(seed);
  std::array<std::unique_ptr<Walker>, 3> walkers;
  std::size_t received = 0;
  const absl::Time end = absl::Now() + kDuration;
  const absl::Time give_up = absl::Now() + kPatience;
  const auto is_calm = [&] { return absl::Now() >= end; };
  while (!HasFailure() && absl::Now() < (received <= kReceivedMin ? give_up : end)) {
    std::unique_ptr<Walker>& walker = walkers[random() % walkers.size()];
    const auto dice = static_cast<int>(is_calm() ? 6 + random() % 194 : random() % 200);
    if (walker == nullptr) {
      if (dice > 20) continue;
      auto source = Subscribe({.brokers = broker.brokers(),
                               .group = group,
                               .topics = {topic},
                               .assignment = GetParam(),
                               .session_timeout = absl::Seconds(6),
                               .log = NoLog()});
      ASSERT_TRUE(source.ok()) << source.status();
      walker = std::make_unique<Walker>(*std::move(source), random);
    } else if (dice == 0) {
      walker->Close();
      walker.reset();
    } else if (dice == 1) {
      walker.reset();  // without a word
    } else if (dice < 12) {
      walker->SeekSome();
    } else if (dice < 18) {
      walker->PauseSome();
    } else if (dice < 30) {
      walker->CommitSome(dice < 20 ? CommitMode::kVerified : CommitMode::kHint);
    } else {
      received += walker->Poll();
    }
  }
  EXPECT_GT(received, kReceivedMin);
}

INSTANTIATE_TEST_SUITE_P(Kafka, RandomWalk,
                         ::testing::Values(AssignmentStrategy::kEager,
                                           AssignmentStrategy::kCooperative),
                         [](const auto& subject) {
                           return subject.param == AssignmentStrategy::kEager ? "eager"
                                                                              : "cooperative";
                         });

}  // namespace
}  // namespace once::kafka
