// The engine's loop: collect what the worker finished, poll, take rows, hand out the next work.
#include "src/engine.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "once/abseil.h"
#include "src/batch_succession.h"
#include "src/claim_batch.h"
#include "src/judge_losses.h"
#include "src/relay.h"
#include "src/row_marks.h"
#include "src/store_errors.h"
#include "src/test_hooks.h"

namespace once {
namespace {

// How often the relay looks at the outbox when nobody wakes it.
constexpr absl::Duration kRelayInterval = absl::Seconds(1);
// How soon a store that keeps less than it promised is told of.
constexpr absl::Duration kGuaranteeInterval = absl::Seconds(10);

// A hint is not answered and may be lost on its way: without traffic it is said again, so that the
// broker does not report a lag for ever, nor begin there should the store be lost.
constexpr absl::Duration kHintRepeat = absl::Minutes(1);

// What a batch handler says of one message.
Outcome OnlyOutcome(BatchOutcome outcome) {
  if (auto* const for_all = std::get_if<Outcome>(&outcome)) return std::move(*for_all);
  auto& each = std::get<std::vector<Outcome>>(outcome);
  return each.size() == 1 ? std::move(each.front()) : WrongNumberOfOutcomes(each.size(), 1);
}

TransactionalHandlerFunction PerMessage(const Handler& handler) {
  if (const auto* const one = std::get_if<TransactionalHandlerFunction>(&handler)) return *one;
  const auto* const batch = std::get_if<BatchHandlerFunction>(&handler);
  if (batch == nullptr) return nullptr;
  return [batch](const Message& message, Transaction& transaction) -> Outcome {
    const Message* const only = &message;
    return OnlyOutcome((*batch)({&only, 1}, transaction));
  };
}

}  // namespace

Engine::Engine(ConsumerOptions options, Handler handler)
    : options_(std::move(options)),
      handler_(std::move(handler)),
      per_message_(PerMessage(handler_)),
      source_(*options_.source),
      executor_(*options_.executor),
      keeper_(has_rows() ? nullptr
                         : std::make_unique<LeaseKeeper>(
                               LeaseKeeperOptions{.store = *options_.store->claims(),
                                                  .executor = executor_,
                                                  .log = *options_.log,
                                                  .lease = options_.claims.lease})),
      relay_wake_(executor_.NewEvent()),
      worker_(
          executor_, [this](WorkOrder& order) { Execute(order); }, [this] { source_.Wake(); },
          MayFollow),
      syncer_(
          executor_, [this](WorkOrder& order) { Execute(order); }, [this] { source_.Wake(); }) {}

Engine::~Engine() {
  if (is_started_ && !is_closed_) {
    Log(LogLevel::kWarning, "abandoned",
        "the consumer was destroyed without a stop; what it had not committed is redelivered");
    (void)Shutdown(executor_.Now());
  }
}

void Engine::Start() {
  if (is_started_) return;
  is_started_ = true;
  ReportGuarantee(executor_.Now());
  if (options_.loss.mode == LossMode::kReport && !keeps_numbers()) {
    Log(LogLevel::kWarning, "loss_not_kept",
        "loss.mode is kReport and the handler takes no Transaction&: what is missing is observed, "
        "not kept in the store, and `once loss report` has none of it");
  }
  if (options_.store->transactions() == nullptr) return;
  const absl::StatusOr<std::size_t> pending = store().outbox().CountPending();
  if (!pending.ok()) {
    Log(LogLevel::kWarning, "outbox_unreadable", pending.status().ToString());
    return;
  }
  // Without a publisher this consumer adds none, and those of others must not make it wait.
  if (options_.dead_letters.publisher != nullptr) outbox_pending_ = *pending;
  if (*pending > 0 && options_.dead_letters.publisher == nullptr) {
    Log(LogLevel::kWarning, "outbox_waiting",
        std::to_string(*pending) +
            " dead letters wait in the store's outbox, and this consumer "
            "has no dead_letters to publish them with");
  }
}

absl::Status Engine::Run(const std::stop_token& stop) {
  if (is_started_) return absl::FailedPreconditionError("Run: this consumer was started before");
  Start();
  worker_.StartTask("once-worker");
  if (has_rows() && options_.overlaps_syncs && store().syncs_beside()) {
    syncer_.StartTask("once-sync");
  }
  if (keeper_ != nullptr) keeper_->Start();
  if (has_relay()) {
    relay_ = executor_.Spawn("once-relay", [this] { RunRelay(); });
  }
  const std::stop_callback wake(stop, [this] { source_.Wake(); });
  while (!stop.stop_requested() && fatal_.ok()) Turn();
  return Shutdown(executor_.Now() + options_.times.stop_deadline);
}

absl::StatusOr<bool> Engine::Step() {
  if (is_closed_) return absl::FailedPreconditionError("Step: this consumer has been stopped");
  Start();
  const auto settled = [this] {
    const ConsumerStats now = stats();
    return now.processed + now.duplicates + now.dead_lettered + now.discarded + now.published;
  };
  const std::uint64_t before = settled();
  Turn();
  Collect();
  const absl::Time now = executor_.Now();
  const bool is_relay_due = outbox_pending_ > 0 || now >= next_relay_;
  if (has_relay() && is_relay_due) {
    next_relay_ = now + kRelayInterval;
    RelayRoundOnce();
  }
  if (!fatal_.ok()) return fatal_;
  return settled() != before;
}

absl::Status Engine::Stop() { return Shutdown(executor_.Now() + options_.times.stop_deadline); }

void Engine::Turn() {
  CancelOverdue();
  Collect();
  CollectSync();
  const bool is_polled = PollSource();
  if (!fatal_.ok()) return;
  // The worker's end woke the poll: rows and audit come before the next batch, or traffic elsewhere
  // would starve them. Rows only after a poll: a zombie must hear of it before it takes one.
  Collect();
  // Twice: a row that must be made or moved is read first.
  for (int pass = 0; is_polled && pass < 2; ++pass) {
    ServeUnread();
    Collect();
  }
  SubmitAudit();
  Collect();
  PollMarks(executor_.Now());
  SubmitLossCheck();
  Collect();
  ReportGuarantee(executor_.Now());
  SubmitBatch();
  PrepareBatch();
  CollectSync();
  SubmitSync();
  // While the worker has the next one: to give a batch back costs the client a call per message.
  spent_.reset();
  SendHints(executor_.Now());
}

// A store may learn at any time that it keeps less than it promised: whoever watches must hear of
// it.
void Engine::ReportGuarantee(absl::Time now) {
  if (now < next_report_) return;
  next_report_ = now + kGuaranteeInterval;
  const Guarantee found = guarantee();
  if (reported_ && reported_->level == found.level && reported_->reasons == found.reasons) return;
  if (!reported_) {
    Log(LogLevel::kInfo, "started", Describe(found));
  } else {
    const bool is_lower = found.level < reported_->level;
    Log(is_lower ? LogLevel::kError : LogLevel::kWarning,
        is_lower ? "guarantee_lowered" : "guarantee_changed", Describe(found));
  }
  options_.metrics->Set("once_guarantee_level", {}, static_cast<double>(found.level));
  reported_ = found;
}

// Asks a handler that is past its deadline to give up.
void Engine::CancelOverdue() {
  const absl::Duration limit = options_.times.handler_deadline;
  WorkOrder* order = worker_.current();
  if (order == nullptr || limit == absl::InfiniteDuration()) return;
  if (!order->cancellation.CancelIfRunningSince(executor_.Now() - limit)) return;
  Publish({.overdue = 1});
  Log(LogLevel::kWarning, "handler_overdue",
      "a handler has run for longer than times.handler_deadline; its cancellation() is triggered");
}

void Engine::Execute(WorkOrder& order) {
  if (order.batch && order.batch->is_prepared) ONCE_KILL_POINT("batch.followed");
  if (order.batch && !has_rows()) {
    SettleClaims({.store = *options_.store->claims(),
                  .handler = std::get<PlainHandlerFunction>(handler_),
                  .id = options_.id,
                  .fingerprint = options_.fingerprint,
                  .retry = options_.retry,
                  .claims = options_.claims,
                  .dead_letters = options_.dead_letters,
                  .keeper = *keeper_,
                  .log = *options_.log,
                  .executor = executor_,
                  .random = *options_.random,
                  .batch_max_duration = options_.limits.batch_max_duration,
                  .publish_timeout = options_.times.publish_timeout},
                 order);
    AdoptUnkept(*order.batch, executor_.Now());
  } else if (order.batch) {
    SettleBatch({.store = store(),
                 .handler = per_message_,
                 .batch_handler = std::get_if<BatchHandlerFunction>(&handler_),
                 .id = options_.id,
                 .fingerprint = options_.fingerprint,
                 .retry = options_.retry,
                 .dead_letters = options_.dead_letters,
                 .log = *options_.log,
                 .executor = executor_,
                 .random = *options_.random,
                 .group = source_.traits().group,
                 .batch_max_duration = options_.limits.batch_max_duration,
                 .has_deadline = options_.times.handler_deadline < absl::InfiniteDuration(),
                 .keeps_numbers = keeps_numbers(),
                 .is_synced_later = syncer_.has_task(),
                 .buffers = settle_buffers_},
                order);
  } else if (order.take) {
    order.take->result = store().Take(order.take->requests);
    ONCE_KILL_POINT("rows.taken");
  } else if (order.audit) {
    std::vector<PartitionKey> keys;
    for (const PositionLock& lock : order.audit->locks) keys.push_back(lock.key);
    order.audit->result = store().ReadPositions(keys);
  } else if (order.loss) {
    JudgeLosses(keeps_numbers() ? &store() : nullptr, *order.loss);
  } else if (order.rows) {
    ONCE_KILL_POINT("rows.before_write");
    WriteRows(store(), *order.rows);
    ONCE_KILL_POINT("rows.written");
  } else if (order.sync) {
    ONCE_KILL_POINT("sync.before");
    order.sync->end = store().Sync();
    ONCE_KILL_POINT("sync.done");
  }
}

absl::Status Engine::Shutdown(absl::Time deadline) {
  if (is_closed_) return absl::OkStatus();
  is_closed_ = true;
  PutBack(worker_.TakeBack());
  Collect();
  if (WorkOrder* order = worker_.current()) order->finish_early = true;
  const bool is_late = worker_.is_busy() && !worker_.WaitUntilDone(deadline);
  if (is_late) {
    worker_.current()->doomed = true;
    worker_.current()->cancellation.CancelAll();
    Log(LogLevel::kError, "stop_deadline_exceeded",
        "a handler outlived the stop deadline; nothing of it is acknowledged, its message is "
        "redelivered");
  }
  Collect();
  spent_.reset();
  ONCE_KILL_POINT("stop.before_close");
  absl::Status left = source_.Close(deadline, *this);
  ONCE_KILL_POINT("stop.closed");
  is_relay_stopping_ = true;
  relay_wake_->Set();
  relay_.reset();
  worker_.Close();
  syncer_.Close();
  if (keeper_ != nullptr) keeper_->Stop();
  Collect();
  spent_.reset();
  if (!fatal_.ok()) return fatal_;
  if (is_late) {
    return absl::DeadlineExceededError(
        "a handler outlived the stop deadline; its message was not acknowledged");
  }
  Log(LogLevel::kInfo, "stopped", left.ok() ? "left the group" : left.ToString());
  return left;
}

void Engine::RunRelay() {
  while (!is_relay_stopping_) {
    const std::size_t before = outbox_pending_;
    RelayRoundOnce();
    const bool is_moving = outbox_pending_ > 0 && outbox_pending_ < before;
    if (!is_moving) relay_wake_->WaitUntil(executor_.Now() + kRelayInterval);
  }
}

void Engine::RelayRoundOnce() {
  const absl::StatusOr<RelayRound> round =
      RelayOnce({.outbox = store().outbox(),
                 .publisher = *options_.dead_letters.publisher,
                 .executor = executor_,
                 .log = *options_.log,
                 .metrics = *options_.metrics,
                 .publish_timeout = options_.times.publish_timeout});
  if (!round.ok()) {
    if (round.status().code() == absl::StatusCode::kCancelled) is_relay_stopping_ = true;
    Log(LogLevel::kWarning, "relay_delayed", round.status().ToString());
    return;
  }
  if (round->found > 0) Publish({.published = round->published});
  if (round->found == 0 && outbox_pending_ == 0) return;
  if (const absl::StatusOr<std::size_t> pending = store().outbox().CountPending(); pending.ok()) {
    outbox_pending_ = *pending;
    options_.metrics->Set("once_dead_letter_pending_messages", {}, static_cast<double>(*pending));
  }
}

void Engine::SendHints(absl::Time now) {
  if (now < next_hint_ || ONCE_PLANTED_BUG("hints-not-sent")) return;
  next_hint_ = now + options_.times.commit_interval;
  std::vector<PartitionOffset> positions;
  for (auto& [name, partition] : partitions_) {
    // Not the watermark: a hole behind the last message must not look as if the broker were ahead
    // of the store.
    const std::int64_t position = ONCE_PLANTED_BUG("fetched-is-committed")
                                      ? partition.fetch_next()
                                      : partition.durable_position();
    const bool is_read = partition.phase == PartitionPhase::kActive;
    const bool is_known =
        position == partition.committed_hint && now < partition.hinted + kHintRepeat;
    if (!is_read || is_known) continue;
    positions.push_back({.partition = name,
                         .offset = position,
                         .metadata = MarkOf(has_rows() ? partition.began : position)});
    partition.committed_hint = position;
    partition.hinted = now;
  }
  if (!positions.empty()) {
    ONCE_KILL_POINT("hint.before");
    const absl::Status sent = source_.Commit(positions, CommitMode::kHint);
    ONCE_KILL_POINT("hint.sent");
    if (!sent.ok()) {
      Log(LogLevel::kDebug, "hint_failed", sent.ToString());
      for (const PartitionOffset& position : positions) {
        if (Partition* partition = Find(position.partition)) partition->committed_hint = -1;
      }
    }
  }
  ReportLag(now);
}

void Engine::ReportLag(absl::Time now) {
  for (const auto& [name, partition] : partitions_) {
    const std::optional<std::int64_t> lag = source_.Lag(name);
    if (!lag) continue;
    const std::string number = std::to_string(name.partition);
    const Label labels[] = {{"destination", name.topic}, {"partition", number}};
    options_.metrics->Set("once_consumer_lag_messages", labels, static_cast<double>(*lag));
    options_.metrics->Set("once_consumer_lag_sample_timestamp_seconds", labels,
                          absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  }
  options_.metrics->Set("once_consumer_in_flight_messages", {},
                        static_cast<double>(buffered_messages_));
}

void Engine::Log(LogLevel level, std::string_view action, std::string message,
                 const TopicPartition* partition, std::vector<LogField> fields) {
  if (level < options_.log->level()) return;
  LogEvent event{.level = level,
                 .time = executor_.Now(),
                 .action = action,
                 .message = std::move(message),
                 .fields = {{"messaging.consumer.group.name", source_.traits().group}}};
  if (partition != nullptr) {
    event.fields.push_back({"messaging.destination.name", partition->topic});
    event.fields.push_back(
        {"messaging.destination.partition.id", std::to_string(partition->partition)});
  }
  std::move(fields.begin(), fields.end(), std::back_inserter(event.fields));
  options_.log->Log(event);
}

void Engine::Publish(const ConsumerStats& delta) {
  {
    const std::lock_guard lock(mutex_);
    stats_ += delta;
  }
  const auto count = [this](std::string_view result, std::uint64_t number) {
    if (number == 0) return;
    const Label labels[] = {{"result", result}};
    options_.metrics->Add("once_consumer_messages_total", labels, static_cast<double>(number));
  };
  count("processed", delta.processed);
  count("duplicate", delta.duplicates);
  count("dead_lettered", delta.dead_lettered - delta.conflicts);
  count("conflict", delta.conflicts);
  count("discarded", delta.discarded);
  count("retry_scheduled", delta.retried);
  if (delta.fenced > 0) {
    options_.metrics->Add("once_fenced_total", {}, static_cast<double>(delta.fenced));
  }
  if (delta.lease_lost > 0) {
    options_.metrics->Add("once_lease_lost_total", {}, static_cast<double>(delta.lease_lost));
  }
  const auto count_all = [this](std::string_view name, std::uint64_t number) {
    if (number > 0) options_.metrics->Add(name, {}, static_cast<double>(number));
  };
  count_all("once_loss_suspected_total", delta.suspected);
  count_all("once_loss_recovered_total", delta.recovered);
  count_all("once_loss_unstamped_messages_total", delta.unstamped);
  count_all("once_messages_by_sequence_total", delta.by_sequence);
  if (delta.published > 0) {
    options_.metrics->Add("once_dead_letter_messages_total", {},
                          static_cast<double>(delta.published));
  }
}

Guarantee Engine::guarantee() const {
  StoreTraits store = options_.store->traits();
  store.retention = RetentionInUse();
  return ComputeGuarantee(
      {.store = std::move(store),
       .source = source_.traits(),
       .id = options_.id,
       .is_fingerprinted = options_.fingerprint != nullptr,
       .is_idle_audit_on = options_.times.idle_audit > absl::ZeroDuration(),
       .has_dead_letters = options_.dead_letters.publisher != nullptr,
       .handler = has_rows() ? HandlerKind::kTransactional : HandlerKind::kPlain,
       .is_rerun_excluded = options_.claims.on_lost != LostClaim::kRerun,
       .is_retention_short = is_retention_short_,
       .is_by_sequence = options_.dedup == DedupBy::kSequence});
}

ConsumerStats Engine::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

std::vector<StoppedPartition> Engine::stopped_partitions() const {
  const std::lock_guard lock(mutex_);
  return stopped_;
}

Partition* Engine::Find(const TopicPartition& name) {
  const auto found = partitions_.find(name);
  return found == partitions_.end() ? nullptr : &found->second;
}

Partition* Engine::FindIfCurrent(const TopicPartition& name, std::uint64_t assignment) {
  Partition* partition = Find(name);
  return partition != nullptr && partition->assignment == assignment ? partition : nullptr;
}

}  // namespace once
