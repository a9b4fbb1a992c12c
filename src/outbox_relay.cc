// What may be asked for, and the loop.
#include "once/outbox_relay.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/relay_work.h"

namespace once {
namespace {

absl::Status Invalid(std::string_view field, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("OutboxRelayOptions::", ToAbsl(field), ": ", ToAbsl(why)));
}

absl::Status Check(const OutboxRelayOptions& options) {
  if (options.store == nullptr) return Invalid("store", "none is given");
  TransactionalStore* const transactions = options.store->transactions();
  if (transactions == nullptr || transactions->outgoing() == nullptr) {
    return Invalid("store",
                   options.store->traits().name +
                       " has no log of outgoing messages; use SQLite, RocksDB or PostgreSQL");
  }
  if (!options.clients) return Invalid("clients", "none is given; see once::kafka::RecordClients");
  if (options.missing_topic_grace < absl::ZeroDuration()) {
    return Invalid("missing_topic_grace", "must not be negative");
  }
  if (options.round_rows_max == 0) return Invalid("round_rows_max", "must be positive");
  if (options.rounds_in_flight_max <= 0) return Invalid("rounds_in_flight_max", "must be positive");
  if (options.executor == nullptr || options.random == nullptr || options.log == nullptr ||
      options.metrics == nullptr) {
    return Invalid("executor, random, log, metrics", "must not be null");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<OutboxRelay>> OutboxRelay::Create(OutboxRelayOptions options) {
  if (absl::Status checked = Check(options); !checked.ok()) return checked;
  if (!options.store->transactions()->outgoing()->TryAcquireRelay()) {
    return absl::FailedPreconditionError(absl::StrCat("a relay works on this opening of ",
                                                      options.store->traits().name,
                                                      " already; one is enough"));
  }
  auto work = std::make_unique<RelayWork>(std::move(options));
  if (work->options().store->traits().durability < Durability::kMachine) {
    work->Log(LogLevel::kWarning, "outbox_not_synced",
              "after a power failure a message may be published again under another number: " +
                  work->options().store->traits().weakness);
  }
  return std::unique_ptr<OutboxRelay>(new OutboxRelay(std::move(work)));
}

OutboxRelay::OutboxRelay(std::unique_ptr<RelayWork> work) : work_(std::move(work)) {}

OutboxRelay::~OutboxRelay() = default;

absl::Status OutboxRelay::Step() { return work_->Step(true); }

bool OutboxRelay::is_idle() const { return work_->is_idle(); }

void OutboxRelay::EndBy(absl::Time deadline) { end_by_.store(absl::ToUnixNanos(deadline)); }

absl::Status OutboxRelay::Run(std::stop_token stop) {
  work_->GoBeside();
  std::string last_trouble;
  const auto step = [&](bool may_place) {
    const absl::Status status = work_->Step(may_place);
    if (status.code() == absl::StatusCode::kCancelled) return false;
    // The same trouble again and again is told once.
    std::string trouble = status.ok() ? "" : status.ToString();
    if (!trouble.empty() && trouble != last_trouble) {
      work_->Log(LogLevel::kWarning, "outbox_delayed", "will be tried again: " + trouble);
    }
    if (!trouble.empty() || work_->is_settled()) last_trouble = std::move(trouble);
    return true;
  };
  while (!stop.stop_requested()) {
    if (!step(true)) return absl::CancelledError("outbox relay: the process is dead");
    work_->Wait(false);
  }
  const absl::Time deadline =
      std::min(work_->Now() + work_->options().stop_timeout, absl::FromUnixNanos(end_by_.load()));
  while (!work_->is_settled() || !work_->CloseEpoch()) {
    if (work_->Now() >= deadline) {
      if (work_->is_settled()) break;  // only marks are left: the next relay publishes them
      return absl::DeadlineExceededError(
          "outbox relay: what is on its way is not acknowledged; the next relay sends it again");
    }
    if (!step(false)) return absl::CancelledError("outbox relay: the process is dead");
    work_->Wait(true);
  }
  work_->GiveUpLanes();
  return absl::OkStatus();
}

}  // namespace once
