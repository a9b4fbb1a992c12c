// Stores in the task's folder, or in a schema of its own on a server.
#include "tests/benchmark/produce/outbox_senders.h"

#include <libpq-fe.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "once/kafka/record_client.h"
#include "once/metrics.h"
#include "once/outbox_relay.h"
#include "once/postgres/store.h"
#include "once/rocksdb/store.h"
#include "once/sqlite/store.h"
#include "once/transact.h"
#include "tests/benchmark/stopwatch.h"

namespace once::benchmark {
namespace {

void Require(const absl::Status& status, std::string_view what) {
  if (!status.ok()) throw std::runtime_error(std::string(what) + ": " + status.ToString());
}

std::string PathOf(const SendTask& task) { return task.folder + "/" + task.topic; }

std::string SchemaOf(const SendTask& task) {
  std::string schema = task.topic;
  std::replace(schema.begin(), schema.end(), '-', '_');
  return schema;
}

std::shared_ptr<DedupStore> Open(const SendTask& task, OutboxStore kind) {
  absl::StatusOr<std::shared_ptr<DedupStore>> store;
  switch (kind) {
    case OutboxStore::kSqlite:
      store = sqlite::OpenStore({.path = PathOf(task)});
      break;
    case OutboxStore::kRocksDb:
      store = rocksdb::OpenStore({.path = PathOf(task)});
      break;
    case OutboxStore::kPostgres:
      store = postgres::OpenStore({.connection = task.postgres, .schema = SchemaOf(task)});
      break;
  }
  Require(store.status(), "opening the outbox");
  return *std::move(store);
}

// Counts what a relay says it has published.
class PublishedCount final : public MetricsSink {
 public:
  void Add(std::string_view name, std::span<const Label>, double delta) override {
    if (name == "once_outbox_published_total") count_ += static_cast<std::int64_t>(delta);
  }
  void Set(std::string_view, std::span<const Label>, double) override {}
  std::int64_t count() const { return count_; }

 private:
  std::atomic<std::int64_t> count_ = 0;
};

}  // namespace

void FillOutbox(const SendTask& task, OutboxStore kind) {
  const std::shared_ptr<DedupStore> store = Open(task, kind);
  for (std::int64_t first = 0; first < task.messages; first += kRowsTogether) {
    const std::int64_t end = std::min(first + kRowsTogether, task.messages);
    const auto publish = [&](Transaction& transaction) -> absl::Status {
      for (std::int64_t place = first; place < end; ++place) {
        if (absl::Status added = transaction.Publish(MessageAt(task, place)); !added.ok()) {
          return added;
        }
      }
      return absl::OkStatus();
    };
    Require(Transact(*store, publish), "filling the outbox");
  }
}

double SendFromOutbox(const SendTask& task, OutboxStore kind) {
  const std::shared_ptr<DedupStore> store = Open(task, kind);
  const auto published = std::make_shared<PublishedCount>();
  auto relay = OutboxRelay::Create(
      {.store = store,
       .clients = kafka::RecordClients({.brokers = task.brokers, .linger = kLinger}),
       .id_header = "",
       .metrics = published});
  Require(relay.status(), "the relay");
  Stopwatch stopwatch;
  stopwatch.Start();
  std::jthread thread([&](const std::stop_token& stop) { (*relay)->Run(stop).IgnoreError(); });
  const absl::Time deadline = absl::Now() + kFlushTime;
  while (published->count() < task.messages && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  const double seconds = stopwatch.seconds();
  thread.request_stop();
  thread.join();
  if (published->count() != task.messages) {
    throw std::runtime_error("the outbox: " + std::to_string(published->count()) + " of " +
                             std::to_string(task.messages) + " messages were published");
  }
  return seconds;
}

void DropOutbox(const SendTask& task, OutboxStore kind) {
  if (kind != OutboxStore::kPostgres) {
    std::error_code ignored;
    for (const char* suffix : {"", "-wal", "-shm", ".once-lock"}) {
      std::filesystem::remove_all(PathOf(task) + suffix, ignored);
    }
    return;
  }
  PGconn* const connection = PQconnectdb(task.postgres.c_str());
  PQclear(PQexec(connection, ("DROP SCHEMA IF EXISTS " + SchemaOf(task) + " CASCADE").c_str()));
  PQfinish(connection);
}

}  // namespace once::benchmark
