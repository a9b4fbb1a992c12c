// The conformance tests of a source whose connection to the broker is cut.
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "once/testing/source_conformance.h"

namespace once::testing {
namespace {

constexpr int kTries = 100;
constexpr absl::Duration kPause = absl::Milliseconds(100);

// After a cut: asks until there is an answer.
std::optional<std::int64_t> CommittedAfterACut(LogSourceFixture& fixture, ConformanceMember& member,
                                               const TopicPartition& partition) {
  for (int i = 0; i < kTries; ++i) {
    const auto bounds = member.source().Describe(std::span(&partition, 1));
    if (bounds.ok() && bounds->size() == 1 && bounds->front().status.ok()) {
      return bounds->front().committed;
    }
    fixture.Sleep(kPause);
  }
  ADD_FAILURE() << "no answer from the broker long after the connection was cut";
  return std::nullopt;
}

// After a cut: commits until the broker takes it.
absl::Status CommitAfterACut(LogSourceFixture& fixture, ConformanceMember& member,
                             const TopicPartition& partition, std::int64_t offset) {
  absl::Status status;
  for (int i = 0; i < kTries; ++i) {
    status = member.Commit(partition, offset);
    if (status.ok()) break;
    fixture.Sleep(kPause);
  }
  return status;
}

}  // namespace

// Here, so that a linker that takes the suite out of an archive takes this file too.
absl::Status LogSourceFixture::CutNextCommit(CommitMode, bool) {
  return absl::UnimplementedError("the fixture cannot cut connections");
}

TEST_P(LogSourceConformance, ACommitThatIsCutOffIsNotCalledDoneUnlessItIs) {
  if (!capabilities().why_no_cut.empty()) GTEST_SKIP() << capabilities().why_no_cut;
  fixture().Run([this] {
    const TopicPartition partition = {fixture().CreateTopic(1), 0};
    fixture().ProduceMany(partition, 10);
    ConformanceMember member = Join(MemberOptions{.topic = partition.topic, .can_be_cut = true});
    OwnAndStart(member, partition.topic, 1);
    std::int64_t offset = 1;
    ASSERT_TRUE(member.Commit(partition, offset).ok());
    for (const bool is_applied : {false, true, true, false}) {
      ASSERT_TRUE(fixture().CutNextCommit(CommitMode::kVerified, is_applied).ok());
      ++offset;
      const absl::Status status = member.Commit(partition, offset);
      fixture().AwaitCut();
      const std::optional<std::int64_t> found = CommittedAfterACut(fixture(), member, partition);
      // The client may have sent it again by itself.
      const bool is_true = found == offset ? status.ok() || absl::IsUnknown(status)
                                           : found == offset - 1 && !is_applied && !status.ok();
      EXPECT_TRUE(is_true) << "committed " << found.value_or(-1) << ", wanted " << offset << ": "
                           << status;
      // The next one is made as if nothing had been.
      ++offset;
      const absl::Status next = CommitAfterACut(fixture(), member, partition, offset);
      ASSERT_TRUE(next.ok()) << next;
      EXPECT_EQ(member.BoundsOf(partition).committed, offset);
    }
    fixture().ProduceMany(partition, 10);
    member.PollUntil([&] { return member.OffsetsOf(partition).size() >= 20; });
    ExpectContiguous(member, partition, 0, 20);
  });
}

TEST_P(LogSourceConformance, AHintThatIsCutOffIsMadeGoodByTheNextCommit) {
  if (!capabilities().why_no_cut.empty()) GTEST_SKIP() << capabilities().why_no_cut;
  fixture().Run([this] {
    const TopicPartition partition = {fixture().CreateTopic(1), 0};
    fixture().ProduceMany(partition, 10);
    ConformanceMember member = Join(MemberOptions{.topic = partition.topic, .can_be_cut = true});
    OwnAndStart(member, partition.topic, 1);
    std::int64_t offset = 0;
    for (const bool is_applied : {false, true}) {
      ASSERT_TRUE(fixture().CutNextCommit(CommitMode::kHint, is_applied).ok());
      EXPECT_TRUE(member.Commit(partition, ++offset, CommitMode::kHint).ok());
      fixture().AwaitCut();
      const absl::Status next = CommitAfterACut(fixture(), member, partition, ++offset);
      ASSERT_TRUE(next.ok()) << next;
      // What was cut off does not come back over it.
      member.PollFor(absl::Seconds(1));
      EXPECT_EQ(member.BoundsOf(partition).committed, offset);
    }
    ExpectContiguous(member, partition, 0, 10);
  });
}

}  // namespace once::testing
