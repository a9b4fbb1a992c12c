// A zombie: a consumer that is held in mid-handler until the broker has given its partitions to
// somebody else, and that does not notice. Its transactions are refused, and every order is booked
// once.
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "adapters/kafka/tests/kafka_test_broker.h"
#include "tests/forwarding_seams.h"
#include "tests/integration/consumer_group.h"

namespace once {
namespace {

using testing::Milestone;
using testing::Must;
using testing::RunningConsumer;

constexpr int kPartitions = 2;
constexpr int kOrders = 1000;
constexpr int kHeldAt = 150;

// A source whose client gets no chance to notice anything: once stalled, no poll reaches it, and
// the polling thread stands still until `successor_handled` has begun to count.
class StallingSource : public testing::ForwardingSource {
 public:
  StallingSource(std::unique_ptr<LogSource> source, const std::atomic<bool>& is_stalled,
                 Milestone& successor_handled)
      : ForwardingSource(std::move(source)),
        is_stalled_(is_stalled),
        successor_handled_(successor_handled) {}

  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    if (!is_stalled_) return inner_->Poll(options, listener);
    successor_handled_.Await(1);
    return Batch();
  }

 private:
  const std::atomic<bool>& is_stalled_;
  Milestone& successor_handled_;
};

TEST(Zombie, HeldInMidHandlerPastThePollIntervalIsRefusedAndNothingIsBookedTwice) {
  ONCE_REQUIRE_KAFKA(broker);
  const testing::ScratchFolder folder;
  const std::string topic = broker.NewTopic(kPartitions);
  const std::string path = folder.File("orders.db");
  const auto store = Must(sqlite::OpenStore(
      {.path = path, .busy_timeout = absl::Seconds(1), .setup = testing::CreateEffects}));
  broker.Produce(testing::OrdersWithDuplicates(topic, kPartitions, 0, kOrders));
  const auto subscribe = [&] {
    return Must(kafka::Subscribe({.brokers = broker.brokers(),
                                  .group = topic + "-group",
                                  .topics = {topic},
                                  .session_timeout = absl::Seconds(2),
                                  .poll_interval_max = absl::Seconds(3)}));
  };
  const ConsumerTimes times = {.pause_after = absl::Milliseconds(100),
                               .revoke_budget = absl::Seconds(1)};
  std::atomic<bool> is_stalled = false;
  Milestone zombie_held;
  Milestone successor_assigned;
  Milestone successor_handled;
  int invocations = 0;
  const auto zombie_log = std::make_shared<testing::CountingLog>();
  RunningConsumer zombie(
      {.source = std::make_unique<StallingSource>(subscribe(), is_stalled, successor_handled),
       .store = store,
       .id = HeaderId("order-id"),
       .limits = {.batch_messages_max = 100},
       .times = times,
       .log = zombie_log},
      [&](const Message& message, Transaction& transaction) {
        if (++invocations == kHeldAt) {
          is_stalled = true;
          zombie_held.Count();
          EXPECT_TRUE(successor_assigned.Await(1));
        }
        return testing::BookEffect(message, transaction);
      });
  ASSERT_TRUE(zombie_held.Await(1));

  // The successor gets the partitions once the zombie's poll interval is over. It cannot take the
  // rows while the zombie's transaction holds the file, and waits.
  const auto successor_log = std::make_shared<testing::CountingLog>();
  RunningConsumer successor({.source = subscribe(),
                             .store = store,
                             .id = HeaderId("order-id"),
                             .limits = {.batch_messages_max = 100},
                             .times = times,
                             .log = successor_log},
                            [&](const Message& message, Transaction& transaction) {
                              absl::Status booked = testing::BookEffect(message, transaction);
                              successor_handled.Count();
                              return booked;
                            });
  EXPECT_TRUE(
      testing::AwaitCondition([&] { return successor_log->count("assigned") >= kPartitions; }));
  successor_assigned.Count();

  // The zombie's next transaction meets rows that are the successor's, and the broker refuses to
  // confirm that they are still its own.
  EXPECT_TRUE(testing::AwaitCondition([&] { return zombie->stats().fenced >= kPartitions; }));
  EXPECT_TRUE(testing::AwaitCondition([&] { return zombie_log->count("not_verified") >= 1; }));
  is_stalled = false;
  EXPECT_TRUE(
      testing::AwaitCondition([&] { return testing::ReadEffects(path).distinct_ids == kOrders; }));
  EXPECT_TRUE(successor.Stop().ok());
  EXPECT_TRUE(zombie.Stop().ok());
  EXPECT_EQ(testing::ReadEffects(path), (testing::EffectTotals{kOrders, kOrders}));
}

}  // namespace
}  // namespace once
