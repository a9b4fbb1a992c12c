// One look a second at who holds what.
#include "adapters/postgres/lane_session.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/test_hooks.h"

namespace once::postgres {
namespace {

Params LaneParams(std::span<const int> lanes) {
  Column column(Column::Type::kInt4);
  for (const int lane : lanes) column.Add(lane);
  return std::move(Params().Array(column));
}

}  // namespace

Session* LaneSession::session() {
  if (session_ != nullptr && session_->is_lost()) Lose();
  return session_.get();
}

void LaneSession::Lose() {
  must_tell_loss_ = must_tell_loss_ || !lanes_.empty();
  Leave();
}

// The locks go before the connection does, so that others need not wait until the server has
// noticed that it is closed.
void LaneSession::Leave() {
  if (session_ != nullptr && !session_->is_lost()) {
    session_->DropQueued();
    if (!session_->is_idle()) session_->Queue(database_.statements().rollback);
    session_->Queue(database_.statements().leave_relays);
    session_->Run(database_.options().answer_timeout).status().IgnoreError();
  }
  session_.reset();
  lanes_.clear();
  epochs_.clear();
}

absl::Status LaneSession::Connect() {
  auto session = database_.ConnectAside();
  if (!session.ok()) return session.status();
  session_ = *std::move(session);
  const Fence drawn = database_.NewFence();
  owner_ = std::bit_cast<std::int64_t>(drawn.incarnation + drawn.counter);
  const auto silent = absl::ToInt64Milliseconds(kSilentAfter);
  for (const char* const limit : {"idle_session_timeout", "idle_in_transaction_session_timeout"}) {
    session_->QueueText(absl::StrCat("SET ", limit, " TO ", silent), "share lanes");
  }
  // Whatever the database's default is.
  session_->QueueText("SET default_transaction_isolation TO 'read committed'", "share lanes");
  for (const Statement& plan : database_.statements().plan_for_relay) session_->Queue(plan);
  session_->Queue(database_.statements().join_relays);
  return session_->Run(database_.options().answer_timeout).status();
}

absl::StatusOr<std::vector<int>> LaneSession::Hold() {
  session();  // notices that it is lost
  if (std::exchange(must_tell_loss_, false)) return std::vector<int>();
  std::vector<int> free;
  absl::Status held = session_ == nullptr ? Connect() : absl::OkStatus();
  if (held.ok()) held = Survey(free);
  if (held.ok() && lanes_.size() < share_) {
    const auto first =
        static_cast<std::size_t>(session_->pid()) % std::max<std::size_t>(free.size(), 1);
    std::rotate(free.begin(), free.begin() + static_cast<std::ptrdiff_t>(first), free.end());
    free.resize(std::min(free.size(), share_ - lanes_.size()));
    held = Take(std::move(free));
  }
  if (!held.ok()) {
    Lose();
    return held;
  }
  return std::vector<int>(lanes_.begin(), lanes_.end());
}

absl::Status LaneSession::Survey(std::vector<int>& free) {
  session_->Queue(database_.statements().survey_lanes);
  const auto results = session_->Run(database_.options().answer_timeout);
  if (!results.ok()) return results.status();
  const Result& lanes = results->back();
  if (lanes.rows() != kLanes) {
    return absl::DataLossError(absl::StrCat("postgres: share lanes ", database_.where(),
                                            ": table outgoing_lanes has ", lanes.rows(),
                                            " rows instead of ", kLanes, "; restore a backup"));
  }
  // A relay that is about to count itself is one.
  const auto relays = static_cast<std::size_t>(std::max<std::int64_t>(lanes.Int(0, 2), 1));
  share_ = (kLanes + relays - 1) / relays;
  for (int row = 0; row < lanes.rows(); ++row) {
    const auto lane = static_cast<std::size_t>(lanes.Int(row, 0));
    if (lanes.Int(row, 1) == 0) free.push_back(static_cast<int>(lane));
    if (lane < last_drawn_.size()) last_drawn_[lane] = lanes.Int(row, 3);
  }
  return absl::OkStatus();
}

absl::Status LaneSession::Take(std::vector<int> wanted) {
  if (wanted.empty()) return absl::OkStatus();
  session_->Queue(database_.statements().take_lanes, LaneParams(wanted));
  const auto results = session_->Run(database_.options().answer_timeout);
  if (!results.ok()) return results.status();
  std::vector<int> taken;
  const Result& locked = results->back();
  for (int row = 0; row < locked.rows(); ++row) {
    taken.push_back(static_cast<int>(locked.Int(row, 0)));
  }
  if (taken.empty()) return absl::OkStatus();
  ONCE_KILL_POINT("lanes.locked");
  Params params = LaneParams(taken);
  params.Int8(owner_);
  session_->Queue(database_.statements().own_lanes, std::move(params));
  const auto owned = session_->Run(database_.options().answer_timeout);
  if (!owned.ok()) return owned.status();
  lanes_.insert(taken.begin(), taken.end());
  return absl::OkStatus();
}

void LaneSession::GiveUp(std::span<const int> lanes) {
  std::vector<int> held;
  for (const int lane : lanes) {
    if (lanes_.erase(lane) > 0) held.push_back(lane);
  }
  // Whoever gives up knows that they are gone.
  if (lanes_.empty()) {
    must_tell_loss_ = false;
    return Leave();
  }
  if (held.empty() || session() == nullptr) return;
  session_->Queue(database_.statements().give_up_lanes, LaneParams(held));
  if (!session_->Run(database_.options().answer_timeout).ok()) Lose();
}

void LaneSession::QueueEpoch(std::uint64_t epoch) {
  if (!epochs_.insert(epoch).second) return;
  session_->Queue(database_.statements().hold_epoch,
                  std::move(Params().Int4(static_cast<std::int32_t>(epoch))));
}

}  // namespace once::postgres
