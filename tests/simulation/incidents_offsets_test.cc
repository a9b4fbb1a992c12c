// Incidents about what is acknowledged, and when. docs/incidents.md lists all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/incident.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/wrapped_seams.h"

namespace once::testing {
namespace {

// Counts the commits that take a partition's offset back.
class OffsetWatch : public WrappedSource {
 public:
  OffsetWatch(std::unique_ptr<LogSource> inner, std::shared_ptr<int> went_back)
      : WrappedSource(std::move(inner)), went_back_(std::move(went_back)) {}
  absl::Status Commit(std::span<const PartitionOffset> positions, CommitMode mode) override {
    const absl::Status status = inner_->Commit(positions, mode);
    if (!status.ok()) return status;
    for (const PartitionOffset& position : positions) {
      std::int64_t& highest = highest_[position.partition];
      if (position.offset < highest) ++*went_back_;
      highest = std::max(highest, position.offset);
    }
    return status;
  }

 private:
  std::shared_ptr<int> went_back_;
  std::map<TopicPartition, std::int64_t> highest_;
};

// Keeps a commit that failed, and repeats it when the next one has succeeded.
class LateRetry : public WrappedSource {
 public:
  using WrappedSource::WrappedSource;
  absl::Status Commit(std::span<const PartitionOffset> positions, CommitMode mode) override {
    const absl::Status status = inner_->Commit(positions, mode);
    if (!status.ok()) {
      failed_.assign(positions.begin(), positions.end());
      return status;
    }
    if (!failed_.empty()) (void)inner_->Commit(std::exchange(failed_, {}), mode);
    return status;
  }

 private:
  std::vector<PartitionOffset> failed_;
};

// spring-kafka#3186 (https://github.com/spring-projects/spring-kafka/issues/3186): a commit that
// failed in a rebalance was kept and repeated after a higher one had succeeded; the group's offset
// went back, and the next owner consumed those records again.
TEST(Incidents, SpringKafka3186AFailedCommitIsNotRepeatedAfterAHigherOne) {
  const auto went_back = std::make_shared<int>(0);
  Scenario world = World("one-partition-one-by-one", {Fault::kFailure, Fault::kRebalance});
  world.workers = 1;
  world.idle_rounds = 3;
  world.times.commit_interval = absl::Milliseconds(10);
  for (int i = 0; i < 3; ++i) {
    world.messages[static_cast<std::size_t>(i)].delay = absl::Seconds(i);
  }
  const auto play = [&](bool repeats) {
    world.wrap_source = [&, repeats](std::unique_ptr<LogSource> inner) {
      std::unique_ptr<LogSource> source =
          std::make_unique<OffsetWatch>(std::move(inner), went_back);
      if (repeats) source = std::make_unique<LateRetry>(std::move(source));
      return source;
    };
    return SearchExhaustively(world, {.faults = 1});
  };
  const SearchResult guarded = play(false);
  EXPECT_FALSE(guarded.witness.has_value()) << Describe(*guarded.witness);
  EXPECT_EQ(*went_back, 0);
  play(true);
  EXPECT_GT(*went_back, 0) << "no commit has failed: the world proves nothing";
}

// spring-kafka#3019 (https://github.com/spring-projects/spring-kafka/issues/3019): an exception out
// of the commit left the seek undone, and the records that had to come again were skipped.
// spring-kafka#3703 (https://github.com/spring-projects/spring-kafka/issues/3703) reports the same
// in rebalances.
TEST(Incidents, SpringKafka3019AFailedCommitSkipsNothing) {
  ExpectGuarded({.world = World("letters", {Fault::kFailure, Fault::kRebalance}),
                 .guard_removed_by = "failure-is-ok",
                 .breaks = Check::kAcknowledged});
}

// parallel-consumer#826 (https://github.com/confluentinc/parallel-consumer/issues/826): the offset
// to commit was the highest one polled. A partition revoked between poll and handling went to its
// next owner behind a record that nobody had handled.
TEST(Incidents, ParallelConsumer826WhatIsPolledIsNotYetCommitted) {
  ExpectGuarded({.world = World("plain-letters", {Fault::kRebalance, Fault::kCrashBefore}),
                 .guard_removed_by = "fetched-is-committed",
                 .breaks = Check::kAcknowledged});
}

// Redpanda Connect PR 4009 (https://github.com/redpanda-data/connect/pull/4009): in a cooperative
// rebalance each revoked partition lost what its batcher still held, 10 433 messages in all: it was
// dropped, and its offsets were committed.
TEST(Incidents, RedpandaConnect4009WhatARevocationDropsIsNotCommitted) {
  ExpectGuarded({.world = World("two-partitions-cooperative",
                                {Fault::kRebalance, Fault::kStall, Fault::kExpel}),
                 .guard_removed_by = "revoked-fetch-is-committed",
                 .breaks = Check::kAcknowledged});
}

// iggy#3847 (https://github.com/apache/iggy/issues/3847): every sink's consumer committed what it
// had polled, before the sink had written it; a failed write was never tried again.
TEST(Incidents, Iggy3847NothingIsCommittedAtThePoll) {
  ExpectGuarded({.world = World("one-partition", {Fault::kFailure, Fault::kCrashBefore}),
                 .guard_removed_by = "eager-commit",
                 .breaks = Check::kAcknowledged});
}

// The same one layer down: the position is in the store, and may not run ahead there either.
TEST(Incidents, Iggy3847NorDoesThePositionRunAheadInTheStore) {
  ExpectGuarded({.world = World("one-partition", {Fault::kFailure, Fault::kCrashBefore}),
                 .guard_removed_by = "position-set-at-begin",
                 .breaks = Check::kOneOutcome});
}

// vector#13714 (https://github.com/vectordotdev/vector/issues/13714): Kafka was down, the source's
// offset moved on, and what had not been sent was gone after a restart. Here: what the broker does
// not take stays in the outbox.
TEST(Incidents, Vector13714WhatTheBrokerDidNotTakeIsNotMarkedAsSent) {
  ExpectGuarded({.world = World("letters", {Fault::kFailure}),
                 .guard_removed_by = "unpublished-marked",
                 .breaks = Check::kPublished});
}

// librdkafka#3584 (https://github.com/confluentinc/librdkafka/issues/3584) and #4953
// (https://github.com/confluentinc/librdkafka/issues/4953): after a leader change the idempotent
// producer failed for good, or sent twice. What was handed to it is not what was sent: the outbox
// keeps a letter until the broker has said that it has it. (That a producer beyond repair is
// replaced: Publishing.AProducerThatIsBeyondRepairIsReplaced in adapters/kafka/tests.)
TEST(Incidents, Librdkafka3584TheOutboxSurvivesItsProducer) {
  ExpectGuarded({.world = World("letters", {Fault::kFailure, Fault::kUnknownNotApplied,
                                            Fault::kUnknownApplied, Fault::kCrashBefore}),
                 .guard_removed_by = "marked-before-published",
                 .breaks = Check::kPublished});
}

}  // namespace
}  // namespace once::testing
