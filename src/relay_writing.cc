// What a relay writes down, and reads ahead, in one errand to the log: done at once, or beside
// sending while rounds are on their way.
//
// Beside it the relay hears reports and sends on, from rounds that the log has had before; what the
// errand places is in no flight yet, so nothing of it is sent before it is durable. Everything else
// waits for its end: nothing is drafted, numbered, asked of the log or given up meanwhile, so that
// the errand and the relay share nothing but the log. Rows that are refused may not be overtaken,
// and are to be let go exactly as they were written: their errands are waited for.
//
// What is read ahead is read behind what the same errand has placed. It is used in the next turn or
// told again: whatever the relay has learnt meanwhile (rows that are refused, topics that are held
// back or not any more, lanes that are to be left) makes it ask anew. What others change in the log
// meanwhile the log itself notices when the rows are placed.
#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/relay_work.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// The memory of larger messages is not kept for others.
constexpr std::size_t kKeptBytesMax = 4096;

std::size_t MemoryOf(const OutgoingMessage& message) {
  const auto of = [](const std::optional<std::string>& bytes) {
    return bytes ? bytes->capacity() : 0;
  };
  std::size_t memory = message.topic.capacity() + of(message.key) + of(message.value) +
                       message.headers.capacity() * sizeof(OwnedHeader);
  for (const OwnedHeader& header : message.headers) {
    memory += header.name.capacity() + of(header.value);
  }
  return memory;
}

}  // namespace

bool RelayWork::Draft::is_empty() const {
  return finished.empty() && placed.empty() && refused.empty() && waiting.empty();
}

void RelayWork::Draft::DropPlaced() {
  placed.clear();
  flights.clear();
}

// With nothing on its way there is nothing to do beside it.
bool RelayWork::CanGoBeside() {
  return side_ != nullptr && !sender_.flights().empty() && sender_.client() != nullptr;
}

absl::Status RelayWork::Advance(bool may_place) {
  if (!is_recovered_) return absl::OkStatus();
  errand_ = {};
  Draft& draft = errand_.draft;
  DraftFinished(draft);
  DraftRefused(draft);
  const bool has_refused = !draft.refused.empty();
  absl::Status placed;
  // What is refused must be known to the store before it is asked what may go next.
  if (has_refused) ahead_ = {};
  if (may_place && !has_refused) {
    placed = DraftPlaced(draft);
    if (!placed.ok()) {
      // What is settled is written down all the same.
      draft.DropPlaced();
      streams_.TakeNumbersBack();
    }
  }
  errand_.has_refused = has_refused;
  const bool is_beside = CanGoBeside() && !has_refused && placed.ok();
  if (may_place && is_beside) PlanReading();
  errand_.must_write = !draft.is_empty() || !declared_.empty();
  if (!errand_.must_write && errand_.rounds_max == 0) {
    is_stalled_ =
        may_place && (!topics_.trouble().ok() || !lane_trouble_.ok() || Now() < place_at_);
    return placed;
  }
  errand_.declared = declared_;
  errand_.streams = streams_.ListChanged();
  if (is_beside) {
    begun_at_ = Now();
    side_->Start([this] { RunErrand(); });
    return absl::OkStatus();
  }
  RunErrand();
  const absl::Status written = EndErrand();
  return written.ok() ? placed : written;
}

void RelayWork::RunErrand() {
  if (errand_.must_write) errand_.written = Write();
  if (errand_.written.ok() && errand_.rounds_max > 0) ReadAhead();
}

absl::Status RelayWork::EndErrand() {
  Draft& draft = errand_.draft;
  const absl::Status written = std::exchange(errand_.written, absl::OkStatus());
  if (written.ok() || (IsDoubt(written) && ONCE_PLANTED_BUG("doubtful-place-is-sent"))) {
    if (errand_.must_write) Keep(draft, errand_.has_refused);
    return TakeAhead();
  }
  if (IsDoubt(written)) {
    Log(LogLevel::kWarning, "outbox_doubt",
        "begins anew, after asking the store what it has: " + written.ToString());
    Reset();
  } else {
    // Nothing was written, so nothing of it was sent.
    streams_.TakeNumbersBack();
    // It is behind what was not placed.
    ahead_ = {};
  }
  return written;
}

void RelayWork::DraftFinished(Draft& draft) {
  for (std::unique_ptr<Flight>& flight : sender_.TakeFinished()) {
    for (FlyingRow& row : flight->rows) {
      if (row.stream != nullptr) {
        RelayStreams::Finish(*row.stream, row.placement.sequence, row.offset);
        if (ONCE_PLANTED_BUG("sent-number-void")) {
          draft.owed.push_back({.epoch = flight->round.epoch,
                                .topic = row.row.message.topic,
                                .partition = row.placement.partition,
                                .sequence = row.placement.sequence});
        }
      }
    }
    finished_.push_back(std::move(flight));
  }
  for (const std::unique_ptr<Flight>& flight : finished_) {
    draft.finished.push_back({.lane = flight->round.lane, .round = flight->round.round});
  }
}

void RelayWork::DraftRefused(Draft& draft) {
  for (const FlyingRow* row : sender_.FindRefused()) {
    if (row->state == FlyingRow::State::kRefused) {
      draft.refused.push_back({.number = row->row.number, .reason = row->refusal});
    } else {
      draft.waiting.push_back(row->row.number);
    }
    if (ONCE_PLANTED_BUG("given-up-number-not-void")) continue;
    // Of a damaged row nobody knows the topic: its number will be missing, as its message is.
    if (row->stream == nullptr) continue;
    draft.owed.push_back({.epoch = row->flight->round.epoch,
                          .topic = row->row.message.topic,
                          .partition = row->placement.partition,
                          .sequence = row->placement.sequence});
  }
}

absl::Status RelayWork::Write() {
  Draft& draft = errand_.draft;
  ONCE_KILL_POINT("outbox_relay.before_advance");
  const absl::Status written = log_.Advance({.finished = draft.finished,
                                             .placed = draft.placed,
                                             .refused = draft.refused,
                                             .waiting = draft.waiting,
                                             .owed = draft.owed,
                                             .declared = errand_.declared,
                                             .streams = errand_.streams});
  ONCE_KILL_POINT("outbox_relay.advanced");
  return written;
}

void RelayWork::Keep(Draft& draft, bool has_refused) {
  streams_.KeepNumbers();
  double published = 0;
  for (const std::unique_ptr<Flight>& flight : finished_) {
    for (const FlyingRow& row : flight->rows) {
      published += row.state == FlyingRow::State::kAcknowledged ? 1 : 0;
    }
  }
  if (published > 0) options_.metrics->Add("once_outbox_published_total", {}, published);
  GiveBackRows();
  finished_.clear();
  declared_.clear();
  if (!draft.refused.empty()) LogRefused(draft);
  // Rows that were refused before they were placed are in no flight.
  if (has_refused) sender_.DropRefused();
  for (const OwedVoid& gone : draft.owed) {
    marks_.Void(gone, streams_.Find(gone.epoch, gone.topic, gone.partition).name);
  }
  for (std::size_t i = 0; i < draft.flights.size(); ++i) {
    draft.flights[i]->round.round = draft.placed[i].round;
    sender_.Add(std::move(draft.flights[i]));
  }
}

// Of one round: so many are told next.
void RelayWork::GiveBackRows() {
  if (memory_ == nullptr || finished_.empty()) return;
  std::vector<OutgoingRow> rows;
  rows.reserve(finished_.front()->rows.size());
  for (FlyingRow& row : finished_.front()->rows) {
    if (MemoryOf(row.row.message) <= kKeptBytesMax) rows.push_back(std::move(row.row));
  }
  memory_->GiveBack(std::move(rows));
}

void RelayWork::LogRefused(const Draft& draft) const {
  options_.metrics->Add("once_outbox_parked_total", {}, static_cast<double>(draft.refused.size()));
  const RefusedRow& first = draft.refused.front();
  Log(LogLevel::kError, "outbox_parked",
      absl::StrCat("no retry can publish ", draft.refused.size(),
                   " outgoing messages, the first of them number ", first.number, " (",
                   first.reason.ToString(),
                   "); they are parked, and what is behind them of their keys waits: see "
                   "`once outbox list`"));
}

}  // namespace once
