// ProducerWorld: a producer inside a simulated process, over fake topics whose faults a test
// chooses, in virtual time. Whatever the test does runs in fibres of that process.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "once/producer.h"
#include "once/sequence.h"
#include "once/testing/fake_record_client.h"
#include "src/testing/simulated_random.h"
#include "tests/unit/engine_fixture.h"

namespace once {

// Answers with a fault to the questions that a test names, in their order, and with nothing unusual
// to all others.
class NamedFaults : public testing::Oracle {
 public:
  NamedFaults() : Oracle({.faults = 1'000'000, .preemptions = 0}) {}
  // The next question of that name is answered so, after `skipped` others.
  void Arm(std::string_view tag, int answer = 1, int skipped = 0) {
    armed_.push_back({.tag = std::string(tag), .answer = answer, .skipped = skipped});
  }

 protected:
  int Pick(std::string_view tag, int choices, testing::Cost) override {
    if (armed_.empty() || armed_.front().tag != tag) return 0;
    if (armed_.front().skipped-- > 0) return 0;
    const int answer = armed_.front().answer;
    armed_.erase(armed_.begin());
    return std::min(answer, choices - 1);
  }

 private:
  struct Armed {
    std::string tag;
    int answer = 1;
    int skipped = 0;
  };
  std::vector<Armed> armed_;
};

class ProducerWorld {
 public:
  // `oracle` must outlive the world.
  explicit ProducerWorld(testing::Oracle& oracle, testing::FakeRecordClientOptions client = {})
      : scheduler_(oracle),
        gate_(scheduler_, {.grain = testing::Grain::kFine}),
        topics_(gate_, {.default_partitions = 0}, nullptr),
        process_(scheduler_.NewProcess("sender")),
        client_(client) {
    topics_.CreateTopic("t", 1);
    topics_.CreateTopic("t.once-marks", 1);
  }

  ProducerOptions Options(std::uint64_t seed = 1) {
    return {.clients = testing::FakeRecordClients(topics_, process_, client_),
            .stamps = {.producer = "p", .mark_interval = absl::Seconds(10)},
            .log = log_,
            .metrics = metrics_,
            .executor = process_,
            .random = std::make_shared<testing::SimulatedRandom>(seed)};
  }

  // Runs `body` as a fibre of the process, and everything that it begins, to the end.
  void Run(const std::function<void()>& body) {
    scheduler_.Spawn("test", process_, body);
    EXPECT_EQ(scheduler_.Run(), testing::FiberScheduler::End::kFinished);
  }
  void Run(ProducerOptions options, const std::function<void(Producer&)>& body) {
    Run([&] {
      auto producer = Producer::Create(std::move(options));
      ASSERT_TRUE(producer.ok()) << producer.status();
      body(**producer);
    });
  }
  void Run(const std::function<void(Producer&)>& body) { Run(Options(), body); }

  absl::Time Now() { return scheduler_.Now(); }
  absl::Time In(absl::Duration duration) { return Now() + duration; }
  void Sleep(absl::Duration duration) { scheduler_.SleepUntil(In(duration)); }

  // Values in the topic, as they were stored.
  std::vector<std::string> Values(std::string_view topic) const {
    std::vector<std::string> values;
    for (const OutgoingMessage& message : topics_.messages()) {
      if (message.topic == topic) values.push_back(message.value.value_or("(null)"));
    }
    return values;
  }

  testing::FiberScheduler& scheduler() { return scheduler_; }
  testing::SeamGate& gate() { return gate_; }
  testing::FakeTopics& topics() { return topics_; }
  const std::shared_ptr<testing::Process>& process() { return process_; }
  KeepingLog& log() { return *log_; }
  KeepingMetrics& metrics() { return *metrics_; }

 private:
  testing::FiberScheduler scheduler_;
  testing::SeamGate gate_;
  testing::FakeTopics topics_;
  std::shared_ptr<testing::Process> process_;
  testing::FakeRecordClientOptions client_;
  std::shared_ptr<KeepingLog> log_ = std::make_shared<KeepingLog>();
  std::shared_ptr<KeepingMetrics> metrics_ = std::make_shared<KeepingMetrics>();
};

inline OutgoingMessage MessageOf(std::string value, std::string topic = "t") {
  return {.topic = std::move(topic),
          .partition = std::nullopt,
          .key = "key",
          .value = std::move(value),
          .headers = {}};
}

inline std::optional<std::string> LastHeader(const OutgoingMessage& message,
                                             std::string_view name) {
  for (auto it = message.headers.rbegin(); it != message.headers.rend(); ++it) {
    if (it->name == name) return it->value;
  }
  return std::nullopt;
}

inline std::optional<SequenceStamp> StampOf(const OutgoingMessage& message, std::string& buffer) {
  const std::optional<std::string> value = LastHeader(message, kSequenceHeader);
  if (!value) return std::nullopt;
  buffer = *value;
  return DecodeStamp(buffer, message.topic, *message.partition);
}

}  // namespace once
