// Marks and voids of a relay whose side topic is missing, late, or never comes.
#include "src/relay_marks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/relay_world.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

TEST(OutboxRelayMarks, MarksAndVoidsWaitForASideTopicThatComesLate) {
  RelayWorld world;
  world.topics().CreateTopic("orders.once-marks", 0);
  world.Play([&] {
    world.StartRelay();
    world.Publish("1", "k");
    world.Publish(std::string(2000, 'x'), "k");
    EXPECT_TRUE(world.RunUntilIdle());
    world.StepFor(absl::Seconds(20));
    EXPECT_THAT(world.events().actions(), Contains("outbox_marks_delayed").Times(1));
    EXPECT_THAT(world.log().ListOwed().value(), SizeIs(1)) << "the void is not forgotten";
    // Nor by the next relay.
    world.StartRelay();
    EXPECT_TRUE(world.RunUntilIdle());
    world.StepFor(absl::Seconds(20));
    EXPECT_THAT(world.log().ListOwed().value(), SizeIs(1));
    world.topics().CreateTopic("orders.once-marks", 1);
    world.Publish("2", "l");
    world.StepFor(absl::Minutes(2));
    EXPECT_THAT(world.ReadMarks().voids, SizeIs(1));
    EXPECT_THAT(world.ReadMarks().marks, Not(IsEmpty()));
    EXPECT_THAT(world.log().ListOwed().value(), IsEmpty());
    world.EndRelay();
  });
}

TEST(OutboxRelayMarks, ASideTopicThatIsRefusedIsCreatedAtABoundedRate) {
  RelayWorld world;
  world.topics().CreateTopic("orders.once-marks", 0);
  int tries = 0;
  world.set_tune([&](OutboxRelayOptions& options) {
    options.create_marks_topic = [&](const std::string& topic, absl::Time) -> absl::Status {
      if (++tries < 4) return absl::UnavailableError("no controller");
      world.topics().CreateTopic(topic, 1);
      return absl::OkStatus();
    };
  });
  world.Play([&] {
    world.StartRelay();
    for (int i = 0; i < 100; ++i) {
      world.Publish(absl::StrCat(i), absl::StrCat("k", i % 9));
      world.StepFor(absl::Seconds(1));
    }
    EXPECT_GE(tries, 2);
    EXPECT_LE(tries, 3);
    world.StepFor(absl::Minutes(3));
    EXPECT_EQ(tries, 4);
    EXPECT_THAT(world.ReadMarks().marks, SizeIs(3)) << "of each partition";
    world.EndRelay();
  });
}

TEST(OutboxRelayMarks, VoidsOfASideTopicThatNeverComesAreBounded) {
  RelayWorld world;
  world.topics().CreateTopic("orders.once-marks", 0);
  world.Play([&] {
    world.StartRelay();
    RelayMarks marks({.clients = testing::FakeRecordClients(world.topics(),
                                                            world.process().shared_from_this(), {}),
                      .executor = world.process(),
                      .log = world.events(),
                      .create_topic = nullptr,
                      .retry_interval = absl::Milliseconds(200)});
    for (std::uint64_t number = 1; number <= 10'050; ++number) {
      const OwedVoid owed{.epoch = 1, .topic = "orders", .partition = 0, .sequence = number};
      marks.Void(owed, StreamName("orders", 0, {.producer = "p", .epoch = 1}));
      marks.Step();
    }
    for (int i = 0; i < 20; ++i) {
      marks.Step();
      world.scheduler().SleepUntil(world.scheduler().Now() + absl::Milliseconds(300));
    }
    const std::vector<OwedVoid> forgotten = marks.TakeDeclared();
    ASSERT_THAT(forgotten, SizeIs(50));
    EXPECT_EQ(forgotten.front().sequence, 1u) << "the oldest ones";
    EXPECT_THAT(world.events().actions(), Contains("outbox_voids_forgotten").Times(1));
    world.EndRelay();
  });
}

}  // namespace
}  // namespace once
