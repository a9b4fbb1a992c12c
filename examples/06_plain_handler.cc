// A plain handler: its effect lies in another company's system, where no transaction of ours
// reaches. A claim guards each id, and the idempotency key lets the other side recognise what it
// may have seen before: after a crash, or after a response that never came.
//
//   06_plain_handler [HOST:PORT]     topic payments, header payment-id; writes payouts.db
#include <once/kafka/dead_letter_topic.h>
#include <once/kafka/source.h>
#include <once/once.h>
#include <once/sqlite/store.h>

#include <cstdio>
#include <set>
#include <string>

// A payment service as the big ones are: it pays once per idempotency key, however often it is
// asked. Every first response gets lost on the way.
class PaymentService {
 public:
  absl::Status Pay(const std::string& idempotency_key, std::string_view amount) {
    if (amount.starts_with('-')) return absl::InvalidArgumentError("a negative amount");
    const bool is_new = paid_.insert(idempotency_key).second;
    return is_new ? absl::DeadlineExceededError("no response in time") : absl::OkStatus();
  }
  std::size_t payments() const { return paid_.size(); }

 private:
  std::set<std::string> paid_;
};

absl::Status Run(const std::string& brokers, PaymentService& service) {
  auto source =
      once::kafka::Subscribe({.brokers = brokers, .group = "payouts", .topics = {"payments"}});
  auto store = once::sqlite::OpenStore({.path = "payouts.db"});
  auto dead_letters = once::kafka::OpenDeadLetterTopic({.brokers = brokers});
  if (!source.ok()) return source.status();
  if (!store.ok()) return store.status();
  if (!dead_letters.ok()) return dead_letters.status();
  auto consumer = once::Consumer::Create(
      {.source = *std::move(source),
       .store = *store,
       .id = once::HeaderId("payment-id"),
       .retry = {.max_attempts = 5, .backoff = {.initial = absl::Milliseconds(50)}},
       .dead_letters = *dead_letters},
      [&service](const once::Message& message) -> absl::Status {
        return service.Pay(message.idempotency_key(), message.value().value_or(""));
      });
  if (!consumer.ok()) return consumer.status();
  return once::RunUntilSignal(**consumer);
}

int main(int argc, char** argv) {
  PaymentService service;
  const absl::Status status = Run(argc > 1 ? argv[1] : "localhost:9092", service);
  std::printf("paid %zu times: %s\n", service.payments(), status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
