// The conformance suite for log sources, ours and yours: every promise of once::LogSource as a
// test. A source passes by being instantiated from its own test file:
//
//   class MyFixture final : public once::testing::LogSourceFixture { … };
//   INSTANTIATE_TEST_SUITE_P(MyBroker, LogSourceConformance,
//                            ::testing::Values(once::testing::LogSourceUnderTest{
//                                .name = "mine",
//                                .make = [] { return std::make_unique<MyFixture>(); }}),
//                            once::testing::LogSourceName);
//
// What a source cannot do is skipped with the reason it gives, never left out of the suite.
// Thread-safety: as GoogleTest's; the tests of Wake() spawn one task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/message.h"
#include "once/publisher.h"
#include "once/source.h"

namespace once::testing {

// How a member joins. The group is the fixture's own, new for every test.
struct MemberOptions {
  std::string topic;
  // Zero: the source's own default.
  absl::Duration poll_interval_max;
  // LogSourceFixture::CutNextCommit() will concern it.
  bool can_be_cut = false;
};

// One broker and one consumer group, made anew for every test.
class LogSourceFixture {
 public:
  virtual ~LogSourceFixture() = default;

  // Runs a test's body. A simulator runs it inside its world; the default calls it.
  virtual void Run(const std::function<void()>& body) { body(); }
  virtual Executor& executor() = 0;

  // A topic with nothing in it.
  virtual std::string CreateTopic(std::int32_t partitions) = 0;
  // Stores it; `message.partition` is set. The offset it got.
  virtual std::int64_t Produce(const OutgoingMessage& message) = 0;
  // Stores many, one after the other; values are "0", "1", …
  virtual void ProduceMany(const TopicPartition& partition, int count);
  // One more member of the group. It joins at its first Poll().
  virtual std::unique_ptr<LogSource> NewMember(const MemberOptions& options) = 0;
  // Removes everything below `offset` from the log.
  virtual absl::Status Truncate(const TopicPartition& partition, std::int64_t offset);
  // Lets time pass without polling.
  virtual void Sleep(absl::Duration duration);

  // The connection is cut at the next commit of that kind: before the broker hears of it, or after
  // it has carried it out and before the member hears of that. The member can_be_cut.
  virtual absl::Status CutNextCommit(CommitMode mode, bool is_applied);
  // Returns when it has happened.
  virtual void AwaitCut() {}

  // The shortest MemberOptions::poll_interval_max that the broker accepts.
  virtual absl::Duration shortest_poll_interval() { return absl::Seconds(6); }
};

// Empty: the source can. Otherwise the reason why it cannot, which the skipped test prints.
struct LogSourceCapabilities {
  std::string why_no_second_member;   // several members share out the partitions
  std::string why_no_poll_interval;   // who does not poll loses the partitions
  std::string why_no_truncation;      // LogSourceFixture::Truncate()
  std::string why_no_metadata;        // metadata beside committed offsets
  std::string why_no_lag;             // Lag() answers
  std::string why_no_cut;             // LogSourceFixture::CutNextCommit()
  std::string why_no_wake_from_task;  // Wake() out of a running task ends a Poll()
};

struct LogSourceUnderTest {
  std::string name;
  LogSourceCapabilities capabilities = {};
  std::function<std::unique_ptr<LogSourceFixture>()> make;
};

// How GoogleTest prints the parameter.
inline void PrintTo(const LogSourceUnderTest& subject, std::ostream* out) { *out << subject.name; }

// For the last argument of INSTANTIATE_TEST_SUITE_P.
std::string LogSourceName(const ::testing::TestParamInfo<LogSourceUnderTest>& info);

// What a member has received, copied out of the batches.
struct ReceivedMessage {
  std::int64_t offset = 0;
  std::uint64_t assignment = 0;
  std::string value;
};

// A source and a listener that writes everything down.
class ConformanceMember : private SourceListener {
 public:
  // What `events` of several members are numbered by, to tell which came first.
  using Clock = std::uint64_t;

  ConformanceMember(LogSourceFixture& fixture, Clock& clock, const MemberOptions& options);

  struct Event {
    enum class Kind : std::uint8_t { kAssigned, kRevoked, kLost } kind;
    Clock at;
    std::vector<TopicPartition> partitions;
  };

  // Polls until `done`, at the longest for `timeout`; fails the test when that is not enough.
  void PollUntil(const std::function<bool()>& done, absl::Duration timeout = absl::Seconds(30));
  void PollFor(absl::Duration duration);
  void PollOnce(absl::Duration wait, std::size_t messages_max = 1000);
  absl::Status Start(const TopicPartition& partition, std::int64_t offset);
  absl::Status Close(absl::Duration wait = absl::Seconds(10));
  absl::Status Commit(const TopicPartition& partition, std::int64_t offset,
                      CommitMode mode = CommitMode::kVerified, std::string metadata = {});
  // What the source's Describe() says; fails the test when it cannot.
  PartitionBounds BoundsOf(const TopicPartition& partition);

  LogSource& source() { return *source_; }
  std::unique_ptr<LogSource> TakeSource() { return std::move(source_); }
  SourceListener& listener() { return *this; }

  bool owns(const TopicPartition& partition) const { return owned_.contains(partition); }
  std::size_t owned_count() const { return owned_.size(); }
  // Of the current assignment; 0 when there is none.
  std::uint64_t assignment_of(const TopicPartition& partition) const;
  std::vector<std::int64_t> OffsetsOf(const TopicPartition& partition) const;

  std::map<TopicPartition, std::vector<ReceivedMessage>> received;
  std::vector<Event> events;
  std::map<TopicPartition, absl::Status> errors;
  // Called inside the callbacks, after they were written down.
  std::function<void(const Assignment&)> on_assigned = [](const Assignment&) {};
  std::function<void(std::span<const TopicPartition>, Revocation)> on_revoked =
      [](std::span<const TopicPartition>, Revocation) {};

 private:
  void OnAssigned(const Assignment& assignment) override;
  void OnRevoked(std::span<const TopicPartition> partitions, Revocation kind) override;
  void OnPartitionError(const TopicPartition& partition, const absl::Status& error) override;

  LogSourceFixture& fixture_;
  Clock& clock_;
  std::unique_ptr<LogSource> source_;
  std::map<TopicPartition, std::uint64_t> owned_;
};

// Public, so that a source's own tests can start from the same vocabulary.
class LogSourceConformance : public ::testing::TestWithParam<LogSourceUnderTest> {
 protected:
  LogSourceConformance();
  ~LogSourceConformance() override;

  LogSourceFixture& fixture() { return *fixture_; }
  const LogSourceCapabilities& capabilities() const { return GetParam().capabilities; }
  ConformanceMember Join(const std::string& topic,
                         absl::Duration poll_interval_max = absl::ZeroDuration());
  ConformanceMember Join(const MemberOptions& options);
  // A member that has all `partitions` of `topic` and has started them at 0.
  void OwnAndStart(ConformanceMember& member, const std::string& topic, std::int32_t partitions);
  static void ExpectContiguous(const ConformanceMember& member, const TopicPartition& partition,
                               std::int64_t first, std::int64_t end);
  // Makes the member start its partitions inside the callback, after what it has received already.
  static void StartWhereItWas(ConformanceMember& member);

 private:
  std::unique_ptr<LogSourceFixture> fixture_;
  ConformanceMember::Clock clock_ = 0;
};

}  // namespace once::testing

// Test suites are named without their namespace in INSTANTIATE_TEST_SUITE_P.
using LogSourceConformance = once::testing::LogSourceConformance;
