// A RelayWorld is an outbox's relay between an in-memory store and simulated topics, in virtual
// time, on one fibre. The store and the topics outlive every relay, and every process.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/memory/store.h"
#include "once/outbox_relay.h"
#include "once/sequence.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fake_record_client.h"
#include "once/testing/fiber_executor.h"
#include "once/testing/oracle.h"
#include "once/testing/seam.h"
#include "once/transact.h"
#include "tests/unit/engine_fixture.h"

namespace once {

class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : random_(seed) {}
  std::uint64_t Next() override { return random_.Next(); }

 private:
  testing::SplitMix random_;
};

// A message of a topic, as somebody has received it.
struct Received {
  std::string value;
  std::string key;
  std::int32_t partition = 0;
  std::string stream;
  std::uint64_t sequence = 0;
  std::uint64_t epoch = 0;
};

class RelayWorld {
 public:
  explicit RelayWorld(std::uint64_t seed = 1, testing::Budget budget = {},
                      testing::FaultSet faults = {})
      : oracle_(seed, budget, {.fault = 30, .preemption = 0}),
        scheduler_(oracle_),
        gate_(scheduler_, {.faults = faults}),
        random_(std::make_shared<SeededRandom>(seed)) {
    topics_.CreateTopic("orders", 3);
    topics_.CreateTopic("orders.once-marks", 1);
  }

  // Everything happens in there.
  void Play(std::function<void()> body) {
    scheduler_.Spawn("main", nullptr, std::move(body));
    EXPECT_EQ(scheduler_.Run(), testing::FiberScheduler::End::kFinished);
  }

  memory::Store& store() { return *store_; }
  OutgoingLog& log() { return *store_->transactions()->outgoing(); }
  testing::FakeTopics& topics() { return topics_; }
  testing::Process& process() { return *process_; }
  const std::shared_ptr<testing::Process>& shared_process() { return process_; }
  testing::FiberScheduler& scheduler() { return scheduler_; }
  testing::SplitMix& dice() { return dice_; }
  testing::Oracle& oracle() { return oracle_; }

  void Publish(OutgoingMessage message) {
    const absl::Status published =
        Transact(*store_, [&](Transaction& transaction) { return transaction.Publish(message); });
    EXPECT_TRUE(published.ok()) << published;
  }
  void Publish(std::string value, std::optional<std::string> key = std::nullopt) {
    Publish({.topic = "orders", .key = std::move(key), .value = std::move(value)});
  }

  // Changes the options of relays that are started from now on.
  void set_tune(std::function<void(OutboxRelayOptions&)> tune) { tune_ = std::move(tune); }
  OutboxRelay& relay() { return *relay_; }
  KeepingLog& events() { return *log_events_; }

  // Another relay, in a process of its own; the former one is gone, without a word if `is_crash`.
  OutboxRelay& StartRelay(std::shared_ptr<DedupStore> store = nullptr, bool is_crash = true) {
    EndRelay(is_crash);
    process_ = scheduler_.NewProcess(absl::StrCat("relay-", ++relays_));
    scheduler_.MoveToProcess(process_);
    OutboxRelayOptions options{
        .store = store != nullptr ? std::move(store) : store_,
        .clients = testing::FakeRecordClients(topics_, process_, {.is_partial = true}),
        .round_rows_max = 5,
        .rounds_in_flight_max = 2,
        .executor = process_,
        .random = random_,
        .log = log_events_};
    if (tune_) tune_(options);
    auto relay = OutboxRelay::Create(std::move(options));
    EXPECT_TRUE(relay.ok()) << relay.status();
    relay_ = *std::move(relay);
    return *relay_;
  }
  void EndRelay(bool is_crash = true) {
    if (relay_ == nullptr) return;
    if (is_crash && !process_->is_dead()) scheduler_.Kill(*process_);
    relay_.reset();
    scheduler_.MoveToProcess(nullptr);
  }

  absl::Status StepRelay() { return relay_->Step(); }
  // Until there is nothing to do; true if that was soon.
  bool RunUntilIdle(int turns_max = 2000) {
    for (int i = 0; i < turns_max; ++i) {
      relay_->Step().IgnoreError();
      if (relay_->is_idle()) return true;
      scheduler_.SleepUntil(scheduler_.Now() + absl::Milliseconds(20));
    }
    return false;
  }

  void StepFor(absl::Duration time) {
    const absl::Time end = scheduler_.Now() + time;
    while (scheduler_.Now() < end) {
      relay_->Step().IgnoreError();
      scheduler_.SleepUntil(scheduler_.Now() + absl::Milliseconds(20));
    }
  }

  // Of a topic that carries stamps, in the order in which they are stored.
  std::vector<Received> Read(const std::string& topic) const {
    std::vector<Received> received;
    for (const OutgoingMessage& message : topics_.messages()) {
      if (message.topic != topic) continue;
      Received one{.value = message.value.value_or("(null)"),
                   .key = message.key.value_or(""),
                   .partition = *message.partition};
      for (const OwnedHeader& header : message.headers) {
        if (header.name != kSequenceHeader) continue;
        const std::string value = header.value.value_or("");  // the stamp's views point into it
        const auto stamp = DecodeStamp(value, topic, one.partition);
        EXPECT_TRUE(stamp.has_value()) << value;
        if (!stamp) continue;
        EXPECT_TRUE(stamp->is_from_outbox);
        one.stream = stamp->stream;
        one.sequence = stamp->sequence;
        one.epoch = stamp->by.epoch;
      }
      EXPECT_GT(one.sequence, 0u) << "a message without a stamp";
      received.push_back(std::move(one));
    }
    return received;
  }
  std::vector<std::string> ReadIds(const std::string& topic = "orders") const {
    std::vector<std::string> ids;
    for (const OutgoingMessage& message : topics_.messages()) {
      if (message.topic != topic) continue;
      for (const OwnedHeader& header : message.headers) {
        if (header.name == kProducerIdHeader) ids.push_back(header.value.value_or("(null)"));
      }
    }
    return ids;
  }
  std::vector<std::string> ReadValues(const std::string& topic = "orders") const {
    std::vector<std::string> values;
    for (const Received& message : Read(topic)) values.push_back(message.value);
    return values;
  }

  // Marks and voids of "orders", the newest of each key.
  struct Marked {
    std::map<std::string, StreamMark> marks;  // by stream
    std::vector<std::pair<std::string, std::uint64_t>> voids;
  };
  Marked ReadMarks() const {
    Marked marked;
    for (const OutgoingMessage& message : topics_.messages()) {
      if (message.topic != "orders.once-marks") continue;
      const auto decoded = DecodeMark(*message.key, *message.value, "orders");
      EXPECT_TRUE(decoded.has_value()) << *message.key;
      if (!decoded) continue;
      const std::string stream(decoded->stream);
      if (decoded->mark) marked.marks[stream] = *decoded->mark;
      if (decoded->gone) marked.voids.emplace_back(stream, decoded->gone->first);
    }
    return marked;
  }

 private:
  testing::SeededOracle oracle_;
  testing::FiberScheduler scheduler_;
  testing::SeamGate gate_;
  testing::FakeTopics topics_{gate_, {.default_partitions = 0, .message_bytes_max = 1000}, nullptr};
  std::shared_ptr<SeededRandom> random_;
  testing::SplitMix dice_{4711};
  std::function<void(OutboxRelayOptions&)> tune_;
  std::shared_ptr<KeepingLog> log_events_ = std::make_shared<KeepingLog>();
  std::shared_ptr<memory::Store> store_ =
      memory::OpenStore({.now = [this] { return scheduler_.Now(); }});
  std::shared_ptr<testing::Process> process_;
  std::unique_ptr<OutboxRelay> relay_;
  int relays_ = 0;
};

}  // namespace once
