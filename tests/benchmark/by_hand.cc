// The loop of a competent hand-written consumer: a batch, its transaction, its offsets.
#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "tests/benchmark/client.h"
#include "tests/benchmark/contestants.h"
#include "tests/benchmark/ledger.h"
#include "tests/benchmark/stopwatch.h"
#include "tests/benchmark/workload.h"

namespace once::benchmark {
namespace {

constexpr int kWaitMilliseconds = 100;

void StoreOffsets(rd_kafka_t* consumer, const Task& task,
                  const std::map<std::int32_t, std::int64_t>& positions) {
  const Owned<rd_kafka_topic_partition_list_t> list(
      rd_kafka_topic_partition_list_new(static_cast<int>(positions.size())));
  for (const auto& [partition, position] : positions) {
    rd_kafka_topic_partition_list_add(list.get(), task.topic.c_str(), partition)->offset = position;
  }
  Check(rd_kafka_offsets_store(consumer, list.get()), "storing offsets");
}

}  // namespace

std::string_view IdHeaderOf(const rd_kafka_message_t& message) {
  rd_kafka_headers_t* headers = nullptr;
  const void* id = nullptr;
  std::size_t size = 0;
  Check(rd_kafka_message_headers(&message, &headers), "reading headers");
  Check(rd_kafka_header_get_last(headers, kIdHeader, &id, &size), "reading the id");
  return {static_cast<const char*>(id), size};
}

Effect EffectOf(const rd_kafka_message_t& message, std::string_view id) {
  return {.id = id,
          .value = {static_cast<const char*>(message.payload), message.len},
          .partition = message.partition,
          .offset = message.offset};
}

Finish ConsumeByHand(const Task& task, Ledger& ledger) {
  const Owned<rd_kafka_t> consumer = OpenConsumer(task.brokers, task.topic, task.group);
  Owned<rd_kafka_queue_t> queue(rd_kafka_queue_get_consumer(consumer.get()));
  std::vector<rd_kafka_message_t*> batch(kHandWrittenBatch);
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
    filled += static_cast<std::size_t>(std::max<ssize_t>(
        0, rd_kafka_consume_batch_queue(queue.get(), kWaitMilliseconds, batch.data() + filled,
                                        kHandWrittenBatch - filled)));
    if (filled == 0) continue;
    std::map<std::int32_t, std::int64_t> positions;
    for (std::size_t i = 0; i < filled; ++i) {
      Check(batch[i]->err, "consuming");
      positions[batch[i]->partition] = batch[i]->offset + 1;
    }
    const std::size_t fresh = ledger.Apply(std::span(batch).first(filled));
    finish.messages += static_cast<std::int64_t>(filled);
    finish.processed += static_cast<std::int64_t>(fresh);
    finish.duplicates += static_cast<std::int64_t>(filled - fresh);
    StoreOffsets(consumer.get(), task, positions);
    for (std::size_t i = 0; i < filled; ++i) rd_kafka_message_destroy(batch[i]);
  }
  finish.seconds = stopwatch.seconds();
  queue.reset();  // before the client
  rd_kafka_consumer_close(consumer.get());
  return finish;
}

}  // namespace once::benchmark
