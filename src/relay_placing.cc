// What is read, and where messages go: partitions and numbers.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/relay_work.h"
#include "src/stores/outgoing_codec.h"

namespace once {
namespace {

// Rows of which none can be placed are looked at again after this at the latest.
constexpr absl::Duration kLookAgain = absl::Seconds(1);
// Messages without a key go to one partition, so many at a time.
constexpr std::size_t kKeylessTogether = 200;

}  // namespace

bool RelayWork::MayPlaceOf(int lane) const {
  return std::find(lanes_.begin(), lanes_.end(), lane) != lanes_.end() &&
         std::find(leaving_.begin(), leaving_.end(), lane) == leaving_.end();
}

// A topic over which the log has passed, and which is there now, has earlier rows than any of it
// that were told all the same; of one that is held back now the log passes over all there are.
void RelayWork::SiftAhead() {
  if (ahead_.passed != topics_.passed()) ahead_ = {};
  std::erase_if(ahead_.rounds, [this](const FoundRows& found) { return !MayPlaceOf(found.lane); });
}

absl::Status RelayWork::DraftPlaced(Draft& draft) {
  found_nothing_ = false;
  SiftAhead();
  if (Now() < place_at_) return absl::OkStatus();
  const auto rounds_max = static_cast<std::size_t>(options_.rounds_in_flight_max);
  const std::size_t on_way = sender_.flights().size();
  if (on_way >= rounds_max || sender_.client() == nullptr) return absl::OkStatus();
  const bool is_ahead = !ahead_.rounds.empty();
  if (!is_ahead) {
    // The errand of this turn reads; the next turn places.
    if (CanGoBeside()) return absl::OkStatus();
    if (absl::Status read = ReadNow(rounds_max - on_way); !read.ok()) return read;
  }
  const bool has_found = !ahead_.rounds.empty();
  std::size_t placed = 0;
  for (; placed < ahead_.rounds.size() && on_way + draft.flights.size() < rounds_max; ++placed) {
    Place(ahead_.rounds[placed].lane, std::move(ahead_.rounds[placed].rows), draft);
  }
  ahead_.rounds.erase(ahead_.rounds.begin(),
                      ahead_.rounds.begin() + static_cast<std::ptrdiff_t>(placed));
  found_nothing_ = !has_found && topics_.trouble().ok() && lane_trouble_.ok();
  // To be told the same rows at once again would help nobody; of a topic that is held back since
  // now the log passes over them.
  const bool is_new_hold = topics_.CountHeld() > topics_.passed().size();
  if (has_found && draft.placed.empty() && draft.refused.empty() && !is_new_hold) {
    place_at_ = std::min(topics_.next_ask(), Now() + kLookAgain);
  }
  return absl::OkStatus();
}

absl::Status RelayWork::ReadNow(std::size_t rounds_max) {
  PlanLanes(rounds_max);
  ReadAhead();
  return TakeAhead();
}

void RelayWork::PlanLanes(std::size_t rounds_max) {
  errand_.rounds_max = rounds_max;
  errand_.found.passed = topics_.passed();
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    const int lane = lanes_[(next_lane_ + i) % lanes_.size()];
    if (MayPlaceOf(lane)) errand_.lanes.push_back(lane);
  }
}

// As many as there will be room for, and one for the round that is settled next.
void RelayWork::PlanReading() {
  if (!ahead_.rounds.empty() || Now() < place_at_ || Now() < ahead_at_) return;
  const auto rounds_max = static_cast<std::size_t>(options_.rounds_in_flight_max);
  const std::size_t on_way = sender_.flights().size() + errand_.draft.flights.size();
  PlanLanes(std::max<std::size_t>(rounds_max - std::min(on_way, rounds_max), 1));
}

void RelayWork::ReadAhead() {
  for (const int lane : errand_.lanes) {
    if (errand_.found.rounds.size() >= errand_.rounds_max) return;
    ++errand_.lanes_asked;
    absl::StatusOr<std::vector<OutgoingRow>> rows =
        log_.FindUnplaced(lane, {.rows_max = options_.round_rows_max,
                                 .bytes_max = options_.round_bytes_max,
                                 .passed_topics = errand_.found.passed});
    if (!rows.ok()) {
      if (IsDoubt(rows.status())) {
        errand_.read = rows.status();
        return;
      }
      // The others have nothing to do with it.
      errand_.lane_trouble.Update(rows.status());
    } else if (!rows->empty()) {
      errand_.found.rounds.push_back({.lane = lane, .rows = *std::move(rows)});
    }
  }
}

absl::Status RelayWork::TakeAhead() {
  if (errand_.rounds_max == 0) return absl::OkStatus();
  next_lane_ += errand_.lanes_asked;
  lane_trouble_ = errand_.lane_trouble;
  const bool has_found = !errand_.found.rounds.empty();
  if (!has_found) ahead_at_ = Now() + options_.poll_interval;
  found_nothing_ = !has_found && errand_.read.ok() && lane_trouble_.ok() && topics_.trouble().ok();
  ahead_ = {};
  if (errand_.read.ok()) ahead_ = std::exchange(errand_.found, {});
  errand_.rounds_max = 0;
  errand_.lanes.clear();
  errand_.lanes_asked = 0;
  errand_.lane_trouble = absl::OkStatus();
  return std::exchange(errand_.read, absl::OkStatus());
}

// Rows of a topic that cannot be asked for now are left out, all of them in this turn.
void RelayWork::Place(int lane, std::vector<OutgoingRow> rows, Draft& draft) {
  auto flight = std::make_unique<Flight>();
  flight->round = {.lane = lane, .epoch = streams_.epoch()};
  flight->rows.reserve(rows.size());
  OutgoingRound round = flight->round;
  round.placements.reserve(rows.size());
  absl::flat_hash_set<std::uint64_t> refused_orders;
  for (OutgoingRow& row : rows) {
    if (!row.damage.ok()) {
      draft.refused.push_back({.number = row.number, .reason = row.damage});
      continue;
    }
    const std::uint64_t order = refused_orders.empty() ? 0 : stores::OrderOf(row.message);
    // The store has it wait behind the refused one.
    if (order != 0 && refused_orders.contains(order)) continue;
    const absl::StatusOr<std::int32_t> partition = ChoosePartition(row.message);
    if (partition.status().code() == absl::StatusCode::kInvalidArgument) {
      draft.refused.push_back({.number = row.number, .reason = partition.status()});
      if (row.message.key) refused_orders.insert(stores::OrderOf(row.message));
      continue;
    }
    if (!partition.ok()) continue;
    RelayStream& stream = streams_.Open(row.message.topic, *partition);
    const Placement placement{
        .number = row.number, .partition = *partition, .sequence = streams_.GiveNumber(stream)};
    round.placements.push_back(placement);
    FlyingRow& flying = flight->rows.emplace_back();
    flying.row = std::move(row);
    flying.placement = placement;
    flying.stream = &stream;
  }
  if (flight->rows.empty()) return;
  draft.placed.push_back(std::move(round));
  draft.flights.push_back(std::move(flight));
}

absl::StatusOr<std::int32_t> RelayWork::ChoosePartition(const OutgoingMessage& message) {
  RecordClient* const client = sender_.client();
  if (client == nullptr) return absl::UnavailableError("no client to ask for partitions");
  const absl::StatusOr<std::int32_t> count = topics_.CountPartitions(*client, message.topic);
  if (!count.ok()) return count.status();
  if (message.partition && *message.partition >= *count) {
    return absl::InvalidArgumentError(absl::StrCat("topic ", message.topic, " has ", *count,
                                                   " partitions, and none of number ",
                                                   *message.partition));
  }
  if (message.partition) return *message.partition;
  if (message.key) return PartitionOfKey(*message.key, *count);
  return keyless_.Take(*count, kKeylessTogether, [this] { return options_.random->Next(); });
}

}  // namespace once
