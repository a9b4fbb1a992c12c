// A MarkWriter says, on a task of its own, how far the streams of a producer have come: in the
// topics of marks, which it looks for and may have created. Its troubles never reach the senders.
//
// Thread-safety: Start() and Stop() from one thread, Request() from any.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/log.h"
#include "once/producer.h"
#include "src/send_queue.h"

namespace once {

class MarkWriter {
 public:
  // What is named by reference must outlive the writer.
  struct Options {
    const StampOptions& stamps;
    SendQueue& queue;
    Executor& executor;
    LogSink& log;
  };

  explicit MarkWriter(const Options& options)
      : options_(options), wake_(options.executor.NewEvent()) {}
  ~MarkWriter() { Stop(); }

  void Start();
  // A round now, without waiting for its turn.
  void Request() { wake_->Set(); }
  void Stop();

 private:
  void RunTask();
  void RunRound();
  void Send(MarkSend* mark);
  bool HasTopic(const std::string& marks_topic);
  absl::Status FindTopic(const std::string& marks_topic);

  // What is known of a topic of marks; one that is not there is looked for again after a while.
  struct Known {
    bool is_there = false;
    bool is_missing = false;  // the brokers say so
    bool was_reported = false;
    absl::Time look_again = absl::InfinitePast();
  };

  const Options options_;
  const std::unique_ptr<Event> wake_;
  std::atomic<bool> is_stopping_ = false;
  absl::flat_hash_map<std::string, Known> topics_;  // of the task; as many as the topics sent to
  std::unique_ptr<Task> task_;                      // last: joined before anything else goes
};

}  // namespace once
