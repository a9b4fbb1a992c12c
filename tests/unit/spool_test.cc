// A spool: what had an outcome is published, in its order, whatever becomes of brokers and process.
#include "once/spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/memory/store.h"
#include "tests/unit/producer_world.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SpoolTest : public ::testing::Test {
 protected:
  SpoolOptions Options(SpoolMode mode = SpoolMode::kWriteAhead) {
    SpoolOptions options;
    options.store = disk_;
    options.producer = world_.Options();
    options.mode = mode;
    return options;
  }

  void Run(SpoolOptions options, const std::function<void(Producer&)>& body) {
    world_.Run([&] {
      auto producer = OpenSpool(std::move(options));
      ASSERT_TRUE(producer.ok()) << producer.status();
      body(**producer);
    });
  }

  // OK, and on the disk.
  void ExpectSpooled(Ticket ticket) {
    const SendOutcome* outcome = ticket.Wait(world_.In(absl::Seconds(10)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_TRUE(outcome->status.ok()) << outcome->status;
    EXPECT_TRUE(outcome->is_spooled);
  }

  NamedFaults faults_;
  ProducerWorld world_{faults_};
  std::shared_ptr<DedupStore> disk_ = memory::OpenStore({.now = [this] { return world_.Now(); }});
};

TEST_F(SpoolTest, AMessageHasItsOutcomeOnTheDiskAndIsPublishedFromThere) {
  Run(Options(), [this](Producer& producer) {
    OutgoingMessage message = MessageOf("v");
    message.headers = {{"once-id", "order-7"}};
    Ticket ticket = producer.Send(message);
    const SendOutcome* outcome = ticket.Wait(world_.In(absl::Seconds(5)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_TRUE(outcome->status.ok()) << outcome->status;
    EXPECT_TRUE(outcome->is_spooled);
    EXPECT_EQ(outcome->id, "order-7");
    world_.Sleep(absl::Seconds(1));
    EXPECT_THAT(world_.Values("t"), ElementsAre("v"));
    const OutgoingMessage& stored = world_.topics().messages()[0];
    EXPECT_EQ(LastHeader(stored, "once-id"), "order-7");
    std::string buffer;
    const auto stamp = StampOf(stored, buffer);
    ASSERT_TRUE(stamp.has_value());
    EXPECT_FALSE(stamp->is_from_outbox) << "the program may send it again, under another number";
  });
}

TEST_F(SpoolTest, WithoutBrokersTheBusinessGoesOnAndNothingIsLostAfterwards) {
  Run(Options(), [this](Producer& producer) {
    world_.topics().set_is_reachable(false);
    std::vector<std::string> sent;
    for (int i = 0; i < 50; ++i) {
      sent.push_back(absl::StrCat(i));
      ExpectSpooled(producer.Send(MessageOf(sent.back())));
      world_.Sleep(absl::Seconds(1));
    }
    EXPECT_THAT(world_.Values("t"), IsEmpty());
    world_.topics().set_is_reachable(true);
    world_.Sleep(absl::Seconds(30));
    EXPECT_EQ(world_.Values("t"), sent);
  });
}

TEST_F(SpoolTest, WhatHadAnOutcomeIsPublishedByTheNextProcess) {
  world_.topics().set_is_reachable(false);
  world_.Run([this] {
    auto producer = OpenSpool(Options());
    ASSERT_TRUE(producer.ok()) << producer.status();
    ExpectSpooled((*producer)->Send(MessageOf("1")));
    ExpectSpooled((*producer)->Send(MessageOf("2")));
    EXPECT_EQ((*producer)->Close(world_.Now()).count, 0U);
  });
  world_.topics().set_is_reachable(true);
  Run(Options(), [this](Producer& producer) {
    ExpectSpooled(producer.Send(MessageOf("3")));
    world_.Sleep(absl::Seconds(5));
    EXPECT_THAT(world_.Values("t"), ElementsAre("1", "2", "3"));
  });
}

TEST_F(SpoolTest, MessagesGoDirectlyWhileTheBrokersAreThere) {
  Run(Options(SpoolMode::kWhenUnreachable), [this](Producer& producer) {
    Ticket ticket = producer.Send(MessageOf("v"));
    const SendOutcome* outcome = ticket.Wait(world_.In(absl::Seconds(5)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_TRUE(outcome->status.ok());
    EXPECT_FALSE(outcome->is_spooled);
    EXPECT_EQ(outcome->offset, 0);
    EXPECT_EQ(outcome->sequence, 1U);
  });
}

TEST_F(SpoolTest, WhenTheBrokersStopAnsweringWhatIsOnItsWayIsSpooledFirst) {
  Run(Options(SpoolMode::kWhenUnreachable), [this](Producer& producer) {
    Ticket before = producer.Send(MessageOf("0"));
    ASSERT_NE(before.Wait(world_.In(absl::Seconds(5))), nullptr);
    world_.topics().set_is_reachable(false);
    std::vector<Ticket> tickets;
    for (int i = 1; i <= 20; ++i) {
      tickets.push_back(producer.Send(MessageOf(absl::StrCat(i))));
      world_.Sleep(absl::Milliseconds(500));
    }
    for (Ticket& ticket : tickets) ExpectSpooled(std::move(ticket));
    EXPECT_THAT(world_.log().actions(), ::testing::Contains("spool_begins"));
    world_.topics().set_is_reachable(true);
    world_.Sleep(absl::Seconds(30));
    std::vector<std::string> expected;
    for (int i = 0; i <= 20; ++i) expected.push_back(absl::StrCat(i));
    EXPECT_EQ(world_.Values("t"), expected);
    Ticket after = producer.Send(MessageOf("21"));
    const SendOutcome* outcome = after.Wait(world_.In(absl::Seconds(5)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_FALSE(outcome->is_spooled) << "the direct road is open again";
  });
}

TEST_F(SpoolTest, ATopicThatNobodyHasHeardOfIsSpooledToo) {
  world_.topics().set_is_reachable(false);
  Run(Options(SpoolMode::kWhenUnreachable), [this](Producer& producer) {
    ExpectSpooled(producer.Send(MessageOf("1")));
    world_.topics().set_is_reachable(true);
    world_.Sleep(absl::Seconds(10));
    EXPECT_THAT(world_.Values("t"), ElementsAre("1"));
  });
}

TEST_F(SpoolTest, WhatIsOnItsWayAtTheEndIsSpooled) {
  Run(Options(SpoolMode::kWhenUnreachable), [this](Producer& producer) {
    ASSERT_NE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5))), nullptr);
    world_.topics().set_is_reachable(false);
    Ticket ticket = producer.Send(MessageOf("1"));
    EXPECT_EQ(producer.Close(world_.In(absl::Seconds(1))).count, 0U);
    ExpectSpooled(std::move(ticket));
  });
  world_.topics().set_is_reachable(true);
  Run(Options(), [this](Producer&) {
    world_.Sleep(absl::Seconds(5));
    EXPECT_THAT(world_.Values("t"), ElementsAre("0", "1"));
  });
}

TEST_F(SpoolTest, AFullSpoolRefusesOrBlocksAndNeverDrops) {
  world_.topics().set_is_reachable(false);
  SpoolOptions options = Options();
  options.limits.messages_max = 2;
  options.limits.when_full = WhenFull::kRefuse;
  Run(std::move(options), [this](Producer& producer) {
    ExpectSpooled(producer.Send(MessageOf("1")));
    ExpectSpooled(producer.Send(MessageOf("2")));
    world_.Sleep(absl::Seconds(2));
    Ticket refused = producer.Send(MessageOf("3"));
    const SendOutcome* outcome = refused.TryGet();
    ASSERT_NE(outcome, nullptr);
    EXPECT_EQ(outcome->status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(outcome->status.message()), HasSubstr("limits.messages_max"));
    EXPECT_THAT(world_.log().actions(), ::testing::Contains("spool_full"));
    world_.topics().set_is_reachable(true);
    world_.Sleep(absl::Seconds(10));
    ExpectSpooled(producer.Send(MessageOf("4")));
    world_.Sleep(absl::Seconds(5));
    EXPECT_THAT(world_.Values("t"), ElementsAre("1", "2", "4"));
  });
}

TEST_F(SpoolTest, ASenderWaitsForRoomAtMostSendTimeout) {
  world_.topics().set_is_reachable(false);
  SpoolOptions options = Options();
  options.limits.messages_max = 1;
  options.producer.times.send_timeout = absl::Seconds(5);
  Run(std::move(options), [this](Producer& producer) {
    ExpectSpooled(producer.Send(MessageOf("1")));
    world_.Sleep(absl::Seconds(2));
    const absl::Time begin = world_.Now();
    Ticket refused = producer.Send(MessageOf("2"));
    EXPECT_GE(world_.Now() - begin, absl::Seconds(5));
    ASSERT_NE(refused.TryGet(), nullptr);
    EXPECT_EQ(refused.TryGet()->status.code(), absl::StatusCode::kResourceExhausted);
  });
}

TEST_F(SpoolTest, ASpoolThatNobodyLooksAfterCountsAsFull) {
  world_.topics().set_is_reachable(false);
  SpoolOptions options = Options();
  options.limits.age_max = absl::Minutes(1);
  options.limits.when_full = WhenFull::kRefuse;
  Run(std::move(options), [this](Producer& producer) {
    ExpectSpooled(producer.Send(MessageOf("1")));
    world_.Sleep(absl::Minutes(2));
    Ticket refused = producer.Send(MessageOf("2"));
    ASSERT_NE(refused.TryGet(), nullptr);
    EXPECT_THAT(std::string(refused.TryGet()->status.message()), HasSubstr("limits.age_max"));
  });
}

TEST_F(SpoolTest, AMessageThatCanNeverBeTakenIsRefusedAlone) {
  Run(Options(), [this](Producer& producer) {
    Ticket good = producer.Send(MessageOf("1"));
    Ticket bad = producer.Send(MessageOf("2", "not a topic"));
    Ticket marks = producer.Send(MessageOf("3", "t.once-marks"));
    ExpectSpooled(std::move(good));
    for (Ticket* ticket : {&bad, &marks}) {
      ASSERT_NE(ticket->TryGet(), nullptr);
      EXPECT_EQ(ticket->TryGet()->status.code(), absl::StatusCode::kInvalidArgument);
    }
  });
}

TEST_F(SpoolTest, OptionsThatCannotWorkAreNamed) {
  const auto refusal = [this](const std::function<void(SpoolOptions&)>& spoil) {
    SpoolOptions options = Options();
    spoil(options);
    const auto opened = OpenSpool(std::move(options));
    EXPECT_EQ(opened.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(opened.status().message());
  };
  EXPECT_THAT(refusal([](SpoolOptions& o) { o.store = nullptr; }), HasSubstr("store"));
  EXPECT_THAT(refusal([](SpoolOptions& o) { o.producer.clients = nullptr; }),
              HasSubstr("producer.clients"));
  EXPECT_THAT(refusal([](SpoolOptions& o) { o.limits.messages_max = 0; }), HasSubstr("limits"));
  EXPECT_THAT(refusal([](SpoolOptions& o) { o.limits.age_max = absl::ZeroDuration(); }),
              HasSubstr("limits.age_max"));
  EXPECT_THAT(refusal([](SpoolOptions& o) { o.unreachable_after = absl::ZeroDuration(); }),
              HasSubstr("unreachable_after"));
}

// Brokers that come and go, and faults of the client, at random: whatever had an OK is published,
// and of each key the first copies are in order.
TEST(Spool, LosesNothingAndKeepsTheOrderOfKeysWhateverHappens) {
  for (const SpoolMode mode : {SpoolMode::kWriteAhead, SpoolMode::kWhenUnreachable}) {
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
      testing::SeededOracle oracle(seed, {.faults = 5, .preemptions = 5},
                                   {.fault = 20, .preemption = 20});
      ProducerWorld world(oracle);
      const auto disk = memory::OpenStore({.now = [&world] { return world.Now(); }});
      std::map<std::string, std::vector<std::string>> sent;
      world.Run([&] {
        SpoolOptions options;
        options.store = disk;
        options.producer = world.Options(seed);
        options.mode = mode;
        auto producer = OpenSpool(std::move(options));
        ASSERT_TRUE(producer.ok()) << producer.status();
        std::vector<Ticket> tickets;
        for (int i = 0; i < 60; ++i) {
          OutgoingMessage message = MessageOf(absl::StrCat(i));
          message.key = absl::StrCat("k", i % 3);
          sent[*message.key].push_back(*message.value);
          tickets.push_back((*producer)->Send(message));
          if (i % 20 == 5) world.topics().set_is_reachable(false);
          if (i % 20 == 15) world.topics().set_is_reachable(true);
          // Bursts: what follows may meet the road in any state.
          if (i % 4 == 3) world.Sleep(absl::Milliseconds(2800));
        }
        world.topics().set_is_reachable(true);
        world.Sleep(absl::Minutes(2));
        for (Ticket& ticket : tickets) {
          ASSERT_NE(ticket.TryGet(), nullptr);
          ASSERT_TRUE(ticket.TryGet()->status.ok()) << ticket.TryGet()->status;
        }
      });
      std::map<std::string, std::vector<std::string>> published;
      std::set<std::string> known;
      for (const OutgoingMessage& message : world.topics().messages()) {
        if (message.topic != "t" || !known.insert(*message.value).second) continue;
        published[*message.key].push_back(*message.value);
      }
      ASSERT_EQ(published, sent) << "seed " << seed << ", mode " << static_cast<int>(mode);
    }
  }
}

}  // namespace
}  // namespace once
