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
// Columns of list_parked_rows.
constexpr int kParkedNote = 5;
constexpr int kParkedNumber = 6;
constexpr int kServerTime = 3;  // column of find_orders

// Behind which the fact of the row lies: of one that is parked ('p') or was given up ('d')
// (OutgoingState).
std::string FactKey(char kind, std::int64_t number) {
  std::string key(1, kind);
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
                                std::move(Params().Bytes(FactKey('p', after)).Int8(limit)));
  if (!results.ok()) return results.status();
  const Result& found = results->back();
  std::vector<ParkedRow> parked;
  for (int row = 0; row < found.rows(); ++row) {
    const absl::StatusOr<stores::ParkedNote> note =
        stores::DecodeParked(found.Bytes(row, kParkedNote));
    if (!note.ok()) return note.status();
    parked.push_back({.row = found.IsNull(row, 0) ? MissingRow(found.Int(row, kParkedNumber))
                                                  : OutgoingRowAt(found, row),
                      .reason = note->reason,
                      .parked_at = note->parked_at});
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
  (*session)->Queue(statements.hurry);
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

absl::Status PostgresOutgoing::GiveUp(std::int64_t number, const std::string& reason) {
  if (absl::Status valid = ValidateDiscardReason(reason); !valid.ok()) return valid;
  if (number <= 0) return absl::NotFoundError(absl::StrCat("no outgoing message ", number));
  Column lanes(Column::Type::kInt4);
  Column numbers(Column::Type::kInt8);
  lanes.Add(LaneOf(number));
  numbers.Add(InLane(number));
  const Statements& statements = database_->statements();
  const auto time =
      AskAside(statements.find_orders, std::move(Params().Array(lanes).Array(numbers)));
  if (!time.ok()) return time.status();
  // A row stays as it is for as long as it is there.
  const auto found =
      AskAside(statements.find_numbered,
               std::move(Params().Int4(LaneOf(number)).Array(numbers).Int8(1).Int8(1)));
  if (!found.ok()) return found.status();
  const OutgoingRow row =
      found->back().rows() == 0 ? MissingRow(number) : OutgoingRowAt(found->back(), 0);
  const DiscardedRow discarded{.number = number,
                               .topic = row.message.topic,
                               .id = IdOf(row.message),
                               .reason = reason,
                               .discarded_at = time->back().Time(0, kServerTime)};
  return ChangeAsOperator(
      number, [&](stores::OutgoingState& state, stores::OutgoingChange& change) -> absl::Status {
        if (absl::Status gone = state.Discard(number, change); !gone.ok()) return gone;
        state.NoteDiscarded(discarded, change);
        return absl::OkStatus();
      });
}

absl::StatusOr<std::uint64_t> PostgresOutgoing::MeasureBytes() {
  const auto results = AskAside(database_->statements().measure_outgoing_rows, {});
  if (!results.ok()) return results.status();
  return results->back().Unsigned(0, 0);
}

absl::StatusOr<std::vector<OutgoingRow>> PostgresOutgoing::ListWaiting(std::int64_t after,
                                                                       std::size_t rows_max) {
  const auto limit = static_cast<std::int64_t>(std::min(rows_max, kParkedMax));
  const auto results = AskAside(database_->statements().list_outgoing_rows,
                                std::move(Params().Int8(after).Int8(limit)));
  if (!results.ok()) return results.status();
  std::vector<OutgoingRow> listed;
  for (int row = 0; row < results->back().rows(); ++row) {
    listed.push_back(OutgoingRowAt(results->back(), row));
  }
  return listed;
}

absl::StatusOr<std::vector<DiscardedRow>> PostgresOutgoing::ListDiscarded(std::int64_t after,
                                                                          std::size_t rows_max) {
  const auto limit = static_cast<std::int64_t>(std::min(rows_max, kParkedMax));
  const auto results = AskAside(database_->statements().list_discarded_rows,
                                std::move(Params().Bytes(FactKey('d', after)).Int8(limit)));
  if (!results.ok()) return results.status();
  std::vector<DiscardedRow> listed;
  for (int row = 0; row < results->back().rows(); ++row) {
    absl::StatusOr<DiscardedRow> one =
        stores::DecodeDiscarded(results->back().Int(row, 0), results->back().Bytes(row, 1));
    if (!one.ok()) return one.status();
    listed.push_back(*std::move(one));
  }
  return listed;
}

}  // namespace once::postgres
