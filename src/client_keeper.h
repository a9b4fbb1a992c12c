// A ClientKeeper keeps a working client under a queue: one task polls it, hands its reports to the
// queue, and opens another one when it breaks, once every record inside has been reported.
//
// Thread-safety: Start(), Stop() and Purge() from one thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/log.h"
#include "once/metrics.h"
#include "once/producer.h"
#include "src/pending_send.h"
#include "src/send_queue.h"

namespace once {

class ClientKeeper {
 public:
  // What is named by reference must outlive the keeper.
  struct Options {
    const RecordClientFactory& clients;
    const ProducerTimes& times;
    SendQueue& queue;
    UnobservedSends& unobserved;
    Executor& executor;
    Random& random;
    LogSink& log;
    MetricsSink& metrics;
  };

  explicit ClientKeeper(const Options& options)
      : options_(options), wake_(options.executor.NewEvent()) {}
  ~ClientKeeper() { Stop(); }

  // The first client, which must open; then the task.
  absl::Status Start();
  // Ends the task and drops the client.
  void Stop();
  // The client reports everything that is inside, as given up.
  void Purge();

 private:
  void RunTask();
  void Serve(const std::shared_ptr<RecordClient>& client);
  void Drain();
  void Reopen();
  absl::Status Open();
  void Replace(const absl::Status& broken);
  void Report(absl::Time now);

  const Options options_;
  const std::unique_ptr<Event> wake_;
  std::atomic<bool> is_stopping_ = false;
  int reopenings_ = 0;  // since the last acknowledgement
  absl::Time next_opening_ = absl::InfinitePast();
  absl::Time next_report_ = absl::InfinitePast();
  std::unique_ptr<Task> task_;
};

}  // namespace once
