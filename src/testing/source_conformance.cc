// The suite's vocabulary, and the tests of reading: order, Start, Pause, the ends of the log. What
// a poll gives, and when: source_poll_conformance.cc. Groups: source_group_conformance.cc.
#include "once/testing/source_conformance.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kSlice = absl::Milliseconds(100);
// Long enough for a message to arrive that must not.
constexpr absl::Duration kQuiet = absl::Milliseconds(700);

}  // namespace

std::string LogSourceName(const ::testing::TestParamInfo<LogSourceUnderTest>& info) {
  return info.param.name;
}

void LogSourceFixture::ProduceMany(const TopicPartition& partition, int count) {
  for (int i = 0; i < count; ++i) {
    Produce({.topic = partition.topic,
             .partition = partition.partition,
             .key = std::nullopt,
             .value = absl::StrCat(i),
             .headers = {}});
  }
}

absl::Status LogSourceFixture::Truncate(const TopicPartition&, std::int64_t) {
  return absl::UnimplementedError("truncation");
}

void LogSourceFixture::Sleep(absl::Duration duration) {
  const std::unique_ptr<Event> never = executor().NewEvent();
  never->WaitUntil(executor().Now() + duration);
}

ConformanceMember::ConformanceMember(LogSourceFixture& fixture, Clock& clock,
                                     const MemberOptions& options)
    : fixture_(fixture), clock_(clock), source_(fixture.NewMember(options)) {}

void ConformanceMember::PollOnce(absl::Duration wait, std::size_t messages_max) {
  absl::StatusOr<Batch> batch = source_->Poll(
      {.messages_max = messages_max, .deadline = fixture_.executor().Now() + wait}, *this);
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_LE(batch->size(), messages_max);
  for (const Message& message : batch->messages()) {
    received[{.topic = std::string(message.topic()), .partition = message.partition()}].push_back(
        {.offset = message.offset(),
         .assignment = message.assignment(),
         .value = std::string(message.value().value_or("(null)"))});
  }
}

void ConformanceMember::PollUntil(const std::function<bool()>& done, absl::Duration timeout) {
  const absl::Time deadline = fixture_.executor().Now() + timeout;
  while (!done() && !::testing::Test::HasFatalFailure()) {
    ASSERT_LT(fixture_.executor().Now(), deadline) << "it did not happen";
    PollOnce(kSlice);
  }
}

void ConformanceMember::PollFor(absl::Duration duration) {
  const absl::Time deadline = fixture_.executor().Now() + duration;
  while (fixture_.executor().Now() < deadline && !::testing::Test::HasFatalFailure()) {
    PollOnce(std::min(kSlice, duration));
  }
}

absl::Status ConformanceMember::Start(const TopicPartition& partition, std::int64_t offset) {
  const PartitionOffset position = {.partition = partition, .offset = offset};
  return source_->Start(std::span(&position, 1));
}

absl::Status ConformanceMember::Close(absl::Duration wait) {
  return source_->Close(fixture_.executor().Now() + wait, *this);
}

absl::Status ConformanceMember::Commit(const TopicPartition& partition, std::int64_t offset,
                                       CommitMode mode, std::string metadata) {
  const PartitionOffset position = {partition, offset, std::move(metadata)};
  return source_->Commit(std::span(&position, 1), mode);
}

PartitionBounds ConformanceMember::BoundsOf(const TopicPartition& partition) {
  const auto bounds = source_->Describe(std::span(&partition, 1));
  EXPECT_TRUE(bounds.ok()) << bounds.status();
  if (bounds.ok()) {
    for (const PartitionBounds& of_one : *bounds) EXPECT_TRUE(of_one.status.ok()) << of_one.status;
  }
  return bounds.ok() && bounds->size() == 1 ? bounds->front() : PartitionBounds{};
}

std::uint64_t ConformanceMember::assignment_of(const TopicPartition& partition) const {
  const auto found = owned_.find(partition);
  return found == owned_.end() ? 0 : found->second;
}

std::vector<std::int64_t> ConformanceMember::OffsetsOf(const TopicPartition& partition) const {
  std::vector<std::int64_t> offsets;
  const auto found = received.find(partition);
  if (found == received.end()) return offsets;
  for (const ReceivedMessage& message : found->second) offsets.push_back(message.offset);
  return offsets;
}

void ConformanceMember::OnAssigned(const Assignment& assignment) {
  for (const TopicPartition& partition : assignment.partitions) {
    EXPECT_FALSE(owned_.contains(partition)) << ToString(partition) << " was assigned already";
    owned_[partition] = assignment.number;
  }
  events.push_back({Event::Kind::kAssigned, ++clock_, assignment.partitions});
  on_assigned(assignment);
}

void ConformanceMember::OnRevoked(std::span<const TopicPartition> partitions, Revocation kind) {
  for (const TopicPartition& partition : partitions) {
    EXPECT_EQ(owned_.erase(partition), 1U) << ToString(partition) << " was not assigned";
  }
  events.push_back({kind == Revocation::kLost ? Event::Kind::kLost : Event::Kind::kRevoked,
                    ++clock_,
                    {partitions.begin(), partitions.end()}});
  on_revoked(partitions, kind);
}

void ConformanceMember::OnPartitionError(const TopicPartition& partition,
                                         const absl::Status& error) {
  errors[partition] = error;
}

ConformanceMember LogSourceConformance::Join(const std::string& topic,
                                             absl::Duration poll_interval_max) {
  return Join({.topic = topic, .poll_interval_max = poll_interval_max});
}

ConformanceMember LogSourceConformance::Join(const MemberOptions& options) {
  return ConformanceMember(fixture(), clock_, options);
}

void LogSourceConformance::OwnAndStart(ConformanceMember& member, const std::string& topic,
                                       std::int32_t partitions) {
  member.PollUntil([&] { return member.owned_count() == static_cast<std::size_t>(partitions); });
  for (std::int32_t i = 0; i < partitions; ++i) {
    const absl::Status started = member.Start({.topic = topic, .partition = i}, 0);
    ASSERT_TRUE(started.ok()) << started;
  }
}

void LogSourceConformance::ExpectContiguous(const ConformanceMember& member,
                                            const TopicPartition& partition, std::int64_t first,
                                            std::int64_t end) {
  std::vector<std::int64_t> expected;
  for (std::int64_t offset = first; offset < end; ++offset) expected.push_back(offset);
  EXPECT_EQ(member.OffsetsOf(partition), expected) << ToString(partition);
}

void LogSourceConformance::StartWhereItWas(ConformanceMember& member) {
  member.on_assigned = [&member](const Assignment& assignment) {
    for (const TopicPartition& partition : assignment.partitions) {
      const std::vector<std::int64_t> offsets = member.OffsetsOf(partition);
      const absl::Status started =
          member.Start(partition, offsets.empty() ? 0 : offsets.back() + 1);
      EXPECT_TRUE(started.ok()) << started;
    }
  };
}

TEST_P(LogSourceConformance, DeliversEachPartitionInOrderAndWithoutGaps) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(3);
    for (std::int32_t i = 0; i < 3; ++i) fixture().ProduceMany({topic, i}, 200);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 3);
    member.PollUntil([&] {
      return std::all_of(member.received.begin(), member.received.end(),
                         [](const auto& entry) { return entry.second.size() >= 200; }) &&
             member.received.size() == 3;
    });
    for (std::int32_t i = 0; i < 3; ++i) {
      ExpectContiguous(member, {topic, i}, 0, 200);
      EXPECT_EQ((member.received[{topic, i}][7].value), "7");
    }
  });
}

TEST_P(LogSourceConformance, APollDeliversNoMoreThanWasAskedFor) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    fixture().ProduceMany({topic, 0}, 50);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    for (int i = 0; i < 500 && member.OffsetsOf({topic, 0}).size() < 50; ++i) {
      member.PollOnce(absl::Milliseconds(100), 3);  // checks the size
    }
    ExpectContiguous(member, {topic, 0}, 0, 50);
  });
}

TEST_P(LogSourceConformance, DeliversNothingBeforeStart) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(2);
    fixture().ProduceMany({topic, 0}, 5);
    fixture().ProduceMany({topic, 1}, 5);
    ConformanceMember member = Join(topic);
    member.PollUntil([&] { return member.owned_count() == 2; });
    fixture().ProduceMany({topic, 0}, 5);
    member.PollFor(kQuiet);
    EXPECT_THAT(member.received, IsEmpty());
    ASSERT_TRUE(member.Start({topic, 1}, 0).ok());
    member.PollUntil([&] { return member.OffsetsOf({topic, 1}).size() == 5; });
    EXPECT_THAT(member.OffsetsOf({topic, 0}), IsEmpty()) << "only the other one was started";
  });
}

TEST_P(LogSourceConformance, StartInsideTheCallbackStarts) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    fixture().ProduceMany({topic, 0}, 10);
    ConformanceMember member = Join(topic);
    member.on_assigned = [&](const Assignment&) { EXPECT_TRUE(member.Start({topic, 0}, 4).ok()); };
    member.PollUntil([&] { return member.OffsetsOf({topic, 0}).size() == 6; });
    ExpectContiguous(member, {topic, 0}, 4, 10);
  });
}

TEST_P(LogSourceConformance, PartitionsStartedOneAfterTheOtherLoseAndRepeatNothing) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(4);
    for (std::int32_t i = 0; i < 4; ++i) fixture().ProduceMany({topic, i}, 200);
    ConformanceMember member = Join(topic);
    member.PollUntil([&] { return member.owned_count() == 4; });
    for (std::int32_t i = 0; i < 4; ++i) {
      ASSERT_TRUE(member.Start({topic, i}, 0).ok());
      member.PollUntil([&] {
        member.PollOnce(kSlice, 10);
        return member.OffsetsOf({topic, i}).size() >= 5;
      });
    }
    member.PollUntil([&] {
      return std::all_of(member.received.begin(), member.received.end(),
                         [](const auto& entry) { return entry.second.size() >= 200; });
    });
    for (std::int32_t i = 0; i < 4; ++i) ExpectContiguous(member, {topic, i}, 0, 200);
  });
}

TEST_P(LogSourceConformance, StartSeeksBackAndForth) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const TopicPartition partition = {topic, 0};
    fixture().ProduceMany(partition, 100);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    member.PollUntil([&] { return member.OffsetsOf(partition).size() == 100; });
    for (const std::int64_t start : {std::int64_t{40}, std::int64_t{99}, std::int64_t{0}}) {
      member.received.clear();
      ASSERT_TRUE(member.Start(partition, start).ok());
      member.PollUntil([&] {
        return member.OffsetsOf(partition).size() == static_cast<std::size_t>(100 - start);
      });
      ExpectContiguous(member, partition, start, 100);
    }
    // The end of the log is in its range: nothing comes until something is written.
    member.received.clear();
    ASSERT_TRUE(member.Start(partition, 100).ok());
    member.PollFor(kQuiet);
    EXPECT_THAT(member.received, IsEmpty());
    fixture().ProduceMany(partition, 1);
    member.PollUntil([&] { return !member.received.empty(); });
    EXPECT_THAT(member.OffsetsOf(partition), ElementsAre(100));
    EXPECT_THAT(member.errors, IsEmpty());
  });
}

// The client has fetched far ahead whenever it is sent elsewhere.
TEST_P(LogSourceConformance, NothingFetchedBeforeAStartIsDeliveredAfterIt) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(2);
    fixture().ProduceMany({topic, 0}, 300);
    fixture().ProduceMany({topic, 1}, 300);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 2);
    for (std::int64_t round = 0; round < 25; ++round) {
      const std::int64_t start = round * 97 % 250;
      member.received.clear();
      ASSERT_TRUE(member.Start({topic, 0}, start).ok());
      member.PollUntil([&] { return member.OffsetsOf({topic, 0}).size() >= 20; });
      const std::vector<std::int64_t> offsets = member.OffsetsOf({topic, 0});
      ExpectContiguous(member, {topic, 0}, start,
                       start + static_cast<std::int64_t>(offsets.size()));
    }
  });
}

TEST_P(LogSourceConformance, APausedPartitionDeliversNothingUntilStart) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(2);
    const TopicPartition paused = {topic, 0};
    const TopicPartition other = {topic, 1};
    fixture().ProduceMany(paused, 400);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 2);
    while (member.OffsetsOf(paused).size() < 10) member.PollOnce(kSlice, 10);
    ASSERT_TRUE(member.source().Pause(std::span(&paused, 1)).ok());
    member.received.clear();
    fixture().ProduceMany(other, 5);
    member.PollUntil([&] { return member.OffsetsOf(other).size() == 5; });
    member.PollFor(kQuiet);
    EXPECT_THAT(member.OffsetsOf(paused), IsEmpty());
    // Resumed where the engine says, not where the client believes it was.
    ASSERT_TRUE(member.Start(paused, 5).ok());
    member.PollUntil([&] { return member.OffsetsOf(paused).size() == 395; });
    ExpectContiguous(member, paused, 5, 400);
    ExpectContiguous(member, other, 0, 5);
  });
}

TEST_P(LogSourceConformance, PauseAndStartLoseAndRepeatNothing) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const TopicPartition partition = {topic, 0};
    fixture().ProduceMany(partition, 300);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    while (member.OffsetsOf(partition).size() < 300 && !HasFatalFailure()) {
      const std::size_t before = member.OffsetsOf(partition).size();
      member.PollUntil([&] {
        member.PollOnce(kSlice, 17);
        return member.OffsetsOf(partition).size() > before;
      });
      ASSERT_TRUE(member.source().Pause(std::span(&partition, 1)).ok());
      member.PollOnce(absl::ZeroDuration());
      ASSERT_TRUE(
          member.Start(partition, static_cast<std::int64_t>(member.OffsetsOf(partition).size()))
              .ok());
    }
    ExpectContiguous(member, partition, 0, 300);
  });
}

TEST_P(LogSourceConformance, StartAndPauseOfUnassignedPartitionsAreIgnored) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    fixture().ProduceMany({topic, 0}, 3);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    const TopicPartition foreign = {topic, 7};
    EXPECT_TRUE(member.Start(foreign, 0).ok());
    EXPECT_TRUE(member.source().Pause(std::span(&foreign, 1)).ok());
    member.PollUntil([&] { return member.OffsetsOf({topic, 0}).size() == 3; });
    EXPECT_EQ(member.received.size(), 1U);
  });
}

TEST_P(LogSourceConformance, AnOffsetOutOfRangeIsReportedAndLeavesOthersAlone) {
  if (!capabilities().why_no_truncation.empty()) GTEST_SKIP() << capabilities().why_no_truncation;
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(2);
    const TopicPartition truncated = {topic, 0};
    const TopicPartition other = {topic, 1};
    fixture().ProduceMany(truncated, 20);
    fixture().ProduceMany(other, 20);
    ASSERT_TRUE(fixture().Truncate(truncated, 10).ok());
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 2);
    member.PollUntil([&] { return member.errors.contains(truncated); });
    EXPECT_TRUE(absl::IsOutOfRange(member.errors[truncated])) << member.errors[truncated];
    member.PollUntil([&] { return member.OffsetsOf(other).size() == 20; });
    EXPECT_THAT(member.OffsetsOf(truncated), IsEmpty()) << "a gap must not be skipped silently";
    EXPECT_FALSE(member.errors.contains(other));
    // Once the engine has decided where to go on, it does.
    ASSERT_TRUE(member.Start(truncated, 10).ok());
    member.PollUntil([&] { return member.OffsetsOf(truncated).size() == 10; });
    ExpectContiguous(member, truncated, 10, 20);
    ExpectContiguous(member, other, 0, 20);
    // Beyond the end is out of range too.
    member.errors.clear();
    ASSERT_TRUE(member.Start(truncated, 1000).ok());
    member.PollUntil([&] { return member.errors.contains(truncated); });
    EXPECT_TRUE(absl::IsOutOfRange(member.errors[truncated])) << member.errors[truncated];
  });
}

}  // namespace once::testing
