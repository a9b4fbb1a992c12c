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

namespace once {

enum class PartitionPhase : std::uint8_t {
  kUnread,   // the store's row must be taken before anything is fetched or handled
  kReading,  // a take is with the worker
  kActive,   // fetched and handled
  kStopped,  // nothing more until it is assigned anew; stop_reason says why
};

struct Partition {
  PartitionKey key;
  std::string scope;
  std::uint64_t assignment = 0;
  PartitionPhase phase = PartitionPhase::kUnread;

  // kUnread: what must happen before the row may be taken.
  bool needs_description = true;    // ask the broker for bounds and the group's committed offset
  bool needs_verification = false;  // somebody else wrote the row: prove membership first
  std::int64_t start = 0;           // where the row begins if there is none
  std::optional<PartitionBounds> bounds;  // as last described; reset once the position is checked
  int beyond_end_checks = 0;              // readings in a row with a position beyond the log's end
  bool was_taken = false;                 // the row was taken once in this assignment
  bool is_created_here = false;           // this consumer made the row, at `start`
  bool is_row_gone = false;               // the row vanished and is to be made anew, at `start` …
  bool is_row_lost = false;               // … which is not known, since somebody else had made it

  PositionStamp expected;                         // the row as this owner last wrote it
  std::optional<PositionStamp> unknown_commit;    // what an unknown commit would have written …
  std::shared_ptr<ConsumerStats> unknown_counts;  // … and settled; shared by its partitions
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
      absl::InfinitePast();          // row known to be as expected; for the idle audit
  std::int64_t committed_hint = -1;  // last broker commit
  absl::Status stop_reason;

  const TopicPartition& name() const { return key.partition; }
};

}  // namespace once
