// Reading beside the transactions of the store, changing in a transaction of its own.
#include "src/stores/single_lane_log.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/test_hooks.h"

namespace once::stores {
namespace {

// Rows that must wait are passed so many at a time, in a transaction each, when there is nothing
// else to tell.
constexpr int kPassesMax = 16;
// Rows that an operator's call reads at a time, and their bytes, but for the first.
constexpr std::size_t kPage = 100;
constexpr std::size_t kPageBytesMax = 8 * 1024 * 1024;
// Damaged rows before the oldest one whose age can be told; behind more of them nobody looks.
constexpr std::size_t kDamagedPassedMax = 16;

}  // namespace

SingleLaneLog::SingleLaneLog(OutgoingStorage& storage, std::string producer_id,
                             std::function<absl::Time()> now)
    : storage_(storage), producer_id_(std::move(producer_id)), now_(std::move(now)) {}

absl::Status SingleLaneLog::Load() {
  if (state_) return absl::OkStatus();
  absl::StatusOr<std::vector<OutgoingFact>> facts = storage_.ReadFacts();
  if (!facts.ok()) return facts.status();
  absl::StatusOr<OutgoingState> state = OutgoingState::Load(*facts);
  if (!state.ok()) return state.status();
  state_ = *std::move(state);
  seen_.clear();
  passed_.clear();
  return absl::OkStatus();
}

template <typename Work>
absl::Status SingleLaneLog::Change(Work work) {
  const std::lock_guard lock(mutex_);
  absl::Status changed = Load();
  if (!changed.ok()) return changed;
  OutgoingChange change;
  changed = work(*state_, change);
  if (changed.ok()) {
    state_->Settle(change);
    if (change.facts.empty() && change.dropped.empty()) return changed;
    changed = storage_.Write(change);
  }
  // Where nothing was staged the state is what it was: a mistyped number makes nobody read again.
  if (!changed.ok() && (!change.facts.empty() || !change.dropped.empty())) state_.reset();
  return changed;
}

absl::StatusOr<std::vector<int>> SingleLaneLog::HoldLanes() { return std::vector<int>{0}; }

void SingleLaneLog::GiveUpLanes(std::span<const int> /*lanes*/) {}

void SingleLaneLog::GiveBack(std::vector<OutgoingRow> rows) {
  const std::lock_guard lock(mutex_);
  spent_ = std::move(rows);
}

absl::StatusOr<std::vector<UnfinishedRound>> SingleLaneLog::FindUnfinished(int /*lane*/) {
  const std::lock_guard lock(mutex_);
  if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  std::vector<UnfinishedRound> unfinished;
  for (const auto& [number, round] : state_->rounds()) {
    std::vector<std::int64_t> numbers;
    for (const Placement& placement : round.placements) numbers.push_back(placement.number);
    absl::StatusOr<std::vector<OutgoingRow>> rows = storage_.ReadRows(numbers);
    if (!rows.ok()) return rows.status();
    unfinished.push_back({.round = round, .rows = *std::move(rows)});
  }
  return unfinished;
}

absl::Status SingleLaneLog::ReadReady(const Bound& bound, std::vector<OutgoingRow>& found) {
  std::size_t bytes = 0;
  while (found.empty()) {
    const std::vector<std::int64_t> ready = state_->FindReady(bound.rows_max);
    if (ready.empty()) return absl::OkStatus();
    absl::StatusOr<std::vector<OutgoingRow>> rows = storage_.ReadRows(ready);
    if (!rows.ok()) return rows.status();
    state_->SetAsidePassing(bound.passed_topics, *rows);
    for (OutgoingRow& row : *rows) {
      bytes += SizeBytes(row.message);
      if (!found.empty() && bytes > bound.bytes_max) break;
      found.push_back(std::move(row));
    }
  }
  return absl::OkStatus();
}

absl::Status SingleLaneLog::ScanBehindCursor(const Bound& bound, std::vector<OutgoingRow>& found) {
  seen_.clear();
  passed_.clear();
  absl::StatusOr<std::vector<OutgoingRow>> rows = storage_.FindRows(
      state_->cursor(),
      {.rows_max = bound.rows_max, .bytes_max = bound.bytes_max, .spent = &spent_});
  if (!rows.ok()) return rows.status();
  // In place: mostly none is left out.
  std::erase_if(*rows, [&](const OutgoingRow& row) {
    const OrderedRow ordered{.number = row.number, .order = OrderOf(row.message)};
    seen_.push_back(ordered);
    if (state_->MustWait(ordered) && !ONCE_PLANTED_BUG("parked-is-overtaken")) return true;
    if (!state_->MayPass(row, bound.passed_topics, passed_.size())) return false;
    passed_.emplace_back(row.message.topic, row.number);
    return true;
  });
  found = *std::move(rows);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<OutgoingRow>> SingleLaneLog::FindUnplaced(int /*lane*/,
                                                                     const Bound& bound) {
  for (int i = 0; i < kPassesMax; ++i) {
    {
      const std::lock_guard lock(mutex_);
      if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
      state_->TakeBack(bound.passed_topics);
      std::vector<OutgoingRow> found;
      absl::Status read = ReadReady(bound, found);
      // Those first: of their orders they are older than all behind the cursor.
      if (read.ok() && found.empty()) read = ScanBehindCursor(bound, found);
      if (!read.ok()) return read;
      if (!found.empty() || seen_.empty()) return found;
    }
    const absl::Status passed = Change([&](OutgoingState& state, OutgoingChange& change) {
      if (!seen_.empty()) state.MoveCursor(seen_.back().number, seen_, {}, change);
      for (const auto& [topic, number] : std::exchange(passed_, {})) state.SetAside(topic, number);
      return absl::OkStatus();
    });
    if (!passed.ok()) return passed;
  }
  return std::vector<OutgoingRow>();
}

absl::StatusOr<std::vector<OrderedRow>> SingleLaneLog::OrdersOf(std::vector<std::int64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  absl::StatusOr<std::vector<OutgoingRow>> rows = storage_.ReadRows(numbers);
  if (!rows.ok()) return rows.status();
  std::vector<OrderedRow> ordered;
  for (const OutgoingRow& row : *rows) {
    ordered.push_back({.number = row.number, .order = OrderOf(row.message)});
  }
  return ordered;
}

absl::Status SingleLaneLog::StageRefused(const OutgoingProgress& progress, OutgoingState& state,
                                         OutgoingChange& change) {
  std::vector<std::int64_t> numbers;
  for (const RefusedRow& row : progress.refused) numbers.push_back(row.number);
  const absl::StatusOr<std::vector<OrderedRow>> refused = OrdersOf(std::move(numbers));
  if (!refused.ok()) return refused.status();
  const absl::StatusOr<std::vector<OrderedRow>> waiting =
      OrdersOf({progress.waiting.begin(), progress.waiting.end()});
  if (!waiting.ok()) return waiting.status();
  std::map<std::int64_t, const absl::Status*> reasons;
  for (const RefusedRow& row : progress.refused) reasons[row.number] = &row.reason;
  const absl::Time now = now_();
  for (const OrderedRow& row : *refused) {
    state.Park(row, {.parked_at = now, .reason = reasons.at(row.number)->ToString()}, change);
  }
  for (const OrderedRow& row : *waiting) state.Wait(row, change);
  return absl::OkStatus();
}

absl::Status SingleLaneLog::Stage(const OutgoingProgress& progress, OutgoingState& state,
                                  OutgoingChange& change) {
  for (const OutgoingProgress::Finished& finished : progress.finished) {
    if (absl::Status done = state.Finish(finished.round, change); !done.ok()) return done;
  }
  if (!progress.refused.empty() || !progress.waiting.empty()) {
    if (absl::Status done = StageRefused(progress, state, change); !done.ok()) return done;
  }
  std::int64_t through = state.cursor();
  for (const RefusedRow& row : progress.refused) through = std::max(through, row.number);
  std::vector<Placement> placements;
  for (OutgoingRound& round : progress.placed) {
    state.Place(round, change);
    through = std::max(through, round.placements.back().number);
    placements.insert(placements.end(), round.placements.begin(), round.placements.end());
  }
  // Every row that the cursor passes must be known. A state that was read again meanwhile knows of
  // none: what was told before is told anew.
  if (through > state.cursor() && (seen_.empty() || seen_.back().number < through)) {
    return absl::AbortedError("the log was read again since it told what is placed here");
  }
  if (!progress.placed.empty() || through > state.cursor()) {
    std::sort(placements.begin(), placements.end(),
              [](const Placement& a, const Placement& b) { return a.number < b.number; });
    state.MoveCursor(through, seen_, placements, change);
  }
  for (const StreamProgress& stream : progress.streams) state.SetStream(stream, change);
  for (const OwedVoid& owed : progress.owed) state.Owe(owed, change);
  for (const OwedVoid& owed : progress.declared) state.Declare(owed, change);
  return absl::OkStatus();
}

absl::Status SingleLaneLog::Advance(const OutgoingProgress& progress) {
  return Change(
      [&](OutgoingState& state, OutgoingChange& change) { return Stage(progress, state, change); });
}

absl::StatusOr<std::vector<StreamProgress>> SingleLaneLog::ListStreams() {
  const std::lock_guard lock(mutex_);
  if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  return state_->ListStreams();
}

absl::StatusOr<std::vector<OwedVoid>> SingleLaneLog::ListOwed() {
  const std::lock_guard lock(mutex_);
  if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  return state_->ListOwed();
}

absl::StatusOr<bool> SingleLaneLog::IsEpochInUse(std::uint64_t epoch) {
  const std::lock_guard lock(mutex_);
  if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  return std::any_of(state_->rounds().begin(), state_->rounds().end(),
                     [epoch](const auto& entry) { return entry.second.epoch == epoch; });
}

absl::Status SingleLaneLog::CloseEpoch(std::uint64_t epoch) {
  return Change([epoch](OutgoingState& state, OutgoingChange& change) {
    state.CloseEpoch(epoch, change);
    return absl::OkStatus();
  });
}

// Nobody knows how old a damaged row is.
absl::StatusOr<absl::Time> SingleLaneLog::FindOldest(const OutgoingRow& first) {
  if (first.damage.ok()) return first.put_at;
  const auto next =
      storage_.FindRows(first.number, {.rows_max = kDamagedPassedMax, .bytes_max = kPageBytesMax});
  if (!next.ok()) return next.status();
  const auto sound = std::find_if(next->begin(), next->end(),
                                  [](const OutgoingRow& row) { return row.damage.ok(); });
  return sound == next->end() ? absl::InfiniteFuture() : sound->put_at;
}

absl::StatusOr<std::uint64_t> SingleLaneLog::MeasureBytes() {
  const std::lock_guard lock(mutex_);
  return storage_.MeasureBytes();
}

absl::StatusOr<std::vector<OutgoingRow>> SingleLaneLog::ListWaiting(std::int64_t after,
                                                                    std::size_t rows_max) {
  const std::lock_guard lock(mutex_);
  if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  // What was dropped is not walked over again.
  return storage_.FindRows(std::max(after, state_->FindFirst() - 1),
                           {.rows_max = rows_max, .bytes_max = kPageBytesMax});
}

absl::StatusOr<OutgoingCounts> SingleLaneLog::Count() {
  const std::lock_guard lock(mutex_);
  if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  const absl::StatusOr<std::int64_t> last = storage_.FindLast();
  if (!last.ok()) return last.status();
  OutgoingCounts counts{.waiting = state_->CountKnown(), .parked = state_->parked().size()};
  const auto oldest = storage_.FindRows(state_->FindFirst() - 1, {.rows_max = 1});
  if (!oldest.ok()) return oldest.status();
  if (oldest->empty()) return OutgoingCounts{};
  absl::StatusOr<absl::Time> put_at = FindOldest(oldest->front());
  if (!put_at.ok()) return put_at.status();
  counts.oldest = *put_at;
  // Numbers have gaps only where a commit has failed.
  if (*last > state_->cursor()) {
    counts.waiting += static_cast<std::size_t>(*last - state_->cursor());
  }
  return counts;
}

absl::StatusOr<std::vector<ParkedRow>> SingleLaneLog::ListParked(std::int64_t after,
                                                                 std::size_t rows_max) {
  const std::lock_guard lock(mutex_);
  if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  std::vector<std::int64_t> numbers;
  auto parked = state_->parked().upper_bound(after);
  for (; parked != state_->parked().end() && numbers.size() < rows_max; ++parked) {
    numbers.push_back(parked->first);
  }
  absl::StatusOr<std::vector<OutgoingRow>> rows = storage_.ReadRows(numbers);
  if (!rows.ok()) return rows.status();
  std::vector<ParkedRow> listed;
  for (OutgoingRow& row : *rows) {
    const ParkedNote& note = state_->parked().at(row.number);
    listed.push_back({.row = std::move(row), .reason = note.reason, .parked_at = note.parked_at});
  }
  return listed;
}

absl::Status SingleLaneLog::Unpark(std::int64_t number) {
  return Change([number](OutgoingState& state, OutgoingChange& change) {
    return state.Unpark(number, change);
  });
}

absl::StatusOr<std::vector<DiscardedRow>> SingleLaneLog::ListDiscarded(std::int64_t after,
                                                                       std::size_t rows_max) {
  const std::lock_guard lock(mutex_);
  if (absl::Status loaded = Load(); !loaded.ok()) return loaded;
  std::vector<DiscardedRow> listed;
  auto discarded = state_->discarded().upper_bound(after);
  for (; discarded != state_->discarded().end() && listed.size() < rows_max; ++discarded) {
    listed.push_back(discarded->second);
  }
  return listed;
}

// Page by page, each in a transaction of its own: those who come between see none half done.
absl::StatusOr<std::size_t> SingleLaneLog::UnparkTopic(const std::string& topic) {
  std::size_t count = 0;
  std::int64_t after = 0;
  while (true) {
    const absl::StatusOr<std::vector<ParkedRow>> page = ListParked(after, kPage);
    if (!page.ok()) return page.status();
    if (page->empty()) return count;
    after = page->back().row.number;
    std::size_t unparked = 0;
    const absl::Status changed = Change([&](OutgoingState& state, OutgoingChange& change) {
      for (const ParkedRow& parked : *page) {
        if (!parked.row.damage.ok() || parked.row.message.topic != topic) continue;
        // Somebody else may have decided meanwhile.
        if (state.Unpark(parked.row.number, change).ok()) ++unparked;
      }
      return absl::OkStatus();
    });
    if (!changed.ok()) return changed;
    count += unparked;
  }
}

absl::Status SingleLaneLog::GiveUp(std::int64_t number, const std::string& reason) {
  if (absl::Status valid = ValidateDiscardReason(reason); !valid.ok()) return valid;
  return Change([&](OutgoingState& state, OutgoingChange& change) -> absl::Status {
    if (!state.parked().contains(number)) return state.Discard(number, change);
    if (ONCE_PLANTED_BUG("given-up-is-tried-again")) return state.Unpark(number, change);
    const absl::StatusOr<std::vector<OutgoingRow>> row = storage_.ReadRows({&number, 1});
    if (!row.ok()) return row.status();
    if (absl::Status gone = state.Discard(number, change); !gone.ok()) return gone;
    const OutgoingMessage& message = row->front().message;
    state.NoteDiscarded({.number = number,
                         .topic = message.topic,
                         .id = IdOf(message),
                         .reason = reason,
                         .discarded_at = now_()},
                        change);
    return absl::OkStatus();
  });
}

absl::Status SingleLaneLog::Discard(std::int64_t number) {
  return Change([number](OutgoingState& state, OutgoingChange& change) {
    return state.Discard(number, change);
  });
}

}  // namespace once::stores
