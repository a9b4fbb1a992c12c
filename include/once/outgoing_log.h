// An OutgoingLog holds messages that were committed together with somebody's effect
// (Transaction::Publish) until a relay has published them (outbox_relay.h). Not the outbox of dead
// letters (outbox.h), whose rows an operator works on.
//
// A relay reads what is committed and not placed yet, decides on the partition and the sequence
// number of each message, and makes that durable, as a round, before it sends the first of them:
// whatever dies afterwards, the same message is sent again with the same number. Once all messages
// of a round are acknowledged or parked the round is finished, and its messages are dropped, many
// at once.
//
// A message that no retry can publish is parked. The messages behind it of its order, that is of
// its topic and key, wait until an operator has it tried again or gives it up; no order is owed to
// messages without a key. The number that a parked message had is given up: it gets another one.
//
// Messages lie in lanes, by their order; a lane has one relay at a time, and the messages of one
// lane are read in the order of their commits. Embedded stores have one lane.
//
// Thread-safety: safe for concurrent use, beside transactions of the same store.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/outgoing_operations.h"

namespace once {

// Where a row goes, decided once.
struct Placement {
  std::int64_t number = 0;  // of the row
  std::int32_t partition = 0;
  std::uint64_t sequence = 0;  // of the stream (epoch of the round, topic of the row, partition)

  friend bool operator==(const Placement&, const Placement&) = default;
};

// What a relay has placed in one go, of one lane.
struct OutgoingRound {
  int lane = 0;
  std::int64_t round = 0;  // given by the log when it is placed; ascending in its lane
  std::uint64_t epoch = 0;
  std::vector<Placement> placements;  // ascending by the numbers of the rows
};

// A round that is placed and not finished: rows[i] is that of placements[i].
struct UnfinishedRound {
  OutgoingRound round;
  std::vector<OutgoingRow> rows;
};

// A row that no retry can publish.
struct RefusedRow {
  std::int64_t number = 0;
  absl::Status reason;
};

// How far one stream of one epoch has come, kept until the epoch is closed.
struct StreamProgress {
  std::uint64_t epoch = 0;
  std::string topic;
  std::int32_t partition = 0;
  std::uint64_t last = 0;          // the last number that was placed
  std::int64_t first_offset = -1;  // the least one that was acknowledged in a finished round …
  std::int64_t last_offset = -1;   // … and the greatest; -1: none yet

  friend bool operator==(const StreamProgress&, const StreamProgress&) = default;
};

// A number whose message was given up or has got another one, and that no void has declared yet.
struct OwedVoid {
  std::uint64_t epoch = 0;
  std::string topic;
  std::int32_t partition = 0;
  std::uint64_t sequence = 0;

  friend auto operator<=>(const OwedVoid&, const OwedVoid&) = default;
};

// What a relay has to write down: all of it or nothing.
struct OutgoingProgress {
  struct Finished {
    int lane = 0;
    std::int64_t round = 0;
  };
  std::span<const Finished> finished;
  std::span<OutgoingRound> placed;
  // These become parked: rows of a round, which they leave, or rows that are not placed yet.
  std::span<const RefusedRow> refused;
  // Rows of a round behind a refused one of their order: they leave it and wait.
  std::span<const std::int64_t> waiting;
  std::span<const OwedVoid> owed;      // of the rows that leave their rounds
  std::span<const OwedVoid> declared;  // not owed any longer
  std::span<const StreamProgress> streams;
};

class OutgoingLog : public OutgoingOperations {
 public:
  // The producer id of everything that comes out of this log: the store's own, ValidateProducerId.
  virtual std::string producer_id() const = 0;

  // One relay at a time works on one opening of a store. True for the caller that may go on; it
  // must call ReleaseRelay().
  bool TryAcquireRelay() { return !is_relay_busy_.exchange(true); }
  void ReleaseRelay() { is_relay_busy_ = false; }

  // Takes lanes for the relay of this opening, as many as are its share, and tells all it has now.
  // A lane that was lost with its session is not told any more.
  virtual absl::StatusOr<std::vector<int>> HoldLanes() = 0;
  // REQUIRES: nothing of them is in flight. Whoever has them next asks for what is unfinished.
  virtual void GiveUpLanes(std::span<const int> lanes) = 0;

  // What is placed in the lane and not finished, oldest first. Asked when a lane has been taken.
  virtual absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) = 0;

  // Committed rows of the lane that are in no round, not parked, and behind no parked one, by their
  // numbers: at most so many rows and, but for the first, bytes. Rows that an earlier call has told
  // are told again until they are placed. A row that is damaged is told as such.
  struct Bound {
    std::size_t rows_max = 0;
    std::size_t bytes_max = 0;
    // Rows of these topics cannot be placed now. The log passes over them, so that they do not hold
    // up the others, as far as it can do that at a bounded cost; it may tell some all the same.
    std::span<const std::string> passed_topics = {};
  };
  virtual absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) = 0;

  // In one durable transaction. Gives every placed round its number. kAborted: a lane is not held
  // any more; kUnknown: may have been written. After either the relay gives up its lanes, holds
  // them anew and asks. Any other error: nothing was written.
  // REQUIRES: what is placed was told by FindUnplaced().
  virtual absl::Status Advance(const OutgoingProgress& progress) = 0;

  // All streams of all epochs that are not closed, and all voids that are owed.
  virtual absl::StatusOr<std::vector<StreamProgress>> ListStreams() = 0;
  virtual absl::StatusOr<std::vector<OwedVoid>> ListOwed() = 0;
  // Whether rounds of the epoch are unfinished in any lane, or another relay may still place some.
  virtual absl::StatusOr<bool> IsEpochInUse(std::uint64_t epoch) = 0;
  // Forgets its streams: their last marks are published.
  virtual absl::Status CloseEpoch(std::uint64_t epoch) = 0;

 private:
  std::atomic<bool> is_relay_busy_ = false;
};

}  // namespace once
