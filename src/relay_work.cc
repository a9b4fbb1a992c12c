// Lanes, turns and marks. What a turn writes down: relay_writing.cc; where messages go:
// relay_placing.cc.
#include "src/relay_work.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "src/test_hooks.h"

namespace once {
namespace {

// How often it is looked whether an errand is over while reports are waited for; and at first, when
// it may be any moment.
constexpr absl::Duration kLookInterval = absl::Milliseconds(20);
constexpr absl::Duration kFirstLookInterval = absl::Milliseconds(1);
constexpr absl::Duration kFirstLooks = absl::Milliseconds(100);
// How often lanes are asked for: those of a relay that has gone are taken by then.
constexpr absl::Duration kLanesInterval = absl::Seconds(1);

}  // namespace

bool RelayWork::IsDoubt(const absl::Status& status) {
  return absl::IsUnknown(status) || absl::IsAborted(status) || absl::IsFailedPrecondition(status);
}

RelayWork::RelayWork(OutboxRelayOptions options)
    : options_(std::move(options)),
      log_(*options_.store->transactions()->outgoing()),
      sharing_(dynamic_cast<stores::LaneSharing*>(&log_)),
      memory_(dynamic_cast<stores::RowMemory*>(&log_)),
      streams_(log_.producer_id()),
      sender_(options_.clients, *options_.executor, options_.retry_interval,
              {.header = options_.id_header,
               .producer = log_.producer_id(),
               .is_number_enough = options_.has_all_copies}),
      marks_({.clients = options_.clients,
              .executor = *options_.executor,
              .log = *options_.log,
              .create_topic = options_.create_marks_topic,
              .retry_interval = options_.retry_interval}),
      topics_(*options_.executor, options_.missing_topic_grace),
      pause_(options_.executor->NewEvent()) {}

RelayWork::~RelayWork() {
  side_ = nullptr;
  // First: nothing may be on its way from lanes that others have.
  sender_.Reset();
  GiveUpLanes();
  log_.ReleaseRelay();
}

void RelayWork::Log(LogLevel level, std::string_view action, std::string message) const {
  options_.log->Log({.level = level,
                     .time = Now(),
                     .action = action,
                     .message = std::move(message),
                     .fields = {{"once.producer", log_.producer_id()}}});
}

absl::Status RelayWork::Step(bool may_place) {
  topics_.BeginTurn(may_place && is_recovered_ ? sender_.client() : nullptr);
  is_stalled_ = false;
  sender_.Poll(Now());
  if (const absl::Status trouble = sender_.TakeTrouble(); !trouble.ok()) {
    // The process is dead (simulations). The log, which says so too, is not asked while all rounds
    // that may be on their way are.
    if (absl::IsCancelled(trouble)) return trouble;
    Log(LogLevel::kWarning, "outbox_client_broken",
        "another client sends again what was not acknowledged: " + trouble.ToString());
  }
  absl::Status status = AskLog(may_place);
  if (!status.ok()) {
    retry_at_ = Now() + options_.retry_interval;
    // It was read behind what is perhaps not placed now.
    ahead_ = {};
  }
  // Lanes are lost: the log says so when it is asked for them.
  if (absl::IsAborted(status)) lanes_at_ = Now();
  if (is_recovered_) {
    sender_.Send();
    ONCE_KILL_POINT("outbox_relay.sent");
    TendMarks();
    if (!is_out()) CountWaiting();
  }
  if (status.ok() && sender_.is_stuck()) {
    status = absl::ResourceExhaustedError(
        "the client takes no message though none is on its way; is one larger than its queue?");
  }
  if (status.ok()) status = topics_.trouble();
  if (status.ok()) status = lane_trouble_;
  if (status.ok()) status = close_trouble_;
  return status;
}

absl::Status RelayWork::AskLog(bool may_place) {
  if (is_out()) {
    if (!side_->is_done()) return absl::OkStatus();
    side_->End();
    if (absl::Status ended = EndErrand(); !ended.ok()) return ended;
    // Between two errands, of which one mostly follows the other at once.
    if (is_recovered_) CountWaiting();
  }
  if (Now() < retry_at_) return absl::OkStatus();
  if (absl::Status held = RefreshLanes(); !held.ok()) return held;
  // Before epochs are closed: an epoch goes after its declared voids are written down.
  for (OwedVoid& owed : marks_.TakeDeclared()) declared_.push_back(std::move(owed));
  // Before the next errand, during which the log is asked for nothing else. An epoch that cannot be
  // closed holds up nothing.
  if (Now() >= close_at_) {
    close_trouble_ = CloseFormerEpochs();
    if (IsDoubt(close_trouble_)) return std::exchange(close_trouble_, absl::OkStatus());
    if (!close_trouble_.ok()) close_at_ = Now() + options_.retry_interval;
  }
  return Advance(may_place);
}

void RelayWork::GoBeside() {
  if (side_ == nullptr) side_ = std::make_unique<SideTask>(*options_.executor, "once-relay-log");
}

void RelayWork::Wait(bool is_stopping) {
  const absl::Time until = Now() + options_.poll_interval;
  if (is_out()) {
    const bool is_first = Now() - begun_at_ < kFirstLooks;
    const absl::Time look = Now() + (is_first ? kFirstLookInterval : kLookInterval);
    if (!sender_.is_waiting()) {
      side_->WaitUntil(until);
    } else if (!side_->is_done()) {
      sender_.Poll(std::min(until, look));
    }
  } else if (sender_.is_waiting()) {
    sender_.Poll(until);
  } else if (is_idle() || (is_settled() && is_stopping) || Now() < retry_at_ || is_stalled_ ||
             sender_.is_stuck() || sender_.client() == nullptr) {
    pause_->WaitUntil(until);
  }
}

bool RelayWork::is_settled() const {
  return has_all_lanes_ && !is_out() && sender_.flights().empty() && finished_.empty() &&
         declared_.empty();
}

bool RelayWork::is_idle() const { return is_settled() && found_nothing_; }

absl::Status RelayWork::RefreshLanes() {
  if (has_all_lanes_ && Now() < lanes_at_) return absl::OkStatus();
  absl::StatusOr<std::vector<int>> held = log_.HoldLanes();
  if (!held.ok()) return held.status();
  const bool has_lost = std::any_of(lanes_.begin(), lanes_.end(), [&held](int lane) {
    return std::find(held->begin(), held->end(), lane) == held->end();
  });
  if (has_lost) {
    Log(LogLevel::kWarning, "outbox_lanes_lost", "begins anew: its session with the store is gone");
    Reset();
    return absl::OkStatus();
  }
  // Not before: whoever gives up lanes would hear no more of those that it has lost.
  for (const int lane : LeaveSurplus()) std::erase(*held, lane);
  bool knows_streams = false;
  if (!is_recovered_) {
    if (absl::Status recovered = Recover(); !recovered.ok()) return recovered;
    // A lane that is not read yet is no reason to forget the streams of those that are.
    is_recovered_ = true;
    knows_streams = true;
  }
  has_all_lanes_ = false;
  for (const int lane : *held) {
    if (std::find(lanes_.begin(), lanes_.end(), lane) != lanes_.end()) continue;
    // Whoever had it before may have begun streams since.
    if (!std::exchange(knows_streams, true)) {
      if (absl::Status learnt = LearnStreams(); !learnt.ok()) return learnt;
    }
    if (absl::Status taken = TakeLane(lane); !taken.ok()) return taken;
  }
  has_all_lanes_ = true;
  lanes_at_ = Now() + kLanesInterval;
  return absl::OkStatus();
}

bool RelayWork::HasOnItsWay(int lane) const {
  const auto is_of_it = [lane](const std::unique_ptr<Flight>& flight) {
    return flight->round.lane == lane;
  };
  const auto& flights = sender_.flights();
  return std::any_of(flights.begin(), flights.end(), is_of_it) ||
         std::any_of(finished_.begin(), finished_.end(), is_of_it);
}

std::vector<int> RelayWork::LeaveSurplus() {
  std::vector<int> left;
  if (sharing_ == nullptr || !is_recovered_) return left;
  for (const int lane : leaving_) {
    if (!HasOnItsWay(lane)) left.push_back(lane);
  }
  if (!left.empty()) log_.GiveUpLanes(left);
  for (const int lane : left) {
    std::erase(lanes_, lane);
    std::erase_if(ahead_.rounds, [lane](const FoundRows& found) { return found.lane == lane; });
  }
  leaving_ = sharing_->FindSurplus();
  return left;
}

absl::Status RelayWork::LearnStreams() {
  const absl::StatusOr<std::vector<StreamProgress>> streams = log_.ListStreams();
  if (!streams.ok()) return streams.status();
  streams_.Learn(*streams);
  return absl::OkStatus();
}

absl::Status RelayWork::Recover() {
  const absl::StatusOr<std::vector<StreamProgress>> streams = log_.ListStreams();
  if (!streams.ok()) return streams.status();
  const absl::StatusOr<std::vector<OwedVoid>> owed = log_.ListOwed();
  if (!owed.ok()) return owed.status();
  streams_.Load(*streams);
  const auto is_known = [&streams](std::uint64_t epoch) {
    return std::any_of(streams->begin(), streams->end(),
                       [epoch](const StreamProgress& stream) { return stream.epoch == epoch; });
  };
  std::uint64_t epoch = ONCE_PLANTED_BUG("epoch-used-again") ? 1 : options_.random->Next();
  while (is_known(epoch)) ++epoch;
  streams_.BeginEpoch(epoch);
  for (const OwedVoid& gone : *owed) {
    if (ONCE_PLANTED_BUG("owed-void-forgotten")) continue;
    marks_.Void(gone, streams_.Find(gone.epoch, gone.topic, gone.partition).name);
  }
  return absl::OkStatus();
}

std::unique_ptr<Flight> RelayWork::MakeFlight(UnfinishedRound unfinished) {
  auto flight = std::make_unique<Flight>();
  flight->rows.reserve(unfinished.rows.size());
  for (std::size_t i = 0; i < unfinished.rows.size(); ++i) {
    FlyingRow& row = flight->rows.emplace_back();
    row.row = std::move(unfinished.rows[i]);
    row.placement = unfinished.round.placements[i];
    if (!row.row.damage.ok()) continue;
    row.stream =
        &streams_.Find(unfinished.round.epoch, row.row.message.topic, row.placement.partition);
  }
  flight->round = std::move(unfinished.round);
  return flight;
}

absl::Status RelayWork::TakeLane(int lane) {
  absl::StatusOr<std::vector<UnfinishedRound>> unfinished = log_.FindUnfinished(lane);
  if (!unfinished.ok()) return unfinished.status();
  for (UnfinishedRound& round : *unfinished) sender_.Add(MakeFlight(std::move(round)));
  lanes_.push_back(lane);
  return absl::OkStatus();
}

void RelayWork::Reset() {
  sender_.Reset();
  marks_.Reset();
  ahead_ = {};
  lane_trouble_ = absl::OkStatus();
  close_trouble_ = absl::OkStatus();
  close_at_ = absl::InfinitePast();
  finished_.clear();
  declared_.clear();
  last_marked_.clear();
  epochs_at_.clear();
  GiveUpLanes();
  is_recovered_ = false;
  has_all_lanes_ = false;
}

void RelayWork::GiveUpLanes() {
  log_.GiveUpLanes(lanes_);
  lanes_.clear();
  leaving_.clear();
}

void RelayWork::TendMarks() {
  if (Now() >= marks_at_) {
    marks_at_ = Now() + options_.mark_interval;
    for (const RelayStream* stream : streams_.TakeDue()) {
      // Former epochs get one mark, the last.
      if (stream->progress.epoch != streams_.epoch()) continue;
      if (const auto mark = RelayStreams::MarkOf(*stream, stream->finished_last)) {
        marks_.Mark(stream->progress.topic, stream->name, *mark);
      }
    }
  }
  marks_.Step();
}

void RelayWork::PutLastMarks(std::uint64_t epoch) {
  for (const RelayStream* stream : streams_.StreamsOf(epoch)) {
    if (ONCE_PLANTED_BUG("last-mark-forgotten")) continue;
    if (const auto mark = RelayStreams::MarkOf(*stream, stream->progress.last)) {
      marks_.Mark(stream->progress.topic, stream->name, *mark);
    }
  }
  last_marked_.insert(epoch);
}

// Whoever owed these voids is gone, and has declared them or not.
absl::Status RelayWork::TakeOwed(std::uint64_t epoch) {
  const absl::StatusOr<std::vector<OwedVoid>> owed = log_.ListOwed();
  if (!owed.ok()) return owed.status();
  for (const OwedVoid& gone : *owed) {
    if (gone.epoch != epoch) continue;
    marks_.Void(gone, streams_.Find(gone.epoch, gone.topic, gone.partition).name);
  }
  return absl::OkStatus();
}

absl::Status RelayWork::CloseFormerEpochs() {
  for (const std::uint64_t epoch : streams_.FindFormerEpochs()) {
    if (last_marked_.contains(epoch)) {
      // Also its voids are declared: they are written down before its name is forgotten.
      if (!marks_.is_empty() || !declared_.empty()) continue;
      if (absl::Status closed = log_.CloseEpoch(epoch); !closed.ok()) return closed;
      streams_.Forget(epoch);
      last_marked_.erase(epoch);
      continue;
    }
    const auto is_of_it = [epoch](const std::unique_ptr<Flight>& flight) {
      return flight->round.epoch == epoch;
    };
    const auto& flights = sender_.flights();
    if (std::any_of(flights.begin(), flights.end(), is_of_it) ||
        std::any_of(finished_.begin(), finished_.end(), is_of_it)) {
      continue;
    }
    // That of another relay, mostly, which is alive.
    if (const auto later = epochs_at_.find(epoch); later != epochs_at_.end()) {
      if (Now() < later->second) continue;
    }
    const absl::StatusOr<bool> is_in_use = log_.IsEpochInUse(epoch);
    if (!is_in_use.ok()) return is_in_use.status();
    if (*is_in_use) {
      epochs_at_[epoch] = Now() + kLanesInterval;
      continue;
    }
    epochs_at_.erase(epoch);
    // It may have gone on since its streams were read, and others have finished rounds of it.
    if (sharing_ != nullptr) {
      if (absl::Status learnt = LearnStreams(); !learnt.ok()) return learnt;
      if (absl::Status taken = TakeOwed(epoch); !taken.ok()) return taken;
    }
    PutLastMarks(epoch);
  }
  return absl::OkStatus();
}

bool RelayWork::CloseEpoch() {
  if (!is_settled()) return false;
  const std::uint64_t epoch = streams_.epoch();
  if (!last_marked_.contains(epoch)) PutLastMarks(epoch);
  marks_.Step();
  if (!marks_.is_empty()) return false;
  return log_.CloseEpoch(epoch).ok();
}

void RelayWork::CountWaiting() {
  if (Now() < count_at_) return;
  count_at_ = Now() + options_.count_interval;
  const absl::StatusOr<OutgoingCounts> counts = log_.Count();
  if (!counts.ok()) return;
  options_.metrics->Set("once_outbox_pending_messages", {}, static_cast<double>(counts->waiting));
  options_.metrics->Set("once_outbox_parked_messages", {}, static_cast<double>(counts->parked));
  const absl::Duration age = std::max(absl::ZeroDuration(), Now() - counts->oldest);
  options_.metrics->Set("once_outbox_oldest_age_seconds", {}, absl::ToDoubleSeconds(age));
}

}  // namespace once
