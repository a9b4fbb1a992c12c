// A Producer sends messages one by one, numbers them, and does not lose one silently: everything
// that Send() was given ends in an outcome, whatever becomes of the brokers or of the client
// library.
//
//   auto producer = once::Producer::Create(
//       {.clients = once::kafka::RecordClients({.brokers = "localhost:9092"}),
//        .stamps = {.producer = "shop-1"}});
//   if (!producer.ok()) return producer.status();
//   once::Ticket ticket = (*producer)->Send({.topic = "orders", .key = "c-7", .value = order});
//   …
//   if (const once::SendOutcome* outcome = ticket.Wait(deadline); outcome != nullptr) …
//
// Each message has an id, in a header, by which consumers recognise what is sent again. A message
// whose outcome is not known is sent again, under the same id and number, until delivery_timeout.
// Messages of one partition are stored in the order of their Send(); what a failed one overtakes is
// said at delivery_timeout.
//
// What is accepted and not yet acknowledged dies with the process: after kill -9 nobody remembers
// it but whoever sent it. What must not be lost then goes through an outbox.
// Source of stamps and marks: sequence.h, docs/loss-detection.md; of all of it: docs/producing.md.
//
// Thread-safety: Producer is safe for concurrent use; a Ticket is for one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/id_extractor.h"
#include "once/log.h"
#include "once/metrics.h"
#include "once/publisher.h"
#include "once/record_client.h"
#include "once/retry.h"

namespace once {

enum class Stamping : std::uint8_t {
  kOff,
  kObserve,  // numbered and counted, nothing is written: to see what stamps would do
  kOn
};

struct StampOptions {
  Stamping mode = Stamping::kOn;
  // Names this producer in reports of losses (ValidateProducerId). Instances may share a name: each
  // has an epoch of its own.
  std::string producer = "once";
  // How often it is said, in MarksTopic(topic), how far each stream has come, so that a lost tail
  // shows; also at Flush() and Close(). Infinite: never, and no voids either.
  absl::Duration mark_interval = absl::Seconds(10);
  // Creates a topic of marks that does not exist: kafka::MarksTopics. Null: it is reported once,
  // and there are no marks until somebody creates it. Called on a task of the producer's.
  std::function<absl::Status(const std::string& topic, absl::Time deadline)> create_marks_topic =
      nullptr;
};

struct IdOptions {
  // The header of the id. StandardIdHeaders() finds the default.
  std::string header = std::string(kProducerIdHeader);
  // A message without an id gets 128 random bits, as 32 hex digits. False: it is refused
  // (kInvalidArgument). An id of the caller's own also covers what the caller sends again.
  bool is_drawn = true;
};

struct ProducerLimits {
  // Accepted and without an outcome; at the bounds Send() waits. Bytes of keys, values and headers.
  std::size_t messages_max = 100'000;
  std::size_t bytes_max = 64 * 1024 * 1024;
};

struct ProducerTimes {
  // How long Send() waits for room, and for the brokers at the first message to a topic.
  absl::Duration send_timeout = absl::Seconds(60);
  // From Send() on: no outcome comes much later than this. At least a second.
  absl::Duration delivery_timeout = absl::Minutes(2);
  // How long the destructor waits, if nobody has called Close().
  absl::Duration close_timeout = absl::Seconds(30);
  // Between attempts to open a client in the place of one that broke.
  Backoff reopen = {.initial = absl::Milliseconds(100), .max = absl::Seconds(10)};
};

struct ProducerOptions {
  RecordClientFactory clients;  // required
  IdOptions ids;
  StampOptions stamps;
  // Messages without a key and a partition go to one partition, and after so many to another.
  std::size_t sticky_messages = 1000;
  ProducerLimits limits;
  ProducerTimes times;
  std::shared_ptr<LogSink> log = JsonLog();
  std::shared_ptr<MetricsSink> metrics = NoMetrics();
  std::shared_ptr<Executor> executor = SystemExecutor();
  std::shared_ptr<Random> random = SystemRandom();
};

// What became of a message.
struct SendOutcome {
  // OK                  acknowledged: stored as durably as the client's settings say; or, if
  //                     is_spooled, on this machine's disk, to be published from there (spool.h)
  // kUnknown            given up, and it may be stored
  // kDeadlineExceeded   given up at delivery_timeout, not stored
  // kResourceExhausted  no room within send_timeout; not sent
  // kUnavailable        the brokers did not say what partitions there are; not sent
  // kInvalidArgument    not stored, and no retry can help: too large, no such topic, no id …
  // kFailedPrecondition the producer is closed; not sent
  // kInternal           not stored, and the client has lost it, against its contract
  // kCancelled          the process is dead (simulations)
  absl::Status status;
  std::string id;
  std::string topic;
  std::int32_t partition = -1;  // -1: it never had one
  std::int64_t offset = -1;     // -1: not stored, or not known
  std::uint64_t sequence = 0;   // 0: it has no number
  bool is_spooled = false;
};

struct PendingSend;

// One message's outcome, now or later. Dropping it is fine as long as the message arrives: an
// outcome other than OK that nobody has looked at is counted and logged, whether it comes before or
// after the ticket is gone. Looked at: TryGet() or Wait() has returned it. It may outlive the
// producer.
class Ticket {
 public:
  Ticket(Ticket&& other) noexcept;
  Ticket& operator=(Ticket&& other) noexcept;
  ~Ticket();

  bool is_done() const;
  // Null: not yet. Valid as long as the ticket.
  const SendOutcome* TryGet();
  // The same, once it is there; null at `deadline`.
  const SendOutcome* Wait(absl::Time deadline);

 private:
  friend class Producer;
  explicit Ticket(std::shared_ptr<PendingSend> pending);
  void Drop();

  std::shared_ptr<PendingSend> pending_;
  bool is_looked_at_ = false;
};

// Messages that had no OK: those that failed meanwhile and those that are still on their way, whose
// status then says so. At most kUndeliveredListedMax are listed.
struct Undelivered {
  std::vector<SendOutcome> messages;
  std::size_t count = 0;
};
inline constexpr std::size_t kUndeliveredListedMax = 10'000;

class Producer {
 public:
  // kInvalidArgument, naming the field; or what the client factory says. Does not wait for the
  // brokers.
  static absl::StatusOr<std::unique_ptr<Producer>> Create(ProducerOptions options);
  // Close(), with close_timeout.
  virtual ~Producer() = default;

  // Waits for nothing but room. A message that is refused has its outcome at once.
  [[nodiscard]] virtual Ticket Send(OutgoingMessage message) = 0;
  // `on_outcome` is called once, on a task of the producer's or, for a message that is refused, on
  // this thread. It must not throw, wait, or call the producer.
  virtual void Send(OutgoingMessage message,
                    std::function<void(const SendOutcome&)> on_outcome) = 0;

  // Waits until everything that was sent before has its outcome, and the marks of it are written,
  // at most until `deadline`.
  virtual Undelivered Flush(absl::Time deadline) = 0;
  // Flush(), then gives up what is left (kUnknown where it may be stored). Nothing is accepted any
  // more. The second call does nothing.
  virtual Undelivered Close(absl::Time deadline) = 0;

 protected:
  static Ticket TicketOf(std::shared_ptr<PendingSend> pending);
};

}  // namespace once
