// Looks, and pauses between them.
#include "adapters/postgres/upkeep.h"

#include <algorithm>
#include <utility>

#include "once/abseil.h"

namespace once::postgres {
namespace {

constexpr absl::Duration kLookEvery = absl::Seconds(1);
constexpr absl::Duration kLongestPause = absl::Minutes(1);

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
  }
  return buckets_.Look(*session_, stop);
}

void Upkeep::Run(const std::stop_token& stop) {
  absl::Duration pause = kLookEvery;
  while (!stop.stop_requested()) {
    const absl::StatusOr<bool> more = Look(stop);
    {
      const std::lock_guard lock(mutex_);
      error_ = more.ok() ? "" : more.status().ToString();
    }
    pause = more.ok() ? kLookEvery : std::min(pause * 2, kLongestPause);
    if (more.ok() && *more) continue;
    database_->log_times().Wait(stop, more.ok() ? buckets_.due_ms() : kNoLogTime, pause);
  }
}

}  // namespace once::postgres
