// A competent hand-written consumer: prepared statements, WAL, one synced transaction per 500
// messages in which the id decides whether the effect is added, offsets stored after the commit.
#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/benchmark/client.h"
#include "tests/benchmark/contestants.h"
#include "tests/benchmark/effects_table.h"
#include "tests/benchmark/stopwatch.h"
#include "tests/benchmark/workload.h"

namespace once::benchmark {
namespace {

constexpr std::size_t kBatch = 500;
constexpr int kWaitMilliseconds = 100;

std::string_view IdHeaderOf(const rd_kafka_message_t& message) {
  rd_kafka_headers_t* headers = nullptr;
  const void* id = nullptr;
  std::size_t size = 0;
  Check(rd_kafka_message_headers(&message, &headers), "reading headers");
  Check(rd_kafka_header_get_last(headers, kIdHeader, &id, &size), "reading the id");
  return {static_cast<const char*>(id), size};
}

class Ledger {
 public:
  explicit Ledger(const std::string& path) : connection_(Open(path)) {
    CreateEffectsTable(connection_.get());
    Run("CREATE TABLE seen(id TEXT PRIMARY KEY) WITHOUT ROWID");
    begin_ = Prepare(connection_.get(), "BEGIN IMMEDIATE");
    commit_ = Prepare(connection_.get(), "COMMIT");
    see_ = Prepare(connection_.get(), "INSERT INTO seen VALUES(?1) ON CONFLICT DO NOTHING");
    effect_ = PrepareEffect(connection_.get());
  }

  void Begin() { Step(begin_.get()); }
  void Commit() { Step(commit_.get()); }

  // False when the message was seen before.
  bool Apply(const rd_kafka_message_t& message) {
    const std::string_view id = IdHeaderOf(message);
    sqlite3_bind_text(see_.get(), 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
    Step(see_.get());
    if (sqlite3_changes(connection_.get()) == 0) return false;
    AddEffect(effect_.get(), {.id = id,
                              .value = {static_cast<const char*>(message.payload), message.len},
                              .partition = message.partition,
                              .offset = message.offset});
    return true;
  }

 private:
  static Connection Open(const std::string& path) {
    sqlite3* opened = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    const int code = sqlite3_open_v2(path.c_str(), &opened, flags, nullptr);
    Connection connection(opened);
    if (code != SQLITE_OK) throw std::runtime_error(path + " cannot be opened");
    // The same cache as once::sqlite has by default.
    for (const char* pragma :
         {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA cache_size = -32768"}) {
      Step(Prepare(opened, pragma).get());
    }
    return connection;
  }

  void Run(const char* sql) { Step(Prepare(connection_.get(), sql).get()); }

  Connection connection_;
  Statement begin_;
  Statement commit_;
  Statement see_;
  Statement effect_;
};

void StoreOffsets(rd_kafka_t* consumer, const Task& task,
                  const std::map<std::int32_t, std::int64_t>& positions) {
  const Owned<rd_kafka_topic_partition_list_t> list(
      rd_kafka_topic_partition_list_new(static_cast<int>(positions.size())));
  for (const auto& [partition, position] : positions) {
    rd_kafka_topic_partition_list_add(list.get(), task.topic.c_str(), partition)->offset = position;
  }
  Check(rd_kafka_offsets_store(consumer, list.get()), "storing offsets");
}

// One transaction.
void ApplyBatch(std::span<rd_kafka_message_t*> batch, Ledger& ledger, Finish& finish,
                std::map<std::int32_t, std::int64_t>& positions) {
  ledger.Begin();
  for (const rd_kafka_message_t* message : batch) {
    Check(message->err, "consuming");
    const bool is_fresh = ledger.Apply(*message);
    finish.processed += is_fresh ? 1 : 0;
    finish.duplicates += is_fresh ? 0 : 1;
    ++finish.messages;
    positions[message->partition] = message->offset + 1;
  }
  ledger.Commit();
}

}  // namespace

Finish ConsumeByHand(const Task& task) {
  Ledger ledger(task.database);
  const Owned<rd_kafka_t> consumer = OpenConsumer(task.brokers, task.topic, task.group);
  Owned<rd_kafka_queue_t> queue(rd_kafka_queue_get_consumer(consumer.get()));
  std::vector<rd_kafka_message_t*> batch(kBatch);
  Stopwatch stopwatch;
  Finish finish;
  while (finish.messages < task.messages) {
    // The first wait is for one message, so that the clock starts with it.
    std::size_t filled = 0;
    if (finish.messages == 0) {
      filled = static_cast<std::size_t>(std::max<ssize_t>(
          0, rd_kafka_consume_batch_queue(queue.get(), kWaitMilliseconds, batch.data(), 1)));
      if (filled == 0) continue;
      stopwatch.Start();
    }
    filled += static_cast<std::size_t>(
        std::max<ssize_t>(0, rd_kafka_consume_batch_queue(queue.get(), kWaitMilliseconds,
                                                          batch.data() + filled, kBatch - filled)));
    if (filled == 0) continue;
    std::map<std::int32_t, std::int64_t> positions;
    ApplyBatch(std::span(batch).first(filled), ledger, finish, positions);
    StoreOffsets(consumer.get(), task, positions);
    for (std::size_t i = 0; i < filled; ++i) rd_kafka_message_destroy(batch[i]);
  }
  finish.seconds = stopwatch.seconds();
  queue.reset();  // before the client
  rd_kafka_consumer_close(consumer.get());
  return finish;
}

}  // namespace once::benchmark
