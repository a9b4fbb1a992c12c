// What the simulation of the sending side has found, each as a test of its own.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "once/memory/store.h"
#include "once/outbox_relay.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fake_record_client.h"
#include "once/testing/simulation.h"
#include "once/transact.h"
#include "src/testing/simulated_random.h"
#include "tests/forwarding_seams.h"

namespace once::testing {
namespace {

// Cannot be read for a second, and counts how often that is tried.
class UnreadableLog final : public ForwardingOutgoingLog {
 public:
  UnreadableLog(OutgoingLog& inner, FiberScheduler& scheduler)
      : ForwardingOutgoingLog(inner), scheduler_(scheduler), begin_(scheduler.Now()) {}

  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override {
    const bool is_readable = scheduler_.Now() - begin_ >= absl::Seconds(1);
    // Not for ever: a relay that does not wait would never see the second end.
    if (!is_readable && ++tries_ < kTriesMax) return absl::ResourceExhaustedError("no space");
    return ForwardingOutgoingLog::FindUnplaced(lane, bound);
  }
  int tries() const { return tries_; }

 private:
  static constexpr int kTriesMax = 10'000;
  FiberScheduler& scheduler_;
  const absl::Time begin_;
  int tries_ = 0;
};

class UnreadableStore final : public ForwardingStore {
 public:
  UnreadableStore(std::shared_ptr<DedupStore> inner, FiberScheduler& scheduler)
      : ForwardingStore(inner), log_(*inner->transactions()->outgoing(), scheduler) {}
  OutgoingLog* outgoing() override { return &log_; }
  const UnreadableLog& log() const { return log_; }

 private:
  UnreadableLog log_;
};

class EndlessOracle final : public Oracle {
 public:
  EndlessOracle() : Oracle({}) {}

 protected:
  int Pick(std::string_view, int, Cost) override { return 0; }
};

TEST(Sending, ARelayThatCannotReadItsLogWaitsBetweenTwoTries) {
  EndlessOracle oracle;
  FiberScheduler scheduler(oracle);
  SeamGate gate(scheduler, {});
  FakeTopics topics(gate, {}, nullptr);
  const std::shared_ptr<Process> process = scheduler.NewProcess("relay");
  const auto inner = memory::OpenStore({.now = [&scheduler] { return scheduler.Now(); }});
  const auto store = std::make_shared<UnreadableStore>(inner, scheduler);
  std::stop_source stop;
  scheduler.At(scheduler.Now() + absl::Seconds(3), [&stop] { stop.request_stop(); });
  scheduler.Spawn("relay", process, [&] {
    ASSERT_TRUE(Transact(*inner, [](Transaction& transaction) {
                  return transaction.Publish({.topic = "orders", .value = "1"});
                }).ok());
    auto relay = OutboxRelay::Create({.store = store,
                                      .clients = FakeRecordClients(topics, process, {}),
                                      .executor = process,
                                      .random = std::make_shared<SimulatedRandom>(1),
                                      .log = NoLog()});
    ASSERT_TRUE(relay.ok()) << relay.status();
    EXPECT_TRUE((*relay)->Run(stop.get_token()).ok());
  });
  EXPECT_EQ(scheduler.Run(), FiberScheduler::End::kFinished);
  EXPECT_GT(store->log().tries(), 10);
  EXPECT_LT(store->log().tries(), 200) << "it tries without a pause";
  ASSERT_FALSE(topics.messages().empty());
  EXPECT_EQ(topics.messages().front().value, "1");
}

// Seeds that never meet the sending side prove nothing about it.
TEST(Sending, SeedsPlayItInEveryWay) {
  int cases = 0;
  int vanished = 0;
  int refused = 0;
  int outages = 0;
  std::set<std::size_t> writers;
  for (std::uint64_t seed = 1; seed <= 1000; ++seed) {
    const Scenario scenario = CaseOfSeed(seed).scenario;
    if (!scenario.sending) continue;
    ++cases;
    vanished += scenario.sending->vanished.empty() ? 0 : 1;
    refused += scenario.sending->too_large.empty() ? 0 : 1;
    outages += scenario.sending->outage > absl::ZeroDuration() ? 1 : 0;
    writers.insert(scenario.sending->writers);
  }
  EXPECT_GT(cases, 150);
  EXPECT_GT(vanished, 30);
  EXPECT_GT(refused, 30);
  EXPECT_GT(outages, 20);
  EXPECT_EQ(writers.size(), 2u);
}

TEST(Sending, SeedsSendByEveryRoadAndThroughEveryTrouble) {
  std::map<Road, int> roads;
  std::map<std::string, int> troubles;
  for (std::uint64_t seed = 1; seed <= 5000; ++seed) {
    const Scenario scenario = CaseOfSeed(seed).scenario;
    if (scenario.sending) {
      troubles["operators"] += scenario.sending->operator_after > absl::ZeroDuration() ? 1 : 0;
      troubles["late"] += scenario.sending->lands_late ? 1 : 0;
    }
    if (!scenario.producing) continue;
    const Producing& producing = *scenario.producing;
    ++roads[producing.road];
    troubles["vanished"] += producing.vanished.empty() ? 0 : 1;
    troubles["refused"] += producing.too_large.empty() ? 0 : 1;
    troubles["outages"] += producing.outage > absl::ZeroDuration() ? 1 : 0;
    troubles["stops"] += producing.stop_after > absl::ZeroDuration() ? 1 : 0;
    troubles["flushes"] += producing.flush_after > absl::ZeroDuration() ? 1 : 0;
    troubles["full memory"] += producing.messages_max < scenario.messages.size() ? 1 : 0;
    troubles["full disks"] += producing.rows_max < scenario.messages.size() ? 1 : 0;
    troubles["late producers"] += producing.lands_late ? 1 : 0;
  }
  EXPECT_EQ(roads.size(), 3u);
  for (const auto& [road, cases] : roads) EXPECT_GT(cases, 50) << static_cast<int>(road);
  EXPECT_EQ(troubles.size(), 10u);
  for (const auto& [trouble, cases] : troubles) EXPECT_GT(cases, 20) << trouble;
}

}  // namespace
}  // namespace once::testing
