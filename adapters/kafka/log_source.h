// KafkaLogSource is the LogSource over a librdkafka consumer. Its parts:
//   source.cc            options, Subscribe, the life of the source
//   source_fetch.cc      Poll: waiting, taking, which messages are delivered
//   source_rebalance.cc  assignments come and go
//   source_position.cc   Start and Pause, as the client understands them
//   source_commit.cc     Describe, Commit, Lag
//   source_retention.cc  ReadRetention, IsCompacted
//
// Why positions are ours: librdkafka's own "application position" is wrong after its batch API was
// interrupted by a pause or a rebalance (2.0.2). So nothing is ever resumed from it. Whatever may
// have disturbed the queue is followed by an explicit seek to the offset after the last message
// that this source delivered.
//
// Why the client learns of a partition only at its first Start(): it must be told an offset then,
// and a logical one (END, STORED) is looked up in the background; when the answer meets a seek that
// came meanwhile, the client looks up again and overrides the seek (2.0.2: silent loss).
#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/kafka/client.h"
#include "adapters/kafka/handles.h"
#include "adapters/kafka/partition_table.h"
#include "adapters/kafka/received.h"
#include "once/kafka/source.h"
#include "once/source.h"

namespace once::kafka {

class KafkaLogSource final : public LogSource, private ClientListener {
 public:
  KafkaLogSource(std::shared_ptr<Client> client, const SourceOptions& options);
  ~KafkaLogSource() override;

  const SourceTraits& traits() const override { return traits_; }
  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override;
  void Wake() override;
  absl::Status Close(absl::Time deadline, SourceListener& listener) override;
  absl::StatusOr<std::vector<PartitionBounds>> Describe(
      std::span<const TopicPartition> partitions) override;
  absl::Status Start(std::span<const PartitionOffset> positions) override;
  absl::Status Pause(std::span<const TopicPartition> partitions) override;
  absl::Status Commit(std::span<const PartitionOffset> positions, CommitMode mode) override;
  absl::StatusOr<absl::Duration> ReadRetention(std::string_view topic) override;
  absl::StatusOr<bool> IsCompacted(std::string_view topic) override;
  std::optional<std::int64_t> Lag(const TopicPartition& partition) override;

 private:
  // ClientListener, called inside Poll() and Close().
  void OnRebalance(rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t* partitions) override;
  void OnError(rd_kafka_resp_err_t error, std::string_view text) override;
  void OnCommitted(rd_kafka_resp_err_t error,
                   const rd_kafka_topic_partition_list_t* offsets) override;

  // source.cc
  void CheckThread();
  absl::Status CheckUsable();
  absl::Status Join();
  void LeaveGroup(absl::Time deadline);
  bool AbortsWhenDestroyed() const;

  // Messages of one partition, and what the table has of it.
  struct Run {
    const rd_kafka_topic_t* topic = nullptr;
    std::int32_t partition = 0;
    PartitionState* state = nullptr;
  };

  // source_fetch.cc
  int WaitMilliseconds(absl::Time deadline) const;
  void Fetch(std::size_t messages_max, int wait_ms, Received& received);
  std::size_t Take(std::size_t messages_max, int wait_ms);
  bool Accept(const rd_kafka_message_t& message, std::uint64_t tick, Received& received);
  void HandleError(const rd_kafka_message_t& message);
  void HandlePartitionError(const rd_kafka_message_t& message, PartitionState& state);

  // source_rebalance.cc
  void OnAssign(rd_kafka_topic_partition_list_t* partitions);
  void OnRevoke(rd_kafka_topic_partition_list_t* partitions);
  absl::Status TellAssign(rd_kafka_topic_partition_list_t* partitions);
  absl::Status TellUnassign(rd_kafka_topic_partition_list_t* partitions);
  bool LearnCluster();
  std::string MemberId() const;
  bool IsMember() const;

  // source_position.cc
  void ApplyPositions();
  void ApplyPauses();
  void AssignStarting();
  absl::Status UnassignStopped(bool& has_removed);
  void Settle();
  void SeekStarting();
  void Seek(rd_kafka_topic_partition_list_t* targets);

  // source_commit.cc
  absl::Status CommitAndWait(const rd_kafka_topic_partition_list_t* offsets);

  void Fail(absl::Status failure) {
    if (failure_.ok()) failure_ = std::move(failure);
  }

  std::shared_ptr<Client> client_;
  Owned<rd_kafka_queue_t> queue_;    // after client_: goes before the handle
  Owned<rd_kafka_queue_t> leaving_;  // events of a client that leaves its group
  SourceTraits traits_;
  const std::vector<std::string> topics_;
  const bool is_cooperative_;
  PartitionTable table_;
  std::string member_id_;               // under which the last assignment came
  SourceListener* listener_ = nullptr;  // of the running Poll or Close
  std::vector<rd_kafka_message_t*> taken_;
  Run run_;  // of the message before, in one Fetch()
  const std::shared_ptr<HeaderInterest> header_interest_ = std::make_shared<HeaderInterest>();
  const std::shared_ptr<ChunkPool> chunks_ = std::make_shared<ChunkPool>();
  std::uint64_t rebalances_ = 0;
  bool is_joined_ = false;
  bool is_closed_ = false;
  absl::Status failure_;  // why no Poll can succeed any more
  std::atomic<bool> is_woken_ = false;
  std::thread::id polling_thread_;
};

// A list of these partitions, offsets unset.
Owned<rd_kafka_topic_partition_list_t> MakeList(std::span<const TopicPartition> partitions);

}  // namespace once::kafka
