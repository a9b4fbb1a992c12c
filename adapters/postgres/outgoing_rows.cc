// Columns in the order of kRowColumns in statements_outgoing.cc.
#include "adapters/postgres/outgoing_rows.h"

#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/outbox_codec.h"
#include "src/stores/outgoing_codec.h"

namespace once::postgres {
namespace {

enum RowColumn : int { kLane, kNumber, kOrdering, kPutAt, kMessage };

absl::Status Damage(std::int64_t number, std::string_view how) {
  return absl::DataLossError(absl::StrCat(
      "postgres: outgoing message ", number, " (row ", InLane(number), " of lane ", LaneOf(number),
      " of table outgoing) is ", ToAbsl(how), "; restore a backup, or give it up"));
}

}  // namespace

RowToPublish MakeRow(const OutgoingMessage& message, int keyless) {
  RowToPublish row{.order = stores::OrderOf(message), .message = stores::EncodeMessage(message)};
  const std::uint64_t chosen =
      row.order != 0 ? row.order : static_cast<std::uint64_t>(static_cast<unsigned>(keyless));
  row.lane = static_cast<int>(chosen % kLanes);
  return row;
}

Params PublishParams(std::span<const RowToPublish> rows, std::span<const RowToPublish> locked) {
  Column locks(Column::Type::kInt4);
  for (const RowToPublish& row : locked) {
    // By other bits than those that the lane is made of.
    if (row.order != 0) locks.Add(static_cast<std::int64_t>(row.order / kLanes % kOrderLocks));
  }
  Column lanes(Column::Type::kInt4);
  Column orders(Column::Type::kInt8);
  Column messages(Column::Type::kBytes);
  for (const RowToPublish& row : rows) {
    lanes.Add(row.lane);
    orders.AddUnsigned(row.order);
    messages.AddBytes(row.message);
  }
  return std::move(Params().Array(locks).Array(lanes).Array(orders).Array(messages));
}

std::int64_t OutgoingNumberAt(const Result& result, int row) {
  return NumberOf(static_cast<int>(result.Int(row, kLane)), result.Int(row, kNumber));
}

std::uint64_t OutgoingOrderAt(const Result& result, int row) {
  return result.Unsigned(row, kOrdering);
}

OutgoingRow OutgoingRowAt(const Result& result, int row) {
  OutgoingRow found;
  ReadOutgoingRowAt(result, row, found);
  return found;
}

void ReadOutgoingRowAt(const Result& result, int row, OutgoingRow& into) {
  into.number = OutgoingNumberAt(result, row);
  into.put_at = result.Time(row, kPutAt);
  into.damage = absl::OkStatus();
  if (stores::DecodeMessage(result.Bytes(row, kMessage), into.message).ok()) return;
  into.message = {};
  into.damage = Damage(into.number, "damaged");
}

OutgoingRow MissingRow(std::int64_t number) {
  return {.number = number, .damage = Damage(number, "gone")};
}

}  // namespace once::postgres
