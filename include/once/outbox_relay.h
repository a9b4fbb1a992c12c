// An OutboxRelay publishes what transactions of a store have left in its log of outgoing messages
// (Transaction::Publish, outgoing_log.h). It runs wherever the store is open, beside a Consumer or
// without one:
//
//   auto relay = once::OutboxRelay::Create(
//       {.store = store, .clients = once::kafka::RecordClients({.brokers = "localhost:9092"})});
//   if (!relay.ok()) return relay.status();
//   std::jthread thread([&](std::stop_token stop) { (*relay)->Run(stop).IgnoreError(); });
//
// Every committed message is published at least once, none that is not committed, and those of one
// topic and key in the order of their commits. Each carries a stamp (sequence.h) whose number is
// durable before the message is sent: a copy that a crash or a broken connection brings about has
// the number of the original, and consumers recognise it. A message that no retry can publish is
// parked, and those behind it of its topic and key wait until somebody decides (OutgoingLog).
//
// What it is not: a producer. Messages that are not bound to a transaction go through Producer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "once/executor.h"
#include "once/id_extractor.h"
#include "once/log.h"
#include "once/metrics.h"
#include "once/record_client.h"

namespace once {

struct OutboxRelayOptions {
  std::shared_ptr<DedupStore> store;  // required; transactions()->outgoing() must not be null
  RecordClientFactory clients;        // required: once::kafka::RecordClients

  // A message without this header gets it, made of the store's id, its row's number and the time of
  // its commit: the same in every copy, also when it gets another sequence number, so that
  // consumers that know messages by their ids (StandardIdHeaders) recognise them. Empty: none does.
  std::string id_header = std::string(kProducerIdHeader);

  // False: a message of the log may also come by another way, such as sent directly before, so that
  // consumers must know it by its id and not by its number (DedupBy::kSequence).
  bool has_all_copies = true;

  // A round is read, placed and written down at once. Larger rounds need fewer syncs, and repeat
  // more after a crash.
  std::size_t round_rows_max = 8'000;
  std::size_t round_bytes_max = 8 * 1024 * 1024;
  // While one is sent, the next ones are read and placed; as many more may be read ahead.
  int rounds_in_flight_max = 3;

  // How often an empty log is looked at.
  absl::Duration poll_interval = absl::Milliseconds(20);
  // How often a stream with news is marked, so that a consumer sees when its tail is lost.
  absl::Duration mark_interval = absl::Seconds(5);
  // Creates the side topic of marks where there is none (kafka::MarksTopics); null: whoever owns
  // the cluster does. Without the topic nothing is marked, and a warning says so; it is tried again
  // every minute.
  std::function<absl::Status(const std::string& topic, absl::Time deadline)> create_marks_topic;
  // How long Run() goes on after a stop for what is on its way.
  absl::Duration stop_timeout = absl::Seconds(10);
  // Between two tries after trouble with the store or the brokers.
  absl::Duration retry_interval = absl::Milliseconds(200);
  // A topic that the brokers do not list may only just have been created, or they have not all come
  // back: messages to it wait so long before they are parked. All others go on meanwhile.
  absl::Duration missing_topic_grace = absl::Seconds(30);
  // How often waiting messages are counted for the metrics.
  absl::Duration count_interval = absl::Seconds(5);

  std::shared_ptr<Executor> executor = SystemExecutor();
  std::shared_ptr<Random> random = SystemRandom();
  std::shared_ptr<LogSink> log = JsonLog();
  std::shared_ptr<MetricsSink> metrics = NoMetrics();
};

class RelayWork;

class OutboxRelay {
 public:
  // kInvalidArgument, naming the field; kFailedPrecondition: another relay of this process works on
  // the store.
  static absl::StatusOr<std::unique_ptr<OutboxRelay>> Create(OutboxRelayOptions options);
  OutboxRelay(const OutboxRelay&) = delete;
  OutboxRelay& operator=(const OutboxRelay&) = delete;
  // What is on its way is sent again by the next relay, with the same numbers.
  ~OutboxRelay();

  // Publishes until a stop is requested, through all trouble of store and brokers, which it logs.
  // Then sends nothing new, waits for what is on its way, for stop_timeout at most, and publishes
  // last marks. OK: nothing was on its way any more. kDeadlineExceeded: something was, and the next
  // relay sends it again. A task of the executor writes to the store and reads it meanwhile; what
  // it is at in the end the destructor waits for.
  // REQUIRES: called once, from one thread; Step() is not called beside it.
  absl::Status Run(std::stop_token stop);
  // From any thread, before the stop is requested: Run() ends at about this time at the latest,
  // also where stop_timeout would permit it to go on; the next relay sends again what is left.
  void EndBy(absl::Time deadline);

  // One turn, without waiting for reports or for messages: for tests and for loops of one's own.
  // OK, or the trouble that the turn has met; the next one may go on.
  absl::Status Step();
  // Whether the last turn has left nothing to do, as far as it knows.
  bool is_idle() const;

 private:
  explicit OutboxRelay(std::unique_ptr<RelayWork> work);

  std::unique_ptr<RelayWork> work_;
  // EndBy(), in nanoseconds since the Unix epoch.
  std::atomic<std::int64_t> end_by_ = std::numeric_limits<std::int64_t>::max();
};

}  // namespace once
