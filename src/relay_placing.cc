// Where messages go: partitions and numbers.
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

absl::Status RelayWork::DraftPlaced(Draft& draft) {
  found_nothing_ = false;
  lane_trouble_ = absl::OkStatus();
  if (Now() < place_at_) return absl::OkStatus();
  const auto rounds_max = static_cast<std::size_t>(options_.rounds_in_flight_max);
  bool has_found = false;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    if (sender_.flights().size() + draft.flights.size() >= rounds_max) return absl::OkStatus();
    if (sender_.client() == nullptr) return absl::OkStatus();
    const int lane = lanes_[next_lane_++ % lanes_.size()];
    if (std::find(leaving_.begin(), leaving_.end(), lane) != leaving_.end()) continue;
    absl::StatusOr<std::vector<OutgoingRow>> rows =
        log_.FindUnplaced(lane, {.rows_max = options_.round_rows_max,
                                 .bytes_max = options_.round_bytes_max,
                                 .passed_topics = topics_.passed()});
    if (!rows.ok()) {
      if (IsDoubt(rows.status())) return rows.status();
      // The others have nothing to do with it.
      lane_trouble_.Update(rows.status());
      continue;
    }
    has_found = has_found || !rows->empty();
    if (rows->empty()) continue;
    Place(lane, *std::move(rows), draft);
  }
  found_nothing_ = !has_found && topics_.trouble().ok() && lane_trouble_.ok();
  // To be told the same rows at once again would help nobody; of a topic that is held back since
  // now the log passes over them.
  const bool is_new_hold = topics_.CountHeld() > topics_.passed().size();
  if (has_found && draft.placed.empty() && draft.refused.empty() && !is_new_hold) {
    place_at_ = std::min(topics_.next_ask(), Now() + kLookAgain);
  }
  return absl::OkStatus();
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
