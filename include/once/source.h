// A Source delivers messages of a broker. LogSource: partitions with offsets and numbered
// assignments (Kafka). QueueSource: deliveries that are settled one by one (RabbitMQ, RocketMQ).
//
// Thread-safety: every call from one thread, the polling one, except Wake(), which may come from
// any. The listener is called inside Poll() and Close(), on the polling thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/batch.h"
#include "once/position.h"

namespace once {

struct SourceTraits {
  std::string name;     // "kafka", as it appears in logs and metrics
  std::string cluster;  // the broker cluster's own id; may be empty until the first assignment
  std::string group;
  bool can_replay = true;  // a log: may be read again from an earlier position
  // Longest time between two polls before the broker gives the partitions to somebody else.
  absl::Duration poll_interval_max = absl::Minutes(5);
};

// Partitions that became ours with one rebalance. `number` grows with every assignment of this
// source; messages carry it, so that those of an older one can be told apart.
struct Assignment {
  std::uint64_t number = 0;
  std::vector<TopicPartition> partitions;
};

enum class Revocation : std::uint8_t {
  kRevoked,  // still ours until the callback returns: finish, commit, then let go
  kLost,     // somebody else may own them already: commit nothing
};

class SourceListener {
 public:
  virtual ~SourceListener() = default;
  // The partitions are ours; nothing is fetched from them before LogSource::Start().
  virtual void OnAssigned(const Assignment& assignment) = 0;
  virtual void OnRevoked(std::span<const TopicPartition> partitions, Revocation kind) = 0;
  // A partition that cannot be read on: kOutOfRange when its position is outside the log.
  virtual void OnPartitionError(const TopicPartition& partition, const absl::Status& error) = 0;
};

struct PollOptions {
  std::size_t messages_max = 1000;
  absl::Time deadline = absl::InfinitePast();  // returns by then, with what there is
};

class Source {
 public:
  virtual ~Source() = default;
  virtual const SourceTraits& traits() const = 0;

  // Joins the group at the first call. Returns early once there are messages, or after Wake().
  // Messages whose partition was revoked inside this very call are already dropped. An error means
  // that the source cannot go on (fatal client error, not allowed); trouble that heals by itself is
  // the source's own business.
  virtual absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) = 0;

  // Makes the running or the next Poll return early.
  virtual void Wake() = 0;

  // Leaves the group, by `deadline` at the latest; OnRevoked comes first for what is still owned.
  // Batches that were handed out stay valid.
  virtual absl::Status Close(absl::Time deadline, SourceListener& listener) = 0;
};

struct PartitionOffset {
  TopicPartition partition;
  std::int64_t offset = 0;
  // Commit() only: kept by the broker beside the offset, at most 4096 bytes; Describe() returns it.
  std::string metadata = {};
};

// What the broker knows of a partition.
struct PartitionBounds {
  absl::Status status;                    // not OK: nothing else here is known
  std::int64_t first = 0;                 // oldest offset still readable
  std::int64_t end = 0;                   // one past the newest readable one
  std::optional<std::int64_t> committed;  // the group's committed offset
  std::string committed_metadata = {};    // what was committed with it
};

enum class CommitMode : std::uint8_t {
  kHint,      // asynchronous; the source logs a failure, the next one makes it good
  kVerified,  // synchronous, with member and generation: fails for whoever is no longer a member
};

class LogSource : public Source {
 public:
  // One entry per partition, in order. Blocks for at most a few seconds.
  virtual absl::StatusOr<std::vector<PartitionBounds>> Describe(
      std::span<const TopicPartition> partitions) = 0;

  // How long the broker keeps the topic's records by its configuration; infinite where none is
  // removed for its age. kUnimplemented: this source cannot tell. Blocks for at most a few seconds.
  virtual absl::StatusOr<absl::Duration> ReadRetention(std::string_view topic) {
    return absl::UnimplementedError("the retention of " + std::string(topic) + " is not known");
  }

  // Whether the broker removes records of the topic because a later one has their key: then a
  // message that is missing proves no loss. kUnimplemented: this source cannot tell. Blocks for at
  // most a few seconds.
  virtual absl::StatusOr<bool> IsCompacted(std::string_view topic) {
    return absl::UnimplementedError("whether " + std::string(topic) + " is compacted is not known");
  }

  // Fetches from these offsets from now on; messages fetched earlier from those partitions are
  // never delivered any more. Starts an assigned partition, seeks one that is running, and resumes
  // a paused one. Partitions that are no longer assigned are ignored.
  virtual absl::Status Start(std::span<const PartitionOffset> positions) = 0;

  // Delivers nothing more from these partitions until Start(). May cost up to a second of fetching.
  virtual absl::Status Pause(std::span<const TopicPartition> partitions) = 0;

  // Commits positions (next offset to read) for partitions that are still assigned; others are left
  // out, and kFailedPrecondition is returned in kVerified mode when there are any.
  virtual absl::Status Commit(std::span<const PartitionOffset> positions, CommitMode mode) = 0;

  // Messages between the position and the end of the log, as last heard from the broker; nullopt
  // when unknown.
  virtual std::optional<std::int64_t> Lag(const TopicPartition& partition) = 0;
};

enum class Settlement : std::uint8_t { kAccept, kRequeue, kReject };

class QueueSource : public Source {
 public:
  struct Settled {
    std::int64_t tag = 0;          // Message::offset()
    std::uint64_t assignment = 0;  // the channel epoch; a tag of an older one is dropped
    Settlement settlement = Settlement::kAccept;
  };
  virtual absl::Status Settle(std::span<const Settled> settled) = 0;
};

}  // namespace once
