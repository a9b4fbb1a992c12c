// What a relay has decided, written by one script for all of its lanes.
#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/outgoing.h"
#include "adapters/redis/outgoing_scripts.h"
#include "once/abseil.h"
#include "src/stores/bytes.h"
#include "src/stores/outgoing_codec.h"
#include "src/test_hooks.h"

namespace once::redis {
namespace {

// How often what an operator has changed meanwhile is taken in before the relay tries later.
constexpr int kTriesMax = 3;

std::string StreamKey(const StreamProgress& stream) {
  std::string key;
  stores::AppendInt(key, stream.epoch);
  stores::AppendInt(key, stream.partition);
  return key.append(stream.topic);
}

// As text that is compared as text; an offset is one more, so that none is 0.
std::string Digits(std::uint64_t number) { return absl::StrFormat("%020d", number); }
std::string OffsetDigits(std::int64_t offset) {
  return Digits(static_cast<std::uint64_t>(offset + 1));
}

absl::Status DamagedStream() {
  return absl::DataLossError("redis: a stream of the spool is damaged");
}

absl::StatusOr<StreamProgress> DecodeStream(std::string_view key, std::string_view value) {
  stores::ByteReader reader(key);
  StreamProgress stream;
  stream.epoch = reader.TakeInt<std::uint64_t>();
  stream.partition = reader.TakeInt<std::int32_t>();
  stream.topic = std::string(reader.rest());
  const std::vector<std::string> parts = absl::StrSplit(ToAbsl(value), ' ');
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  if (!reader.is_ok() || parts.size() != 3 || !absl::SimpleAtoi(parts[0], &stream.last) ||
      !absl::SimpleAtoi(parts[1], &first) || !absl::SimpleAtoi(parts[2], &last)) {
    return DamagedStream();
  }
  stream.first_offset = static_cast<std::int64_t>(first) - 1;
  stream.last_offset = static_cast<std::int64_t>(last) - 1;
  return stream;
}

template <typename T>
void AppendCount(std::vector<std::string>& arguments, const T& list) {
  arguments.push_back(absl::StrCat(list.size()));
}

// What is said last of a fact counts.
void AppendFacts(std::vector<std::string>& arguments, const stores::OutgoingChange& change) {
  std::map<std::string_view, const std::string*> facts;
  for (const stores::OutgoingFact& fact : change.facts) {
    facts[fact.key] = fact.value ? &*fact.value : nullptr;
  }
  std::vector<std::string> kept;
  std::vector<std::string> gone;
  for (const auto& [key, value] : facts) {
    (value != nullptr ? kept : gone).emplace_back(key);
    if (value != nullptr) kept.push_back(*value);
  }
  arguments.push_back(absl::StrCat(kept.size() / 2));
  std::move(kept.begin(), kept.end(), std::back_inserter(arguments));
  AppendCount(arguments, gone);
  std::move(gone.begin(), gone.end(), std::back_inserter(arguments));
}

void AppendDropped(std::vector<std::string>& arguments, const stores::OutgoingChange& change) {
  std::vector<std::int64_t> numbers;
  for (const stores::OutgoingChange::Range& range : change.dropped) {
    for (std::int64_t number = range.first; number <= range.last; ++number) {
      numbers.push_back(InLane(number));
    }
  }
  std::sort(numbers.begin(), numbers.end());
  std::vector<std::string> ranges;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t end = i + 1;
    while (end < numbers.size() && numbers[end] <= numbers[end - 1] + 1) ++end;
    ranges.push_back(absl::StrCat(numbers[i]));
    ranges.push_back(absl::StrCat(numbers[end - 1]));
    i = end;
  }
  arguments.push_back(absl::StrCat(ranges.size() / 2));
  std::move(ranges.begin(), ranges.end(), std::back_inserter(arguments));
}

void AppendRest(std::vector<std::string>& arguments, const OutgoingProgress& progress,
                const std::vector<std::uint64_t>& finished_epochs) {
  AppendCount(arguments, progress.streams);
  for (const StreamProgress& stream : progress.streams) {
    arguments.push_back(StreamKey(stream));
    arguments.push_back(Digits(stream.last));
    arguments.push_back(OffsetDigits(stream.first_offset));
    arguments.push_back(OffsetDigits(stream.last_offset));
  }
  AppendCount(arguments, progress.owed);
  for (const OwedVoid& owed : progress.owed) {
    arguments.push_back(stores::EncodeOwed(owed));
    arguments.emplace_back("1");
  }
  AppendCount(arguments, progress.declared);
  for (const OwedVoid& owed : progress.declared) arguments.push_back(stores::EncodeOwed(owed));
  AppendCount(arguments, progress.placed);
  for (const OutgoingRound& round : progress.placed) {
    arguments.push_back(absl::StrCat(round.epoch));
  }
  AppendCount(arguments, finished_epochs);
  for (const std::uint64_t epoch : finished_epochs) arguments.push_back(absl::StrCat(epoch));
}

}  // namespace

std::string RedisOutgoing::DrawRevision() {
  return absl::StrCat(absl::Hex(cluster_.incarnation()), ".", ++revisions_);
}

absl::StatusOr<std::int64_t> RedisOutgoing::SayWrite(const std::string& token,
                                                     const std::string& revision,
                                                     const Written& written,
                                                     const OutgoingProgress& progress) {
  std::vector<int> lanes;
  for (const auto& [lane, part] : written) lanes.push_back(lane);
  ScriptCall call{.key = keys_.OfSpool(),
                  .arguments = {lanes_.LeadText(), token, lanes_.LeaseText(), revision,
                                absl::StrCat(lanes.size())},
                  .more_keys = {keys_.OfStreams(), keys_.OfVoids(), keys_.OfEpochs()}};
  for (std::string& key : keys_.OfLanes(lanes)) call.more_keys.push_back(std::move(key));
  std::vector<std::uint64_t> finished_epochs;
  for (const auto& [lane, part] : written) {
    call.arguments.push_back(part.revision);
    call.arguments.push_back(absl::StrCat(part.first));
    call.arguments.push_back(absl::StrCat(part.seen));
    call.arguments.push_back(part.seen_put_at);
    AppendFacts(call.arguments, part.change);
    AppendDropped(call.arguments, part.change);
    finished_epochs.insert(finished_epochs.end(), part.finished_epochs.begin(),
                           part.finished_epochs.end());
  }
  AppendRest(call.arguments, progress, finished_epochs);
  const absl::StatusOr<Reply> reply = cluster_.Run(ScriptsOfOutgoing().write, call);
  if (!reply.ok()) return reply.status();
  return reply->integer;
}

absl::StatusOr<absl::Time> RedisOutgoing::ReadClock() {
  const std::string command = Encode({"TIME"});
  const KeyedCommand keyed{.key = keys_.OfSpool(), .bytes = command};
  const auto replies = cluster_.ReadEach({&keyed, 1});
  if (!replies.ok()) return replies.status();
  const Reply& time = replies->front();
  if (time.is_error()) return ErrorStatus(time.text, /*is_opening=*/false);
  if (time.elements.size() != 2) return UnreadableAnswer("read the clock");
  return absl::FromUnixSeconds(NumberIn(time.elements[0])) +
         absl::Microseconds(NumberIn(time.elements[1]));
}

absl::StatusOr<std::vector<stores::LeavingRow>> RedisOutgoing::FindLeaving(
    const OutgoingProgress& progress) {
  std::vector<stores::LeavingRow> leaving;
  std::map<int, std::vector<std::int64_t>> wanted;
  for (const std::int64_t number : stores::FindLeaving(progress)) {
    wanted[LaneOf(number)].push_back(number);
  }
  if (wanted.empty()) return leaving;
  const absl::StatusOr<absl::Time> now = ReadClock();
  if (!now.ok()) return now.status();
  for (const auto& [lane, numbers] : wanted) {
    const auto rows = ReadRows(lane, numbers, kReadBytesMax, /*is_part=*/false);
    if (!rows.ok()) return rows.status();
    for (const OutgoingRow& row : *rows) {
      leaving.push_back({.lane = lane,
                         .row = {.number = row.number, .order = stores::OrderOf(row.message)},
                         .parked_at = *now});
    }
  }
  return leaving;
}

absl::Status RedisOutgoing::Advance(const OutgoingProgress& progress) {
  const std::lock_guard lock(mutex_);
  absl::StatusOr<std::vector<stores::LeavingRow>> leaving = FindLeaving(progress);
  if (!leaving.ok()) return leaving.status();
  return Write(stores::SortByLane(progress, *std::move(leaving)), progress);
}

absl::Status RedisOutgoing::Write(const stores::LaneChanges& changes,
                                  const OutgoingProgress& progress) {
  absl::Status written;
  for (int i = 0; i < kTriesMax; ++i) {
    bool is_outdated = false;
    written = TryWrite(changes, progress, is_outdated);
    if (written.ok()) return written;
    for (const auto& [lane, change] : changes) {
      if (const auto held = held_.find(lane); held != held_.end()) held->second.lane.reset();
    }
    if (!is_outdated) return written;
    const absl::StatusOr<bool> again = ReadAgain(changes);
    if (!again.ok()) return again.status();
    if (!*again) return written;
  }
  return absl::UnavailableError(
      absl::StrCat(ToAbsl(ToStd(written.message())), " (operators change the lanes)"));
}

absl::StatusOr<bool> RedisOutgoing::ReadAgain(const stores::LaneChanges& changes) {
  for (const auto& [lane, change] : changes) {
    const absl::StatusOr<HeldLane*> held = Find(lane);
    if (!held.ok()) return held.status();
    const auto& seen = (*held)->seen.rows;
    for (const OutgoingRound* const round : change.placed) {
      const std::int64_t last = round->placements.back().number;
      const bool is_known =
          last <= (*held)->lane->state().cursor() || (!seen.empty() && last <= seen.back().number);
      if (!is_known) return false;
    }
  }
  return true;
}

absl::Status RedisOutgoing::TryWrite(const stores::LaneChanges& changes,
                                     const OutgoingProgress& progress, bool& is_outdated) {
  Written written;
  for (const auto& [lane, change] : changes) {
    const absl::StatusOr<HeldLane*> held = Find(lane);
    if (!held.ok()) return held.status();
    absl::StatusOr<SpoolLane::Written> staged = (*held)->lane->Stage(change, (*held)->seen);
    if (!staged.ok()) return staged.status();
    written[lane] = *std::move(staged);
  }
  const std::string revision = DrawRevision();
  const absl::StatusOr<std::int64_t> answer = SayWrite(lanes_.token(), revision, written, progress);
  ONCE_KILL_POINT("redis_spool.advanced");
  if (!answer.ok()) return answer.status();
  if (*answer == kLost) {
    lanes_.Lose();
    return absl::AbortedError("redis: a lane of the spool is another relay's now");
  }
  if (*answer == kOtherRow) {
    return absl::AbortedError("redis: the server has forgotten rows of the spool that it had told");
  }
  if (*answer == kOtherRevision) {
    is_outdated = true;
    return absl::AbortedError("redis: a lane of the spool was changed meanwhile");
  }
  if (*answer != kSaid) return UnreadableAnswer("relay outgoing messages");
  for (const auto& [lane, change] : changes) {
    HeldLane& held = held_.at(lane);
    held.lane->NoteWritten(revision);
    held.relayed = revision;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StreamProgress>> RedisOutgoing::ListStreams() {
  const auto fields = ReadHash(keys_.OfStreams());
  if (!fields.ok()) return fields.status();
  std::vector<StreamProgress> streams;
  for (const auto& [key, value] : *fields) {
    absl::StatusOr<StreamProgress> stream = DecodeStream(key, value);
    if (!stream.ok()) return stream.status();
    streams.push_back(*std::move(stream));
  }
  return streams;
}

absl::StatusOr<std::vector<OwedVoid>> RedisOutgoing::ListOwed() {
  const auto fields = ReadHash(keys_.OfVoids());
  if (!fields.ok()) return fields.status();
  std::vector<OwedVoid> voids;
  for (const auto& [key, value] : *fields) {
    absl::StatusOr<OwedVoid> owed = stores::DecodeOwed(key);
    if (!owed.ok()) return owed.status();
    voids.push_back(*std::move(owed));
  }
  std::sort(voids.begin(), voids.end());
  return voids;
}

// Nobody places with the epoch any more, so its streams are all there.
absl::Status RedisOutgoing::CloseEpoch(std::uint64_t epoch) {
  const absl::StatusOr<std::vector<StreamProgress>> streams = ListStreams();
  if (!streams.ok()) return streams.status();
  ScriptCall call{.key = keys_.OfStreams(),
                  .arguments = {absl::StrCat(epoch)},
                  .more_keys = {keys_.OfEpochs()}};
  for (const StreamProgress& stream : *streams) {
    if (stream.epoch == epoch) call.arguments.push_back(StreamKey(stream));
  }
  return cluster_.Run(ScriptsOfOutgoing().close_epoch, call).status();
}

}  // namespace once::redis
