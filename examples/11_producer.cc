// Sends payments that are numbered, and looks at what became of each.
//
//   11_producer [HOST:PORT]     topic payments
#include <once/kafka/record_client.h>
#include <once/once.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

int main(int argc, char** argv) {
  const std::string brokers = argc > 1 ? argv[1] : "localhost:9092";
  auto producer = once::Producer::Create(
      {.clients = once::kafka::RecordClients({.brokers = brokers}),
       .stamps = {.producer = "shop-1",
                  .create_marks_topic = once::kafka::MarksTopics({.brokers = brokers})}});
  if (!producer.ok()) {
    std::fprintf(stderr, "%s\n", producer.status().ToString().c_str());
    return 1;
  }
  std::vector<once::Ticket> tickets;
  for (int i = 1; i <= 10; ++i) {
    const std::string payment = "payment-" + std::to_string(i);
    tickets.push_back((*producer)->Send({.topic = "payments",
                                         .key = payment,
                                         .value = "EUR 10",
                                         .headers = {{"once-id", payment}}}));
  }
  int stored = 0;
  for (once::Ticket& ticket : tickets) {
    const once::SendOutcome* outcome = ticket.Wait(absl::Now() + absl::Seconds(30));
    if (outcome != nullptr && outcome->status.ok()) {
      ++stored;
    } else if (outcome != nullptr) {
      std::printf("%s: %s\n", outcome->id.c_str(), outcome->status.ToString().c_str());
    }
  }
  const once::Undelivered left = (*producer)->Close(absl::Now() + absl::Seconds(5));
  std::printf("%d payments are stored, %zu are not\n", stored, left.count);
  return stored == 10 && left.count == 0 ? 0 : 1;
}
