// A SpoolLane is what is known of one lane of a shared spool beside its rows: the state that
// embedded stores have too (stores::OutgoingState), at one revision.
// Thread-safety: as a value.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/outgoing_log.h"
#include "src/stores/lane_change.h"
#include "src/stores/outgoing_state.h"

namespace once::redis {

// Every row from the cursor to the last that was read. The last one that is there, and its time:
// where a row has its number and another time, the server has forgotten the former one.
struct Sighting {
  std::vector<stores::OrderedRow> rows;
  std::int64_t last = 0;  // in the lane; 0: none is there
  std::string last_put_at;
};

class SpoolLane {
 public:
  // What has to be written of it.
  struct Written {
    std::string revision;    // as it was
    std::int64_t first = 0;  // in the lane: no row has a smaller number
    std::int64_t seen = 0;   // in the lane: this row must be as it was seen; 0: none
    std::string seen_put_at;
    std::vector<std::uint64_t> finished_epochs;  // of each finished round
    stores::OutgoingChange change;
  };

  // `facts` are those of the lane.
  static absl::StatusOr<SpoolLane> Load(int lane, std::string revision,
                                        std::span<const stores::OutgoingFact> facts);

  const std::string& revision() const { return revision_; }
  stores::OutgoingState& state() { return state_; }
  const stores::OutgoingState& state() const { return state_; }

  // Applies `change`. kAborted: what is placed was not in `seen`. After any error, or where it is
  // not written, the lane must be loaded again.
  absl::StatusOr<Written> Stage(const stores::LaneChange& change, const Sighting& seen);
  // Of a state that was changed by hand.
  Written Settle(stores::OutgoingChange change);
  void NoteWritten(const std::string& revision) { revision_ = revision; }

 private:
  absl::Status Move(const stores::LaneChange& change, const Sighting& seen, Written& written);
  std::int64_t FindFirst() const;

  int lane_ = 0;
  std::string revision_;
  stores::OutgoingState state_;
};

}  // namespace once::redis
