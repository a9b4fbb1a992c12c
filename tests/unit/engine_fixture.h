// EngineTest: a consumer over a scripted broker, an in-memory store whose faults the test chooses,
// a publisher that keeps what it is given, and a clock that stands still. The handler books the
// message's id as its effect; what it does with an id can be replaced, per id or for all.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "once/consumer.h"
#include "tests/unit/faulty_store.h"
#include "tests/unit/manual_executor.h"
#include "tests/unit/scripted_source.h"

namespace once {

// Acknowledges and keeps everything, unless told otherwise.
class KeepingPublisher : public Publisher {
 public:
  void Publish(std::span<const OutgoingMessage> messages, absl::Time,
               std::span<absl::Status> outcomes) override {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < messages.size(); ++i) {
      outcomes[i] = answer_;
      if (answer_.ok()) published_.push_back(messages[i]);
    }
  }

  void AnswerWith(absl::Status answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  std::vector<OutgoingMessage> published() const {
    const std::lock_guard lock(mutex_);
    return published_;
  }

 private:
  mutable std::mutex mutex_;
  absl::Status answer_;
  std::vector<OutgoingMessage> published_;
};

// Adds up counters by name and the value of their only label: "once_fenced_total", or
// "once_start_findings_total gap".
class KeepingMetrics : public MetricsSink {
 public:
  void Add(std::string_view name, std::span<const Label> labels, double delta) override {
    const std::lock_guard lock(mutex_);
    std::string key(name);
    for (const Label& label : labels) key.append(" ").append(label.value);
    counters_[key] += delta;
  }
  void Set(std::string_view name, std::span<const Label>, double value) override {
    const std::lock_guard lock(mutex_);
    gauges_[std::string(name)] = value;
  }
  // As it was set last, whatever its labels; -1: never.
  double gauge(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto found = gauges_.find(name);
    return found == gauges_.end() ? -1 : found->second;
  }
  double counter(const std::string& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = counters_.find(key);
    return found == counters_.end() ? 0 : found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, double> counters_;
  std::map<std::string, double> gauges_;
};

// Keeps the actions of the events: "assigned", "replay", …
class KeepingLog : public LogSink {
 public:
  LogLevel level() const override { return LogLevel::kDebug; }
  void Log(const LogEvent& event) override {
    const std::lock_guard lock(mutex_);
    actions_.emplace_back(event.action);
    messages_.push_back(std::string(event.action) + ": " + event.message);
    logged_.notify_all();
  }
  void WaitFor(std::string_view action) {
    std::unique_lock lock(mutex_);
    logged_.wait(lock, [&] {
      return std::find(actions_.begin(), actions_.end(), action) != actions_.end();
    });
  }
  std::vector<std::string> actions() const {
    const std::lock_guard lock(mutex_);
    return actions_;
  }
  // "assigned: assignment 1", …
  std::vector<std::string> messages() const {
    const std::lock_guard lock(mutex_);
    return messages_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable logged_;
  std::vector<std::string> actions_;
  std::vector<std::string> messages_;
};

inline const TopicPartition kOrders0{"orders", 0};
inline const TopicPartition kOrders1{"orders", 1};

// What a header of a published letter says; "(none)" without one.
inline std::string HeaderOf(const OutgoingMessage& letter, std::string_view name) {
  for (const OwnedHeader& header : letter.headers) {
    if (header.name == name) return header.value.value_or("(null)");
  }
  return "(none)";
}

// All of `options` but the source, which only one consumer can own.
inline ConsumerOptions CopyWithoutSource(const ConsumerOptions& options) {
  return {.store = options.store,
          .id = options.id,
          .dedup = options.dedup,
          .retry = options.retry,
          .dead_letters = options.dead_letters,
          .scope = options.scope,
          .fingerprint = options.fingerprint,
          .start = options.start,
          .out_of_range = options.out_of_range,
          .foreign_store = options.foreign_store,
          .redelivery_horizon = options.redelivery_horizon,
          .short_retention = options.short_retention,
          .claims = options.claims,
          .loss = options.loss,
          .overlaps_syncs = options.overlaps_syncs,
          .limits = options.limits,
          .times = options.times,
          .log = options.log,
          .metrics = options.metrics,
          .executor = options.executor,
          .random = options.random};
}

class EngineTest : public ::testing::Test {
 protected:
  using IdHandler = std::function<Outcome(const Message&, Transaction&)>;

  EngineTest() {
    options_.id = HeaderId("id");
    options_.retry = {.max_attempts = 3,
                      .backoff = {.initial = absl::Seconds(1), .multiplier = 2, .jitter = 0}};
    options_.dead_letters = {.publisher = publisher_};
  }

  // A record with this id.
  void Send(const TopicPartition& partition, std::string id, std::string value = "v") {
    log_->Append(partition, {.value = std::move(value), .headers = {{"id", std::move(id)}}});
  }

  // Handles messages with this id in its own way instead of booking them.
  void When(std::string id, IdHandler handler) { handlers_[std::move(id)] = std::move(handler); }

  // The test's options with everything that the fixture has.
  ConsumerOptions WholeOptions() {
    ConsumerOptions options = CopyWithoutSource(options_);
    options.source = std::make_unique<ScriptedSource>(log_);
    options.store = store_;
    options.log = events_;
    options.metrics = metrics_;
    options.executor = executor();
    options.random = random_;
    return options;
  }

  // The consumer that a process makes at its start; a second one meets the store of the first.
  void StartConsumer() {
    auto consumer = Consumer::Create(
        WholeOptions(), [this](const Message& message, Transaction& transaction) -> Outcome {
          return Handle(message, transaction);
        });
    ASSERT_TRUE(consumer.ok()) << consumer.status();
    consumer_ = *std::move(consumer);
  }

  virtual std::shared_ptr<Executor> executor() { return clock_; }

  // Enough steps for anything that does not have to wait for the clock.
  void Settle(int steps = 12) {
    for (int i = 0; i < steps; ++i) {
      const absl::StatusOr<bool> stepped = consumer_->Step();
      ASSERT_TRUE(stepped.ok()) << stepped.status();
    }
  }

  // Assigned, started, and everything handled that the broker has.
  void StartAndSettle(std::vector<TopicPartition> partitions) {
    log_->Assign(std::move(partitions));
    StartConsumer();
    Settle();
  }

  // Steps until the process dies in one of them (FaultyStore::Die); false when it lives on.
  bool StepUntilDeath(int steps = 40) {
    for (int i = 0; i < steps; ++i) {
      if (!consumer_->Step().ok()) return true;
    }
    return false;
  }
  // The next process, over what the dead one has left.
  void Restart(std::vector<TopicPartition> partitions) {
    consumer_.reset();
    store_->Revive();
    log_->Assign(std::move(partitions));
    StartConsumer();
  }
  // The only stopped partition's reason; "(none)" unless there is exactly one.
  std::string StopReason() const {
    const std::vector<StoppedPartition> stopped = consumer_->stopped_partitions();
    return stopped.size() == 1 ? stopped.front().reason.ToString() : "(none)";
  }

  void Advance(absl::Duration duration) { clock_->Advance(duration); }

  std::vector<std::string> effects() const { return store_->ReadRecords("effects"); }
  std::vector<std::string> invoked() const {
    const std::lock_guard lock(mutex_);
    return invoked_;
  }
  ConsumerStats stats() const { return consumer_->stats(); }
  static PartitionKey KeyOf(const TopicPartition& partition) {
    return {.cluster = "cluster-1", .group = "billing", .partition = partition};
  }
  // The stored position; -1 without a row.
  std::int64_t PositionOf(const TopicPartition& partition) {
    const auto row = store_->Row(KeyOf(partition));
    return row ? row->position : -1;
  }

  Outcome Handle(const Message& message, Transaction& transaction) {
    {
      const std::lock_guard lock(mutex_);
      invoked_.emplace_back(message.id());
    }
    const auto handler = handlers_.find(std::string(message.id()));
    if (handler != handlers_.end()) return handler->second(message, transaction);
    return Book(message, transaction);
  }
  static Outcome Book(const Message& message, Transaction& transaction) {
    AppendEffect(transaction, message.id());
    return Done();
  }

  std::shared_ptr<ManualExecutor> clock_ = std::make_shared<ManualExecutor>();
  std::shared_ptr<MiddleRandom> random_ = std::make_shared<MiddleRandom>();
  std::shared_ptr<ScriptedLog> log_ = std::make_shared<ScriptedLog>();
  std::shared_ptr<FaultyStore> store_ = std::make_shared<FaultyStore>();
  std::shared_ptr<KeepingPublisher> publisher_ = std::make_shared<KeepingPublisher>();
  std::shared_ptr<KeepingLog> events_ = std::make_shared<KeepingLog>();
  std::shared_ptr<KeepingMetrics> metrics_ = std::make_shared<KeepingMetrics>();
  ConsumerOptions options_;  // source, store, log, executor and random are filled in by the fixture

  mutable std::mutex mutex_;  // guards invoked_
  std::vector<std::string> invoked_;
  std::map<std::string, IdHandler> handlers_;
  std::unique_ptr<Consumer> consumer_;  // last: it uses all of the above
};

}  // namespace once
