// A handler under test, without a broker, a file, a thread or a clock: the memory store keeps the
// effects, a fake log delivers the messages, and Step() does one poll and one transaction at a
// time.
#include <once/memory/store.h>
#include <once/once.h>
#include <once/testing/fake_log.h>
#include <once/testing/oracle.h>

#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// What is to be tested: payments without an amount charge nothing.
once::Outcome Charge(const once::Message& message, once::Transaction& transaction) {
  if (!message.value()) return once::Skip("nothing to charge");
  once::memory::Records(transaction)->Append("charges", *message.value());
  return once::Done();
}

int main() {
  // This oracle lets nothing go wrong, and waits take no time. Others make the processor, the group
  // and the store misbehave: see once/testing/seam.h.
  once::testing::ReplayOracle oracle(once::testing::ChoiceList{});
  once::testing::FiberScheduler scheduler(oracle);
  once::testing::SeamGate gate(scheduler, {});
  once::testing::FakeLog log(gate, {.topic = "payments"}, /*observer=*/nullptr);
  const auto process = scheduler.NewProcess("test");
  const auto payment = [&log](std::string id, std::optional<std::string> amount) {
    log.Append(0, {.value = std::move(amount), .headers = {{"payment-id", std::move(id)}}});
  };
  payment("a", "12.50");
  payment("b", "8.00");
  payment("a", "12.50");  // the producer sent it again
  payment("c", std::nullopt);

  const auto store = once::memory::OpenStore();
  auto consumer = once::Consumer::Create({.source = log.Connect(process),
                                          .store = store,
                                          .id = once::HeaderId("payment-id"),
                                          .log = once::NoLog(),
                                          .executor = process},
                                         Charge);
  if (!consumer.ok()) return 1;
  for (int i = 0; i < 10; ++i) {
    if (!(*consumer)->Step().ok()) return 1;
  }
  const once::ConsumerStats stats = (*consumer)->stats();
  const bool is_right =
      store->ReadRecords("charges") == std::vector<std::string>{"12.50", "8.00"} &&
      stats.processed == 2 && stats.duplicates == 1 && stats.discarded == 1 &&
      (*consumer)->Stop().ok();
  std::puts(is_right ? "charged once each" : "the handler is wrong");
  return is_right ? 0 : 1;
}
