// Incidents about partitions that change hands. docs/incidents.md lists all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/simulation/incident.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/wrapped_seams.h"

namespace once::testing {
namespace {

// A listener that passes everything on.
class WrappedListener : public SourceListener {
 public:
  explicit WrappedListener(SourceListener& inner) : inner_(inner) {}
  void OnAssigned(const Assignment& assignment) override { inner_.OnAssigned(assignment); }
  void OnRevoked(std::span<const TopicPartition> partitions, Revocation kind) override {
    inner_.OnRevoked(partitions, kind);
  }
  void OnPartitionError(const TopicPartition& partition, const absl::Status& error) override {
    inner_.OnPartitionError(partition, error);
  }

 protected:
  SourceListener& inner_;
};

// A client that goes on where its fetch was, whatever it is told.
class StartForgotten : public WrappedSource {
 public:
  using WrappedSource::WrappedSource;
  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    absl::StatusOr<Batch> batch = inner_->Poll(options, listener);
    if (!batch.ok()) return batch;
    for (const Message& message : batch->messages()) {
      next_[{std::string(message.topic()), message.partition()}] = message.offset() + 1;
    }
    return batch;
  }
  absl::Status Start(std::span<const PartitionOffset> positions) override {
    std::vector<PartitionOffset> starts(positions.begin(), positions.end());
    for (PartitionOffset& start : starts) {
      start.offset = std::max(start.offset, next_[start.partition]);
    }
    return inner_->Start(starts);
  }

 private:
  std::map<TopicPartition, std::int64_t> next_;
};

// librdkafka#1720 (https://github.com/confluentinc/librdkafka/issues/1720): after rebalances
// consumers went on behind messages that nobody had got. After every assignment the engine says
// itself where to fetch from, and it is where the last durable outcome ends.
TEST(Incidents, Librdkafka1720EveryAssignmentBeginsAtTheFirstUnsettledMessage) {
  Scenario world = World("plain-letters", {Fault::kRebalance, Fault::kExpel});
  world.workers = 1;
  ExpectGuarded(
      {.world = world, .remove_guard = PlantSource<StartForgotten>, .breaks = Check::kDrained});
}

// What a client had fetched for an assignment that has ended, and delivers all the same once the
// partition is back.
class Straggler {
 public:
  explicit Straggler(const Message& message)
      : topic_(message.topic()),
        value_(message.value().value_or("")),
        partition_(message.partition()),
        offset_(message.offset()),
        timestamp_ms_(message.timestamp_ms()),
        assignment_(message.assignment()) {
    for (std::size_t i = 0; i < message.header_count(); ++i) {
      const Header header = message.header(i);
      headers_.push_back(
          {.name = std::string(header.name), .value = std::string(header.value.value_or(""))});
    }
  }
  std::uint64_t assignment() const { return assignment_; }
  Message View(std::uint64_t assignment) const {
    return Message({.topic = topic_,
                    .partition = partition_,
                    .offset = offset_,
                    .timestamp_ms = timestamp_ms_,
                    .assignment = assignment,
                    .value = value_,
                    .header_reader = OwnedHeaderReader(),
                    .headers_object = &headers_});
  }

 private:
  std::string topic_;
  std::string value_;
  std::vector<OwnedHeader> headers_;
  std::int32_t partition_;
  std::int64_t offset_;
  std::int64_t timestamp_ms_;
  std::uint64_t assignment_;
};

// Delivers the last message of the former assignment before the first one of the new one; with the
// number that it came with, or as if there were no numbers.
template <bool kHasNumber>
class StragglingSource : public WrappedSource {
 public:
  using WrappedSource::WrappedSource;
  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    absl::StatusOr<Batch> polled = inner_->Poll(options, listener);
    if (!polled.ok() || polled->empty()) return polled;
    struct Buffers {
      Batch batch;
      std::vector<std::shared_ptr<const Straggler>> stragglers;
    };
    const auto buffers = std::make_shared<Buffers>(Buffers{.batch = *std::move(polled)});
    std::vector<Message> messages;
    for (Message& message : buffers->batch.messages()) {
      std::shared_ptr<const Straggler>& last = last_[message.partition()];
      if (last != nullptr && last->assignment() != message.assignment()) {
        messages.push_back(last->View(kHasNumber ? last->assignment() : message.assignment()));
        buffers->stragglers.push_back(last);
      }
      last = std::make_shared<Straggler>(message);
      messages.push_back(std::move(message));
    }
    return Batch(std::move(messages), buffers);
  }

 private:
  std::map<std::int32_t, std::shared_ptr<const Straggler>> last_;
};

// FluidFramework PR 9404 (https://github.com/microsoft/FluidFramework/pull/9404): the client
// delivered a message of a partition that was no longer assigned; its offset was noted, and when
// the partition came back, consumption went on behind it.
// parallel-consumer#875 (https://github.com/confluentinc/parallel-consumer/issues/875): a record of
// a former assignment stood in the way of the same record of the present one, which was dropped.
TEST(Incidents, FluidFramework9404AMessageOfAFormerAssignmentMovesNothing) {
  Scenario world = World("plain-letters", {Fault::kRebalance, Fault::kExpel});
  world.workers = 1;
  PlantSource<StragglingSource<true>>(world);
  ExpectGuarded({.world = world,
                 .remove_guard = PlantSource<StragglingSource<false>>,
                 .breaks = Check::kAcknowledged});
}

// parallel-consumer#777 (https://github.com/confluentinc/parallel-consumer/issues/777) and #365: a
// partition was revoked while a record of it was at work, and came back; the outcome of the first
// run was thrown away, or overwrote the second one's.
TEST(Incidents, ParallelConsumer777AnOwnerOfThePastRecordsNothing) {
  ExpectGuarded(
      {.world = World("plain-one-partition", {Fault::kStall, Fault::kExpel, Fault::kRebalance}),
       .guard_removed_by = "fence-ignored",
       .breaks = Check::kFencedEffect});
}

// Claims that keep nobody out.
class NobodyIsAtWork : public OtherVerdict {
 public:
  using OtherVerdict::OtherVerdict;
  absl::Status Begun(std::span<const Claim> claims, std::span<absl::Status> outcomes) override {
    (void)inner_.Begun(claims, outcomes);
    std::fill(outcomes.begin(), outcomes.end(), absl::OkStatus());
    return absl::OkStatus();
  }

 private:
  void Change(ClaimResult& result) const override {
    if (result.verdict == ClaimVerdict::kInProgress) result.verdict = ClaimVerdict::kFresh;
  }
};

// parallel-consumer#843 (https://github.com/confluentinc/parallel-consumer/issues/843): one record
// was at work in two threads at once.
TEST(Incidents, ParallelConsumer843NobodyRunsWhatAnotherOneRuns) {
  Scenario world = World("plain-copies", {});
  world.ignored = ProtocolChecks();
  ExpectGuarded({.world = world,
                 .budget = {.preemptions = 1},
                 .remove_guard = PlantClaims<NobodyIsAtWork>,
                 .breaks = Check::kOneEffect});
}

// A client that takes lost partitions for revoked ones.
class LostIsRevoked : public WrappedSource {
 public:
  using WrappedSource::WrappedSource;
  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    Listener revoked(listener);
    return inner_->Poll(options, revoked);
  }
  absl::Status Close(absl::Time deadline, SourceListener& listener) override {
    Listener revoked(listener);
    return inner_->Close(deadline, revoked);
  }

 private:
  class Listener : public WrappedListener {
   public:
    using WrappedListener::WrappedListener;
    void OnRevoked(std::span<const TopicPartition> partitions, Revocation) override {
      inner_.OnRevoked(partitions, Revocation::kRevoked);
    }
  };
};

// librdkafka PR 5604 (https://github.com/confluentinc/librdkafka/pull/5604): an assignment was lost
// while an ordinary rebalance was under way; the application was told of a revocation only, and
// committed offsets of partitions that were somebody else's already. Nothing here depends on the
// difference: the row says whose the partition is.
TEST(Incidents, Librdkafka5604ALossThatLooksLikeARevocationHarmsNobody) {
  Scenario world = World("two-partitions", {Fault::kStall, Fault::kExpel, Fault::kRebalance});
  PlantSource<LostIsRevoked>(world);
  ExpectGuarded(
      {.world = world, .guard_removed_by = "blind-upsert", .breaks = Check::kExpectedStamp});
}

}  // namespace
}  // namespace once::testing
