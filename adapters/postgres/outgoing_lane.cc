// The holes are a fact of the lane beside those of its state.
#include "adapters/postgres/outgoing_lane.h"

#include <algorithm>
#include <utility>

#include "adapters/postgres/outgoing_rows.h"

namespace once::postgres {
namespace {

constexpr const char* kHolesFact = "h";

bool IsPlaced(std::span<const Placement> placements, std::int64_t number) {
  const auto found = std::lower_bound(
      placements.begin(), placements.end(), number,
      [](const Placement& placement, std::int64_t wanted) { return placement.number < wanted; });
  return found != placements.end() && found->number == number;
}

}  // namespace

absl::StatusOr<OutgoingLane> OutgoingLane::Load(std::int64_t revision,
                                                std::span<const stores::OutgoingFact> facts) {
  OutgoingLane lane;
  lane.revision_ = revision;
  std::vector<stores::OutgoingFact> others;
  for (const stores::OutgoingFact& fact : facts) {
    if (fact.key != kHolesFact) {
      others.push_back(fact);
      continue;
    }
    absl::StatusOr<NumberHoles> holes = NumberHoles::Decode(fact.value.value_or(""));
    if (!holes.ok()) return holes.status();
    lane.holes_ = *std::move(holes);
  }
  absl::StatusOr<stores::OutgoingState> state = stores::OutgoingState::Load(others);
  if (!state.ok()) return state.status();
  lane.state_ = *std::move(state);
  lane.saved_holes_ = lane.holes_.Encode();
  return lane;
}

std::int64_t OutgoingLane::FindFirst() const {
  // A number behind the cursor may be that of another lane.
  std::int64_t first = InLane(state_.FindFirst());
  if (!holes_.is_empty()) first = std::min(first, holes_.holes().begin()->first);
  return first;
}

absl::Status OutgoingLane::Stage(const stores::LaneChange& change, const Sighting& seen,
                                 stores::OutgoingChange& written) {
  for (const std::int64_t round : change.finished) {
    if (absl::Status done = state_.Finish(round, written); !done.ok()) return done;
  }
  for (std::size_t i = 0; i < change.refused.size(); ++i) {
    state_.Park(change.refused[i], change.notes[i], written);
  }
  for (const stores::OrderedRow& row : change.waiting) state_.Wait(row, written);
  const bool moves = change.passes || !change.placed.empty() || !change.refused.empty();
  if (moves) {
    if (absl::Status moved = Move(change, seen, written); !moved.ok()) return moved;
    std::string holes = holes_.Encode();
    if (holes != saved_holes_) {
      saved_holes_ = std::move(holes);  // whatever fails, the lane is read again
      written.facts.push_back({.key = kHolesFact, .value = saved_holes_});
    }
  }
  state_.Settle(written);
  return absl::OkStatus();
}

absl::Status OutgoingLane::Move(const stores::LaneChange& change, const Sighting& seen,
                                stores::OutgoingChange& written) {
  std::int64_t through = state_.cursor();
  if (change.passes && !seen.next.empty()) through = std::max(through, seen.next.back().number);
  for (const stores::OrderedRow& row : change.refused) through = std::max(through, row.number);
  std::vector<Placement> placements;
  for (OutgoingRound* const round : change.placed) {
    state_.Place(*round, written);
    through = std::max(through, round->placements.back().number);
    placements.insert(placements.end(), round->placements.begin(), round->placements.end());
  }
  // Every row that the cursor passes must be known.
  if (through > state_.cursor() && (seen.next.empty() || seen.next.back().number < through)) {
    return absl::AbortedError("the lane was read again since it told what is placed here");
  }
  std::sort(placements.begin(), placements.end(),
            [](const Placement& a, const Placement& b) { return a.number < b.number; });
  for (const stores::OrderedRow& row : seen.late) {
    if (!holes_.Contains(InLane(row.number))) continue;
    holes_.Remove(InLane(row.number));
    const bool is_known = IsPlaced(placements, row.number) || state_.parked().contains(row.number);
    if (!is_known) state_.Wait(row, written);
  }
  PassHoles(through, seen.next);
  state_.MoveCursor(through, seen.next, placements, written);
  return absl::OkStatus();
}

void OutgoingLane::PassHoles(std::int64_t through, std::span<const stores::OrderedRow> next) {
  std::int64_t expected = InLane(state_.cursor()) + 1;
  for (const stores::OrderedRow& row : next) {
    if (row.number <= state_.cursor()) continue;
    if (row.number > through) return;
    const std::int64_t number = InLane(row.number);
    if (number > expected) holes_.Add(expected, number - 1);
    expected = number + 1;
  }
}

void OutgoingLane::NoteWritten(std::int64_t transaction) {
  ++revision_;
  holes_.Date(transaction);
}

}  // namespace once::postgres
