// What operators ask and decide, from any process: the relay hears of it by the lane's revision.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/outgoing.h"
#include "adapters/postgres/outgoing_rows.h"
#include "src/stores/outgoing_codec.h"

namespace once::postgres {
namespace {

// Beyond these the server's own estimate is good enough.
constexpr std::int64_t kCountedMax = 10'000;
constexpr std::size_t kParkedMax = 1'000'000;
constexpr int kParkedNote = 5;  // column of list_parked_rows

// Behind which the fact of the parked row lies (OutgoingState).
std::string ParkedKey(std::int64_t number) {
  std::string key = "p";
  AppendBigEndian(key, number);
  return key;
}

}  // namespace

absl::StatusOr<std::vector<Result>> PostgresOutgoing::AskAside(const Statement& statement,
                                                               Params params) {
  auto session = database_->Acquire(statement.operation);
  if (!session.ok()) return session.status();
  (*session)->Queue(statement, std::move(params));
  return (*session)->Run(database_->options().answer_timeout);
}

absl::StatusOr<OutgoingCounts> PostgresOutgoing::Count() {
  const auto results =
      AskAside(database_->statements().count_outgoing_rows, std::move(Params().Int8(kCountedMax)));
  if (!results.ok()) return results.status();
  const Result& row = results->back();
  std::int64_t waiting = row.Int(0, 0);
  if (waiting == kCountedMax) waiting = std::max(waiting, row.Int(0, 3));
  OutgoingCounts counts{.waiting = static_cast<std::size_t>(waiting),
                        .parked = static_cast<std::size_t>(row.Int(0, 1))};
  if (!row.IsNull(0, 2)) counts.oldest = row.Time(0, 2);
  return counts;
}

absl::StatusOr<std::vector<ParkedRow>> PostgresOutgoing::ListParked(std::int64_t after,
                                                                    std::size_t rows_max) {
  const auto limit = static_cast<std::int64_t>(std::min(rows_max, kParkedMax));
  const auto results = AskAside(database_->statements().list_parked_rows,
                                std::move(Params().Bytes(ParkedKey(after)).Int8(limit)));
  if (!results.ok()) return results.status();
  const Result& found = results->back();
  std::vector<ParkedRow> parked;
  for (int row = 0; row < found.rows(); ++row) {
    absl::StatusOr<OutgoingRow> one = OutgoingRowAt(found, row);
    if (!one.ok()) return one.status();
    const absl::StatusOr<stores::ParkedNote> note =
        stores::DecodeParked(found.Bytes(row, kParkedNote));
    if (!note.ok()) return note.status();
    parked.push_back(
        {.row = *std::move(one), .reason = note->reason, .parked_at = note->parked_at});
  }
  return parked;
}

absl::Status PostgresOutgoing::ChangeAsOperator(
    std::int64_t number,
    absl::FunctionRef<absl::Status(stores::OutgoingState&, stores::OutgoingChange&)> work) {
  if (number <= 0) return absl::NotFoundError(absl::StrCat("no outgoing message ", number));
  const int lane = LaneOf(number);
  auto session = database_->Acquire("change outgoing messages");
  if (!session.ok()) return session.status();
  const Statements& statements = database_->statements();
  (*session)->Queue(statements.begin);
  (*session)->Queue(statements.hold_lane, std::move(Params().Int4(lane)));
  (*session)->Queue(statements.read_facts, std::move(Params().Int4(lane)));
  const auto results = (*session)->Run(database_->options().answer_timeout);
  if (!results.ok()) return results.status();
  absl::StatusOr<OutgoingLane> known = LaneAt(results->back());
  if (!known.ok()) return known.status();
  Written written;
  if (absl::Status done = work(known->state(), written[lane]); !done.ok()) return done;
  known->state().Settle(written[lane]);
  QueueWritten(**session, written);
  (*session)->Queue(statements.touch_lane, std::move(Params().Int4(lane)));
  return database_->Commit(**session, Durability::kMachine,
                           "list what is parked before you repeat it");
}

absl::Status PostgresOutgoing::Unpark(std::int64_t number) {
  return ChangeAsOperator(number,
                          [number](stores::OutgoingState& state, stores::OutgoingChange& change) {
                            return state.Unpark(number, change);
                          });
}

absl::Status PostgresOutgoing::Discard(std::int64_t number) {
  return ChangeAsOperator(number,
                          [number](stores::OutgoingState& state, stores::OutgoingChange& change) {
                            return state.Discard(number, change);
                          });
}

}  // namespace once::postgres
