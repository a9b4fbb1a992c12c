// A consumer that says which messages never arrived: the producer numbers them, the third and the
// fourth get lost, and the fourth turns up late. Without a broker or a clock, as 02_memory_store.
#include <once/memory/store.h>
#include <once/once.h>
#include <once/sequence.h>
#include <once/testing/fake_log.h>
#include <once/testing/oracle.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

int main() {
  once::testing::ReplayOracle oracle(once::testing::ChoiceList{});
  once::testing::FiberScheduler scheduler(oracle);
  once::testing::SeamGate gate(scheduler, {});
  once::testing::FakeLog log(gate, {.topic = "payments"}, /*observer=*/nullptr);
  const auto process = scheduler.NewProcess("consumer");

  // What a numbering producer does: one number after the other for each partition.
  const std::string stream =
      once::StreamName("payments", /*partition=*/0, {.producer = "till-7", .epoch = 1});
  const auto send = [&](std::uint64_t number) {
    log.Append(0, {.value = "12.50",
                   .headers = {{"payment-id", "p-" + std::to_string(number)},
                               {std::string(once::kSequenceHeader),
                                once::EncodeStamp(stream, number, /*is_from_outbox=*/false)}}});
  };

  std::vector<once::LossEvent> events;
  auto consumer = once::Consumer::Create(
      {.source = log.Connect(process),
       .store = once::memory::OpenStore(),
       .id = once::HeaderId("payment-id"),
       .loss = {.mode = once::LossMode::kReport,
                .gap_grace = absl::ZeroDuration(),  // minutes, where messages may be late
                .on_loss = [&](const once::LossEvent& event) { events.push_back(event); }},
       .log = once::NoLog(),
       .executor = process},
      [](const once::Message&, once::Transaction&) { return once::Done(); });
  if (!consumer.ok()) return 1;
  const auto settle = [&] {
    for (int i = 0; i < 10; ++i) {
      if (!(*consumer)->Step().ok()) return false;
    }
    return true;
  };
  for (const std::uint64_t number : {1, 2, 5}) send(number);
  if (!settle()) return 1;
  send(4);
  if (!settle() || !(*consumer)->Stop().ok()) return 1;

  for (const once::LossEvent& event : events) {
    std::printf("%s: %" PRIu64 " to %" PRIu64 " of %s\n",
                std::string(once::ToString(event.kind)).c_str(), event.first, event.last,
                event.producer.c_str());
  }
  const bool is_right = events.size() == 2 && events[0].first == 3 && events[0].last == 4 &&
                        events[1].kind == once::LossKind::kRecovered && events[1].first == 4;
  return is_right ? 0 : 1;
}
