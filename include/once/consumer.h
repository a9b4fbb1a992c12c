// A Consumer takes messages from a source and runs your handler on each logical message once.
//
//   auto consumer = once::Consumer::Create(
//       {.source = *std::move(source), .store = *store, .id = once::HeaderId("payment-id"),
//        .retry = {.max_attempts = 5}, .dead_letters = *dead_letters},
//       [](const once::Message& message, once::Transaction& transaction) { … });
//   if (!consumer.ok()) return consumer.status();
//   return once::RunUntilSignal(**consumer);
//
// Thread-safety: Run() or Step() from one thread; guarantee() and stats() from any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dead_letter.h"
#include "once/dedup_store.h"
#include "once/executor.h"
#include "once/guarantee.h"
#include "once/handler.h"
#include "once/id_extractor.h"
#include "once/log.h"
#include "once/loss.h"
#include "once/metrics.h"
#include "once/retry.h"
#include "once/source.h"

namespace once {

// Where a partition begins that neither the store nor the broker knows a position for.
enum class StartAt : std::uint8_t { kEarliest, kLatest };

// What to do when the position in the store is outside what the broker still has.
enum class OutOfRange : std::uint8_t {
  kStop,     // stop the partition and report the gap: the default, since messages are missing
  kEarliest  // report the gap, then go on with the oldest message there is
};

// What to do when the group's offsets were committed on behalf of another store than this one, so
// that the ids below them are not in it.
enum class ForeignStore : std::uint8_t {
  kRefuse,  // stop the partition and say so: the default
  kAdopt,   // begin at the group's offset, after committing it under this store's name
  kReplay   // begin at this store's position, or at the oldest message if it has none
};

// What becomes of a partition whose messages may come again after the store has forgotten their
// ids: its topic keeps records longer than StoreTraits::retention less redelivery_horizon.
enum class ShortRetention : std::uint8_t {
  kStop,  // the partition stops before anything of it is handled
  kWarn   // it goes on; the guarantee falls to at-least-once, and log and metrics say so
};

// What becomes of a message whose claim was lost after its handler had begun. Plain handlers only.
enum class LostClaim : std::uint8_t {
  kRerun,     // invoke the handler again; it sees maybe_repeated()
  kPark,      // dead-letter it as `uncertain`; an operator says whether it happened
  kReconcile  // ask ClaimOptions::reconcile
};

// What the downstream says about a message that may have run.
enum class Reconciled : std::uint8_t {
  kHappened,     // settle it as completed
  kNotHappened,  // invoke the handler again, which sees maybe_repeated(): the lost invocation may
                 // only be slow, and yet take effect
  kUnknown       // as LostClaim::kPark
};

// What tells a message from its copies. Transactional handlers; a plain one's need ids.
enum class DedupBy : std::uint8_t {
  kId,  // its id (ConsumerOptions::id), of which the store keeps a record
  // The number that its producer's outbox gave it (sequence.h): the store keeps one small note per
  // producer and partition instead of a record per message, and never forgets. A message that an
  // application publishes twice has two numbers, and is two messages. Where a message has no such
  // number, and for dead letters that come back, ids stay in charge. Switched either way at any
  // time: what was settled under the other one stays settled.
  kSequence,
};

// For plain handlers.
struct ClaimOptions {
  // Renewed every third of it while the handler runs (not by Step(), whose handlers must be
  // quicker). Longer: a crashed consumer's messages wait longer. Shorter: a stalled one loses its
  // claims sooner. Between a second and a day.
  absl::Duration lease = absl::Seconds(30);
  LostClaim on_lost = LostClaim::kRerun;
  // Called like the handler, in its place. Required for kReconcile. May throw: asked again later.
  std::function<Reconciled(const Message&)> reconcile;
};

// Bounds. Every one has a default that a busy service can live with.
struct ConsumerLimits {
  // One transaction: at most so many messages, and no new one is begun after the duration.
  std::size_t batch_messages_max = 5000;
  absl::Duration batch_max_duration = absl::Seconds(1);
  // Buffered and not yet settled, over all partitions; past it the source is not read.
  std::size_t inflight_messages_max = 20'000;
  std::size_t inflight_bytes_max = 64 * 1024 * 1024;
  // Dead letters committed and not yet published; at the bound the consumer waits for the relay.
  std::size_t outbox_rows_max = 10'000;
};

struct ConsumerTimes {
  absl::Duration poll_timeout = absl::Milliseconds(100);  // longest idle poll
  // How long a slow handler may keep the polling thread waiting before it pauses partitions.
  absl::Duration pause_after = absl::Milliseconds(500);
  // How long a rebalance waits for a running handler; then its transaction is rolled back.
  absl::Duration revoke_budget = absl::Seconds(10);
  absl::Duration stop_deadline = absl::Seconds(30);   // the same for a graceful stop
  absl::Duration commit_interval = absl::Seconds(1);  // broker offsets, a hint for monitoring
  absl::Duration idle_audit = absl::Seconds(30);      // zero: off, and the guarantee says so
  Backoff store_backoff = {.initial = absl::Milliseconds(50), .max = absl::Seconds(5)};
  absl::Duration publish_timeout = absl::Seconds(10);
  // Message::cancellation() of a handler that runs longer is triggered; Run() only.
  absl::Duration handler_deadline = absl::InfiniteDuration();
};

// What a store must be at least; Consumer::Create refuses one that is less. The default takes any,
// and leaves it to the guarantee to say what it is worth.
struct StoreFloor {
  Durability durability = Durability::kNothing;
  absl::Duration retention = absl::ZeroDuration();  // StoreTraits::retention
};

struct ConsumerOptions {
  std::unique_ptr<LogSource> source;
  std::shared_ptr<DedupStore> store;
  StoreFloor store_floor;
  IdExtractor id = StandardIdHeaders();
  DedupBy dedup = DedupBy::kId;
  RetryPolicy retry;
  DeadLetterSink dead_letters;
  // nullopt: consumer group + topic. A name merges topics, and a new name reprocesses on purpose.
  std::optional<std::string> scope;
  FingerprintFunction fingerprint = ValueFingerprint();
  StartAt start = StartAt::kEarliest;
  OutOfRange out_of_range = OutOfRange::kStop;
  ForeignStore foreign_store = ForeignStore::kRefuse;
  // How much later than the broker removes a message a copy of it may still come: a producer that
  // sends again, a dead letter that is redriven. Only asked of stores that forget.
  absl::Duration redelivery_horizon = absl::Hours(24);
  ShortRetention short_retention = ShortRetention::kStop;
  ClaimOptions claims;
  LossOptions loss;
  // With an embedded store and in Run(): a batch is synced while the next one runs, and only then
  // acknowledged. Until then a power failure undoes it, to be handled anew, and other readers of
  // the store may have seen it. False: no batch begins before the one before it is synced.
  bool overlaps_syncs = true;
  ConsumerLimits limits;
  ConsumerTimes times;
  std::shared_ptr<LogSink> log = JsonLog();
  std::shared_ptr<MetricsSink> metrics = NoMetrics();
  std::shared_ptr<Executor> executor = SystemExecutor();
  std::shared_ptr<Random> random = SystemRandom();
};

// Counts since Create. Every settled message is in exactly one of processed, duplicates,
// dead_lettered and discarded.
struct ConsumerStats {
  std::uint64_t processed = 0;
  std::uint64_t duplicates = 0;     // settled before, or an earlier copy completed
  std::uint64_t dead_lettered = 0;  // conflicts included
  std::uint64_t conflicts = 0;      // of those: same id, other value
  std::uint64_t discarded = 0;      // skipped on record, or a copy of a dead message
  std::uint64_t retried = 0;        // failed attempts that will be followed by another
  std::uint64_t fenced = 0;         // transactions refused because somebody else wrote the row
  std::uint64_t rollbacks = 0;      // transactions rolled back for any reason
  std::uint64_t commits = 0;
  std::uint64_t gaps = 0;       // partitions whose position was out of the broker's range
  std::uint64_t published = 0;  // dead letters acknowledged by the broker
  // Plain handlers: claims that were somebody else's when the outcome was to be recorded …
  std::uint64_t lease_lost = 0;
  std::uint64_t taken_over = 0;  // … and messages met whose earlier invocation was lost
  std::uint64_t uncertain = 0;   // dead-lettered because of that; in dead_lettered too
  std::uint64_t overdue = 0;     // handlers cancelled at their deadline
  // Loss detection: numbers of messages that were suspected to be lost …
  std::uint64_t suspected = 0;
  std::uint64_t recovered = 0;  // … and of those that arrived after all, or were declared void
  std::uint64_t unstamped = 0;  // messages without a number that belongs to their partition
  // Settled messages that were told apart by their number alone (DedupBy::kSequence).
  std::uint64_t by_sequence = 0;

  ConsumerStats& operator+=(const ConsumerStats& other);
};

// A partition that the consumer has stopped, and why. Nothing of it is acknowledged beyond
// `position`; other partitions go on.
struct StoppedPartition {
  TopicPartition partition;
  std::int64_t position = 0;
  absl::Status reason;
};

class Engine;

class Consumer {
 public:
  // kInvalidArgument or kFailedPrecondition, naming the field and the way out.
  template <TransactionalHandler F>
  static absl::StatusOr<std::unique_ptr<Consumer>> Create(ConsumerOptions options, F handler) {
    return Create(std::move(options), EraseHandler(std::move(handler)));
  }
  template <PlainHandler F>
  static absl::StatusOr<std::unique_ptr<Consumer>> Create(ConsumerOptions options, F handler) {
    return Create(std::move(options), EraseHandler(std::move(handler)));
  }
  template <BatchHandler F>
  static absl::StatusOr<std::unique_ptr<Consumer>> Create(ConsumerOptions options, F handler) {
    return Create(std::move(options), EraseHandler(std::move(handler)));
  }
  static absl::StatusOr<std::unique_ptr<Consumer>> Create(ConsumerOptions options,
                                                          TransactionalHandlerFunction handler);
  static absl::StatusOr<std::unique_ptr<Consumer>> Create(ConsumerOptions options,
                                                          BatchHandlerFunction handler);
  static absl::StatusOr<std::unique_ptr<Consumer>> Create(ConsumerOptions options,
                                                          PlainHandlerFunction handler);
  ~Consumer();

  // Polls on this thread, handles on a task of the executor, until `stop` is requested; then
  // finishes the message at hand, commits, and leaves the group. OK after a clean stop;
  // kDeadlineExceeded when a handler outlived stop_deadline (its transaction was rolled back);
  // otherwise the error that made going on impossible. May be called once.
  absl::Status Run(const std::stop_token& stop);

  // One poll, one transaction, one round of the relay, all on this thread. For tests and simple
  // loops. True when it settled or published anything. Handlers must be quicker than the source's
  // poll_interval_max here.
  absl::StatusOr<bool> Step();
  // The graceful stop that belongs to Step().
  absl::Status Stop();

  Guarantee guarantee() const;
  ConsumerStats stats() const;
  std::vector<StoppedPartition> stopped_partitions() const;

 private:
  explicit Consumer(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

// Run() until SIGINT or SIGTERM, which it takes over meanwhile; a second signal ends the process
// the default way. Call it from main(), with one consumer per process.
absl::Status RunUntilSignal(Consumer& consumer);

}  // namespace once
