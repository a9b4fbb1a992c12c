// OutgoingOperations is what an operator sees of a log of outgoing messages (outgoing_log.h) and
// may decide about it: what waits, what is parked and why, and whether that is tried again or given
// up. `once outbox` works through it, on a closed store or through the process that has it open.
//
// A log that cannot do one of these says kUnimplemented.
//
// Thread-safety: safe for concurrent use, beside transactions and the relay of the same store.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/publisher.h"

namespace once {

struct OutgoingRow {
  // Names the row as long as it is in the log. Of two rows of one order the one that was committed
  // first has the smaller number.
  std::int64_t number = 0;
  OutgoingMessage message;
  absl::Time put_at = absl::InfinitePast();  // by the store's clock, for its age
  // Not OK: the store cannot read the row any more, and all of it but the number is lost. The log
  // tells it all the same: it must neither hold up the others nor vanish.
  absl::Status damage = absl::OkStatus();
};

struct ParkedRow {
  OutgoingRow row;
  std::string reason;
  absl::Time parked_at = absl::InfinitePast();
};

// What was given up, and why.
struct DiscardedRow {
  std::int64_t number = 0;
  std::string topic;
  std::string id;  // of its header kProducerIdHeader; empty: it has none
  std::string reason;
  absl::Time discarded_at = absl::InfinitePast();
};

struct OutgoingCounts {
  std::size_t waiting = 0;                     // committed, and not published; parked ones included
  std::size_t parked = 0;                      // of those
  absl::Time oldest = absl::InfiniteFuture();  // put_at of the one that waits longest
};

// Of words about rows that were given up, a log keeps the latest so many.
inline constexpr std::size_t kDiscardedKept = 1000;
// Longest reason of one.
inline constexpr std::size_t kDiscardReasonBytesMax = 1000;
// kInvalidArgument: it is empty, or longer.
absl::Status ValidateDiscardReason(const std::string& reason);

class OutgoingOperations {
 public:
  OutgoingOperations() = default;
  OutgoingOperations(const OutgoingOperations&) = delete;
  OutgoingOperations& operator=(const OutgoingOperations&) = delete;
  virtual ~OutgoingOperations() = default;

  virtual absl::StatusOr<OutgoingCounts> Count() = 0;
  // About how many bytes wait: reads the whole log, so it is for once.
  virtual absl::StatusOr<std::uint64_t> MeasureBytes();

  // Every row that is not published, parked ones too. In these three: behind `after`, ascending, at
  // most so many.
  virtual absl::StatusOr<std::vector<OutgoingRow>> ListWaiting(std::int64_t after,
                                                               std::size_t rows_max);
  virtual absl::StatusOr<std::vector<ParkedRow>> ListParked(std::int64_t after,
                                                            std::size_t rows_max) = 0;
  virtual absl::StatusOr<std::vector<DiscardedRow>> ListDiscarded(std::int64_t after,
                                                                  std::size_t rows_max);

  // It is published again, before all others of its order. kNotFound: no such row is parked.
  virtual absl::Status Unpark(std::int64_t number) = 0;
  // Likewise every parked row of the topic, and says how many. What fails half way may be called
  // again. The default goes row by row.
  virtual absl::StatusOr<std::size_t> UnparkTopic(const std::string& topic);

  // It is never published. kNotFound: no such row is parked.
  virtual absl::Status Discard(std::int64_t number) = 0;
  // Likewise, and the reason is kept, in the same transaction. kInvalidArgument: the reason is
  // empty, or longer than kDiscardReasonBytesMax.
  virtual absl::Status GiveUp(std::int64_t number, const std::string& reason);
};

// Of the header kProducerIdHeader; empty: the message has none.
std::string IdOf(const OutgoingMessage& message);

}  // namespace once
