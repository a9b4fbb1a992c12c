// Moves money between accounts: two messages, of which readers see both or none.
//
//   14_kafka_transaction [HOST:PORT]     topic payments
#include <once/kafka/transactional_producer.h>
#include <once/once.h>

#include <cstdio>
#include <string>

namespace {

// OK, or why not. A transfer whose outcome nobody knows is made again under the same ids: whoever
// has seen it drops the second one.
absl::Status Transfer(once::kafka::TransactionalProducer& producer, const std::string& id) {
  constexpr int kTries = 3;
  absl::Status made;
  for (int i = 0; i < kTries; ++i) {
    auto transaction = producer.Begin();
    if (!transaction.ok()) return transaction.status();
    // What goes wrong here dooms the transaction, and is told by Commit().
    transaction
        ->Send({.topic = "payments",
                .key = "alice",
                .value = "EUR -10",
                .headers = {{"once-id", id + "-out"}}})
        .IgnoreError();
    transaction
        ->Send({.topic = "payments",
                .key = "bob",
                .value = "EUR 10",
                .headers = {{"once-id", id + "-in"}}})
        .IgnoreError();
    made = transaction->Commit(absl::Now() + absl::Seconds(30));
    if (!absl::IsAborted(made) && !absl::IsUnknown(made)) return made;
  }
  return made;
}

}  // namespace

int main(int argc, char** argv) {
  auto producer = once::kafka::TransactionalProducer::Create(
      {.brokers = argc > 1 ? argv[1] : "localhost:9092",
       // The same after a restart, and another one for every running instance.
       .transactional_id = "transfers-1"});
  if (!producer.ok()) {
    std::fprintf(stderr, "%s\n", producer.status().ToString().c_str());
    return 1;
  }
  for (const std::string id : {"transfer-1", "transfer-2"}) {
    const absl::Status made = Transfer(**producer, id);
    std::printf("%s: %s\n", id.c_str(), made.ToString().c_str());
    if (!made.ok()) return 1;
  }
  return 0;
}
