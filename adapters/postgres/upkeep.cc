// Looks, and pauses between them.
#include "adapters/postgres/upkeep.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::postgres {
namespace {

constexpr absl::Duration kLookEvery = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Minutes(1);
// Longer than any pause.
constexpr absl::Duration kHungAfter = absl::Minutes(5);

}  // namespace

Upkeep::Upkeep(std::shared_ptr<Database> database)
    : database_(std::move(database)),
      buckets_(*database_),
      thread_([this](const std::stop_token& stop) { Run(stop); }) {}

std::string Upkeep::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

absl::StatusOr<bool> Upkeep::Look(const std::stop_token& stop) {
  if (session_ == nullptr || session_->is_lost()) {
    session_.reset();
    auto session = database_->ConnectAside();
    if (!session.ok()) return session.status();
    session_ = *std::move(session);
    session_->EndWaitsAt(stop);
    told_error_.reset();  // others may have taken us for gone, and what we said with us
    absl::Status restarted = buckets_.Restart(*session_, kHungAfter);
    if (!restarted.ok()) return restarted;
  }
  return buckets_.Look(*session_, stop);
}

void Upkeep::Tell(const std::string& error) {
  if (told_error_ == error || session_ == nullptr || session_->is_lost()) return;
  Params params = std::move(Params().Bytes(database_->session_name()));
  if (error.empty()) {
    session_->Queue(database_->statements().drop_upkeep_error, std::move(params));
  } else {
    params.Bytes(ToStd(absl::CHexEscape(error)));
    session_->Queue(database_->statements().put_upkeep_error, std::move(params));
  }
  // Said again at the next look where it fails: the reason is the same, mostly.
  if (session_->Run(database_->options().answer_timeout).ok()) told_error_ = error;
}

void Upkeep::Run(const std::stop_token& stop) {
  absl::Duration pause = kLookEvery;
  while (!stop.stop_requested()) {
    const absl::StatusOr<bool> more = Look(stop);
    const std::string error = more.ok() ? "" : more.status().ToString();
    {
      const std::lock_guard lock(mutex_);
      error_ = error;
    }
    Tell(error);
    pause = more.ok() ? kLookEvery : std::min(pause * 2, kLongestPause);
    if (more.ok() && *more) continue;
    database_->log_times().Wait(stop, more.ok() ? buckets_.due_ms() : kNoLogTime, pause);
  }
}

}  // namespace once::postgres
