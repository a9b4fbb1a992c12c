// PlanStart decides where a partition begins, from everything that is known when it is assigned:
// the row in the store, the group's offset at the broker and whose it is, the bounds of the log,
// and an operator's directive. Pure: no clock, no I/O. The engine carries the decision out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/consumer.h"
#include "once/log.h"
#include "once/position.h"
#include "once/source.h"

namespace once {

struct StartFacts {
  PartitionKey key;

  // The store.
  std::string store_id;  // StoreTraits::id; empty: it keeps nothing
  std::uint64_t open_count = 0;
  bool is_store_shared = false;  // other processes open it too: a greater open count says nothing
  // False for plain handlers: their store has no rows, and the group's offset at the broker is the
  // authority. The six after it are then as they are here.
  bool has_rows = true;
  std::optional<std::int64_t> row;  // its position; nullopt: there is none
  std::optional<AppliedRecord> last_applied;
  PositionDirective directive = PositionDirective::kNone;
  std::string other_cluster;  // TakenPosition::other_cluster
  bool is_row_lost = false;   // this process knows that there was a row
  // Where this store began with the partition, as far as this process knows by itself.
  std::optional<std::int64_t> began;

  // The broker.
  PartitionBounds bounds;
  bool is_end_certain = true;  // false: a position beyond bounds.end may yet turn out to be inside

  // How long a record, and how long its id, is kept; asked for where the store forgets.
  absl::Duration store_retention = absl::InfiniteDuration();
  absl::StatusOr<absl::Duration> log_retention = absl::InfiniteDuration();

  // What the user has chosen.
  absl::Duration redelivery_horizon = absl::ZeroDuration();
  ShortRetention short_retention = ShortRetention::kStop;
  StartAt start = StartAt::kEarliest;
  OutOfRange out_of_range = OutOfRange::kStop;
  ForeignStore foreign_store = ForeignStore::kRefuse;
};

enum class StartAction : std::uint8_t {
  kGoOn,      // at `position`: the row says so, or there are no rows
  kMakeRow,   // make a row at `position`, then go on there
  kMoveRow,   // set the row to `position`, then go on there
  kAskAgain,  // ask the broker for the bounds again, after a while
  kStop,      // stop the partition: `stop` says why, and the way out
};

struct StartFinding {
  LogLevel level = LogLevel::kInfo;
  std::string_view action;  // also the finding's name in metrics
  std::string message;
};

// The offsets from `first` on, before `end`.
struct OffsetRange {
  std::int64_t first = 0;
  std::int64_t end = 0;
};

struct StartPlan {
  StartAction action = StartAction::kGoOn;
  std::int64_t position = 0;
  // Before anything else `position` is committed to the broker, verified, under this store's name.
  bool commits_first = false;
  // The record that must still be at its offset: its topic is another one if it is not.
  std::optional<AppliedRecord> witness;
  std::optional<std::int64_t> commit_began;  // StoreMark::began of that first commit …
  std::optional<std::int64_t> began;         // … and of later ones
  bool is_retention_short = false;           // ids may be forgotten before their last copy
  std::optional<OffsetRange> gap;            // messages that were never handled are missing
  absl::Status stop;
  std::string_view stop_finding;       // the stop's name in metrics
  std::vector<StartFinding> findings;  // to be logged and counted
};

StartPlan PlanStart(const StartFacts& facts);

// Why a partition stops whose witness was not what the broker has at that offset, and the way out.
absl::Status OtherTopicError(const PartitionKey& key, const AppliedRecord& witness,
                             const AppliedRecord& found, std::int64_t position);

}  // namespace once
