// Lanes, and what is read of them. What is written: outgoing_writing.cc.
#include "adapters/postgres/outgoing.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/outgoing_rows.h"
#include "src/stores/outgoing_codec.h"
#include "src/test_hooks.h"

namespace once::postgres {
namespace {

// Rows that must wait are passed so many at a time, in a transaction each, when there is nothing
// else to tell.
constexpr int kPassesMax = 16;
// Of one lane. They are as many only while a transaction stays open that is older than all of them.
constexpr std::size_t kHolesMax = 1'000;
constexpr std::size_t kRowsMax = 1'000'000;
constexpr std::size_t kBytesMax = std::size_t{1} << 40;

// HoldLanes(), once a second: numbers of lanes that are held are checked once a minute.
constexpr int kLooksPerCheck = 60;
// How far behind the cursor it looks then: it reads over what was deleted there.
constexpr std::int64_t kNumbersLookedBack = 10'000;

std::int64_t Limit(std::size_t wanted, std::size_t max) {
  return static_cast<std::int64_t>(std::min(wanted, max));
}

// First and last numbers.
std::pair<Column, Column> HoleColumns(const NumberHoles& holes) {
  std::pair<Column, Column> columns{Column::Type::kInt8, Column::Type::kInt8};
  for (const auto& [first, hole] : holes.holes()) {
    columns.first.Add(first);
    columns.second.Add(hole.last);
  }
  return columns;
}

// The statement by which rows up to `cursor` get new numbers, in the order of their former ones.
// Its transaction has its number of the server before it draws any of theirs, as whoever publishes
// has: by that a relay knows how long their holes may be filled.
std::string NewNumbers(const std::string& schema, int lane, std::int64_t cursor) {
  const std::string rows = absl::StrCat(schema, ".outgoing");
  return absl::StrCat(
      "WITH held AS MATERIALIZED (SELECT pg_current_xact_id() AS transaction) UPDATE ", rows,
      " o SET number = r.number FROM (SELECT old.number AS former, nextval('", rows, "_", lane,
      "') AS number FROM held, (SELECT number FROM ", rows, " WHERE lane = ", lane,
      " AND number <= ", cursor,
      " AND put_at > … ORDER BY number) AS old WHERE held.transaction IS NOT NULL) "
      "AS r WHERE o.lane = ",
      lane, " AND o.number = r.former");
}

absl::Status NotHeld(int lane) {
  return absl::AbortedError(
      absl::StrCat("postgres: lane ", lane, " of outgoing messages is not held any more"));
}

}  // namespace

PostgresOutgoing::PostgresOutgoing(std::shared_ptr<Database> database)
    : database_(std::move(database)), lanes_(*database_) {}

absl::StatusOr<std::vector<int>> PostgresOutgoing::HoldLanes() {
  const std::lock_guard lock(mutex_);
  absl::StatusOr<std::vector<int>> held = lanes_.Hold();
  std::erase_if(held_, [this](const auto& entry) { return !lanes_.Holds(entry.first); });
  if (!held.ok()) return held;
  for (const int lane : *held) {
    HeldLane& one = held_[lane];
    one.has_rows.reset();
    const bool is_set_back =
        one.lane && lanes_.last_drawn(lane) < InLane(one.lane->state().cursor());
    one.must_check_all = one.must_check_all || is_set_back || !one.trouble.ok();
    one.must_check = one.must_check || one.must_check_all || ++one.looks >= kLooksPerCheck;
  }
  return held;
}

void PostgresOutgoing::GiveUpLanes(std::span<const int> lanes) {
  const std::lock_guard lock(mutex_);
  lanes_.GiveUp(lanes);
  std::erase_if(held_, [this](const auto& entry) { return !lanes_.Holds(entry.first); });
}

std::vector<int> PostgresOutgoing::FindSurplus() {
  const std::lock_guard lock(mutex_);
  return lanes_.FindSurplus();
}

void PostgresOutgoing::GiveBack(std::vector<OutgoingRow> rows) {
  const std::lock_guard lock(mutex_);
  spent_ = std::move(rows);
}

OutgoingRow PostgresOutgoing::ReadRow(const Result& found, int row) {
  OutgoingRow into;
  if (!spent_.empty()) {
    into = std::move(spent_.back());
    spent_.pop_back();
  }
  ReadOutgoingRowAt(found, row, into);
  return into;
}

absl::StatusOr<std::vector<Result>> PostgresOutgoing::Ask(const Statement& statement,
                                                          Params params) {
  Session* const session = lanes_.session();
  if (session == nullptr) {
    return absl::AbortedError("postgres: the session that held the lanes is gone");
  }
  session->Queue(statement, std::move(params));
  return session->Run(database_->options().answer_timeout);
}

absl::StatusOr<PostgresOutgoing::HeldLane*> PostgresOutgoing::Find(int lane) {
  const auto found = held_.find(lane);
  if (lanes_.session() == nullptr || !lanes_.Holds(lane) || found == held_.end()) {
    return NotHeld(lane);
  }
  if (found->second.lane) return &found->second;
  if (absl::Status loaded = Load(lane, found->second); !loaded.ok()) return loaded;
  return &found->second;
}

absl::Status PostgresOutgoing::Load(int lane, HeldLane& held) {
  Session* const session = lanes_.session();
  if (session == nullptr) return NotHeld(lane);
  session->Queue(database_->statements().read_facts, std::move(Params().Int4(lane)));
  session->Queue(database_->statements().next_transaction);
  const auto results = session->Run(database_->options().answer_timeout);
  if (!results.ok()) return results.status();
  const Result& rows = results->front();
  if (rows.rows() == 0 || rows.Int(0, 0) != lanes_.owner()) return NotHeld(lane);
  absl::StatusOr<OutgoingLane> loaded = LaneAt(rows);
  if (!loaded.ok()) return loaded.status();
  loaded->DateHoles(results->back().Int(0, 0));
  held.lane = *std::move(loaded);
  return absl::OkStatus();
}

absl::StatusOr<OutgoingLane> PostgresOutgoing::LaneAt(const Result& rows) {
  std::vector<stores::OutgoingFact> facts;
  for (int row = 0; row < rows.rows(); ++row) {
    if (rows.IsNull(row, 2)) continue;
    facts.push_back(
        {.key = std::string(rows.Bytes(row, 2)), .value = std::string(rows.Bytes(row, 3))});
  }
  return OutgoingLane::Load(rows.Int(0, 1), facts);
}

absl::StatusOr<std::vector<UnfinishedRound>> PostgresOutgoing::FindUnfinished(int lane) {
  const std::lock_guard lock(mutex_);
  const absl::StatusOr<HeldLane*> held = Find(lane);
  if (!held.ok()) return held.status();
  // As the server has it now: an operator knows nothing of rounds, but a lane is taken rarely.
  if (absl::Status loaded = Load(lane, **held); !loaded.ok()) return loaded;
  (*held)->seen = {};
  (*held)->must_check = true;
  (*held)->must_check_all = true;
  std::vector<UnfinishedRound> unfinished;
  for (const auto& [number, round] : (*held)->lane->state().rounds()) {
    UnfinishedRound& found = unfinished.emplace_back();
    found.round = round;
    found.round.lane = lane;
    Column numbers(Column::Type::kInt8);
    for (const Placement& placement : round.placements) numbers.Add(InLane(placement.number));
    const auto results = Ask(database_->statements().find_numbered,
                             std::move(Params()
                                           .Int4(lane)
                                           .Array(numbers)
                                           .Int8(Limit(kRowsMax, kRowsMax))
                                           .Int8(Limit(kBytesMax, kBytesMax))));
    if (!results.ok()) return results.status();
    const Result& rows = results->back();
    int row = 0;
    for (const Placement& placement : round.placements) {
      const bool is_there = row < rows.rows() && OutgoingNumberAt(rows, row) == placement.number;
      found.rows.push_back(is_there ? OutgoingRowAt(rows, row) : MissingRow(placement.number));
      if (is_there) ++row;
    }
  }
  return unfinished;
}

absl::Status PostgresOutgoing::LookAtLanes() {
  Column lanes(Column::Type::kInt4);
  Column cursors(Column::Type::kInt8);
  Column holed(Column::Type::kInt4);
  Column firsts(Column::Type::kInt8);
  Column lasts(Column::Type::kInt8);
  for (auto& [lane, held] : held_) {
    if (const auto found = Find(lane); !found.ok()) return found.status();
    lanes.Add(lane);
    cursors.Add(InLane(held.lane->state().cursor()));
    for (const auto& [first, hole] : held.lane->holes().holes()) {
      holed.Add(lane);
      firsts.Add(first);
      lasts.Add(hole.last);
    }
  }
  Params params;
  params.Array(lanes).Array(cursors).Array(holed).Array(firsts).Array(lasts);
  const auto results = Ask(database_->statements().look_at_lanes, std::move(params));
  if (!results.ok()) return results.status();
  const Result& found = results->back();
  for (int row = 0; row < found.rows(); ++row) {
    const int lane = static_cast<int>(found.Int(row, 0));
    HeldLane& held = held_.at(lane);
    if (found.Int(row, 1) != lanes_.owner()) {
      lanes_.Lose();
      return NotHeld(lane);
    }
    held.has_rows = found.Int(row, 3) != 0 || found.Int(row, 4) != 0;
    if (found.Int(row, 4) == 0) held.lane->CloseHolesBefore(found.Int(row, 5));
    // An operator has changed it.
    if (found.Int(row, 2) != held.lane->revision()) held.lane.reset();
  }
  return absl::OkStatus();
}

absl::Status PostgresOutgoing::CheckNumbers(int lane, HeldLane& held) {
  const OutgoingLane& known = *held.lane;
  const std::int64_t cursor = InLane(known.state().cursor());
  const auto known_rows = static_cast<std::int64_t>(known.state().CountKnown());
  const auto [firsts, lasts] = HoleColumns(known.holes());
  const std::int64_t after = held.must_check_all ? -1 : cursor - kNumbersLookedBack;
  Params params;
  params.Int4(lane).Int8(cursor).Array(firsts).Array(lasts).Int8(known_rows + 1).Int8(after);
  const auto results = Ask(database_->statements().check_numbers, std::move(params));
  if (!results.ok()) return results.status();
  const std::int64_t last_drawn = results->back().Int(0, 0);
  const std::string sequence =
      absl::StrCat(ToAbsl(database_->options().schema), ".outgoing_", lane);
  held.must_check = false;
  held.must_check_all = false;
  held.looks = 0;
  held.trouble = absl::OkStatus();
  if (last_drawn < cursor) {
    held.trouble = absl::DataLossError(absl::StrCat(
        "postgres: outgoing messages ", database_->where(), ": sequence ", sequence, " is at ",
        last_drawn, ", and rows up to ", cursor,
        " were published: somebody has set it back (setval, tables that were restored without "
        "their sequences), and what is committed now has numbers of the past; stop who publishes, "
        "SELECT setval('",
        sequence, "', ", cursor, "), and give rows that were added meanwhile new numbers: ",
        NewNumbers(database_->options().schema, lane, cursor)));
  } else if (results->back().Int(0, 1) > known_rows) {
    held.trouble = absl::DataLossError(absl::StrCat(
        "postgres: outgoing messages ", database_->where(), ": lane ", lane,
        " has rows up to number ", cursor,
        " that were added after it was passed: its sequence was set back; give those "
        "rows new numbers, and they are published (put_at says when each was added, in "
        "microseconds): ",
        NewNumbers(database_->options().schema, lane, cursor)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<OutgoingRow>> PostgresOutgoing::ReadReady(int lane, OutgoingLane& known,
                                                                     const Bound& bound) {
  std::vector<OutgoingRow> rows;
  while (rows.empty()) {
    const std::vector<std::int64_t> ready = known.state().FindReady(bound.rows_max);
    if (ready.empty()) return rows;
    Column numbers(Column::Type::kInt8);
    for (const std::int64_t number : ready) numbers.Add(InLane(number));
    const auto results = Ask(database_->statements().find_numbered,
                             std::move(Params()
                                           .Int4(lane)
                                           .Array(numbers)
                                           .Int8(Limit(bound.rows_max, kRowsMax))
                                           .Int8(Limit(bound.bytes_max, kBytesMax))));
    if (!results.ok()) return results.status();
    if (results->back().rows() == 0) {
      rows.push_back(MissingRow(ready.front()));
      return rows;
    }
    for (int row = 0; row < results->back().rows(); ++row) {
      rows.push_back(OutgoingRowAt(results->back(), row));
    }
    known.state().SetAsidePassing(bound.passed_topics, rows);
  }
  return rows;
}

absl::StatusOr<Result> PostgresOutgoing::FindBehind(int lane, std::int64_t cursor,
                                                    const Bound& bound) {
  const auto ask = [&](const Statement& statement) {
    Params params;
    params.Int4(lane).Int8(InLane(cursor));
    params.Int8(Limit(bound.rows_max, kRowsMax)).Int8(Limit(bound.bytes_max, kBytesMax));
    return Ask(statement, std::move(params));
  };
  absl::StatusOr<std::vector<Result>> found = ask(database_->statements().find_small_behind);
  // None at all, or together too large: large ones are counted one by one.
  if (found.ok() && found->back().rows() == 0) found = ask(database_->statements().find_behind);
  if (!found.ok()) return found.status();
  return std::move(found->back());
}

absl::StatusOr<std::vector<OutgoingRow>> PostgresOutgoing::ReadOn(int lane, HeldLane& held,
                                                                  const Bound& bound) {
  held.seen = {};
  const OutgoingLane& known = *held.lane;
  std::vector<OutgoingRow> told;
  const auto take = [&](const Result& found, std::vector<stores::OrderedRow>& seen) {
    seen.reserve(static_cast<std::size_t>(found.rows()));
    told.reserve(static_cast<std::size_t>(found.rows()));
    for (int row = 0; row < found.rows(); ++row) {
      const stores::OrderedRow ordered{.number = OutgoingNumberAt(found, row),
                                       .order = OutgoingOrderAt(found, row)};
      seen.push_back(ordered);
      if (known.state().MustWait(ordered)) continue;
      OutgoingRow one = ReadRow(found, row);
      if (!known.state().MayPass(one, bound.passed_topics)) told.push_back(std::move(one));
    }
  };
  const auto [firsts, lasts] = HoleColumns(known.holes());
  const std::int64_t rows_max = Limit(bound.rows_max, kRowsMax);
  const std::int64_t bytes_max = Limit(bound.bytes_max, kBytesMax);
  // What is ahead is read first: of each order whatever is older than a row that is seen ahead is
  // visible by then, and so is seen in the holes.
  const bool is_full = known.holes().size() >= kHolesMax;
  std::optional<Result> next;
  if (!is_full) {
    absl::StatusOr<Result> behind = FindBehind(lane, known.state().cursor(), bound);
    if (!behind.ok()) return behind.status();
    next = *std::move(behind);
  }
  ONCE_KILL_POINT("lanes.read_ahead");
  if (!known.holes().is_empty()) {
    const auto late = Ask(
        database_->statements().find_in_holes,
        std::move(Params().Int4(lane).Array(firsts).Array(lasts).Int8(rows_max).Int8(bytes_max)));
    if (!late.ok()) return late.status();
    take(late->back(), held.seen.late);
  }
  // What was committed late goes first: numbers of one order are told in their order.
  if (!held.seen.late.empty()) return told;
  if (is_full) {
    return absl::UnavailableError(absl::StrCat(
        "postgres: lane ", lane, " of outgoing messages ", database_->where(), " waits for ",
        known.holes().size(),
        " numbers that open transactions may still commit; end the oldest "
        "transaction of the server (backend_xid in pg_stat_activity, pg_prepared_xacts)"));
  }
  take(*next, held.seen.next);
  return told;
}

absl::StatusOr<std::vector<OutgoingRow>> PostgresOutgoing::FindUnplaced(int lane,
                                                                        const Bound& bound) {
  const std::lock_guard lock(mutex_);
  for (int i = 0; i < kPassesMax; ++i) {
    if (const auto held = Find(lane); !held.ok()) return held.status();
    if (!held_.at(lane).has_rows) {
      if (absl::Status looked = LookAtLanes(); !looked.ok()) return looked;
    }
    const absl::StatusOr<HeldLane*> held = Find(lane);
    if (!held.ok()) return held.status();
    if ((*held)->must_check) {
      if (absl::Status asked = CheckNumbers(lane, **held); !asked.ok()) return asked;
    }
    if (!(*held)->trouble.ok()) return (*held)->trouble;
    (*held)->lane->state().TakeBack(bound.passed_topics);
    const bool has_rows = std::exchange((*held)->has_rows, std::nullopt).value_or(false);
    // Those first: of their orders they are older than all behind the cursor.
    absl::StatusOr<std::vector<OutgoingRow>> found = ReadReady(lane, *(*held)->lane, bound);
    if (!found.ok() || !found->empty() || !has_rows) return found;
    found = ReadOn(lane, **held, bound);
    if (!found.ok() || !found->empty() || (*held)->seen.is_empty()) return found;
    if (absl::Status passed = Write({{lane, {.passes = true}}}, {}); !passed.ok()) return passed;
  }
  return std::vector<OutgoingRow>();
}

absl::StatusOr<std::vector<StreamProgress>> PostgresOutgoing::ListStreams() {
  const auto results = AskAside(database_->statements().list_streams, {});
  if (!results.ok()) return results.status();
  const Result& found = results->back();
  std::vector<StreamProgress> streams;
  for (int row = 0; row < found.rows(); ++row) {
    streams.push_back({.epoch = found.Unsigned(row, 0),
                       .topic = std::string(found.Bytes(row, 1)),
                       .partition = static_cast<std::int32_t>(found.Int(row, 2)),
                       .last = found.Unsigned(row, 3),
                       .first_offset = found.Int(row, 4),
                       .last_offset = found.Int(row, 5)});
  }
  return streams;
}

absl::StatusOr<std::vector<OwedVoid>> PostgresOutgoing::ListOwed() {
  const auto results = AskAside(database_->statements().list_voids, {});
  if (!results.ok()) return results.status();
  const Result& found = results->back();
  std::vector<OwedVoid> voids;
  for (int row = 0; row < found.rows(); ++row) {
    voids.push_back({.epoch = found.Unsigned(row, 0),
                     .topic = std::string(found.Bytes(row, 1)),
                     .partition = static_cast<std::int32_t>(found.Int(row, 2)),
                     .sequence = found.Unsigned(row, 3)});
  }
  return voids;
}

absl::StatusOr<bool> PostgresOutgoing::IsEpochInUse(std::uint64_t epoch) {
  // How every round of the epoch begins.
  std::string beginning = stores::EncodeRound({.epoch = epoch, .placements = {}});
  beginning.pop_back();
  Params params;
  params.Bytes(beginning).Int4(static_cast<std::int32_t>(epoch));
  const std::lock_guard lock(mutex_);
  const auto results = Ask(database_->statements().find_epoch, std::move(params));
  if (!results.ok()) return results.status();
  return results->back().Int(0, 0) != 0;
}

absl::Status PostgresOutgoing::CloseEpoch(std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  return Ask(database_->statements().close_epoch,
             std::move(Params().Int8(std::bit_cast<std::int64_t>(epoch))))
      .status();
}

}  // namespace once::postgres
