// Numbers of a lane have no gaps: they are given where rows are put, in one step.
#include "adapters/redis/spool_lane.h"

#include <algorithm>
#include <utility>

#include "adapters/redis/outgoing_rows.h"

namespace once::redis {

absl::StatusOr<SpoolLane> SpoolLane::Load(int lane, std::string revision,
                                          std::span<const stores::OutgoingFact> facts) {
  SpoolLane loaded;
  loaded.lane_ = lane;
  loaded.revision_ = std::move(revision);
  absl::StatusOr<stores::OutgoingState> state = stores::OutgoingState::Load(facts);
  if (!state.ok()) return state.status();
  loaded.state_ = *std::move(state);
  return loaded;
}

std::int64_t SpoolLane::FindFirst() const {
  const std::int64_t first = state_.FindFirst();
  // The number behind the cursor is that of another lane.
  return first > state_.cursor() ? InLane(state_.cursor()) + 1 : InLane(first);
}

absl::StatusOr<SpoolLane::Written> SpoolLane::Stage(const stores::LaneChange& change,
                                                    const Sighting& seen) {
  Written written;
  for (const std::int64_t round : change.finished) {
    const auto found = state_.rounds().find(round);
    if (found != state_.rounds().end()) written.finished_epochs.push_back(found->second.epoch);
    if (absl::Status done = state_.Finish(round, written.change); !done.ok()) return done;
  }
  for (std::size_t i = 0; i < change.refused.size(); ++i) {
    state_.Park(change.refused[i], change.notes[i], written.change);
  }
  for (const stores::OrderedRow& row : change.waiting) state_.Wait(row, written.change);
  if (change.passes || !change.placed.empty() || !change.refused.empty()) {
    if (absl::Status moved = Move(change, seen, written); !moved.ok()) return moved;
  }
  Written settled = Settle(std::move(written.change));
  settled.seen = written.seen;
  settled.seen_put_at = std::move(written.seen_put_at);
  settled.finished_epochs = std::move(written.finished_epochs);
  return settled;
}

SpoolLane::Written SpoolLane::Settle(stores::OutgoingChange change) {
  state_.Settle(change);
  return {.revision = revision_, .first = FindFirst(), .change = std::move(change)};
}

absl::Status SpoolLane::Move(const stores::LaneChange& change, const Sighting& seen,
                             Written& written) {
  std::int64_t through = state_.cursor();
  if (change.passes && !seen.rows.empty()) through = std::max(through, seen.rows.back().number);
  for (const stores::OrderedRow& row : change.refused) through = std::max(through, row.number);
  std::vector<Placement> placements;
  for (OutgoingRound* const round : change.placed) {
    state_.Place(*round, written.change);
    through = std::max(through, round->placements.back().number);
    placements.insert(placements.end(), round->placements.begin(), round->placements.end());
  }
  // Every row that the cursor passes must be known, and still be what was seen. Of a server that
  // went back the cursor may lie before all that was seen.
  if (through > state_.cursor()) {
    const bool is_known = !seen.rows.empty() && seen.rows.back().number >= through &&
                          InLane(seen.rows.front().number) <= InLane(state_.cursor()) + 1;
    if (!is_known) {
      return absl::AbortedError("the lane was read again since it told what is placed here");
    }
    written.seen = seen.last;
    written.seen_put_at = seen.last_put_at;
  }
  std::sort(placements.begin(), placements.end(),
            [](const Placement& a, const Placement& b) { return a.number < b.number; });
  state_.MoveCursor(through, seen.rows, placements, written.change);
  return absl::OkStatus();
}

}  // namespace once::redis
