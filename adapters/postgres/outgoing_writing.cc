// What a relay has decided, written in one transaction for all of its lanes.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "adapters/postgres/outgoing.h"
#include "adapters/postgres/outgoing_rows.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

// How often what an operator has changed meanwhile is taken in before the relay tries later.
constexpr int kTriesMax = 3;

// Of all lanes: what is said last of a fact counts.
std::map<std::pair<int, std::string>, std::optional<std::string>> LastFacts(
    const std::map<int, stores::OutgoingChange>& written) {
  std::map<std::pair<int, std::string>, std::optional<std::string>> facts;
  for (const auto& [lane, change] : written) {
    for (const stores::OutgoingFact& fact : change.facts) facts[{lane, fact.key}] = fact.value;
  }
  return facts;
}

struct StreamColumns {
  Column epochs{Column::Type::kInt8};
  Column topics{Column::Type::kBytes};
  Column partitions{Column::Type::kInt4};
  Column numbers{Column::Type::kInt8};

  void Add(std::uint64_t epoch, std::string_view topic, std::int32_t partition,
           std::uint64_t number) {
    epochs.AddUnsigned(epoch);
    topics.AddBytes(topic);
    partitions.Add(partition);
    numbers.AddUnsigned(number);
  }
  Params ToParams() const {
    return std::move(Params().Array(epochs).Array(topics).Array(partitions).Array(numbers));
  }
};

Params VoidParams(std::span<const OwedVoid> voids) {
  StreamColumns columns;
  for (const OwedVoid& owed : voids) {
    columns.Add(owed.epoch, owed.topic, owed.partition, owed.sequence);
  }
  return columns.ToParams();
}

}  // namespace

absl::StatusOr<std::vector<stores::LeavingRow>> PostgresOutgoing::FindLeaving(
    const OutgoingProgress& progress) {
  std::vector<stores::LeavingRow> leaving;
  const std::vector<std::int64_t> wanted = stores::FindLeaving(progress);
  if (wanted.empty()) return leaving;
  Column lanes(Column::Type::kInt4);
  Column numbers(Column::Type::kInt8);
  for (const std::int64_t number : wanted) {
    lanes.Add(LaneOf(number));
    numbers.Add(InLane(number));
  }
  const auto results =
      Ask(database_->statements().find_orders, std::move(Params().Array(lanes).Array(numbers)));
  if (!results.ok()) return results.status();
  const Result& found = results->back();
  for (int row = 0; row < found.rows(); ++row) {
    const std::int64_t number = OutgoingNumberAt(found, row);
    leaving.push_back({.lane = LaneOf(number),
                       .row = {.number = number, .order = OutgoingOrderAt(found, row)},
                       .parked_at = found.Time(row, 3)});
  }
  return leaving;
}

absl::Status PostgresOutgoing::Advance(const OutgoingProgress& progress) {
  const std::lock_guard lock(mutex_);
  absl::StatusOr<std::vector<stores::LeavingRow>> leaving = FindLeaving(progress);
  if (!leaving.ok()) return leaving.status();
  return Write(stores::SortByLane(progress, *std::move(leaving)), progress);
}

absl::Status PostgresOutgoing::Write(const stores::LaneChanges& changes,
                                     const OutgoingProgress& progress) {
  absl::Status written;
  for (int i = 0; i < kTriesMax; ++i) {
    Session* const session = lanes_.session();
    if (session == nullptr) {
      return absl::AbortedError("postgres: the session that held the lanes is gone");
    }
    written = TryWrite(changes, progress);
    if (written.ok()) return written;
    for (const auto& [lane, change] : changes) {
      if (const auto held = held_.find(lane); held != held_.end()) held->second.lane.reset();
    }
    lanes_.ForgetEpochs();
    session->DropQueued();
    if (!session->is_lost() && !session->is_idle()) {
      session->Queue(database_->statements().rollback);
      session->Run(database_->options().answer_timeout).status().IgnoreError();
    }
    if (session->is_lost()) {
      lanes_.Lose();
      return absl::IsUnknown(written) ? written : absl::AbortedError(written.message());
    }
    if (!absl::IsAborted(written) || changes.empty()) return written;
    const absl::StatusOr<bool> again = ReadAgain(changes);
    if (!again.ok()) return again.status();
    if (!*again) return written;
  }
  return absl::UnavailableError(
      absl::StrCat(ToAbsl(ToStd(written.message())), " (operators change the lanes)"));
}

absl::StatusOr<bool> PostgresOutgoing::ReadAgain(const stores::LaneChanges& changes) {
  bool is_complete = true;
  for (const auto& [lane, change] : changes) {
    const absl::StatusOr<HeldLane*> held = Find(lane);
    if (!held.ok()) return held.status();
    for (const OutgoingRound* const round : change.placed) {
      const std::int64_t last = round->placements.back().number;
      const auto& seen = (*held)->seen.next;
      is_complete = is_complete && (last <= (*held)->lane->state().cursor() ||
                                    (!seen.empty() && last <= seen.back().number));
    }
  }
  return is_complete;
}

absl::Status PostgresOutgoing::TryWrite(const stores::LaneChanges& changes,
                                        const OutgoingProgress& progress) {
  Written written;
  for (const auto& [lane, change] : changes) {
    const absl::StatusOr<HeldLane*> held = Find(lane);
    if (!held.ok()) return held.status();
    absl::Status staged = (*held)->lane->Stage(change, (*held)->seen, written[lane]);
    if (!staged.ok()) return staged;
  }
  Session& session = *lanes_.session();
  session.Queue(database_->statements().begin);
  // First: as operators do, so that nobody waits for the other with something locked.
  Column lanes(Column::Type::kInt4);
  Column revisions(Column::Type::kInt8);
  Column firsts(Column::Type::kInt8);
  for (const auto& [lane, change] : changes) {
    lanes.Add(lane);
    revisions.Add(held_.at(lane).lane->revision());
    firsts.Add(held_.at(lane).lane->FindFirst());
  }
  session.Queue(
      database_->statements().advance_lanes,
      std::move(Params().Array(lanes).Array(revisions).Array(firsts).Int8(lanes_.owner())));
  for (const OutgoingRound& round : progress.placed) lanes_.QueueEpoch(round.epoch);
  QueueStreams(session, progress);
  QueueWritten(session, written);
  // With its commit in one pipeline: nobody waits for a relay that is between two round trips.
  const auto results = database_->CommitQueued(session, Durability::kMachine, "");
  if (!results.ok()) return results.status();
  const std::int64_t transaction = (*results)[1].Int(0, 1);
  for (const auto& [lane, change] : changes) held_.at(lane).lane->NoteWritten(transaction);
  return absl::OkStatus();
}

void PostgresOutgoing::QueueWritten(Session& session, const Written& written) {
  Column kept_lanes(Column::Type::kInt4);
  Column kept_keys(Column::Type::kBytes);
  Column values(Column::Type::kBytes);
  Column gone_lanes(Column::Type::kInt4);
  Column gone_keys(Column::Type::kBytes);
  bool has_kept = false;
  bool has_gone = false;
  for (const auto& [fact, value] : LastFacts(written)) {
    (value ? has_kept : has_gone) = true;
    (value ? kept_lanes : gone_lanes).Add(fact.first);
    (value ? kept_keys : gone_keys).AddBytes(fact.second);
    if (value) values.AddBytes(*value);
  }
  const Statements& statements = database_->statements();
  if (has_kept) {
    session.Queue(statements.put_facts,
                  std::move(Params().Array(kept_lanes).Array(kept_keys).Array(values)));
  }
  if (has_gone) {
    session.Queue(statements.forget_facts, std::move(Params().Array(gone_lanes).Array(gone_keys)));
  }
  std::vector<std::int64_t> dropped;
  for (const auto& [lane, change] : written) {
    for (const stores::OutgoingChange::Range& range : change.dropped) {
      for (std::int64_t number = range.first; number <= range.last; ++number) {
        dropped.push_back(number);
      }
    }
  }
  if (dropped.empty()) return;
  std::sort(dropped.begin(), dropped.end(), [](std::int64_t a, std::int64_t b) {
    return std::pair(LaneOf(a), a) < std::pair(LaneOf(b), b);
  });
  Column lanes(Column::Type::kInt4);
  Column firsts(Column::Type::kInt8);
  Column lasts(Column::Type::kInt8);
  for (std::size_t i = 0; i < dropped.size();) {
    std::size_t end = i + 1;
    while (end < dropped.size() && dropped[end] == dropped[end - 1] + kLanes) ++end;
    lanes.Add(LaneOf(dropped[i]));
    firsts.Add(InLane(dropped[i]));
    lasts.Add(InLane(dropped[end - 1]));
    i = end;
  }
  session.Queue(statements.drop_outgoing_rows,
                std::move(Params().Array(lanes).Array(firsts).Array(lasts)));
}

void PostgresOutgoing::QueueStreams(Session& session, const OutgoingProgress& progress) {
  const Statements& statements = database_->statements();
  if (!progress.streams.empty()) {
    StreamColumns columns;
    Column firsts(Column::Type::kInt8);
    Column lasts(Column::Type::kInt8);
    for (const StreamProgress& stream : progress.streams) {
      columns.Add(stream.epoch, stream.topic, stream.partition, stream.last);
      firsts.Add(stream.first_offset);
      lasts.Add(stream.last_offset);
    }
    Params params = columns.ToParams();
    params.Array(firsts).Array(lasts);
    session.Queue(statements.put_streams, std::move(params));
  }
  if (!progress.owed.empty()) session.Queue(statements.put_voids, VoidParams(progress.owed));
  if (!progress.declared.empty()) {
    session.Queue(statements.drop_voids, VoidParams(progress.declared));
  }
}

}  // namespace once::postgres
