// A TransactionalProducer sends several messages, to any topics and partitions, as one: readers
// with isolation.level=read_committed, the default of librdkafka and of kafka::Subscribe, see all
// of them or none.
//
//   auto producer = once::kafka::TransactionalProducer::Create(
//       {.brokers = "localhost:9092", .transactional_id = "shop-1"});
//   auto transaction = (*producer)->Begin();
//   if (!transaction.ok()) return transaction.status();
//   transaction->Send({.topic = "orders", .key = "c-7", .value = order}).IgnoreError();
//   transaction->Send({.topic = "stock", .key = "p-3", .value = "-1"}).IgnoreError();
//   const absl::Status committed = transaction->Commit(absl::Now() + absl::Seconds(30));
//
// Only Commit() has to be looked at: a message that could not be sent dooms its transaction.
//
// What it is not: atomic with a database. The commit of a local transaction and that of this one
// are two commits, and a crash between them leaves one without the other, whichever comes first
// (docs/producing.md). What must follow from a row goes through an outbox (once/outbox_relay.h).
//
// Every message gets an id, as by once::Producer, and no stamp: the numbers of a transaction that
// is aborted would be missing for ever, and read as a loss.
//
// Source of the protocol: KIP-98, KIP-360; https://github.com/confluentinc/librdkafka, rdkafka.h.
// Thread-safety: a producer and its transactions are for one thread at a time. Producers of
// different transactional ids have nothing in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/executor.h"
#include "once/kafka/properties.h"
#include "once/log.h"
#include "once/producer.h"
#include "once/publisher.h"

namespace once::kafka {

struct TransactionLimits {
  // Of one transaction. Bytes of keys, values and headers.
  std::size_t messages_max = 100'000;
  std::size_t bytes_max = 256 * 1024 * 1024;
  // Of the client's queue: what is sent and not acknowledged. When it is full, Send() waits.
  std::size_t queue_messages_max = 100'000;
  std::size_t queue_bytes_max = 64 * 1024 * 1024;
};

struct TransactionTimes {
  // A transaction that is open for longer is doomed: Send() refuses, Commit() aborts it, and one
  // that is under way commits no longer. The brokers wait for abort_timeout and 5 seconds
  // more, and then abort it by themselves, so that readers are not held up by a process that is
  // gone; whoever comes after that is fenced. The sum is at most what transaction.max.timeout.ms of
  // the brokers says (15 min). It is also how long a message is tried. From 5 seconds, since a
  // client may need one or two to find its way to a topic, to an hour.
  absl::Duration transaction_timeout = absl::Seconds(60);
  // How long Begin() waits for the brokers, when it has to tell them who it is: the first time, and
  // after a client was given up.
  absl::Duration init_timeout = absl::Seconds(30);
  // How long Send() waits for room in the queue.
  absl::Duration send_timeout = absl::Seconds(30);
  // How long an abort is tried, and a new client announced to the brokers where the old one cannot
  // abort or go on. Longer than that nobody waits for them: they abort by themselves, at the next
  // Begin() or when their patience with transaction_timeout ends.
  absl::Duration abort_timeout = absl::Seconds(10);
  // How long Commit() goes on, beyond its deadline, to find out what became of a transaction whose
  // commit has no answer: up to half of it is for reading back, a quarter for replacing the client,
  // the rest for reading again. Zero: it does not, and says kUnknown.
  absl::Duration resolve_timeout = absl::Seconds(20);
};

struct TransactionalProducerOptions {
  std::string brokers;  // host:port, several by commas; required
  // Names this producer to the brokers; required. The same after a restart, so that what the former
  // process left open is aborted, and never in two processes at a time: the later one fences the
  // former.
  std::string transactional_id;
  IdOptions ids;
  TransactionLimits limits;
  TransactionTimes times;
  // How long the client waits for more messages before it sends a batch. Commit() does not wait.
  absl::Duration linger = absl::Milliseconds(5);
  Properties properties;
  std::shared_ptr<LogSink> log = JsonLog();
  std::shared_ptr<Random> random = SystemRandom();
};

// A message of a transaction that could not be stored.
struct FailedSend {
  std::string id;
  std::string topic;
  absl::Status status;  // as SendOutcome::status
};
inline constexpr std::size_t kFailedSendsListedMax = 100;

class TransactionCourse;

// One transaction, from Begin() to its end. Dropped before that, it is aborted, which waits for the
// brokers, at most abort_timeout.
class [[nodiscard]] KafkaTransaction {
 public:
  KafkaTransaction(KafkaTransaction&& other) noexcept;
  // Aborts the one that is overwritten.
  KafkaTransaction& operator=(KafkaTransaction&& other) noexcept;
  ~KafkaTransaction();

  // The message's id, once the client has taken it. Waits for nothing but room in the queue. Any
  // error dooms the transaction, which can then only be aborted:
  //   kInvalidArgument    this message can never be sent: too large, no name of a topic, no id, or
  //                       beyond the limits of the transaction
  //   kResourceExhausted  there was no room for send_timeout
  //   kFailedPrecondition it is over; or the producer is fenced (status)
  //   kAborted            it was doomed before, by a message whose delivery failed or by its age
  absl::StatusOr<std::string> Send(OutgoingMessage message);

  // Delivers what is not delivered yet, and commits. The transaction is over in every case but
  // one: a second call does nothing, and says kFailedPrecondition.
  //   OK                  all messages are stored, and visible to read_committed readers
  //   kAborted            none of them ever will be visible to them; may be run again, with the
  //                       same ids
  //   kInvalidArgument    likewise, and running it again cannot help: a message is too large, there
  //                       is no such topic, the transaction is beyond its limits, …
  //   kFailedPrecondition of the first call: likewise; the producer is fenced, and begins no more
  //   kUnknown            all of them are visible, or will be, or none. Run it again with the same
  //                       ids: consumers drop what they have
  // Errors that pass are waited out until `deadline`, or until the transaction is older than
  // transaction_timeout. When then nobody knows whether the commit went through, one of its
  // messages is read back; while its end is not to be seen, the client is given up for a new one,
  // whose first words make the brokers finish or abort what the former left open, and it is read
  // again. kUnknown is left where that was not possible either within resolve_timeout: nobody
  // answers, reading is not allowed, the message has been deleted, or transactions of others stand
  // before it.
  //
  // Beyond the deadline it may take resolve_timeout after a commit without an answer, abort_timeout
  // after one that could not be asked for, and a second for every client that is given up.
  //
  // What nobody can promise: a request to commit that was repeated over a new connection may still
  // be under way in the old one, and arrive when the next transaction of the same client is open,
  // which it then ends too early (brokers that prevent it need KIP-890 in the client, which
  // librdkafka has not). After a commit during which a connection broke, or that had to be
  // repeated, the client is replaced, which makes the brokers refuse what is late; a repetition
  // that librdkafka does not tell of stays unseen.
  [[nodiscard]] absl::Status Commit(absl::Time deadline);

  // OK: the brokers have aborted it, and readers need not wait for it any longer. Any other: they
  // will, at the next Begin() or when their patience ends (transaction_timeout). None of its
  // messages ever becomes visible to read_committed readers either way.
  absl::Status Abort();

  // The messages that could not be stored, so far or at the end: the first kFailedSendsListedMax.
  std::vector<FailedSend> failed_sends() const;

 private:
  friend class TransactionalProducer;
  explicit KafkaTransaction(std::shared_ptr<TransactionCourse> course);
  void Drop() noexcept;

  std::shared_ptr<TransactionCourse> course_;  // null: over
  std::vector<FailedSend> failed_sends_;       // once it is over
};

class TransactionalProducer {
 public:
  // kInvalidArgument, naming the field or property. Does not wait for the brokers.
  static absl::StatusOr<std::unique_ptr<TransactionalProducer>> Create(
      TransactionalProducerOptions options);
  TransactionalProducer(const TransactionalProducer&) = delete;
  TransactionalProducer& operator=(const TransactionalProducer&) = delete;
  ~TransactionalProducer();

  // Begins a transaction; one is open at a time. The first call makes the brokers abort what a
  // former process of this transactional id left open, and fences that process.
  //   kUnavailable        the brokers do not answer, within init_timeout; the next call goes on
  //   kInvalidArgument    transaction_timeout, with what is added to it, is more than the brokers
  //                       allow
  //   kPermissionDenied   this transactional id may not be used
  //   kFailedPrecondition one is open; or another instance has taken the transactional id (status)
  absl::StatusOr<KafkaTransaction> Begin();

  // OK, or kFailedPrecondition once this producer is known to be fenced: another instance has begun
  // with its transactional id, or the brokers have ended a transaction that nobody ended in time,
  // which look the same. Nothing is begun any more then; going on takes a new producer, which
  // fences the other instance if there is one.
  //
  // Known from an answer of the brokers to the client that was fenced. A client that had to be
  // replaced (a message that could not be stored, a commit or an abort without an answer) hears of
  // nobody: its replacement takes the id from whoever has it by then. It is replaced at once,
  // within the call that gave it up, and after a commit without an answer only while reading back
  // has not decided; what is left is an instance that came before that, unseen, or while no broker
  // answered.
  absl::Status status() const;

 private:
  explicit TransactionalProducer(std::shared_ptr<TransactionCourse> course);

  std::shared_ptr<TransactionCourse> course_;
};

}  // namespace once::kafka
