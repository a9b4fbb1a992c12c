// The limits: what librdkafka delivers when nobody does anything with it, and when somebody looks
// at the headers, where ids and stamps are.
#include <algorithm>
#include <stdexcept>
#include <vector>

#include "tests/benchmark/client.h"
#include "tests/benchmark/contestants.h"
#include "tests/benchmark/stopwatch.h"

namespace once::benchmark {
namespace {

void ReadHeaders(const rd_kafka_message_t* message) {
  rd_kafka_headers_t* headers = nullptr;
  Check(rd_kafka_message_headers(message, &headers), "reading headers");
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  std::size_t count = 0;
  while (rd_kafka_header_get_all(headers, count, &name, &value, &size) ==
         RD_KAFKA_RESP_ERR_NO_ERROR) {
    ++count;
  }
  if (count == 0) throw std::runtime_error("a message has no headers");
}

template <typename Look>
Finish Consume(const Task& task, Look&& look) {
  constexpr int kWaitMilliseconds = 100;
  constexpr std::size_t kBatch = 1000;
  const Owned<rd_kafka_t> consumer = OpenConsumer(task.brokers, task.topic, task.group);
  Owned<rd_kafka_queue_t> queue(rd_kafka_queue_get_consumer(consumer.get()));
  std::vector<rd_kafka_message_t*> batch(kBatch);
  Stopwatch stopwatch;
  Finish finish;
  while (finish.messages < task.messages) {
    // The first wait is for one message, so that the clock starts with it.
    const std::size_t wanted = finish.messages == 0 ? 1 : kBatch;
    const ssize_t count =
        rd_kafka_consume_batch_queue(queue.get(), kWaitMilliseconds, batch.data(), wanted);
    for (ssize_t i = 0; i < count; ++i) {
      rd_kafka_message_t* message = batch[static_cast<std::size_t>(i)];
      Check(message->err, "consuming");
      look(message);
      rd_kafka_message_destroy(message);
      stopwatch.Start();
      ++finish.messages;
    }
  }
  finish.seconds = stopwatch.seconds();
  queue.reset();  // before the client
  rd_kafka_consumer_close(consumer.get());
  return finish;
}

}  // namespace

Finish ConsumeRaw(const Task& task) {
  return Consume(task, [](const rd_kafka_message_t*) {});
}

Finish ConsumeRawWithHeaders(const Task& task) { return Consume(task, &ReadHeaders); }

}  // namespace once::benchmark
