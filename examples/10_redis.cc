// A welcome mail per customer, sent by several processes that share a Redis server: whoever claims
// the customer first sends it, the others hear of it. Two openings of the store stand for two
// processes here.
//
//   10_redis [URL]     redis://localhost:6379 by default
//
// A mail may be lost or be a double one when Redis fails over: it is never the guard of an effect
// that must not happen twice. For money use a store with transactions (08_rocksdb).
#include <once/once.h>
#include <once/redis/store.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

struct Customer {
  std::string id;
  std::string address;
};

// Sends to all of them, as one of the processes. Whether every one is settled.
bool Greet(const std::string& url, const std::vector<Customer>& customers, std::atomic<int>& sent) {
  const auto store = once::redis::OpenStore(
      {.url = url, .key_prefix = "greetings:", .retention = absl::Hours(24 * 30)});
  if (!store.ok()) return std::puts(store.status().ToString().c_str()), false;
  const auto greet = once::Wrap<Customer>(
      {.store = *store, .scope = "welcome", .id = [](const Customer& c) { return c.id; }},
      [&sent](const Customer& customer) -> absl::StatusOr<std::string> {
        ++sent;  // here a mail leaves
        return "sent to " + customer.address;
      });
  if (!greet.ok()) return std::puts(greet.status().ToString().c_str()), false;
  for (const Customer& customer : customers) {
    absl::StatusOr<once::CallAnswer> answer = (*greet)(customer);
    while (answer.ok() && answer->verdict == once::CallVerdict::kInProgress) {
      std::this_thread::yield();  // the other process is at it
      answer = (*greet)(customer);
    }
    if (!answer.ok()) return std::puts(answer.status().ToString().c_str()), false;
    if (!answer->has_happened() || answer->result != "sent to " + customer.address) return false;
  }
  return true;
}

int main(int argc, char** argv) {
  const std::string url = argc > 1 ? argv[1] : "redis://localhost:6379";
  const std::vector<Customer> customers = {{"1", "ann@home"}, {"2", "bob@home"}, {"3", "eve@home"}};
  std::atomic<int> sent = 0;
  std::atomic<int> settled = 0;
  const auto process = [&] { settled += Greet(url, customers, sent) ? 1 : 0; };
  std::thread other(process);
  process();
  other.join();
  std::printf("%d mails to %zu customers\n", sent.load(), customers.size());
  return settled == 2 && sent == 3 ? 0 : 1;
}
