// The five things a handler may say, and what becomes of the message. Dead letters go to the topic
// payments.shipping.dlq, with the reason in headers named once-*.
//
//   03_retry_and_dead_letters [HOST:PORT]     topic payments; writes shipping.db
#include <once/kafka/dead_letter_topic.h>
#include <once/kafka/source.h>
#include <once/once.h>
#include <once/sqlite/store.h>

#include <cstdio>
#include <string>
#include <string_view>

once::Outcome Ship(const once::Message& message, once::Transaction&) {
  const std::string_view amount = message.value().value_or("");
  // Tried again after the policy's backoff; a dead letter once max_attempts are used up. Messages
  // behind it in the partition wait, so their order is kept.
  if (message.attempt() == 1) return once::Retry("the warehouse does not answer yet");
  // The downstream said when to come back.
  if (message.attempt() == 2) return once::RetryAfter(absl::Milliseconds(20), "still busy");
  // Settled on record, without an effect.
  if (amount == "0.00") return once::Skip("nothing to ship");
  // No attempt can help: a dead letter now. A plain status of a permanent code means the same.
  if (amount.empty() || amount.front() == '-') return once::Reject("a negative amount");
  return once::Done();  // here its writes to the transaction would commit
  // The fifth is once::Pause("the ledger is closed"): it stops the partition, settling nothing.
}

absl::Status Run(const std::string& brokers) {
  auto source =
      once::kafka::Subscribe({.brokers = brokers, .group = "shipping", .topics = {"payments"}});
  auto store = once::sqlite::OpenStore({.path = "shipping.db"});
  auto dead_letters = once::kafka::OpenDeadLetterTopic({.brokers = brokers});
  if (!source.ok()) return source.status();
  if (!store.ok()) return store.status();
  if (!dead_letters.ok()) return dead_letters.status();
  auto consumer = once::Consumer::Create(
      {.source = *std::move(source),
       .store = *store,
       .id = once::HeaderId("payment-id"),
       .retry = {.max_attempts = 4,
                 .backoff = {.initial = absl::Milliseconds(50), .max = absl::Seconds(1)}},
       .dead_letters = *dead_letters},
      Ship);
  if (!consumer.ok()) return consumer.status();
  std::puts(once::Describe((*consumer)->guarantee()).c_str());
  return once::RunUntilSignal(**consumer);
}

int main(int argc, char** argv) {
  const absl::Status status = Run(argc > 1 ? argv[1] : "localhost:9092");
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
