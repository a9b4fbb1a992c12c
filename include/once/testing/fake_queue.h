// A FakeQueue is a queue broker in a simulation, as RabbitMQ is one: it pushes messages to
// channels, each delivery has a tag that means something on its channel only, and what a dead
// channel has not acknowledged goes back to its place in the queue. Every process opens a channel
// for itself.
//
// Acknowledgements have no answer: one that is lost with the connection was said OK, and one with
// an unknown tag costs the channel. A client learns of the end of its channel at its next call;
// after kExpel it is first handed what it had been sent before. See seam.h for the faults.
//
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/testing/fiber_executor.h"
#include "once/testing/observer.h"
#include "once/testing/seam.h"

namespace once::testing {

struct FakeQueueOptions {
  // So many deliveries of a channel may be unacknowledged.
  std::size_t prefetch = 2;
};

struct QueueMessage {
  std::int64_t number = 0;  // its place; what was sent later has a higher one
  std::string id;
  std::string value;
};

struct QueueDelivery {
  std::uint64_t tag = 0;        // counts the deliveries of its channel, from 1
  bool is_redelivered = false;  // it was delivered before, whatever became of that
  QueueMessage message;
};

class QueueChannel;

class FakeQueue {
 public:
  // `observer` may be null; it and the gate must outlive the queue and every channel. Registers
  // itself with the gate for expulsions.
  FakeQueue(SeamGate& gate, FakeQueueOptions options, SimulationObserver* observer);
  FakeQueue(const FakeQueue&) = delete;
  FakeQueue& operator=(const FakeQueue&) = delete;

  std::unique_ptr<QueueChannel> Open(std::shared_ptr<Process> process);
  // REQUIRES: its number is higher than that of every message before.
  void Send(QueueMessage message);

  // The connection of the process breaks: its channels end.
  void Disconnect(Process& process, bool is_deaf = false);

 private:
  friend class QueueChannel;
  struct Stored {
    QueueMessage message;
    bool was_delivered = false;
    bool is_ready = true;  // false: with a channel
  };

  // Hands out what is ready, in order, to the channels in turn.
  void Push();
  void End(QueueChannel& channel, bool is_deaf);

  SeamGate& gate_;
  FakeQueueOptions options_;
  SimulationObserver* observer_;
  SimulationObserver silent_;
  std::map<std::int64_t, Stored> messages_;  // by number; what is acknowledged is gone
  std::vector<QueueChannel*> channels_;      // open ones, in the order of their turns
};

// The client's side of one channel.
class QueueChannel {
 public:
  QueueChannel(const QueueChannel&) = delete;
  QueueChannel& operator=(const QueueChannel&) = delete;
  ~QueueChannel();

  // The next delivery; nullopt when there is none by `deadline`.
  // Here and below: kUnavailable when the channel has ended and this client knows it (Reopen() is
  // the way out), kCancelled when the process is dead.
  absl::StatusOr<std::optional<QueueDelivery>> Get(absl::Time deadline);
  // The message is settled, and forgotten.
  absl::Status Ack(std::uint64_t tag);
  // It goes back to its place.
  absl::Status Requeue(std::uint64_t tag);
  // A new channel in place of the ended one: tags begin anew, and those from before mean nothing.
  void Reopen();

 private:
  friend class FakeQueue;
  QueueChannel(FakeQueue& queue, std::shared_ptr<Process> process)
      : queue_(queue), process_(std::move(process)), changed_(process_->scheduler()) {}

  absl::Status Settle(Seam seam, std::uint64_t tag);
  // OK while the client takes the channel for open.
  absl::Status CheckKnown();

  FakeQueue& queue_;
  std::shared_ptr<Process> process_;
  bool is_open_ = false;  // at the broker
  bool is_deaf_ = false;  // ended, and the client has not heard of it
  std::uint64_t last_tag_ = 0;
  std::map<std::uint64_t, std::int64_t> unacked_;  // tag to number, as the broker knows them
  std::deque<QueueDelivery> sent_;                 // on the client's side, not handed out yet
  Condition changed_;
};

}  // namespace once::testing
