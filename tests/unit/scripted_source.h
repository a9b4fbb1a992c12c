// ScriptedLog: a broker of a few in-memory partitions that does what a test tells it and writes
// down what the engine asked of it. ScriptedSource is the LogSource on top of it; the test keeps
// the log.
//
//   auto log = std::make_shared<ScriptedLog>();
//   log->Append({"orders", 0}, {.headers = Id("a"), .value = "1"});
//   log->Assign({{"orders", 0}});                      // at the next Poll
//   options.source = std::make_unique<ScriptedSource>(log);
//   …
//   EXPECT_THAT(log->calls(), Contains("start orders[0]@0"));
//
// Thread-safety: safe for concurrent use, so that Run() can be tested with real threads too.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "once/source.h"

namespace once {

struct ScriptedRecord {
  std::optional<std::string> key = std::nullopt;
  std::optional<std::string> value = std::nullopt;
  std::vector<OwnedHeader> headers = {};
  std::int64_t timestamp_ms = 1'600'000'000'000;
  bool is_hole = false;  // never delivered
};

class ScriptedLog {
 public:
  // What a test does to the broker. Events reach the listener at the beginning of the next Poll, in
  // the order in which they were scheduled.
  std::int64_t Append(const TopicPartition& partition, ScriptedRecord record);
  // Offsets below `first` are gone, as after retention.
  void DeleteBelow(const TopicPartition& partition, std::int64_t first);
  // The topic was recreated: the log is empty and begins at 0.
  void Recreate(const TopicPartition& partition);
  void Assign(std::vector<TopicPartition> partitions);
  void Revoke(std::vector<TopicPartition> partitions, Revocation kind = Revocation::kRevoked);
  void FailPartition(const TopicPartition& partition, absl::Status error);
  void FailPoll(absl::Status error);
  // A message of any assignment, delivered by the next Poll whatever was started or paused.
  void DeliverStray(const TopicPartition& partition, std::int64_t offset, std::uint64_t assignment,
                    ScriptedRecord record);
  // Poll waits for messages or Wake() in real time; without it, it returns at once.
  void BlockPolls();

  // What the broker answers.
  void SetCommitted(const TopicPartition& partition, std::int64_t offset,
                    std::string metadata = "");
  void AnswerVerifiedCommitsWith(absl::Status status);
  void AnswerHintsWith(absl::Status status);
  void IgnorePauses();
  void AnswerNextStartWith(absl::Status status);
  // Called once, before the next Start, or after the next verified commit that succeeds.
  void OnNextStart(std::function<void()> hook);
  void OnNextVerifiedCommit(std::function<void()> hook);
  void AnswerNextDescribeWith(absl::Status status);
  // Of every topic; until then it is not known.
  void SetRetention(absl::Duration retention);
  void FailRetention(absl::Status error);
  // Every topic is.
  void Compact();
  // An offset that has no message, as after compaction.
  void AppendHole(const TopicPartition& partition);
  void AnswerDescriptionsOf(const TopicPartition& partition, absl::Status status);

  // What the engine did: "start orders[0]@5", "pause orders[0]", "commit orders[0]@5" (a hint),
  // "verify orders[0]@5", "close".
  std::vector<std::string> calls() const;
  void ForgetCalls();
  std::vector<PollOptions> polls() const;
  std::optional<std::int64_t> committed(const TopicPartition& partition) const;
  std::string committed_metadata(const TopicPartition& partition) const;
  // Batches whose receive buffers the engine still holds.
  std::size_t pinned_batches() const;
  void WaitForPolls(std::size_t count);

 private:
  friend class ScriptedSource;
  using Event = std::function<void(SourceListener&)>;

  struct Partition {
    std::int64_t first = 0;
    std::vector<ScriptedRecord> records;  // of offsets first, first + 1, …
    std::optional<std::int64_t> committed;
    std::string metadata;
    absl::Status description;
    std::int64_t fetch_at = 0;
    bool is_fetching = false;
    std::int64_t end() const { return first + static_cast<std::int64_t>(records.size()); }
  };
  struct Stray {
    TopicPartition partition;
    std::int64_t offset = 0;
    std::uint64_t assignment = 0;
    ScriptedRecord record;
  };

  std::optional<Event> TakeEvent();
  std::vector<Stray> TakeRecords(std::size_t messages_max);
  bool HasWork() const;
  std::function<void()> TakeHook(std::function<void()>& hook);
  absl::Status Commit(std::span<const PartitionOffset> positions, bool is_hint);
  void Note(std::string call) { calls_.push_back(std::move(call)); }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<TopicPartition, Partition> partitions_;
  std::optional<absl::StatusOr<absl::Duration>> retention_;
  std::map<TopicPartition, std::uint64_t> assigned_;
  std::deque<Event> events_;
  std::deque<Stray> strays_;
  std::vector<std::string> calls_;
  std::vector<PollOptions> polls_;
  std::vector<std::weak_ptr<const void>> batches_;
  absl::Status poll_error_;
  absl::Status verified_answer_;
  absl::Status hint_answer_;
  std::optional<absl::Status> start_answer_;
  std::optional<absl::Status> describe_answer_;
  std::function<void()> start_hook_;
  std::function<void()> verified_hook_;
  std::uint64_t assignments_ = 0;
  bool is_blocking_ = false;
  bool is_compacted_ = false;
  bool is_pausing_ = true;
  bool is_woken_ = false;
};

class ScriptedSource : public LogSource {
 public:
  explicit ScriptedSource(std::shared_ptr<ScriptedLog> log, SourceTraits traits = DefaultTraits())
      : log_(std::move(log)), traits_(std::move(traits)) {}

  static SourceTraits DefaultTraits() {
    return {.name = "scripted", .cluster = "cluster-1", .group = "billing"};
  }

  const SourceTraits& traits() const override { return traits_; }
  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override;
  void Wake() override;
  absl::Status Close(absl::Time deadline, SourceListener& listener) override;
  absl::StatusOr<absl::Duration> ReadRetention(std::string_view topic) override;
  absl::StatusOr<bool> IsCompacted(std::string_view topic) override;
  absl::StatusOr<std::vector<PartitionBounds>> Describe(
      std::span<const TopicPartition> partitions) override;
  absl::Status Start(std::span<const PartitionOffset> positions) override;
  absl::Status Pause(std::span<const TopicPartition> partitions) override;
  absl::Status Commit(std::span<const PartitionOffset> positions, CommitMode mode) override;
  std::optional<std::int64_t> Lag(const TopicPartition& partition) override;

 private:
  Batch MakeBatch(std::vector<ScriptedLog::Stray> records);

  const std::shared_ptr<ScriptedLog> log_;
  const SourceTraits traits_;
};

}  // namespace once
