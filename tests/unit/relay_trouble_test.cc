// A relay in trouble with one topic, one row or one lane: the others go on, and nothing is lost or
// forgotten meanwhile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "once/message_id.h"
#include "tests/forwarding_seams.h"
#include "tests/unit/relay_world.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Nobody says anything of one topic, while others are answered for.
struct Silence {
  std::string topic;
  bool is_on = true;
  int asked = 0;
};

class SilentClient final : public testing::ForwardingRecordClient {
 public:
  SilentClient(std::unique_ptr<RecordClient> inner, Executor& executor, Silence& silence)
      : ForwardingRecordClient(std::move(inner)), executor_(executor), silence_(silence) {}
  absl::StatusOr<std::int32_t> CountPartitions(const std::string& topic,
                                               absl::Time deadline) override {
    if (topic != silence_.topic || !silence_.is_on) {
      return ForwardingRecordClient::CountPartitions(topic, deadline);
    }
    ++silence_.asked;
    executor_.NewEvent()->WaitUntil(deadline);
    return absl::UnavailableError("nobody answers");
  }

 private:
  Executor& executor_;
  Silence& silence_;
};

// Its queue is empty, and it takes nothing until so many tries.
class StuckClient final : public testing::ForwardingRecordClient {
 public:
  StuckClient(std::unique_ptr<RecordClient> inner, int& tries)
      : ForwardingRecordClient(std::move(inner)), tries_(tries) {}
  absl::Status TrySend(const OutgoingRecord& record) override {
    // A relay that never waits would be here for ever.
    if (++tries_ < 100'000) return absl::ResourceExhaustedError("the queue is full");
    return ForwardingRecordClient::TrySend(record);
  }

 private:
  int& tries_;
};

template <typename Client, typename... Args>
std::function<void(OutboxRelayOptions&)> WithClient(Args&... args) {
  return [&args...](OutboxRelayOptions& options) {
    options.clients =
        [inner = options.clients, &args...](
            const RecordClientOptions& contract) -> absl::StatusOr<std::unique_ptr<RecordClient>> {
      auto client = inner(contract);
      if (!client.ok()) return client.status();
      return std::make_unique<Client>(*std::move(client), args...);
    };
  };
}

// A store whose log is another one.
template <typename Log>
class StoreWith final : public testing::ForwardingStore {
 public:
  template <typename... Args>
  explicit StoreWith(std::shared_ptr<DedupStore> inner, Args&... args)
      : ForwardingStore(inner), log_(*inner->transactions()->outgoing(), args...) {}
  OutgoingLog* outgoing() override { return &log_; }

 private:
  Log log_;
};

template <typename Log, typename... Args>
std::shared_ptr<DedupStore> StoreOf(RelayWorld& world, Args&... args) {
  const std::shared_ptr<DedupStore> inner(&world.store(), [](DedupStore*) {});
  return std::make_shared<StoreWith<Log>>(inner, args...);
}

TEST(OutboxRelayTrouble, ATopicThatIsListedLateParksNothingAndHoldsUpNobody) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    for (int i = 0; i < 30; ++i) world.Publish({.topic = "late", .key = "k", .value = "early"});
    std::vector<std::string> sent;
    for (int i = 0; i < 30; ++i) {
      sent.push_back(absl::StrCat(i));
      world.Publish(sent.back(), "k");
      world.Publish({.topic = "late", .key = "k", .value = sent.back()});
    }
    world.StepFor(absl::Milliseconds(200));
    EXPECT_THAT(world.ReadValues(), ::testing::Not(IsEmpty())) << "at once";
    world.StepFor(absl::Seconds(5));
    EXPECT_EQ(world.ReadValues(), sent) << "the others go on";
    EXPECT_EQ(world.log().Count().value().waiting, 60u) << "and are written down as sent";
    EXPECT_THAT(world.log().ListParked(0, 10).value(), IsEmpty());
    EXPECT_FALSE(world.relay().is_idle());
    world.topics().CreateTopic("late", 1);
    EXPECT_TRUE(world.RunUntilIdle());
    std::vector<std::string> late(30, "early");
    late.insert(late.end(), sent.begin(), sent.end());
    EXPECT_EQ(world.ReadValues("late"), late) << "in the order of commits";
    EXPECT_EQ(world.log().Count().value().waiting, 0u);
    world.EndRelay();
  });
}

TEST(OutboxRelayTrouble, ATopicThatStaysAwayIsParkedAndComesBackAsAWhole) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    std::set<std::string> sent;
    for (int i = 0; i < 20; ++i) {
      const std::string value = absl::StrCat(i);
      sent.insert(value);
      world.Publish({.topic = "missing", .key = absl::StrCat("k", i % 10), .value = value});
    }
    world.StepFor(absl::Seconds(20));
    EXPECT_THAT(world.log().ListParked(0, 100).value(), IsEmpty()) << "within the grace";
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.log().ListParked(0, 100).value(), SizeIs(10)) << "one of each key";
    world.topics().CreateTopic("missing", 2);
    EXPECT_EQ(world.log().UnparkTopic("other").value(), 0u);
    EXPECT_EQ(world.log().UnparkTopic("missing").value(), 10u);
    EXPECT_TRUE(world.RunUntilIdle());
    const std::vector<std::string> values = world.ReadValues("missing");
    EXPECT_EQ(std::set<std::string>(values.begin(), values.end()), sent);
    EXPECT_THAT(values, SizeIs(20));
    world.EndRelay();
  });
}

// What is tried again has the whole grace again.
TEST(OutboxRelayTrouble, AGraceBeginsAnewForATopicThatIsTriedAgainLater) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    world.Publish({.topic = "missing", .key = "k", .value = "1"});
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.log().ListParked(0, 10).value(), SizeIs(1));
    world.StepFor(absl::Minutes(5));
    EXPECT_EQ(world.log().UnparkTopic("missing").value(), 1u);
    world.StepFor(absl::Seconds(10));
    EXPECT_THAT(world.log().ListParked(0, 10).value(), IsEmpty());
    world.EndRelay();
  });
}

TEST(OutboxRelayTrouble, ATopicOfWhichNobodySaysAnythingHoldsUpNoOther) {
  RelayWorld world;
  world.topics().CreateTopic("silent", 1);
  Silence silence{.topic = "silent"};
  Executor* executor = nullptr;
  world.set_tune([&](OutboxRelayOptions& options) {
    executor = options.executor.get();
    WithClient<SilentClient>(*executor, silence)(options);
  });
  world.Play([&] {
    world.StartRelay();
    std::vector<std::string> sent;
    for (int i = 0; i < 40; ++i) {
      sent.push_back(absl::StrCat(i));
      world.Publish({.topic = "silent", .key = "k", .value = sent.back()});
    }
    for (const std::string& value : sent) world.Publish(value, "k");
    world.StepFor(absl::Seconds(30));
    EXPECT_EQ(world.ReadValues(), sent);
    EXPECT_EQ(world.log().Count().value().waiting, 40u) << "what is settled is written down";
    EXPECT_LE(silence.asked, 12) << "and asked for less and less often";
    EXPECT_THAT(world.log().ListParked(0, 10).value(), IsEmpty());
    silence.is_on = false;
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_EQ(world.ReadValues("silent"), sent);
    world.EndRelay();
  });
}

TEST(OutboxRelayTrouble, AClientThatTakesNothingThoughItIsEmptyIsNotAskedWithoutAPause) {
  RelayWorld world;
  int tries = 0;
  world.set_tune([&](OutboxRelayOptions& options) { WithClient<StuckClient>(tries)(options); });
  world.Play([&] {
    OutboxRelay& relay = world.StartRelay();
    world.Publish("1", "k");
    std::stop_source stop;
    const auto task = world.process().Spawn("stopper", [&] {
      world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(10));
      stop.request_stop();
    });
    EXPECT_EQ(relay.Run(stop.get_token()).code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_LT(tries, 2000);
    EXPECT_THAT(world.events().messages(), Contains(HasSubstr("larger than its queue")).Times(1));
    world.EndRelay(false);
  });
}

// Of two lanes the second cannot be read at first.
struct SecondLane {
  int failures = 3;
};

class TwoLanes final : public testing::ForwardingOutgoingLog {
 public:
  TwoLanes(OutgoingLog& inner, SecondLane& second)
      : ForwardingOutgoingLog(inner), second_(second) {}
  absl::StatusOr<std::vector<int>> HoldLanes() override { return std::vector<int>{0, 1}; }
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override {
    if (lane == 0) return ForwardingOutgoingLog::FindUnfinished(lane);
    if (second_.failures-- > 0) return absl::UnavailableError("busy");
    return std::vector<UnfinishedRound>();
  }
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override {
    if (lane == 0) return ForwardingOutgoingLog::FindUnplaced(lane, bound);
    return std::vector<OutgoingRow>();
  }

 private:
  SecondLane& second_;
};

TEST(OutboxRelayTrouble, ALaneThatCannotBeTakenYetLeavesTheOthersTheirStreams) {
  RelayWorld world;
  SecondLane second;
  world.Play([&] {
    world.StartRelay();
    world.Publish("warm", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    world.topics().set_is_reachable(false);
    for (int i = 0; i < 7; ++i) world.Publish(absl::StrCat(i), "k");
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(world.StepRelay().ok());
    world.StartRelay(StoreOf<TwoLanes>(world, second));
    world.topics().set_is_reachable(true);
    EXPECT_TRUE(world.RunUntilIdle());
    const std::vector<Received> received = world.Read("orders");
    ASSERT_THAT(received, SizeIs(8));
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(received[i].epoch, received[0].epoch) << i;
      EXPECT_EQ(received[i].sequence, i + 1);
    }
    world.EndRelay();
  });
}

// Tells the row with this value as damaged.
class DamagedLog final : public testing::ForwardingOutgoingLog {
 public:
  DamagedLog(OutgoingLog& inner, const std::string& value)
      : ForwardingOutgoingLog(inner), value_(value) {}
  absl::StatusOr<std::vector<UnfinishedRound>> FindUnfinished(int lane) override {
    auto rounds = ForwardingOutgoingLog::FindUnfinished(lane);
    if (!rounds.ok()) return rounds;
    for (UnfinishedRound& round : *rounds) Spoil(round.rows);
    return rounds;
  }
  absl::StatusOr<std::vector<OutgoingRow>> FindUnplaced(int lane, const Bound& bound) override {
    auto rows = ForwardingOutgoingLog::FindUnplaced(lane, bound);
    if (rows.ok()) Spoil(*rows);
    return rows;
  }

 private:
  void Spoil(std::vector<OutgoingRow>& rows) {
    for (OutgoingRow& row : rows) {
      if (row.message.value != value_) continue;
      row = {.number = row.number, .damage = absl::DataLossError("row is damaged")};
    }
  }

  const std::string value_;
};

TEST(OutboxRelayTrouble, ADamagedRowIsParkedAndTheOthersGoOn) {
  RelayWorld world;
  const std::string bad = "3";
  world.Play([&] {
    world.StartRelay(StoreOf<DamagedLog>(world, bad));
    for (int i = 0; i < 12; ++i) world.Publish(absl::StrCat(i));
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), SizeIs(11));
    const auto parked = world.log().ListParked(0, 10).value();
    ASSERT_THAT(parked, SizeIs(1));
    EXPECT_THAT(parked[0].reason, HasSubstr("damaged"));
    EXPECT_THAT(world.events().actions(), Contains("outbox_parked"));
    world.EndRelay();
  });
}

TEST(OutboxRelayTrouble, ARowThatIsDamagedWhileItIsOnItsWayIsParkedToo) {
  RelayWorld world;
  const std::string bad = "3";
  world.Play([&] {
    world.StartRelay();
    world.Publish("warm");
    EXPECT_TRUE(world.RunUntilIdle());
    world.topics().set_is_reachable(false);
    for (int i = 0; i < 5; ++i) world.Publish(absl::StrCat(i), "k");
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(world.StepRelay().ok());
    world.StartRelay(StoreOf<DamagedLog>(world, bad));
    world.topics().set_is_reachable(true);
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_THAT(world.ReadValues(), ElementsAre("warm", "0", "1", "2", "4"));
    EXPECT_THAT(world.log().ListParked(0, 10).value(), SizeIs(1));
    EXPECT_THAT(world.log().ListOwed().value(), IsEmpty()) << "its number is lost, and shows";
    world.EndRelay();
  });
}

TEST(OutboxRelayTrouble, OnlyAMessageThatIsTooLargeByItselfIsParked) {
  RelayWorld world;
  world.set_tune([&world](OutboxRelayOptions& options) {
    options.clients = testing::FakeRecordClients(world.topics(), world.shared_process(),
                                                 {.together_bytes_max = 1500});
  });
  world.Play([&world] {
    for (int i = 1; i <= 4; ++i) {
      world.Publish(std::string(i == 3 ? 2000 : 600, static_cast<char>('0' + i)),
                    absl::StrCat("k", i));
    }
    world.StartRelay();
    EXPECT_TRUE(world.RunUntilIdle());
    std::set<std::string> arrived;
    for (const std::string& value : world.ReadValues()) arrived.insert(value.substr(0, 1));
    EXPECT_THAT(arrived, ElementsAre("1", "2", "4"));
    const auto parked = world.log().ListParked(0, 10);
    ASSERT_TRUE(parked.ok()) << parked.status();
    ASSERT_THAT(*parked, SizeIs(1));
    EXPECT_EQ(parked->at(0).row.message.key, "k3");
    world.EndRelay();
  });
}

TEST(OutboxRelayTrouble, AnIdStaysWhenItsMessageGetsAnotherNumber) {
  RelayWorld world;
  world.Play([&] {
    world.StartRelay();
    // It waits behind one that is parked: the number it had is given up, and it gets another one.
    world.Publish(std::string(2000, 'x'), "k");
    world.Publish("1", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    const std::vector<OutgoingRow> rows = world.log().ListWaiting(0, 10).value();
    ASSERT_THAT(rows, SizeIs(2));
    const OutgoingRow& row = rows[1];
    world.scheduler().SleepUntil(world.scheduler().Now() + absl::Seconds(5));
    EXPECT_TRUE(world.log().Discard(rows[0].number).ok());
    EXPECT_TRUE(world.RunUntilIdle());
    const std::vector<std::string> ids = world.ReadIds();
    ASSERT_THAT(ids, SizeIs(1));
    EXPECT_TRUE(ValidateMessageId(ids[0]).ok()) << ids[0];
    EXPECT_TRUE(
        ids[0].ends_with(absl::StrCat("/", row.number, "/", absl::ToUnixMicros(row.put_at))))
        << ids[0] << ": made of what lies in the row alone";
    world.EndRelay();
  });
}

TEST(OutboxRelayTrouble, ARelayEndsByTheTimeItIsGiven) {
  RelayWorld world;
  world.Play([&] {
    OutboxRelay& relay = world.StartRelay();
    world.Publish("warm", "k");
    EXPECT_TRUE(world.RunUntilIdle());
    world.topics().set_is_reachable(false);
    world.Publish("1", "k");
    std::stop_source stop;
    const absl::Time begin = world.scheduler().Now();
    const auto task = world.process().Spawn("stopper", [&] {
      world.scheduler().SleepUntil(begin + absl::Seconds(1));
      relay.EndBy(begin + absl::Seconds(2));
      stop.request_stop();
    });
    EXPECT_EQ(relay.Run(stop.get_token()).code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_LE(world.scheduler().Now(), begin + absl::Milliseconds(2100));
    world.EndRelay(false);
  });
}

}  // namespace
}  // namespace once
