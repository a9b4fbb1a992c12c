// What operators ask and decide, from any process: the relay hears of it by the lane's revision.
#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/redis/outgoing.h"
#include "adapters/redis/outgoing_scripts.h"

namespace once::redis {
namespace {

// An operator's word is tried so often while the relay changes the lane.
constexpr int kTriesMax = 20;
constexpr int kCountsBeforeLanes = 3;

absl::Status NoSuchRow(std::int64_t number) {
  return absl::NotFoundError(absl::StrCat("outgoing message ", number, " is not parked"));
}

// Of all lanes the first so many, by their numbers.
template <typename T, typename Key>
std::vector<T> FirstOf(std::vector<T> all, std::size_t rows_max, Key number_of) {
  std::sort(all.begin(), all.end(),
            [&](const T& a, const T& b) { return number_of(a) < number_of(b); });
  if (all.size() > rows_max)
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(rows_max), all.end());
  return all;
}

}  // namespace

absl::StatusOr<OutgoingCounts> RedisOutgoing::Count() {
  const ScriptCall call{
      .key = keys_.OfSpool(), .arguments = {}, .more_keys = keys_.OfLanes(AllLanes())};
  const absl::StatusOr<Reply> reply = cluster_.Run(ScriptsOfOutgoing().count, call);
  if (!reply.ok()) return reply.status();
  const std::vector<Reply>& told = reply->elements;
  if (told.size() != kCountsBeforeLanes + kLanes) return UnreadableAnswer("count");
  OutgoingCounts counts{.waiting = static_cast<std::size_t>(told[0].integer),
                        .parked = static_cast<std::size_t>(told[1].integer)};
  for (std::size_t i = kCountsBeforeLanes; i < told.size(); ++i) {
    std::int64_t micros = 0;
    if (!absl::SimpleAtoi(told[i].text, &micros)) continue;
    counts.oldest = std::min(counts.oldest, absl::FromUnixMicros(micros));
  }
  return counts;
}

absl::StatusOr<std::uint64_t> RedisOutgoing::MeasureBytes() {
  const std::string command = Encode({"HGET", keys_.OfSpool(), "bytes"});
  const KeyedCommand keyed{.key = keys_.OfSpool(), .bytes = command};
  const auto replies = cluster_.ReadEach({&keyed, 1});
  if (!replies.ok()) return replies.status();
  return static_cast<std::uint64_t>(std::max<std::int64_t>(NumberIn(replies->front()), 0));
}

absl::StatusOr<std::vector<OutgoingRow>> RedisOutgoing::ListWaiting(std::int64_t after,
                                                                    std::size_t rows_max) {
  std::vector<OutgoingRow> all;
  for (const int lane : AllLanes()) {
    // The last number of the lane that is not greater.
    std::int64_t from = after < lane ? 0 : (after - lane) / kLanes;
    // As many of each lane: whatever a reply leaves out is greater than all that it has.
    std::size_t found = 0;
    while (found < rows_max) {
      const ScriptCall call{
          .key = keys_.OfLane(lane),
          .arguments = {absl::StrCat(from), absl::StrCat(std::min(rows_max - found, kReadRowsMax)),
                        absl::StrCat(kReadBytesMax)},
          .more_keys = {keys_.OfRows(lane)}};
      const absl::StatusOr<Reply> reply = cluster_.Run(ScriptsOfOutgoing().list_rows, call);
      if (!reply.ok()) return reply.status();
      if (reply->elements.empty()) break;
      for (std::size_t i = 0; i + 1 < reply->elements.size(); i += 2) {
        from = NumberIn(reply->elements[i]);
        all.push_back(SpoolRow(NumberOf(lane, from), reply->elements[i + 1].text));
        ++found;
      }
    }
  }
  return FirstOf(std::move(all), rows_max, [](const OutgoingRow& row) { return row.number; });
}

absl::StatusOr<std::vector<ParkedRow>> RedisOutgoing::ListParked(std::int64_t after,
                                                                 std::size_t rows_max) {
  std::vector<std::pair<std::int64_t, stores::ParkedNote>> notes;
  for (const int lane : AllLanes()) {
    const absl::StatusOr<LaneRead> read = ReadLane(lane);
    if (!read.ok()) return read.status();
    const auto& parked = read->lane.state().parked();
    for (auto note = parked.upper_bound(after); note != parked.end(); ++note) {
      notes.emplace_back(note->first, note->second);
    }
  }
  notes = FirstOf(std::move(notes), rows_max, [](const auto& note) { return note.first; });
  std::vector<ParkedRow> listed;
  for (auto& [number, note] : notes) {
    auto row = ReadRows(LaneOf(number), {&number, 1}, kReadBytesMax, /*is_part=*/true);
    if (!row.ok()) return row.status();
    listed.push_back({.row = std::move(row->front()),
                      .reason = std::move(note.reason),
                      .parked_at = note.parked_at});
  }
  return listed;
}

absl::StatusOr<std::vector<DiscardedRow>> RedisOutgoing::ListDiscarded(std::int64_t after,
                                                                       std::size_t rows_max) {
  std::vector<DiscardedRow> all;
  for (const int lane : AllLanes()) {
    const absl::StatusOr<LaneRead> read = ReadLane(lane);
    if (!read.ok()) return read.status();
    const auto& discarded = read->lane.state().discarded();
    for (auto row = discarded.upper_bound(after); row != discarded.end(); ++row) {
      all.push_back(row->second);
    }
  }
  return FirstOf(std::move(all), rows_max, [](const DiscardedRow& row) { return row.number; });
}

absl::Status RedisOutgoing::ChangeAsOperator(
    int lane,
    absl::FunctionRef<absl::Status(stores::OutgoingState&, stores::OutgoingChange&)> work) {
  for (int tries = 0; tries < kTriesMax; ++tries) {
    absl::StatusOr<LaneRead> known = ReadLane(lane);
    if (!known.ok()) return known.status();
    stores::OutgoingChange change;
    if (absl::Status done = work(known->lane.state(), change); !done.ok()) return done;
    if (change.facts.empty() && change.dropped.empty()) return absl::OkStatus();
    Written written;
    written[lane] = known->lane.Settle(std::move(change));
    const absl::StatusOr<std::int64_t> answer = SayWrite("", DrawRevision(), written, {});
    if (absl::IsUnknown(answer.status())) {
      return absl::UnknownError(
          absl::StrCat(answer.status().message(), "; list what is parked before you repeat it"));
    }
    if (!answer.ok()) return answer.status();
    if (*answer == kSaid) return absl::OkStatus();
    if (*answer != kOtherRevision) return UnreadableAnswer("change outgoing messages");
  }
  return absl::UnavailableError("redis: the relay changes the lane all the time; again");
}

absl::Status RedisOutgoing::Unpark(std::int64_t number) {
  if (number <= 0) return NoSuchRow(number);
  return ChangeAsOperator(LaneOf(number),
                          [number](stores::OutgoingState& state, stores::OutgoingChange& change) {
                            return state.Unpark(number, change);
                          });
}

// Lane by lane, each at once: those who come between see none half done.
absl::StatusOr<std::size_t> RedisOutgoing::UnparkTopic(const std::string& topic) {
  std::size_t count = 0;
  for (const int lane : AllLanes()) {
    std::size_t unparked = 0;
    absl::Status done = ChangeAsOperator(
        lane, [&](stores::OutgoingState& state, stores::OutgoingChange& change) -> absl::Status {
          unparked = 0;
          std::vector<std::int64_t> numbers;
          for (const auto& [number, note] : state.parked()) numbers.push_back(number);
          const auto rows = ReadRows(lane, numbers, kReadBytesMax, /*is_part=*/false);
          if (!rows.ok()) return rows.status();
          for (const OutgoingRow& row : *rows) {
            if (!row.damage.ok() || row.message.topic != topic) continue;
            if (state.Unpark(row.number, change).ok()) ++unparked;
          }
          return absl::OkStatus();
        });
    if (!done.ok()) return done;
    count += unparked;
  }
  return count;
}

absl::Status RedisOutgoing::Discard(std::int64_t number) {
  if (number <= 0) return NoSuchRow(number);
  return ChangeAsOperator(LaneOf(number),
                          [number](stores::OutgoingState& state, stores::OutgoingChange& change) {
                            return state.Discard(number, change);
                          });
}

absl::Status RedisOutgoing::GiveUp(std::int64_t number, const std::string& reason) {
  if (absl::Status valid = ValidateDiscardReason(reason); !valid.ok()) return valid;
  if (number <= 0) return NoSuchRow(number);
  const absl::StatusOr<absl::Time> now = ReadClock();
  if (!now.ok()) return now.status();
  // A row stays as it is for as long as it is there.
  const auto row = ReadRows(LaneOf(number), {&number, 1}, kReadBytesMax, /*is_part=*/true);
  if (!row.ok()) return row.status();
  const OutgoingMessage& message = row->front().message;
  const DiscardedRow discarded{.number = number,
                               .topic = message.topic,
                               .id = IdOf(message),
                               .reason = reason,
                               .discarded_at = *now};
  return ChangeAsOperator(
      LaneOf(number),
      [&](stores::OutgoingState& state, stores::OutgoingChange& change) -> absl::Status {
        if (absl::Status gone = state.Discard(number, change); !gone.ok()) return gone;
        state.NoteDiscarded(discarded, change);
        return absl::OkStatus();
      });
}

}  // namespace once::redis
