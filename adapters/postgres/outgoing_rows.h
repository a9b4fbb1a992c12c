// Rows of table outgoing as parameters and results, and the numbers that name them everywhere else.
// A row's lane and its number there make one number. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/postgres/params.h"
#include "adapters/postgres/result.h"
#include "once/outgoing_log.h"

namespace once::postgres {

// As many as the sequences of the schema. All rows of an order (stores::OrderOf) are of one lane.
inline constexpr int kLanes = 16;
// Orders are locked by so many locks: however many keys a transaction publishes for, the server's
// table of locks (6 400 by default) has room.
inline constexpr int kOrderLocks = 1024;
// Of messages in one statement; the first one always goes.
inline constexpr std::size_t kInsertBytesMax = 8 * 1024 * 1024;

constexpr int LaneOf(std::int64_t number) { return static_cast<int>(number % kLanes); }
constexpr std::int64_t InLane(std::int64_t number) { return number / kLanes; }
constexpr std::int64_t NumberOf(int lane, std::int64_t in_lane) { return in_lane * kLanes + lane; }

// A message on its way into the table.
struct RowToPublish {
  int lane = 0;
  std::uint64_t order = 0;
  std::string message;
};

// `keyless`: anything; its lane is that of messages without a key.
RowToPublish MakeRow(const OutgoingMessage& message, int keyless);

// Parameters of put_outgoing_rows: `rows`, and the locks of the orders of `locked`.
Params PublishParams(std::span<const RowToPublish> rows, std::span<const RowToPublish> locked);
// `work(rows, locked)`, for parts that are small enough for a statement. All locks come with the
// first of them, in the order of their numbers.
template <typename Work>
void ForEachPart(std::span<const RowToPublish> rows, bool locks_keys, Work work) {
  std::span<const RowToPublish> locked = locks_keys ? rows : std::span<const RowToPublish>();
  while (!rows.empty()) {
    std::size_t count = 1;
    std::size_t bytes = rows[0].message.size();
    for (; count < rows.size(); ++count) {
      bytes += rows[count].message.size();
      if (bytes > kInsertBytesMax) break;
    }
    work(rows.first(count), std::exchange(locked, {}));
    rows = rows.subspan(count);
  }
}

// Columns lane, number, ordering, put_at, message. The damage of a row names it.
OutgoingRow OutgoingRowAt(const Result& result, int row);
// The same into `into`, whose memory it uses.
void ReadOutgoingRowAt(const Result& result, int row, OutgoingRow& into);
// One that a round or a note names, and that is not there.
OutgoingRow MissingRow(std::int64_t number);
std::int64_t OutgoingNumberAt(const Result& result, int row);
std::uint64_t OutgoingOrderAt(const Result& result, int row);

}  // namespace once::postgres
