// FakeSource is the client side of a FakeLog: what one process's consumer holds. The log hands it
// out by Connect(); fake_source.cc has its calls, fake_log.cc the broker and the coordinator.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "once/testing/fake_log.h"

namespace once::testing {

class FakeSource : public LogSource {
 public:
  FakeSource(FakeLog& log, std::shared_ptr<Process> process, absl::Duration poll_interval_max)
      : log_(log), process_(std::move(process)) {
    traits_.name = "fake";
    traits_.cluster = log.options_.cluster;
    traits_.group = log.options_.group;
    traits_.poll_interval_max = poll_interval_max;
  }
  ~FakeSource() override;

  const SourceTraits& traits() const override { return traits_; }
  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override;
  void Wake() override;
  absl::Status Close(absl::Time deadline, SourceListener& listener) override;
  absl::StatusOr<std::vector<PartitionBounds>> Describe(
      std::span<const TopicPartition> partitions) override;
  absl::Status Start(std::span<const PartitionOffset> positions) override;
  absl::Status Pause(std::span<const TopicPartition> partitions) override;
  absl::Status Commit(std::span<const PartitionOffset> positions, CommitMode mode) override;
  std::optional<std::int64_t> Lag(const TopicPartition& partition) override;

  Process& process() { return *process_; }
  std::set<int> OwnedPartitions() const;
  void set_generation(std::uint64_t generation) { generation_ = generation; }
  void MakeDeaf() { deaf_polls_ = 1; }

 private:
  // An owned partition, as this client sees it.
  struct Fetch {
    std::uint64_t assignment = 0;
    std::optional<std::int64_t> position;  // nullopt: not started, or paused
    bool has_failed = false;               // its error was reported
  };

  absl::StatusOr<Batch> PollMember(const PollOptions& options, SourceListener& listener,
                                   Fault fault);
  // Brings this client up to what the coordinator says. True when something was done.
  bool Serve(SourceListener& listener);
  bool Rejoin(SourceListener& listener, FakeLog::Member& member);
  bool HearAssignment(SourceListener& listener, FakeLog::Member& member);
  void Revoke(SourceListener& listener, const std::set<int>& partitions, Revocation kind);
  void ReportErrors(SourceListener& listener);
  Batch Fill(std::size_t messages_max);
  TopicPartition Name(int partition) const {
    return {.topic = log_.options_.topic, .partition = partition};
  }
  Fetch* Find(const TopicPartition& partition);
  bool IsValid(const TopicPartition& partition) const;

  FakeLog& log_;
  std::shared_ptr<Process> process_;
  SourceTraits traits_;
  std::uint64_t member_ = 0;      // 0: not in the group
  std::uint64_t generation_ = 0;  // exposed as soon as the rebalance is complete
  std::uint64_t assignments_ = 0;
  std::map<int, Fetch> owned_;
  std::size_t turn_ = 0;  // which partition a batch begins with
  int deaf_polls_ = 0;    // so many do not notice that the session is over
  bool is_deaf_ = false;
  bool is_woken_ = false;
  bool is_closed_ = false;
};

}  // namespace once::testing
