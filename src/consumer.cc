// Consumer: checks the options, then hands over to the engine.
#include "once/consumer.h"

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/engine.h"
#include "src/lease_keeper.h"

namespace once {
namespace {

absl::Status Bad(std::string_view field, std::string_view rule) {
  return absl::InvalidArgumentError("ConsumerOptions::" + std::string(field) + ": " +
                                    std::string(rule));
}

absl::Status ValidateLimits(const ConsumerLimits& limits) {
  if (limits.batch_messages_max < 1) return Bad("limits.batch_messages_max", "must be at least 1");
  if (limits.batch_max_duration <= absl::ZeroDuration()) {
    return Bad("limits.batch_max_duration", "must be positive");
  }
  if (limits.inflight_messages_max < 1) {
    return Bad("limits.inflight_messages_max", "must be at least 1");
  }
  if (limits.inflight_bytes_max < 1) return Bad("limits.inflight_bytes_max", "must be positive");
  if (limits.outbox_rows_max < 1) return Bad("limits.outbox_rows_max", "must be at least 1");
  return absl::OkStatus();
}

absl::Status ValidateTimes(const ConsumerTimes& times, absl::Duration poll_interval_max) {
  if (times.poll_timeout <= absl::ZeroDuration()) {
    return Bad("times.poll_timeout", "must be positive");
  }
  if (times.poll_timeout + times.pause_after >= poll_interval_max) {
    return Bad(
        "times.pause_after",
        "together with times.poll_timeout must stay below the source's longest poll interval "
        "(max.poll.interval.ms), or the broker takes the partitions away");
  }
  if (times.revoke_budget >= poll_interval_max) {
    return Bad("times.revoke_budget",
               "must stay below the source's longest poll interval (max.poll.interval.ms)");
  }
  for (const auto& [field, duration] :
       {std::pair<std::string_view, absl::Duration>{"times.pause_after", times.pause_after},
        {"times.revoke_budget", times.revoke_budget},
        {"times.stop_deadline", times.stop_deadline},
        {"times.commit_interval", times.commit_interval},
        {"times.idle_audit", times.idle_audit}}) {
    if (duration < absl::ZeroDuration()) return Bad(field, "must not be negative");
  }
  if (times.store_backoff.max < times.store_backoff.initial ||
      !(times.store_backoff.multiplier >= 1)) {
    return Bad("times.store_backoff", "needs multiplier >= 1 and max >= initial");
  }
  if (times.handler_deadline <= absl::ZeroDuration()) {
    return Bad("times.handler_deadline", "must be positive");
  }
  if (times.publish_timeout <= absl::ZeroDuration()) {
    return Bad("times.publish_timeout", "must be positive");
  }
  if (times.store_backoff.initial <= absl::ZeroDuration()) {
    return Bad("times.store_backoff.initial", "must be positive");
  }
  return absl::OkStatus();
}

absl::Status ValidateClaims(const ClaimOptions& claims) {
  if (claims.on_lost == LostClaim::kReconcile && !claims.reconcile) {
    return Bad("claims.reconcile", "is empty, and claims.on_lost = LostClaim::kReconcile calls it");
  }
  return Annotate(ValidateLease(claims.lease), "ConsumerOptions::claims.lease");
}

// The handler and the store must speak the same protocol.
absl::Status ValidateProtocol(const ConsumerOptions& options, const Handler& handler) {
  const std::string store = options.store->traits().name;
  if (!std::visit([](const auto& function) { return static_cast<bool>(function); }, handler)) {
    return absl::InvalidArgumentError("Consumer::Create: the handler is empty");
  }
  if (std::holds_alternative<PlainHandlerFunction>(handler)) {
    if (options.dedup == DedupBy::kSequence) {
      return Bad(
          "dedup",
          "is DedupBy::kSequence, which needs a handler that takes a Transaction&: the claims "
          "of a plain one are on ids; use DedupBy::kId");
    }
    if (options.store->claims() != nullptr) return ValidateClaims(options.claims);
    return absl::FailedPreconditionError(
        "store " + store +
        " has no claims, and a handler that takes no Transaction& needs them; use a store with "
        "claims such as sqlite, or let the handler take a Transaction&");
  }
  if (options.store->transactions() != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "store " + store +
      " has no transactions, and a handler that takes a Transaction& needs them; use a "
      "transactional store such as sqlite");
}

std::string_view NameOf(Durability durability) {
  switch (durability) {
    case Durability::kNothing:
      return "nothing, not even the end of the process";
    case Durability::kProcess:
      return "the process, not the machine";
    case Durability::kMachine:
      return "the machine";
  }
  return "nobody knows what";
}

absl::Status ValidateFloor(const ConsumerOptions& options) {
  const StoreFloor& floor = options.store_floor;
  const StoreTraits store = options.store->traits();
  if (store.durability < floor.durability) {
    return absl::FailedPreconditionError(absl::StrCat(
        "Consumer::Create: store ", store.name, " survives ", ToAbsl(NameOf(store.durability)),
        ", and store_floor.durability wants it to survive ", ToAbsl(NameOf(floor.durability)),
        store.weakness.empty() ? "" : ": ", store.weakness, "; choose another store, set it so, ",
        "or lower the floor"));
  }
  if (store.retention < floor.retention) {
    return absl::FailedPreconditionError(
        absl::StrCat("Consumer::Create: store ", store.name, " forgets ids after ",
                     absl::FormatDuration(store.retention), ", and store_floor.retention is ",
                     absl::FormatDuration(floor.retention),
                     "; raise the store's retention, or lower the floor"));
  }
  return absl::OkStatus();
}

absl::Status Validate(const ConsumerOptions& options, const Handler& handler) {
  if (options.source == nullptr) return Bad("source", "is null; open one, e.g. kafka::Subscribe");
  if (options.store == nullptr) return Bad("store", "is null; open one, e.g. sqlite::OpenStore");
  if (options.log == nullptr) return Bad("log", "is null; use NoLog() to log nothing");
  if (options.metrics == nullptr) return Bad("metrics", "is null; use NoMetrics()");
  if (options.executor == nullptr) return Bad("executor", "is null; use SystemExecutor()");
  if (options.random == nullptr) return Bad("random", "is null; use SystemRandom()");
  if (options.scope && options.scope->empty()) {
    return Bad("scope", "is empty; leave it unset for consumer group + topic");
  }
  if (options.scope && options.dedup == DedupBy::kSequence) {
    return Bad("scope",
               "is named, and with dedup = DedupBy::kSequence a message is known in its own topic "
               "and group only; leave it unset, or use DedupBy::kId");
  }
  if (options.redelivery_horizon < absl::ZeroDuration()) {
    return Bad("redelivery_horizon", "must not be negative");
  }
  if (options.dead_letters.publisher != nullptr && !options.dead_letters.topic) {
    return Bad("dead_letters.topic", "is empty; use DefaultDeadLetterTopic");
  }
  absl::Status status = ValidateProtocol(options, handler);
  status.Update(Annotate(options.id.status(), "ConsumerOptions::id"));
  status.Update(Annotate(ValidateRetryPolicy(options.retry), "ConsumerOptions"));
  status.Update(ValidateFloor(options));
  status.Update(Annotate(ValidateLossOptions(options.loss), "ConsumerOptions"));
  status.Update(ValidateLimits(options.limits));
  status.Update(ValidateTimes(options.times, options.source->traits().poll_interval_max));
  return status;
}

}  // namespace

ConsumerStats& ConsumerStats::operator+=(const ConsumerStats& other) {
  processed += other.processed;
  duplicates += other.duplicates;
  dead_lettered += other.dead_lettered;
  conflicts += other.conflicts;
  discarded += other.discarded;
  retried += other.retried;
  fenced += other.fenced;
  rollbacks += other.rollbacks;
  commits += other.commits;
  gaps += other.gaps;
  published += other.published;
  lease_lost += other.lease_lost;
  taken_over += other.taken_over;
  uncertain += other.uncertain;
  overdue += other.overdue;
  suspected += other.suspected;
  recovered += other.recovered;
  unstamped += other.unstamped;
  by_sequence += other.by_sequence;
  return *this;
}

namespace {

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(ConsumerOptions options, Handler handler) {
  if (absl::Status status = Validate(options, handler); !status.ok()) return status;
  return std::make_unique<Engine>(std::move(options), std::move(handler));
}

}  // namespace

Consumer::Consumer(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
Consumer::~Consumer() = default;

absl::StatusOr<std::unique_ptr<Consumer>> Consumer::Create(ConsumerOptions options,
                                                           TransactionalHandlerFunction handler) {
  absl::StatusOr<std::unique_ptr<Engine>> engine =
      MakeEngine(std::move(options), std::move(handler));
  if (!engine.ok()) return engine.status();
  return std::unique_ptr<Consumer>(new Consumer(*std::move(engine)));
}

absl::StatusOr<std::unique_ptr<Consumer>> Consumer::Create(ConsumerOptions options,
                                                           BatchHandlerFunction handler) {
  absl::StatusOr<std::unique_ptr<Engine>> engine =
      MakeEngine(std::move(options), std::move(handler));
  if (!engine.ok()) return engine.status();
  return std::unique_ptr<Consumer>(new Consumer(*std::move(engine)));
}

absl::StatusOr<std::unique_ptr<Consumer>> Consumer::Create(ConsumerOptions options,
                                                           PlainHandlerFunction handler) {
  absl::StatusOr<std::unique_ptr<Engine>> engine =
      MakeEngine(std::move(options), std::move(handler));
  if (!engine.ok()) return engine.status();
  return std::unique_ptr<Consumer>(new Consumer(*std::move(engine)));
}

absl::Status Consumer::Run(const std::stop_token& stop) { return engine_->Run(stop); }
absl::StatusOr<bool> Consumer::Step() { return engine_->Step(); }
absl::Status Consumer::Stop() { return engine_->Stop(); }
Guarantee Consumer::guarantee() const { return engine_->guarantee(); }
ConsumerStats Consumer::stats() const { return engine_->stats(); }
std::vector<StoppedPartition> Consumer::stopped_partitions() const {
  return engine_->stopped_partitions();
}

}  // namespace once
