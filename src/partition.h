// The state of one assigned partition, owned by the polling thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/consumer.h"
#include "once/offset_tracker.h"
#include "once/position.h"
#include "once/source.h"
#include "src/delivery.h"
#include "src/plan_start.h"
#include "src/work_order.h"

namespace once {

enum class PartitionPhase : std::uint8_t {
  kUnread,   // the store's row must be taken before anything is fetched or handled
  kReading,  // the worker takes or moves the row
  kActive,   // fetched and handled
  // Nothing more until it is assigned anew or an operator orders a position; stop_reason says why.
  kStopped,
};

struct Partition {
  PartitionKey key;
  std::string scope;
  std::uint64_t assignment = 0;
  PartitionPhase phase = PartitionPhase::kUnread;

  // kUnread: what must happen before the row may be taken.
  bool needs_description = true;    // ask the broker for bounds and the group's committed offset
  bool needs_verification = false;  // prove membership first, by a commit with our generation
  absl::StatusOr<absl::Duration> log_retention = absl::InfiniteDuration();
  std::optional<PartitionBounds> bounds;  // as last described; reset once the start is carried out
  std::optional<StartPlan> plan;          // kUnread: a start that makes or moves the row
  int beyond_end_checks = 0;              // readings in a row with a position beyond the log's end
  bool was_taken = false;                 // there was a row, and it was taken in this assignment
  bool is_row_lost = false;               // … and it has vanished
  std::optional<std::int64_t> began;      // where this store began with the partition, if known

  // The row as this owner last wrote it; all zero without one.
  PositionStamp expected;
  std::int64_t reach = 0;
  // What the disk has for certain, where commits beyond it are not synced yet.
  std::optional<std::int64_t> synced_position;
  std::optional<AppliedRecord> last_applied;
  std::optional<PositionStamp> unknown_commit;    // what an unknown commit would have written …
  std::shared_ptr<ConsumerStats> unknown_counts;  // … and settled; shared by its partitions

  // After an unclean end one of the messages below it may have ended the process.
  std::int64_t suspect_until = 0;
  std::optional<RecordedAttempt> attempt;  // whose handler has not reached a verdict yet
  // Fetched once more and compared before anything that follows it is buffered.
  std::optional<AppliedRecord> witness;

  OffsetTracker tracker{0};
  std::deque<Delivery> queue;                    // unsettled and not with the worker, in order
  absl::Time not_before = absl::InfinitePast();  // nothing is taken from it until then
  int trouble = 0;                               // store errors in a row
  int restarts = 0;          // fetches begun anew in a row, without a commit in between
  bool is_fetching = false;  // the source was told to start
  // How the queue was left when it was last cut to the share of a waiting partition.
  std::size_t trimmed_messages = 0;
  std::size_t trimmed_bytes = 0;
  bool is_paused = false;  // at the source, after that
  absl::Time last_checked =
      absl::InfinitePast();                  // row known to be as expected; for the idle audit
  std::int64_t committed_hint = -1;          // last broker commit …
  absl::Time hinted = absl::InfinitePast();  // … and when
  absl::Status stop_reason;

  // Null: its messages are told apart by their ids alone, in all its life.
  std::shared_ptr<SettledNumbers> numbers;

  // Null: nobody looks for losses in it.
  std::shared_ptr<SequenceTracker> sequences;
  bool is_compacted = false;  // a number that is missing there proves nothing
  bool is_gap_lost = false;   // it went on behind a gap, and has not committed there yet
  TrackedPartition tracked;
  std::vector<SideRecord> side_records;  // not with the tracker yet
  bool is_read_anew = false;             // the tracker is not told yet that they all come again
  bool has_dropped_marks = false;        // some never came to the tracker
  absl::Time judged = absl::InfinitePast();
  // Where it was last seen to be read to its end, and since when it is.
  std::int64_t tail_position = -1;
  absl::Time at_tail_since = absl::InfinitePast();

  const TopicPartition& name() const { return key.partition; }
  // What the broker may be told.
  std::int64_t durable_position() const { return synced_position.value_or(expected.position); }
  bool is_suspect() const { return expected.position < suspect_until; }
  // How many messages in hand make the next batch while it is_suspect(). One: it runs singly,
  // its attempt recorded before it begins.
  std::size_t suspects_at_once() const;
  bool is_single() const { return is_suspect() && suspects_at_once() == 1; }
  // Where a fetch that was interrupted goes on.
  std::int64_t fetch_next() const { return witness ? witness->offset : tracker.next(); }
};

}  // namespace once
