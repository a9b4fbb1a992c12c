// A relay that runs: while the log writes and reads ahead beside it, it sends nothing that is not
// durable, forgets nothing it hears meanwhile, and may die at any moment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "tests/forwarding_seams.h"
#include "tests/unit/relay_world.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::Not;
using ::testing::SizeIs;

constexpr absl::Duration kWriting = absl::Milliseconds(10);
constexpr absl::Duration kReading = absl::Milliseconds(5);
constexpr int kSecondLane = 1;

// What a log and a client have seen of each other.
struct Watch {
  testing::FiberScheduler* scheduler = nullptr;
  std::shared_ptr<testing::Process> process;
  bool is_at_work = false;
  int heard_beside = 0;  // reports
  int unplaced_sent = 0;
  std::set<std::pair<std::int32_t, std::uint64_t>> placed;  // partitions and sequences
  absl::Status next_write;
  std::function<void()> when_reading;
  absl::Duration answering = absl::Milliseconds(1);
  int on_way = 0;  // messages that were sent and not heard of
  // A second lane, which is empty; while messages are on their way it fails so many times.
  bool has_second_lane = false;
  int second_lane_fails = 0;
  std::set<std::uint64_t> unclosable;  // epochs
  int closings_failed = 0;

  bool is_dead() const { return process != nullptr && process->is_dead(); }
  void Work(absl::Duration time) {
    is_at_work = true;
    scheduler->SleepUntil(scheduler->Now() + time);
    is_at_work = false;
  }
};

// Takes its time, half of it before anything is written. A dead process writes nothing.
class SlowLog final : public testing::ForwardingOutgoingLog {
 public:
  SlowLog(OutgoingLog& inner, Watch& watch) : ForwardingOutgoingLog(inner), watch_(watch) {}
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override {
    watch_.Work(kReading);
    if (watch_.is_dead()) return absl::CancelledError("dead");
    if (lane == kSecondLane) {
      if (watch_.on_way == 0 || watch_.second_lane_fails == 0) return std::vector<OutgoingRow>();
      --watch_.second_lane_fails;
      return absl::DataLossError("its sequence was set back");
    }
    auto rows = ForwardingOutgoingLog::FindUnplaced(lane, bound);
    if (watch_.when_reading) std::exchange(watch_.when_reading, nullptr)();
    return rows;
  }
  absl::Status Advance(const OutgoingProgress& progress) override {
    watch_.Work(kWriting / 2);
    if (watch_.is_dead()) return absl::CancelledError("dead");
    if (!watch_.next_write.ok()) return std::exchange(watch_.next_write, absl::OkStatus());
    const absl::Status written = ForwardingOutgoingLog::Advance(progress);
    watch_.Work(kWriting / 2);
    if (watch_.is_dead()) return absl::CancelledError("dead");
    if (!written.ok()) return written;
    for (const OutgoingRound& round : progress.placed) {
      for (const Placement& one : round.placements) {
        watch_.placed.insert({one.partition, one.sequence});
      }
    }
    return written;
  }
  absl::Status CloseEpoch(std::uint64_t epoch) override {
    if (!watch_.unclosable.contains(epoch)) return ForwardingOutgoingLog::CloseEpoch(epoch);
    ++watch_.closings_failed;
    return absl::UnavailableError("not now");
  }
  absl::StatusOr<std::vector<int>> HoldLanes() override {
    if (watch_.is_dead()) return absl::CancelledError("dead");
    if (watch_.has_second_lane) return std::vector<int>{0, kSecondLane};
    return ForwardingOutgoingLog::HoldLanes();
  }
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override {
    if (lane == kSecondLane) return std::vector<UnfinishedRound>();
    return ForwardingOutgoingLog::FindUnfinished(lane);
  }
  absl::StatusOr<std::vector<StreamProgress>> ListStreams() override {
    if (watch_.is_dead()) return absl::CancelledError("dead");
    return ForwardingOutgoingLog::ListStreams();
  }

 private:
  Watch& watch_;
};

// Its broker takes its time.
class WatchedClient final : public testing::ForwardingRecordClient {
 public:
  WatchedClient(std::unique_ptr<RecordClient> inner, Watch& watch)
      : ForwardingRecordClient(std::move(inner)), watch_(watch) {}
  absl::Status TrySend(const OutgoingRecord& record) override {
    const absl::Status sent = ForwardingRecordClient::TrySend(record);
    const auto stamp = DecodeStamp(record.stamp, record.message.topic, record.partition);
    if (!stamp) return sent;
    is_of_messages_ = true;
    if (sent.ok()) ++watch_.on_way;
    if (!watch_.placed.contains({record.partition, stamp->sequence})) ++watch_.unplaced_sent;
    return sent;
  }
  void Poll(absl::Time deadline, const Listener& listener) override {
    if (CountInside() > 0) watch_.scheduler->SleepUntil(watch_.scheduler->Now() + watch_.answering);
    ForwardingRecordClient::Poll(deadline, [&](std::span<const RecordReport> reports) {
      if (is_of_messages_) watch_.on_way -= static_cast<int>(reports.size());
      if (watch_.is_at_work) watch_.heard_beside += static_cast<int>(reports.size());
      listener(reports);
    });
  }

 private:
  Watch& watch_;
  bool is_of_messages_ = false;  // the other is of marks
};

class SlowStore final : public testing::ForwardingStore {
 public:
  SlowStore(std::shared_ptr<DedupStore> inner, Watch& watch)
      : ForwardingStore(inner), log_(*inner->transactions()->outgoing(), watch) {}
  OutgoingLog* outgoing() override { return &log_; }

 private:
  SlowLog log_;
};

// A process whose clock goes on after its death, so that it does not wait for ever.
class MortalExecutor final : public Executor {
 public:
  explicit MortalExecutor(std::shared_ptr<testing::Process> process)
      : process_(std::move(process)) {}
  absl::Time Now() override {
    if (process_->is_dead()) beyond_ += absl::Seconds(1);
    return process_->Now() + beyond_;
  }
  std::unique_ptr<Event> NewEvent() override { return process_->NewEvent(); }
  std::unique_ptr<Task> Spawn(std::string_view name, std::function<void()> body) override {
    return process_->Spawn(name, std::move(body));
  }

 private:
  const std::shared_ptr<testing::Process> process_;
  absl::Duration beyond_ = absl::ZeroDuration();
};

// A world whose relays run over a slow log.
struct Scene {
  explicit Scene(std::uint64_t seed = 1) : world(seed) {}

  // A relay, made anew, that runs for so long, or until its process dies.
  absl::Status RunFor(absl::Duration time, absl::Duration life = absl::InfiniteDuration()) {
    const std::shared_ptr<DedupStore> inner(&world.store(), [](DedupStore*) {});
    watch.process = nullptr;
    watch.scheduler = &world.scheduler();
    world.set_tune([this](OutboxRelayOptions& options) {
      options.executor = std::make_shared<MortalExecutor>(world.shared_process());
      const auto open =
          testing::FakeRecordClients(world.topics(), world.shared_process(),
                                     {.is_partial = true, .is_refused_late = is_refused_late});
      options.clients =
          [this, open](
              const RecordClientOptions& wanted) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
        auto client = open(wanted);
        if (!client.ok()) return client.status();
        return std::make_unique<WatchedClient>(*std::move(client), watch);
      };
    });
    world.StartRelay(std::make_shared<SlowStore>(inner, watch));
    watch.process = world.shared_process();
    testing::FiberScheduler& scheduler = world.scheduler();
    const absl::Time begun = scheduler.Now();
    auto stop = std::make_shared<std::stop_source>();
    scheduler.At(begun + time, [stop] { stop->request_stop(); });
    if (life < time) {
      scheduler.At(begun + life, [&scheduler, stop, process = watch.process] {
        if (!process->is_dead()) scheduler.Kill(*process);
        stop->request_stop();
      });
    }
    absl::Status end = world.relay().Run(stop->get_token());
    world.EndRelay(/*is_crash=*/false);
    return end;
  }

  std::vector<std::string> PublishSome(int count, const std::string& key) {
    std::vector<std::string> values;
    for (int i = 0; i < count; ++i) {
      values.push_back(absl::StrCat(key, i));
      world.Publish(values.back(), key);
    }
    return values;
  }
  // Of a key, without copies. Each message has one number, and each number one message.
  std::vector<std::string> ReadOf(const std::string& key) const {
    std::vector<std::string> values;
    std::map<std::string, std::pair<std::string, std::uint64_t>> numbers;
    std::map<std::pair<std::string, std::uint64_t>, std::string> back;
    for (const Received& one : world.Read("orders")) {
      const std::pair number(one.stream, one.sequence);
      EXPECT_EQ(numbers.try_emplace(one.value, number).first->second, number) << one.value;
      const auto [known, is_new] = back.try_emplace(number, one.value);
      EXPECT_EQ(known->second, one.value) << "another message of the same number";
      if (is_new && one.key == key) values.push_back(one.value);
    }
    return values;
  }

  RelayWorld world;
  Watch watch;
  bool is_refused_late = false;
};

TEST(RelayBeside, HearsWhileTheLogWritesAndNeverSendsWhatItHasNotWritten) {
  Scene scene;
  scene.world.Play([&] {
    const std::vector<std::string> all = scene.PublishSome(60, "k");
    EXPECT_TRUE(scene.RunFor(absl::Seconds(5)).ok());
    EXPECT_EQ(scene.world.ReadValues(), all);
    EXPECT_EQ(scene.world.log().Count().value().waiting, 0u);
    EXPECT_GT(scene.watch.heard_beside, 3) << "it waits for the log";
    EXPECT_EQ(scene.watch.unplaced_sent, 0);
  });
}

// Reading, writing, sending, hearing, in whatever it was met: every message comes, those of a key
// in their order, and each copy of one under the number of the first.
TEST(RelayBeside, MayDieAtAnyMoment) {
  std::set<std::size_t> published;
  for (int moment = 0; moment < 120; ++moment) {
    Scene scene(static_cast<std::uint64_t>(moment + 1));
    scene.world.Play([&] {
      const std::vector<std::string> k = scene.PublishSome(20, "k");
      const std::vector<std::string> l = scene.PublishSome(20, "l");
      scene.RunFor(absl::Seconds(5), absl::Milliseconds(moment)).IgnoreError();
      published.insert(scene.world.ReadValues().size());
      EXPECT_TRUE(scene.RunFor(absl::Seconds(5)).ok());
      EXPECT_EQ(scene.ReadOf("k"), k) << moment;
      EXPECT_EQ(scene.ReadOf("l"), l) << moment;
      EXPECT_EQ(scene.world.log().Count().value().waiting, 0u);
    });
  }
  EXPECT_GT(published.size(), 5u) << "it always dies in the same place";
}

// The refusal is heard while another round is written: what is behind it of its key must wait also
// where it was read, or placed, before.
TEST(RelayBeside, WhatIsRefusedMeanwhileIsParkedAndItsKeyWaits) {
  for (const bool is_late : {false, true}) {
    for (int before = 0; before < 25; ++before) {
      Scene scene(static_cast<std::uint64_t>(before + 1));
      scene.is_refused_late = is_late;
      scene.world.Play([&] {
        std::vector<std::string> k = scene.PublishSome(before, "k");
        scene.world.Publish(std::string(2000, 'x'), "k");
        for (int i = 0; i < 15; ++i) scene.world.Publish("behind", "k");
        const std::vector<std::string> l = scene.PublishSome(25, "l");
        EXPECT_TRUE(scene.RunFor(absl::Seconds(10)).ok());
        EXPECT_EQ(scene.ReadOf("k"), k) << before;
        EXPECT_EQ(scene.ReadOf("l"), l) << before;
        EXPECT_THAT(scene.world.log().ListParked(0, 100).value(), SizeIs(1));
        EXPECT_EQ(scene.world.log().Count().value().waiting, 16u);
      });
    }
  }
}

TEST(RelayBeside, AnErrorWritesNothingAndWhatWasReadIsToldAgain) {
  for (const absl::Status& error : {absl::UnavailableError("busy"), absl::UnknownError("no answer"),
                                    absl::AbortedError("no")}) {
    Scene scene;
    scene.world.Play([&] {
      const std::vector<std::string> all = scene.PublishSome(40, "k");
      scene.world.scheduler().At(scene.world.scheduler().Now() + absl::Milliseconds(40),
                                 [&scene, error] { scene.watch.next_write = error; });
      EXPECT_TRUE(scene.RunFor(absl::Seconds(10)).ok());
      EXPECT_TRUE(scene.watch.next_write.ok()) << "it was never met";
      EXPECT_EQ(scene.ReadOf("k"), all) << error;
      EXPECT_EQ(scene.watch.unplaced_sent, 0) << error;
      EXPECT_EQ(scene.world.log().Count().value().waiting, 0u);
    });
  }
}

// Between what is read ahead and what is placed of it, an operator's word fails.
TEST(RelayBeside, AnOperatorsMistakeLosesNoMessage) {
  Scene scene;
  scene.world.Play([&] {
    const std::vector<std::string> all = scene.PublishSome(40, "k");
    scene.world.scheduler().At(scene.world.scheduler().Now() + absl::Milliseconds(40), [&scene] {
      scene.watch.when_reading = [&scene] {
        EXPECT_EQ(scene.world.log().Discard(4711).code(), absl::StatusCode::kNotFound);
      };
    });
    EXPECT_TRUE(scene.RunFor(absl::Seconds(10)).ok());
    EXPECT_FALSE(scene.watch.when_reading) << "it was never met";
    EXPECT_EQ(scene.ReadOf("k"), all);
    std::set<std::uint64_t> epochs;
    for (const Received& one : scene.world.Read("orders")) epochs.insert(one.epoch);
    EXPECT_THAT(epochs, SizeIs(1)) << "it began anew";
    EXPECT_THAT(scene.world.events().actions(), Not(Contains("outbox_doubt")));
  });
}

TEST(RelayBeside, AnEpochThatCannotBeClosedHoldsUpNothing) {
  Scene scene;
  scene.world.Play([&] {
    scene.PublishSome(20, "k");
    scene.RunFor(absl::Seconds(5), absl::Milliseconds(40)).IgnoreError();
    const auto streams = scene.world.log().ListStreams();
    ASSERT_TRUE(streams.ok());
    for (const StreamProgress& stream : *streams) {
      scene.watch.unclosable.insert(stream.epoch);
    }
    EXPECT_THAT(scene.watch.unclosable, SizeIs(1));
    scene.world.scheduler().At(scene.world.scheduler().Now() + absl::Seconds(3), [&] {
      EXPECT_GT(scene.watch.closings_failed, 0);
      scene.PublishSome(20, "l");
    });
    EXPECT_TRUE(scene.RunFor(absl::Seconds(10)).ok());
    EXPECT_GT(scene.watch.closings_failed, 3);
    EXPECT_THAT(scene.ReadOf("k"), SizeIs(20));
    EXPECT_THAT(scene.ReadOf("l"), SizeIs(20));
    EXPECT_EQ(scene.world.log().Count().value().waiting, 0u);
    EXPECT_THAT(scene.world.events().actions(), Contains("outbox_delayed").Times(1));
  });
}

// It fails only while messages of the other are on their way, and has recovered by the time that
// none are.
TEST(RelayBeside, ALaneThatCannotBeReadIsToldOfAndTheOthersGoOn) {
  Scene scene;
  scene.world.Play([&] {
    const std::vector<std::string> all = scene.PublishSome(100, "k");
    scene.watch.has_second_lane = true;
    scene.watch.second_lane_fails = 3;
    scene.watch.answering = 3 * kWriting;
    EXPECT_TRUE(scene.RunFor(absl::Seconds(10)).ok());
    EXPECT_EQ(scene.watch.second_lane_fails, 0) << "it was never met";
    EXPECT_THAT(scene.world.events().actions(), Contains("outbox_delayed").Times(1));
    EXPECT_EQ(scene.ReadOf("k"), all);
  });
}

}  // namespace
}  // namespace once
