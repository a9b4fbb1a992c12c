// The conformance tests of membership: assignments, rebalances, commits, and what the broker says
// of partitions.
#include <algorithm>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "once/testing/source_conformance.h"

namespace once::testing {
namespace {

using ::testing::IsEmpty;

// Polls the members in turn until `done`.
void PollBoth(ConformanceMember& one, ConformanceMember& two, const std::function<bool()>& done) {
  for (int i = 0; i < 1500 && !done(); ++i) {
    ASSERT_NO_FATAL_FAILURE(one.PollOnce(absl::Milliseconds(10)));
    ASSERT_NO_FATAL_FAILURE(two.PollOnce(absl::Milliseconds(10)));
  }
  ASSERT_TRUE(done()) << "it did not happen";
}

}  // namespace

// Here, so that a linker that takes the suite out of an archive takes this file too.
LogSourceConformance::~LogSourceConformance() = default;

TEST_P(LogSourceConformance, TraitsNameTheGroupAndAfterTheAssignmentTheCluster) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    ConformanceMember member = Join(topic);
    EXPECT_FALSE(member.source().traits().group.empty());
    EXPECT_FALSE(member.source().traits().name.empty());
    EXPECT_TRUE(member.source().traits().can_replay);
    std::string cluster;
    member.on_assigned = [&](const Assignment&) { cluster = member.source().traits().cluster; };
    member.PollUntil([&] { return member.owned_count() == 1; });
    EXPECT_FALSE(cluster.empty()) << "rows of the store are named by it in the callback already";
  });
}

TEST_P(LogSourceConformance, MessagesCarryTheNumberOfTheirAssignment) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const TopicPartition partition = {topic, 0};
    fixture().ProduceMany(partition, 10);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    EXPECT_GT(member.assignment_of(partition), 0U);
    member.PollUntil([&] { return member.OffsetsOf(partition).size() == 10; });
    for (const ReceivedMessage& message : member.received[partition]) {
      EXPECT_EQ(message.assignment, member.assignment_of(partition));
    }
  });
}

TEST_P(LogSourceConformance, TwoMembersShareAndTheOldOwnerLetsGoFirst) {
  if (!capabilities().why_no_second_member.empty()) {
    GTEST_SKIP() << capabilities().why_no_second_member;
  }
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(4);
    ConformanceMember first = Join(topic);
    first.PollUntil([&] { return first.owned_count() == 4; });
    ConformanceMember second = Join(topic);
    PollBoth(first, second, [&] { return first.owned_count() == 2 && second.owned_count() == 2; });
    for (std::int32_t i = 0; i < 4; ++i) {
      const TopicPartition partition = {topic, i};
      EXPECT_NE(first.owns(partition), second.owns(partition)) << i;
      if (!second.owns(partition)) continue;
      ConformanceMember::Clock revoked = 0;
      for (const auto& event : first.events) {
        const auto& names = event.partitions;
        if (event.kind == ConformanceMember::Event::Kind::kAssigned) continue;
        EXPECT_EQ(event.kind, ConformanceMember::Event::Kind::kRevoked) << "an orderly rebalance";
        if (std::find(names.begin(), names.end(), partition) != names.end()) revoked = event.at;
      }
      ConformanceMember::Clock assigned = 0;
      for (const auto& event : second.events) {
        const auto& names = event.partitions;
        if (event.kind == ConformanceMember::Event::Kind::kAssigned &&
            std::find(names.begin(), names.end(), partition) != names.end()) {
          assigned = event.at;
        }
      }
      EXPECT_GT(revoked, 0U);
      EXPECT_LT(revoked, assigned);
    }
  });
}

// The engine's view of a rebalance: whoever keeps or gets a partition goes on, and of what one
// member reads nothing is missing and nothing comes twice.
TEST_P(LogSourceConformance, ARebalanceLosesAndRepeatsNothingOfWhatIsKept) {
  if (!capabilities().why_no_second_member.empty()) {
    GTEST_SKIP() << capabilities().why_no_second_member;
  }
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(4);
    for (std::int32_t i = 0; i < 4; ++i) fixture().ProduceMany({topic, i}, 500);
    ConformanceMember first = Join(topic);
    StartWhereItWas(first);
    first.PollUntil([&] { return !first.received.empty(); });
    {
      ConformanceMember second = Join(topic);
      StartWhereItWas(second);
      for (int i = 0; i < 1500 && second.owned_count() < 2; ++i) {
        first.PollOnce(absl::Milliseconds(5), 7);  // slowly: much is fetched and not delivered
        second.PollOnce(absl::Milliseconds(5), 7);
      }
      EXPECT_EQ(second.owned_count(), 2U);
      for (int i = 0; i < 10; ++i) {
        first.PollOnce(absl::Milliseconds(5), 7);
        second.PollOnce(absl::Milliseconds(5), 7);
      }
      for (const auto& [partition, messages] : second.received) {
        ExpectContiguous(second, partition, 0, static_cast<std::int64_t>(messages.size()));
      }
      EXPECT_TRUE(second.Close().ok());
    }
    first.PollUntil([&] {
      return first.owned_count() == 4 && first.received.size() == 4 &&
             std::all_of(first.received.begin(), first.received.end(),
                         [](const auto& entry) { return entry.second.size() >= 500; });
    });
    for (std::int32_t i = 0; i < 4; ++i) ExpectContiguous(first, {topic, i}, 0, 500);
  });
}

TEST_P(LogSourceConformance, AssignmentNumbersGrowAndOldOnesDoNotComeBack) {
  if (!capabilities().why_no_second_member.empty()) {
    GTEST_SKIP() << capabilities().why_no_second_member;
  }
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(2);
    fixture().ProduceMany({topic, 0}, 300);
    fixture().ProduceMany({topic, 1}, 300);
    ConformanceMember first = Join(topic);
    StartWhereItWas(first);
    first.PollUntil([&] { return first.owned_count() == 2; });
    std::map<TopicPartition, std::uint64_t> before = {
        {{topic, 0}, first.assignment_of({topic, 0})},
        {{topic, 1}, first.assignment_of({topic, 1})}};
    {
      ConformanceMember second = Join(topic);
      PollBoth(first, second, [&] { return second.owned_count() == 1; });
      EXPECT_TRUE(second.Close().ok());
    }
    first.PollUntil([&] { return first.owned_count() == 2; });
    int moved = 0;
    for (const auto& [partition, number] : before) {
      EXPECT_GE(first.assignment_of(partition), number);
      if (first.assignment_of(partition) > number) ++moved;
      std::uint64_t last = 0;
      for (const ReceivedMessage& message : first.received[partition]) {
        EXPECT_GE(message.assignment, last);
        last = message.assignment;
      }
    }
    EXPECT_GE(moved, 1);
  });
}

TEST_P(LogSourceConformance, CloseRevokesFirstAndHandsThePartitionsOver) {
  if (!capabilities().why_no_second_member.empty()) {
    GTEST_SKIP() << capabilities().why_no_second_member;
  }
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(2);
    ConformanceMember first = Join(topic);
    first.PollUntil([&] { return first.owned_count() == 2; });
    absl::Status committed = absl::UnknownError("not called");
    first.on_revoked = [&](std::span<const TopicPartition> partitions, Revocation kind) {
      EXPECT_EQ(partitions.size(), 2U);
      EXPECT_EQ(kind, Revocation::kRevoked);
      committed = first.Commit({topic, 0}, 0);
    };
    EXPECT_TRUE(first.Close().ok());
    EXPECT_TRUE(committed.ok()) << "still the owner inside the callback: " << committed;
    EXPECT_EQ(first.owned_count(), 0U);
    EXPECT_TRUE(first.Close().ok()) << "closing twice is closing once";
    EXPECT_FALSE(first.source().Poll({}, first.listener()).ok());
    ConformanceMember second = Join(topic);
    const absl::Time before = fixture().executor().Now();
    second.PollUntil([&] { return second.owned_count() == 2; });
    EXPECT_LT(fixture().executor().Now() - before, absl::Seconds(15)) << "no session to run out";
  });
}

TEST_P(LogSourceConformance, CloseOfASourceThatNeverPolledIsOk) {
  fixture().Run([this] {
    ConformanceMember member = Join(fixture().CreateTopic(1));
    EXPECT_TRUE(member.Close().ok());
    EXPECT_THAT(member.events, IsEmpty());
  });
}

TEST_P(LogSourceConformance, DescribeTellsTheBoundsAndNoCommitIsNone) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(2);
    fixture().ProduceMany({topic, 1}, 12);
    ConformanceMember member = Join(topic);
    std::vector<PartitionBounds> bounds;
    member.on_assigned = [&](const Assignment&) {
      const std::vector<TopicPartition> both = {{topic, 1}, {topic, 0}};
      auto answer = member.source().Describe(both);
      ASSERT_TRUE(answer.ok()) << answer.status();
      bounds = *std::move(answer);
    };
    member.PollUntil([&] { return member.owned_count() == 2; });
    ASSERT_EQ(bounds.size(), 2U);
    EXPECT_EQ(bounds[0].first, 0);
    EXPECT_EQ(bounds[0].end, 12) << "one entry per partition, in the order of the question";
    EXPECT_EQ(bounds[1].end, 0);
    EXPECT_EQ(bounds[0].committed, std::nullopt);
    if (capabilities().why_no_truncation.empty()) {
      ASSERT_TRUE(fixture().Truncate({topic, 1}, 5).ok());
      EXPECT_EQ(member.BoundsOf({topic, 1}).first, 5);
    }
    // A partition that nobody knows spoils nobody else's answer.
    const std::vector<TopicPartition> mixed = {{topic + "-missing", 0}, {topic, 1}};
    const auto answer = member.source().Describe(mixed);
    ASSERT_TRUE(answer.ok()) << answer.status();
    ASSERT_EQ(answer->size(), 2U);
    EXPECT_FALSE((*answer)[0].status.ok());
    EXPECT_TRUE((*answer)[1].status.ok()) << (*answer)[1].status;
    EXPECT_EQ((*answer)[1].end, 12);
  });
}

TEST_P(LogSourceConformance, AVerifiedCommitIsThereForTheNextMember) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const TopicPartition partition = {topic, 0};
    fixture().ProduceMany(partition, 10);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    absl::Status committed = member.Commit(partition, 7);
    ASSERT_TRUE(committed.ok()) << committed;
    EXPECT_EQ(member.BoundsOf(partition).committed, 7);
    // After a store has lost its tail the engine replays, and says so: lower is allowed.
    ASSERT_TRUE(member.Commit(partition, 3).ok());
    ASSERT_TRUE(member.Close().ok());
    ConformanceMember next = Join(topic);
    next.PollUntil([&] { return next.owned_count() == 1; });
    EXPECT_EQ(next.BoundsOf(partition).committed, 3);
  });
}

TEST_P(LogSourceConformance, MetadataOfACommitComesBack) {
  if (!capabilities().why_no_metadata.empty()) GTEST_SKIP() << capabilities().why_no_metadata;
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const TopicPartition partition = {topic, 0};
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    ASSERT_TRUE(member.Commit(partition, 0, CommitMode::kVerified, "store=a1;opens=3").ok());
    EXPECT_EQ(member.BoundsOf(partition).committed_metadata, "store=a1;opens=3");
    ASSERT_TRUE(member.Commit(partition, 0).ok());
    EXPECT_EQ(member.BoundsOf(partition).committed_metadata, "");
  });
}

TEST_P(LogSourceConformance, AHintArrivesAfterAWhile) {
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const TopicPartition partition = {topic, 0};
    fixture().ProduceMany(partition, 5);
    ConformanceMember member = Join(topic);
    OwnAndStart(member, topic, 1);
    ASSERT_TRUE(member.Commit(partition, 4, CommitMode::kHint).ok());
    member.PollUntil([&] { return member.BoundsOf(partition).committed == 4; });
  });
}

TEST_P(LogSourceConformance, OffsetsOfPartitionsThatAreNotOursAreLeftOut) {
  if (!capabilities().why_no_second_member.empty()) {
    GTEST_SKIP() << capabilities().why_no_second_member;
  }
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(2);
    ConformanceMember first = Join(topic);
    first.PollUntil([&] { return first.owned_count() == 2; });
    ConformanceMember second = Join(topic);
    PollBoth(first, second, [&] { return first.owned_count() == 1 && second.owned_count() == 1; });
    // The broker would take both: it checks the member, not who owns what.
    const TopicPartition ours = {topic, first.owns({topic, 0}) ? 0 : 1};
    const TopicPartition theirs = {topic, first.owns({topic, 0}) ? 1 : 0};
    fixture().ProduceMany(ours, 10);
    fixture().ProduceMany(theirs, 10);
    const std::vector<PartitionOffset> both = {{ours, 5}, {theirs, 6}};
    const absl::Status verified = first.source().Commit(both, CommitMode::kVerified);
    EXPECT_TRUE(absl::IsFailedPrecondition(verified)) << verified;
    EXPECT_TRUE(first.source().Commit(both, CommitMode::kHint).ok());
    first.PollUntil([&] { return first.BoundsOf(ours).committed == 5; });
    EXPECT_EQ(first.BoundsOf(theirs).committed, std::nullopt);
  });
}

TEST_P(LogSourceConformance, WhoDoesNotPollLosesItsPartitionsAndCannotCommit) {
  if (!capabilities().why_no_poll_interval.empty()) {
    GTEST_SKIP() << capabilities().why_no_poll_interval;
  }
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const TopicPartition partition = {topic, 0};
    fixture().ProduceMany(partition, 10);
    const absl::Duration interval = fixture().shortest_poll_interval();
    ConformanceMember zombie = Join(topic, interval);
    StartWhereItWas(zombie);
    zombie.PollUntil([&] { return zombie.OffsetsOf(partition).size() == 10; });
    const std::uint64_t number = zombie.assignment_of(partition);
    fixture().Sleep(interval + absl::Seconds(2));
    // Alone in the group, before it has heard anything.
    const absl::Status alone = zombie.Commit(partition, 10);
    EXPECT_TRUE(absl::IsFailedPrecondition(alone)) << alone;
    if (capabilities().why_no_second_member.empty()) {
      ConformanceMember heir = Join(topic);
      heir.PollUntil([&] { return heir.owned_count() == 1; });
      const absl::Status late = zombie.Commit(partition, 10);
      EXPECT_TRUE(absl::IsFailedPrecondition(late)) << late;
      EXPECT_EQ(heir.BoundsOf(partition).committed, std::nullopt);
      EXPECT_TRUE(heir.Close().ok());
    }
    zombie.on_revoked = [&](std::span<const TopicPartition>, Revocation kind) {
      EXPECT_EQ(kind, Revocation::kLost);
    };
    zombie.PollUntil(
        [&] { return zombie.owned_count() == 1 && zombie.assignment_of(partition) > number; });
    EXPECT_TRUE(zombie.Commit(partition, 10).ok()) << "a member again";
  });
}

TEST_P(LogSourceConformance, LagIsUnknownFirstAndZeroAtTheEnd) {
  if (!capabilities().why_no_lag.empty()) GTEST_SKIP() << capabilities().why_no_lag;
  fixture().Run([this] {
    const std::string topic = fixture().CreateTopic(1);
    const TopicPartition partition = {topic, 0};
    fixture().ProduceMany(partition, 20);
    ConformanceMember member = Join(topic);
    EXPECT_EQ(member.source().Lag(partition), std::nullopt);
    OwnAndStart(member, topic, 1);
    while (member.OffsetsOf(partition).size() < 5) member.PollOnce(absl::Milliseconds(100), 5);
    EXPECT_EQ(member.source().Lag(partition), 15);
    member.PollUntil([&] { return member.OffsetsOf(partition).size() == 20; });
    EXPECT_EQ(member.source().Lag(partition), 0);
    fixture().ProduceMany(partition, 3);
    member.PollUntil([&] { return member.OffsetsOf(partition).size() == 23; });
    EXPECT_EQ(member.source().Lag(partition), 0);
  });
}

}  // namespace once::testing
