// Facts are keyed by one letter and, where there are several, a number in order:
//   c             the cursor and the last round's number
//   r round       its placements
//   p number      a parked row
//   w number      the order of a row that waits behind the cursor
//   d number      word of a row that was given up
//   s … and v …   a stream, and a void that is owed, under their names
#include "src/stores/outgoing_state.h"

#include <algorithm>
#include <cassert>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/bytes.h"
#include "src/test_hooks.h"

namespace once::stores {
namespace {

// Rows that are passed over for their topics: each costs a fact. More hold up what is behind them.
constexpr std::size_t kAsideMax = 20'000;

constexpr char kCursor = 'c';
constexpr char kRound = 'r';
constexpr char kParked = 'p';
constexpr char kWaiting = 'w';
constexpr char kDiscarded = 'd';
constexpr char kStream = 's';
constexpr char kOwed = 'v';

std::string NumberKey(char kind, std::int64_t number) {
  std::string key(1, kind);
  const auto bits = static_cast<std::uint64_t>(number);
  for (int shift = 56; shift >= 0; shift -= 8) {
    key.push_back(static_cast<char>(static_cast<unsigned char>(bits >> shift & 0xff)));
  }
  return key;
}

std::optional<std::int64_t> NumberOf(std::string_view key) {
  if (key.size() != 1 + sizeof(std::int64_t)) return std::nullopt;
  std::uint64_t bits = 0;
  for (const char byte : key.substr(1)) bits = bits << 8 | static_cast<unsigned char>(byte);
  return static_cast<std::int64_t>(bits);
}

std::string StreamFactKey(const StreamProgress& stream) {
  std::string key(1, kStream);
  AppendInt(key, stream.epoch);
  AppendInt(key, stream.partition);
  return key.append(stream.topic);
}

std::string OwedFactKey(const OwedVoid& owed) {
  std::string key(1, kOwed);
  AppendInt(key, owed.epoch);
  AppendInt(key, owed.partition);
  AppendInt(key, owed.sequence);
  return key.append(owed.topic);
}

absl::Status Damaged() {
  return absl::DataLossError("a fact of the log of outgoing messages is damaged");
}

void Forget(std::string key, OutgoingChange& change) {
  change.facts.push_back({.key = std::move(key), .value = std::nullopt});
}

void Drop(std::int64_t number, OutgoingChange& change) {
  if (!change.dropped.empty() && change.dropped.back().last + 1 == number) {
    change.dropped.back().last = number;
  } else {
    change.dropped.push_back({.first = number, .last = number});
  }
}

}  // namespace

absl::StatusOr<OutgoingState> OutgoingState::Load(std::span<const OutgoingFact> facts) {
  OutgoingState state;
  for (const OutgoingFact& fact : facts) {
    if (absl::Status taken = state.Take(fact); !taken.ok()) return taken;
  }
  state.SortWaiting();
  return state;
}

absl::Status OutgoingState::Take(const OutgoingFact& fact) {
  if (fact.key.empty() || !fact.value) return Damaged();
  const std::int64_t number = NumberOf(fact.key).value_or(0);
  ByteReader reader(*fact.value);
  switch (fact.key.front()) {
    case kCursor:
      cursor_ = reader.TakeInt<std::int64_t>();
      last_round_ = reader.TakeInt<std::int64_t>();
      return reader.is_done() ? absl::OkStatus() : Damaged();
    case kRound: {
      absl::StatusOr<OutgoingRound> round = DecodeRound(*fact.value);
      if (!round.ok() || number <= 0) return Damaged();
      round->round = number;
      rounds_.emplace(number, *std::move(round));
      return absl::OkStatus();
    }
    case kParked: {
      absl::StatusOr<ParkedNote> parked = DecodeParked(*fact.value);
      if (!parked.ok() || number <= 0) return Damaged();
      parked_.emplace(number, *std::move(parked));
      return absl::OkStatus();
    }
    case kWaiting:
      waiting_.emplace(number, reader.TakeInt<std::uint64_t>());
      return reader.is_done() && number > 0 ? absl::OkStatus() : Damaged();
    case kDiscarded: {
      absl::StatusOr<DiscardedRow> discarded = DecodeDiscarded(number, *fact.value);
      if (!discarded.ok() || number <= 0) return Damaged();
      discarded_.emplace(number, *std::move(discarded));
      return absl::OkStatus();
    }
    case kStream: {
      absl::StatusOr<StreamProgress> stream = DecodeStream(*fact.value);
      if (!stream.ok()) return Damaged();
      StreamKey key{stream->epoch, stream->topic, stream->partition};
      streams_.insert_or_assign(std::move(key), *std::move(stream));
      return absl::OkStatus();
    }
    case kOwed: {
      absl::StatusOr<OwedVoid> owed = DecodeOwed(*fact.value);
      if (!owed.ok()) return Damaged();
      owed_.insert(*std::move(owed));
      return absl::OkStatus();
    }
    default:
      return Damaged();
  }
}

std::vector<StreamProgress> OutgoingState::ListStreams() const {
  std::vector<StreamProgress> streams;
  for (const auto& [key, stream] : streams_) streams.push_back(stream);
  return streams;
}

std::size_t OutgoingState::CountKnown() const {
  std::size_t rows = waiting_.size() + parked_.size();
  for (const auto& [number, round] : rounds_) rows += round.placements.size();
  return rows;
}

std::int64_t OutgoingState::FindFirst() const {
  std::int64_t first = cursor_ + 1;
  if (!waiting_.empty()) first = std::min(first, waiting_.begin()->first);
  if (!parked_.empty()) first = std::min(first, parked_.begin()->first);
  for (const auto& [number, round] : rounds_) {
    if (!round.placements.empty()) first = std::min(first, round.placements.front().number);
  }
  return first;
}

bool OutgoingState::MustWait(const OrderedRow& row) const {
  if (parked_.contains(row.number)) return true;
  if (ONCE_PLANTED_BUG("every-key-waits") && !parked_.empty()) {
    return parked_.begin()->first < row.number;
  }
  const auto parked = first_parked_.find(row.order);
  return parked != first_parked_.end() && parked->second < row.number;
}

std::vector<std::int64_t> OutgoingState::FindReady(std::size_t rows_max) const {
  std::vector<std::int64_t> ready;
  for (const std::int64_t number : ready_) {
    if (ready.size() == rows_max) break;
    ready.push_back(number);
  }
  return ready;
}

void OutgoingState::SortWaiting() {
  first_parked_.clear();
  for (const auto& [number, note] : parked_) {
    if (note.order != 0) first_parked_.try_emplace(note.order, number);
  }
  ready_.clear();
  for (const auto& [number, order] : waiting_) {
    if (MustWait({.number = number, .order = order}) || IsAside(number)) continue;
    ready_.insert(ready_.end(), number);
  }
}

bool OutgoingState::IsAside(std::int64_t number) const {
  return std::any_of(aside_.begin(), aside_.end(),
                     [number](const auto& entry) { return entry.second.contains(number); });
}

void OutgoingState::SetAside(const std::string& topic, std::int64_t number) {
  assert(waiting_.contains(number));
  ready_.erase(number);
  aside_[topic].insert(number);
}

void OutgoingState::TakeBack(std::span<const std::string> still_passed) {
  const std::size_t back = std::erase_if(aside_, [still_passed](const auto& entry) {
    return std::find(still_passed.begin(), still_passed.end(), entry.first) == still_passed.end();
  });
  if (back > 0) SortWaiting();
}

bool OutgoingState::MayPass(const OutgoingRow& row, std::span<const std::string> topics,
                            std::size_t passed) const {
  return row.damage.ok() &&
         std::find(topics.begin(), topics.end(), row.message.topic) != topics.end() &&
         CountAside() + passed < kAsideMax;
}

void OutgoingState::SetAsidePassing(std::span<const std::string> topics,
                                    std::vector<OutgoingRow>& rows) {
  // In place: mostly none is set aside.
  std::erase_if(rows, [&](const OutgoingRow& row) {
    const bool passes = MayPass(row, topics);
    if (passes) SetAside(row.message.topic, row.number);
    return passes;
  });
}

std::size_t OutgoingState::CountAside() const {
  std::size_t rows = 0;
  for (const auto& [topic, numbers] : aside_) rows += numbers.size();
  return rows;
}

void OutgoingState::NoteRound(std::int64_t round, OutgoingChange& change) const {
  change.facts.push_back(
      {.key = NumberKey(kRound, round), .value = EncodeRound(rounds_.at(round))});
}

absl::Status OutgoingState::Finish(std::int64_t round, OutgoingChange& change) {
  const auto found = rounds_.find(round);
  if (found == rounds_.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat("finish round ", round, " of outgoing messages: there is no such round"));
  }
  for (const Placement& placement : found->second.placements) Drop(placement.number, change);
  Forget(NumberKey(kRound, round), change);
  rounds_.erase(found);
  changed_rounds_.erase(round);
  return absl::OkStatus();
}

void OutgoingState::Place(OutgoingRound& round, OutgoingChange& change) {
  assert(!round.placements.empty());
  round.round = ++last_round_;
  for (const Placement& placement : round.placements) {
    if (placement.number > cursor_) break;
    waiting_.erase(placement.number);
    ready_.erase(placement.number);
    Forget(NumberKey(kWaiting, placement.number), change);
  }
  rounds_.emplace(round.round, round);
  NoteRound(round.round, change);
}

void OutgoingState::MoveCursor(std::int64_t through, std::span<const OrderedRow> seen,
                               std::span<const Placement> placements, OutgoingChange& change) {
  auto placed = placements.begin();
  for (const OrderedRow& row : seen) {
    if (row.number <= cursor_) continue;
    if (row.number > through) break;
    while (placed != placements.end() && placed->number < row.number) ++placed;
    if (placed != placements.end() && placed->number == row.number) continue;
    if (!parked_.contains(row.number)) StartWaiting(row, change);
  }
  cursor_ = std::max(cursor_, through);
  std::string value;
  AppendInt(value, cursor_);
  AppendInt(value, last_round_);
  change.facts.push_back({.key = std::string(1, kCursor), .value = std::move(value)});
}

void OutgoingState::StartWaiting(const OrderedRow& row, OutgoingChange& change) {
  waiting_.emplace(row.number, row.order);
  if (!MustWait(row)) ready_.insert(row.number);
  std::string value;
  AppendInt(value, row.order);
  change.facts.push_back({.key = NumberKey(kWaiting, row.number), .value = std::move(value)});
}

// What is beyond the cursor stays there: it is read again.
void OutgoingState::TakeOut(std::int64_t number, OutgoingChange& change) {
  if (waiting_.erase(number) > 0) {
    ready_.erase(number);
    for (auto& [topic, numbers] : aside_) numbers.erase(number);
    Forget(NumberKey(kWaiting, number), change);
    return;
  }
  for (auto& [round_number, round] : rounds_) {
    const auto placed = std::lower_bound(
        round.placements.begin(), round.placements.end(), number,
        [](const Placement& placement, std::int64_t wanted) { return placement.number < wanted; });
    if (placed == round.placements.end() || placed->number != number) continue;
    round.placements.erase(placed);
    changed_rounds_.insert(round_number);
    return;
  }
}

void OutgoingState::Park(const OrderedRow& row, ParkedNote note, OutgoingChange& change) {
  TakeOut(row.number, change);
  note.order = row.order;
  change.facts.push_back({.key = NumberKey(kParked, row.number), .value = EncodeParked(note)});
  parked_.insert_or_assign(row.number, std::move(note));
  is_unsorted_ = true;
  if (row.order == 0) return;
  const auto [first, is_new] = first_parked_.try_emplace(row.order, row.number);
  first->second = std::min(first->second, row.number);
}

void OutgoingState::Wait(const OrderedRow& row, OutgoingChange& change) {
  TakeOut(row.number, change);
  StartWaiting(row, change);
}

void OutgoingState::NoteUnparked(std::int64_t number, OutgoingChange& change) {
  parked_.erase(number);
  Forget(NumberKey(kParked, number), change);
  is_unsorted_ = true;
}

absl::Status OutgoingState::Unpark(std::int64_t number, OutgoingChange& change) {
  const auto found = parked_.find(number);
  if (found == parked_.end()) {
    return absl::NotFoundError(absl::StrCat("outgoing message ", number, " is not parked"));
  }
  const OrderedRow row{.number = number, .order = found->second.order};
  NoteUnparked(number, change);
  if (number <= cursor_) StartWaiting(row, change);
  return absl::OkStatus();
}

absl::Status OutgoingState::Discard(std::int64_t number, OutgoingChange& change) {
  if (!parked_.contains(number)) {
    return absl::NotFoundError(absl::StrCat("outgoing message ", number, " is not parked"));
  }
  NoteUnparked(number, change);
  Drop(number, change);
  return absl::OkStatus();
}

void OutgoingState::NoteDiscarded(DiscardedRow discarded, OutgoingChange& change) {
  const std::int64_t number = discarded.number;
  change.facts.push_back(
      {.key = NumberKey(kDiscarded, number), .value = EncodeDiscarded(discarded)});
  discarded_.insert_or_assign(number, std::move(discarded));
  if (discarded_.size() <= kDiscardedKept) return;
  const auto oldest = std::min_element(
      discarded_.begin(), discarded_.end(),
      [](const auto& a, const auto& b) { return a.second.discarded_at < b.second.discarded_at; });
  Forget(NumberKey(kDiscarded, oldest->first), change);
  discarded_.erase(oldest);
}

void OutgoingState::Settle(OutgoingChange& change) {
  for (const std::int64_t round : std::exchange(changed_rounds_, {})) NoteRound(round, change);
  if (std::exchange(is_unsorted_, false)) SortWaiting();
}

void OutgoingState::SetStream(const StreamProgress& stream, OutgoingChange& change) {
  change.facts.push_back({.key = StreamFactKey(stream), .value = EncodeStream(stream)});
  streams_.insert_or_assign({stream.epoch, stream.topic, stream.partition}, stream);
}

void OutgoingState::Owe(const OwedVoid& owed, OutgoingChange& change) {
  change.facts.push_back({.key = OwedFactKey(owed), .value = EncodeOwed(owed)});
  owed_.insert(owed);
}

void OutgoingState::Declare(const OwedVoid& owed, OutgoingChange& change) {
  if (owed_.erase(owed) > 0) Forget(OwedFactKey(owed), change);
}

void OutgoingState::CloseEpoch(std::uint64_t epoch, OutgoingChange& change) {
  for (auto stream = streams_.begin(); stream != streams_.end();) {
    if (std::get<0>(stream->first) != epoch) {
      ++stream;
      continue;
    }
    Forget(StreamFactKey(stream->second), change);
    stream = streams_.erase(stream);
  }
}

}  // namespace once::stores
