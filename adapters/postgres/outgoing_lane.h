// An OutgoingLane is what is known of one lane of outgoing messages beside its rows: the state that
// embedded stores have too (stores::OutgoingState), and the holes behind its cursor. Numbers are
// drawn before transactions commit, so that a row may turn up behind the cursor: then it is told at
// once, before what is ahead.
// Thread-safety: as a value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/postgres/number_holes.h"
#include "once/outgoing_log.h"
#include "src/stores/lane_change.h"
#include "src/stores/outgoing_state.h"

namespace once::postgres {

// What one look at a lane's rows has found.
struct Sighting {
  std::vector<stores::OrderedRow> late;  // in holes, ascending
  std::vector<stores::OrderedRow> next;  // every row from the cursor to the last of them
  bool is_empty() const { return late.empty() && next.empty(); }
};

class OutgoingLane {
 public:
  // `facts` are those of the lane.
  static absl::StatusOr<OutgoingLane> Load(std::int64_t revision,
                                           std::span<const stores::OutgoingFact> facts);

  std::int64_t revision() const { return revision_; }
  stores::OutgoingState& state() { return state_; }
  const stores::OutgoingState& state() const { return state_; }
  const NumberHoles& holes() const { return holes_; }
  // In the lane: no row there is, nor will be, has a smaller number.
  std::int64_t FindFirst() const;
  void CloseHolesBefore(std::int64_t oldest_open) { holes_.CloseBefore(oldest_open); }
  // All holes were seen before this transaction of the server began.
  void DateHoles(std::int64_t transaction) { holes_.Date(transaction); }

  // Applies `change` and says in `written` what has to be written. kAborted: what is placed was not
  // in `seen`. After any error, or where it is not written, the lane must be loaded again.
  absl::Status Stage(const stores::LaneChange& change, const Sighting& seen,
                     stores::OutgoingChange& written);
  // It is written, by this transaction of the server.
  void NoteWritten(std::int64_t transaction);

 private:
  absl::Status Move(const stores::LaneChange& change, const Sighting& seen,
                    stores::OutgoingChange& written);
  void PassHoles(std::int64_t through, std::span<const stores::OrderedRow> next);

  std::int64_t revision_ = 0;
  stores::OutgoingState state_;
  NumberHoles holes_;
  std::string saved_holes_;  // as the server has them
};

}  // namespace once::postgres
