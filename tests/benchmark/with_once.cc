// The same work by a once::Consumer, at its default limits.
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <utility>
#include <vector>

#include "once/consumer.h"
#include "once/kafka/source.h"
#include "once/memory/store.h"
#include "once/postgres/store.h"
#include "once/rocksdb/store.h"
#include "once/sqlite/store.h"
#include "tests/benchmark/client.h"
#include "tests/benchmark/contestants.h"
#include "tests/benchmark/effects_family.h"
#include "tests/benchmark/effects_table.h"
#include "tests/benchmark/postgres_tables.h"
#include "tests/benchmark/stopwatch.h"
#include "tests/benchmark/workload.h"
#include "tests/forwarding_seams.h"

namespace once::benchmark {
namespace {

void Check(const absl::Status& status, const std::string& operation) {
  if (!status.ok()) throw std::runtime_error(operation + ": " + status.ToString());
}

// Passes everything on, and starts the stopwatch when the first message arrives.
class TimedSource final : public testing::ForwardingSource {
 public:
  TimedSource(std::unique_ptr<LogSource> inner, Stopwatch& stopwatch)
      : ForwardingSource(std::move(inner)), stopwatch_(stopwatch) {}

  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    absl::StatusOr<Batch> batch = inner_->Poll(options, listener);
    if (batch.ok() && !batch->empty()) stopwatch_.Start();
    return batch;
  }

 private:
  Stopwatch& stopwatch_;
};

// Counts settled messages, once per committed batch; with the last one it reads the stopwatch and
// asks the consumer to stop. The engine counts on the thread that polls.
class FinishLine final : public MetricsSink {
 public:
  FinishLine(std::int64_t messages, const Stopwatch& stopwatch)
      : messages_(messages), stopwatch_(stopwatch) {}

  void Add(std::string_view name, std::span<const Label> labels, double delta) override {
    if (name != "once_consumer_messages_total" || labels.front().value == "retry_scheduled") return;
    settled_ += static_cast<std::int64_t>(delta);
    if (settled_ < messages_ || seconds_ > 0) return;
    seconds_ = stopwatch_.seconds();
    stop_.request_stop();
  }
  void Set(std::string_view, std::span<const Label>, double) override {}

  std::stop_token stop_token() const { return stop_.get_token(); }
  double seconds() const { return seconds_; }

 private:
  const std::int64_t messages_;
  const Stopwatch& stopwatch_;
  std::int64_t settled_ = 0;
  double seconds_ = 0;
  std::stop_source stop_;
};

struct Ways {
  DedupBy dedup = DedupBy::kId;
  LossMode loss = LossMode::kOff;
};

template <typename F>
Finish Consume(const Task& task, std::shared_ptr<DedupStore> store, F handler,
               const Ways& ways = {}) {
  auto source = kafka::Subscribe({.brokers = task.brokers,
                                  .group = task.group,
                                  .topics = {task.topic},
                                  .properties = FetchSettings(),
                                  .log = JsonLog(LogLevel::kWarning)});
  Check(source.status(), "subscribing");
  Stopwatch stopwatch;
  const auto finish_line = std::make_shared<FinishLine>(task.messages, stopwatch);
  auto consumer =
      Consumer::Create({.source = std::make_unique<TimedSource>(*std::move(source), stopwatch),
                        .store = std::move(store),
                        .id = HeaderId(kIdHeader),
                        .dedup = ways.dedup,
                        .loss = {.mode = ways.loss},
                        .log = JsonLog(LogLevel::kWarning),
                        .metrics = finish_line},
                       std::move(handler));
  Check(consumer.status(), "creating the consumer");
  Check((*consumer)->Run(finish_line->stop_token()), "consuming");
  const ConsumerStats stats = (*consumer)->stats();
  return {.seconds = finish_line->seconds(),
          .messages = static_cast<std::int64_t>(stats.processed + stats.duplicates +
                                                stats.dead_lettered + stats.discarded),
          .processed = static_cast<std::int64_t>(stats.processed),
          .duplicates = static_cast<std::int64_t>(stats.duplicates)};
}

absl::Status DoNothing(const Message& /*message*/, Transaction& /*transaction*/) {
  return absl::OkStatus();
}

Finish ConsumeBySequence(const Task& task, const std::shared_ptr<DedupStore>& store,
                         LossMode loss) {
  return Consume(task, store, DoNothing, {.dedup = DedupBy::kSequence, .loss = loss});
}

Effect EffectOf(const Message& message) {
  return {.id = message.id(),
          .value = *message.value(),
          .partition = message.partition(),
          .offset = message.offset()};
}

}  // namespace

Finish ConsumeWithMemoryStore(const Task& task) {
  return Consume(task, memory::OpenStore(), DoNothing);
}

Finish ConsumeWithSqliteStore(const Task& task) {
  auto store = sqlite::OpenStore({.path = task.database});
  Check(store.status(), "opening the store");
  return Consume(task, *std::move(store), DoNothing);
}

Finish ConsumeWithSqliteRows(const Task& task) {
  Statement effect;  // finalised before the store, which the consumer owns, is closed
  auto store = sqlite::OpenStore({.path = task.database, .setup = [&effect](sqlite3* connection) {
                                    CreateEffectsTable(connection);
                                    effect = PrepareEffect(connection);
                                    return absl::OkStatus();
                                  }});
  Check(store.status(), "opening the store");
  const std::shared_ptr<DedupStore> kept = *store;
  const Finish finish =
      Consume(task, *std::move(store), [&effect](const Message& message, Transaction&) {
        AddEffect(effect.get(), EffectOf(message));
        return absl::OkStatus();
      });
  effect.reset();
  return finish;
}

Finish ConsumeWithRocksdbStore(const Task& task) {
  auto store = rocksdb::OpenStore({.path = task.database});
  Check(store.status(), "opening the store");
  return Consume(task, *std::move(store), DoNothing);
}

Finish ConsumeBySequenceWithSqlite(const Task& task) {
  auto store = sqlite::OpenStore({.path = task.database});
  Check(store.status(), "opening the store");
  return ConsumeBySequence(task, *std::move(store), LossMode::kOff);
}

Finish ConsumeBySequenceWithRocksdb(const Task& task) {
  auto store = rocksdb::OpenStore({.path = task.database});
  Check(store.status(), "opening the store");
  return ConsumeBySequence(task, *std::move(store), LossMode::kOff);
}

Finish ConsumeBySequenceAndWatchWithRocksdb(const Task& task) {
  auto store = rocksdb::OpenStore({.path = task.database});
  Check(store.status(), "opening the store");
  return ConsumeBySequence(task, *std::move(store), LossMode::kReport);
}

Finish ConsumeWithRocksdbRows(const Task& task) {
  auto store = rocksdb::OpenStore({.path = task.database, .tables = {kEffectsFamily}});
  Check(store.status(), "opening the store");
  return Consume(task, *std::move(store),
                 [](const Message& message, Transaction& transaction) -> absl::Status {
                   absl::StatusOr<rocksdb::Table> effects =
                       rocksdb::TableOf(transaction, kEffectsFamily);
                   if (!effects.ok()) return effects.status();
                   const auto [key, value] = EncodeEffect(EffectOf(message));
                   return effects->Put(key, value);
                 });
}

namespace {

absl::StatusOr<std::shared_ptr<DedupStore>> OpenPostgres(const Task& task) {
  const PostgresConnection connection = ConnectTo(task.postgres);
  CreateEffectsIn(connection.get(), SchemaOf(task));
  return postgres::OpenStore({.connection = task.postgres, .schema = SchemaOf(task) + "_once"});
}

std::int64_t OrderOf(const Message& message) {
  const std::optional<std::int64_t> order = ParseOrder(*message.value());
  if (!order) throw std::runtime_error("a message is not of the workload");
  return *order;
}

}  // namespace

Finish ConsumeWithPostgresRows(const Task& task) {
  auto store = OpenPostgres(task);
  Check(store.status(), "opening the store");
  const std::string sql = "INSERT INTO " + SchemaOf(task) + ".effects VALUES($1, $2, $3, $4)";
  return Consume(task, *std::move(store), [sql](const Message& message, Transaction& transaction) {
    return postgres::Connection(transaction)
        .Execute(sql, {message.id(), OrderOf(message),
                       static_cast<std::int64_t>(message.partition()), message.offset()})
        .status();
  });
}

Finish ConsumeWithPostgresBatches(const Task& task) {
  auto store = OpenPostgres(task);
  Check(store.status(), "opening the store");
  const std::string sql =
      "INSERT INTO " + SchemaOf(task) +
      ".effects SELECT * FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[])";
  return Consume(
      task, *std::move(store),
      [sql](std::span<const Message* const> messages, Transaction& transaction) -> absl::Status {
        std::vector<std::string> ids;
        std::vector<std::int64_t> orders;
        std::vector<std::int64_t> partitions;
        std::vector<std::int64_t> offsets;
        for (const Message* message : messages) {
          ids.emplace_back(message->id());
          orders.push_back(OrderOf(*message));
          partitions.push_back(message->partition());
          offsets.push_back(message->offset());
        }
        return postgres::Connection(transaction)
            .Execute(sql, {std::span<const std::string>(ids), std::span<const std::int64_t>(orders),
                           std::span<const std::int64_t>(partitions),
                           std::span<const std::int64_t>(offsets)})
            .status();
      });
}

}  // namespace once::benchmark
