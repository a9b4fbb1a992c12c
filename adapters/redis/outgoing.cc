// Lanes, and what is read of them. What is written: outgoing_writing.cc.
#include "adapters/redis/outgoing.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/outgoing_scripts.h"
#include "src/stores/outgoing_codec.h"

namespace once::redis {
namespace {

// Rows that must wait are passed so many at a time, in a write each, when there is nothing else to
// tell.
constexpr int kPassesMax = 16;
// A lane that operators change all the time is read so often.
constexpr int kReadsMax = 10;

std::string Limit(std::size_t wanted, std::size_t max) {
  return absl::StrCat(std::min(wanted, max));
}

absl::Status NotHeld(int lane) {
  return absl::AbortedError(
      absl::StrCat("redis: lane ", lane, " of the spool is not held any more"));
}

absl::Status WentBack(int lane) {
  return absl::AbortedError(
      absl::StrCat("redis: the server has lost what was written to lane ", lane,
                   " of the spool (a failover, or a backup put back); begin with what it has"));
}

}  // namespace

RedisOutgoing::RedisOutgoing(Cluster& cluster, const SpoolKeys& keys, absl::Duration lease,
                             std::function<absl::Duration()> clock_skew)
    : cluster_(cluster), keys_(keys), lanes_(cluster, keys, lease, std::move(clock_skew)) {}

absl::StatusOr<std::vector<int>> RedisOutgoing::HoldLanes() {
  const std::lock_guard lock(mutex_);
  absl::StatusOr<std::vector<int>> held = lanes_.Hold();
  std::erase_if(held_, [this](const auto& entry) { return !lanes_.Holds(entry.first); });
  if (!held.ok()) return held;
  for (const int lane : *held) held_[lane].has_rows.reset();
  return held;
}

void RedisOutgoing::GiveUpLanes(std::span<const int> lanes) {
  const std::lock_guard lock(mutex_);
  lanes_.GiveUp(lanes);
  std::erase_if(held_, [this](const auto& entry) { return !lanes_.Holds(entry.first); });
}

std::vector<int> RedisOutgoing::FindSurplus() {
  const std::lock_guard lock(mutex_);
  return lanes_.FindSurplus();
}

absl::StatusOr<RedisOutgoing::HeldLane*> RedisOutgoing::Find(int lane) {
  const auto found = held_.find(lane);
  if (!lanes_.Holds(lane) || found == held_.end()) return NotHeld(lane);
  if (!found->second.lane) {
    if (absl::Status loaded = Load(lane, found->second); !loaded.ok()) return loaded;
  }
  return &found->second;
}

absl::StatusOr<RedisOutgoing::LaneRead> RedisOutgoing::ReadLane(int lane) {
  for (int reads = 0; reads < kReadsMax; ++reads) {
    std::map<std::string, std::string> facts;
    LaneRead read;
    std::optional<std::string> revision;
    std::string cursor = "0";
    Answerer first;
    bool is_same = true;
    do {
      const ScriptCall call{.key = keys_.OfLane(lane), .arguments = {cursor}};
      Answerer by;
      const absl::StatusOr<Reply> page = cluster_.Run(ScriptsOfOutgoing().facts, call, &by);
      if (!page.ok()) return page.status();
      const std::vector<Reply>& told = page->elements;
      if (told.size() < 4 || told.size() % 2 != 0) return UnreadableAnswer("read a lane");
      // Another server would go on elsewhere with a cursor that it has not given.
      if (!revision) first = by;
      is_same =
          by == first && (!revision || (*revision == told[1].text && read.owner == told[0].text));
      read.owner = told[0].text;
      revision = told[1].text;
      read.relayed = told[2].text;
      cursor = told[3].text;
      for (std::size_t i = 4; i < told.size(); i += 2) facts[told[i].text] = told[i + 1].text;
    } while (is_same && cursor != "0");
    if (!is_same) continue;
    std::vector<stores::OutgoingFact> list;
    for (auto& [key, value] : facts) list.push_back({.key = key, .value = std::move(value)});
    absl::StatusOr<SpoolLane> loaded = SpoolLane::Load(lane, *revision, list);
    if (!loaded.ok()) return loaded.status();
    read.lane = *std::move(loaded);
    return read;
  }
  return absl::UnavailableError(
      absl::StrCat("redis: lane ", lane, " of the spool changes while it is read; again"));
}

absl::Status RedisOutgoing::Load(int lane, HeldLane& held) {
  absl::StatusOr<LaneRead> read = ReadLane(lane);
  if (!read.ok()) return read.status();
  if (read->owner != lanes_.token()) {
    lanes_.Lose();
    return NotHeld(lane);
  }
  // What is on its way is of rounds that the server has otherwise, or does not have.
  if (held.relayed.value_or(read->relayed) != read->relayed) {
    lanes_.Lose();
    return WentBack(lane);
  }
  held.relayed = std::move(read->relayed);
  held.lane = std::move(read->lane);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<OutgoingRow>> RedisOutgoing::ReadRows(
    int lane, std::span<const std::int64_t> numbers, std::size_t bytes_max, bool is_part) {
  std::vector<OutgoingRow> rows;
  while (rows.size() < numbers.size()) {
    const auto left = numbers.subspan(rows.size());
    ScriptCall call{.key = keys_.OfRows(lane), .arguments = {Limit(bytes_max, kReadBytesMax)}};
    for (const std::int64_t number : left.first(std::min(left.size(), kReadRowsMax))) {
      call.arguments.push_back(absl::StrCat(InLane(number)));
    }
    const absl::StatusOr<Reply> reply = cluster_.Run(ScriptsOfOutgoing().read_rows, call);
    if (!reply.ok()) return reply.status();
    if (reply->elements.empty() || reply->elements.size() > left.size()) {
      return UnreadableAnswer("read rows");
    }
    for (std::size_t i = 0; i < reply->elements.size(); ++i) {
      rows.push_back(SpoolRow(left[i], reply->elements[i].text));
    }
    if (is_part) break;
  }
  return rows;
}

absl::StatusOr<std::vector<UnfinishedRound>> RedisOutgoing::FindUnfinished(int lane) {
  const std::lock_guard lock(mutex_);
  const absl::StatusOr<HeldLane*> held = Find(lane);
  if (!held.ok()) return held.status();
  // As the server has it now, whatever was known: nothing of it is on its way.
  (*held)->relayed.reset();
  if (absl::Status loaded = Load(lane, **held); !loaded.ok()) return loaded;
  (*held)->seen = {};
  std::vector<UnfinishedRound> unfinished;
  for (const auto& [number, round] : (*held)->lane->state().rounds()) {
    UnfinishedRound& found = unfinished.emplace_back();
    found.round = round;
    found.round.lane = lane;
    std::vector<std::int64_t> numbers;
    for (const Placement& placement : round.placements) numbers.push_back(placement.number);
    absl::StatusOr<std::vector<OutgoingRow>> rows =
        ReadRows(lane, numbers, kReadBytesMax, /*is_part=*/false);
    if (!rows.ok()) return rows.status();
    found.rows = *std::move(rows);
  }
  return unfinished;
}

absl::Status RedisOutgoing::LookAtLanes() {
  std::vector<int> lanes;
  for (const auto& [lane, held] : held_) lanes.push_back(lane);
  ScriptCall call{.key = keys_.OfLane(lanes.front()), .arguments = {lanes_.token()}};
  for (std::size_t i = 1; i < lanes.size(); ++i) call.more_keys.push_back(keys_.OfLane(lanes[i]));
  const absl::StatusOr<Reply> reply = cluster_.Run(ScriptsOfOutgoing().look, call);
  if (!reply.ok()) return reply.status();
  if (reply->elements.size() != 3 * lanes.size()) return UnreadableAnswer("look at lanes");
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const Reply* const told = &reply->elements[3 * i];
    if (told[0].integer == 0) {
      lanes_.Lose();
      return NotHeld(lanes[i]);
    }
    HeldLane& held = held_.at(lanes[i]);
    // By an operator, or the server went back: loading it tells.
    if (held.lane && told[1].text != held.lane->revision()) held.lane.reset();
    if (absl::StatusOr<HeldLane*> found = Find(lanes[i]); !found.ok()) return found.status();
    held.has_rows = told[2].integer > InLane(held.lane->state().cursor());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<OutgoingRow>> RedisOutgoing::ReadReady(int lane, SpoolLane& known,
                                                                  const Bound& bound) {
  std::vector<OutgoingRow> rows;
  while (rows.empty()) {
    const std::vector<std::int64_t> ready = known.state().FindReady(bound.rows_max);
    if (ready.empty()) return rows;
    absl::StatusOr<std::vector<OutgoingRow>> read =
        ReadRows(lane, ready, bound.bytes_max, /*is_part=*/true);
    if (!read.ok()) return read;
    rows = *std::move(read);
    known.state().SetAsidePassing(bound.passed_topics, rows);
  }
  return rows;
}

absl::StatusOr<std::vector<OutgoingRow>> RedisOutgoing::ReadOn(int lane, HeldLane& held,
                                                               const Bound& bound) {
  held.seen = {};
  const stores::OutgoingState& known = held.lane->state();
  const ScriptCall call{
      .key = keys_.OfLane(lane),
      .arguments = {lanes_.token(), absl::StrCat(InLane(known.cursor())),
                    Limit(bound.rows_max, kReadRowsMax), Limit(bound.bytes_max, kReadBytesMax)},
      .more_keys = {keys_.OfRows(lane)}};
  const absl::StatusOr<Reply> reply = cluster_.Run(ScriptsOfOutgoing().read_on, call);
  if (!reply.ok()) return reply.status();
  const std::vector<Reply>& found = reply->elements;
  if (found.size() % 2 != 1) return UnreadableAnswer("read rows");
  if (found[0].integer == 0) {
    lanes_.Lose();
    return NotHeld(lane);
  }
  std::vector<OutgoingRow> told;
  for (std::size_t i = 1; i < found.size(); i += 2) {
    const std::int64_t in_lane = NumberIn(found[i]);
    OutgoingRow row = SpoolRow(NumberOf(lane, in_lane), found[i + 1].text);
    const stores::OrderedRow ordered{.number = row.number, .order = stores::OrderOf(row.message)};
    held.seen.rows.push_back(ordered);
    if (!found[i + 1].text.empty()) {
      held.seen.last = in_lane;
      held.seen.last_put_at = found[i + 1].text.substr(0, kRowTimeDigits);
    }
    const bool goes_on = !known.MustWait(ordered) && !known.MayPass(row, bound.passed_topics);
    if (goes_on) told.push_back(std::move(row));
  }
  return told;
}

absl::StatusOr<std::vector<OutgoingRow>> RedisOutgoing::FindUnplaced(int lane, const Bound& bound) {
  const std::lock_guard lock(mutex_);
  if (bound.rows_max == 0) return std::vector<OutgoingRow>();
  for (int i = 0; i < kPassesMax; ++i) {
    if (const auto held = Find(lane); !held.ok()) return held.status();
    if (!held_.at(lane).has_rows) {
      if (absl::Status looked = LookAtLanes(); !looked.ok()) return looked;
    }
    const absl::StatusOr<HeldLane*> held = Find(lane);
    if (!held.ok()) return held.status();
    (*held)->lane->state().TakeBack(bound.passed_topics);
    const bool has_rows = std::exchange((*held)->has_rows, std::nullopt).value_or(false);
    // Those first: of their orders they are older than all behind the cursor.
    absl::StatusOr<std::vector<OutgoingRow>> found = ReadReady(lane, *(*held)->lane, bound);
    if (!found.ok() || !found->empty() || !has_rows) return found;
    found = ReadOn(lane, **held, bound);
    if (!found.ok() || !found->empty() || (*held)->seen.rows.empty()) return found;
    if (absl::Status passed = Write({{lane, {.passes = true}}}, {}); !passed.ok()) return passed;
  }
  return std::vector<OutgoingRow>();
}

absl::StatusOr<std::map<std::string, std::string>> RedisOutgoing::ReadHash(const std::string& key) {
  for (int reads = 0; reads < kReadsMax; ++reads) {
    std::map<std::string, std::string> fields;
    std::string cursor = "0";
    std::optional<Answerer> first;
    bool is_same = true;
    do {
      Answerer by;
      const absl::StatusOr<Reply> page =
          cluster_.Read({.key = key, .bytes = Encode({"HSCAN", key, cursor, "COUNT", "500"})}, by);
      if (!page.ok()) return page.status();
      if (page->is_error()) return ErrorStatus(page->text, /*is_opening=*/false);
      if (page->elements.size() != 2) return UnreadableAnswer("read a hash");
      is_same = by == first.value_or(by);
      first = by;
      cursor = page->elements[0].text;
      const std::vector<Reply>& found = page->elements[1].elements;
      for (std::size_t i = 0; i + 1 < found.size(); i += 2) {
        fields[found[i].text] = found[i + 1].text;
      }
    } while (is_same && cursor != "0");
    if (is_same) return fields;
  }
  return absl::UnavailableError(
      "redis: the spool is elsewhere with every page that is read; again");
}

absl::StatusOr<bool> RedisOutgoing::IsEpochInUse(std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  const ScriptCall call{.key = keys_.OfEpochs(),
                        .arguments = {lanes_.LeadText(), lanes_.token(), absl::StrCat(epoch)},
                        .more_keys = {keys_.OfRelays()}};
  const absl::StatusOr<Reply> reply = cluster_.Run(ScriptsOfOutgoing().find_epoch, call);
  if (!reply.ok()) return reply.status();
  return reply->integer != 0;
}

}  // namespace once::redis
