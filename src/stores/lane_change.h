// A LaneChange is what a relay writes down of one lane. Its progress speaks of all lanes at once, a
// log whose lanes relays share (lane_sharing.h) writes lane by lane; the order of a row that leaves
// its round is looked up by the log in between. Pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "once/outgoing_log.h"
#include "src/stores/outgoing_codec.h"
#include "src/stores/outgoing_state.h"

namespace once::stores {

struct LaneChange {
  std::vector<std::int64_t> finished;  // rounds
  std::vector<OutgoingRound*> placed;  // that get their numbers
  std::vector<OrderedRow> refused;     // ascending
  std::vector<ParkedNote> notes;       // notes[i] of refused[i]
  std::vector<OrderedRow> waiting;     // ascending
  bool passes = false;                 // whatever was seen is to wait
};

// By lanes.
using LaneChanges = std::map<int, LaneChange>;

// A refused row, or one that leaves its round to wait, as the log has found it.
struct LeavingRow {
  int lane = 0;
  OrderedRow row;
  absl::Time parked_at;  // should it be refused
};

// The numbers of all rows that are refused or leave their rounds to wait, ascending, each once.
std::vector<std::int64_t> FindLeaving(const OutgoingProgress& progress);

// `progress` by lanes, with what the log knows of FindLeaving(). The rounds that it names must live
// as long as the result.
LaneChanges SortByLane(const OutgoingProgress& progress, std::vector<LeavingRow> leaving);

}  // namespace once::stores
