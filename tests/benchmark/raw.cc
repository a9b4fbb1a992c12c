// The limit: what librdkafka delivers when nobody does anything with it.
#include <algorithm>
#include <vector>

#include "tests/benchmark/client.h"
#include "tests/benchmark/contestants.h"
#include "tests/benchmark/stopwatch.h"

namespace once::benchmark {

Finish ConsumeRaw(const Task& task) {
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
      const rd_kafka_resp_err_t error = message->err;
      rd_kafka_message_destroy(message);
      Check(error, "consuming");
      stopwatch.Start();
      ++finish.messages;
    }
  }
  finish.seconds = stopwatch.seconds();
  queue.reset();  // before the client
  rd_kafka_consumer_close(consumer.get());
  return finish;
}

}  // namespace once::benchmark
