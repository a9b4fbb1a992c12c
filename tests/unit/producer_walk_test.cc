// Random faults on random senders, and what must be true at the end whatever happened.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/unit/producer_world.h"

namespace once {
namespace {

using testing::Fault;

constexpr int kSenders = 3;
constexpr int kMessagesEach = 12;

// What the brokers have of one stream, and what was said of it.
struct StreamFacts {
  std::map<std::uint64_t, std::set<std::string>> ids;       // by number
  std::map<std::uint64_t, std::set<std::int64_t>> offsets;  // by number
  std::set<std::uint64_t> voids;
  std::vector<StreamMark> marks;
};

class Walk {
 public:
  Walk(std::uint64_t seed, testing::FaultSet faults)
      : seed_(seed),
        oracle_(seed, {.faults = static_cast<int>(seed % 7), .preemptions = 20},
                {.fault = 60, .preemption = 100}),
        world_(oracle_, {.records_max = 8, .is_partial = true}) {
    world_.gate().set_faults(faults);
    world_.topics().CreateTopic("t", 2);
  }

  void Run() {
    ProducerOptions options = world_.Options(seed_);
    options.limits.messages_max = 10;
    options.times.delivery_timeout = absl::Seconds(30);
    options.stamps.mark_interval = absl::Milliseconds(500);
    world_.Run(std::move(options), [this](Producer& producer) {
      {
        std::vector<std::unique_ptr<Task>> senders;
        for (int i = 0; i < kSenders; ++i) {
          senders.push_back(world_.process()->Spawn("sender", [&, i] { SendAll(producer, i); }));
        }
      }
      undelivered_ = producer.Close(world_.In(absl::Seconds(20)));
      Judge();
    });
  }

 private:
  struct Sent {
    std::string id;
    Ticket ticket;
  };

  void SendAll(Producer& producer, int sender) {
    for (int i = 0; i < kMessagesEach; ++i) {
      OutgoingMessage message = MessageOf(absl::StrCat(sender, "/", i));
      message.key = absl::StrCat("key-", sender);
      message.headers = {{"once-id", absl::StrCat("id-", sender, "-", i)}};
      sent_.push_back({.id = *message.headers[0].value, .ticket = producer.Send(message)});
      if (i % 5 == 4) world_.Sleep(absl::Milliseconds(200));
    }
  }

  void Judge() {
    CollectFacts();
    std::set<std::string> stored;
    for (const auto& [name, facts] : streams_) {
      for (const auto& [number, ids] : facts.ids) {
        EXPECT_EQ(ids.size(), 1U) << "number " << number << " of " << name << " is of two messages";
        stored.insert(ids.begin(), ids.end());
      }
    }
    for (Sent& sent : sent_) JudgeTicket(sent, stored);
    for (const auto& [name, facts] : streams_) JudgeStream(name, facts);
  }

  void JudgeTicket(Sent& sent, const std::set<std::string>& stored) {
    const SendOutcome* outcome = sent.ticket.TryGet();
    ASSERT_NE(outcome, nullptr) << sent.id << " has no outcome";
    EXPECT_EQ(outcome->id, sent.id);
    const bool is_dead = world_.process()->is_dead();
    if (outcome->status.ok()) {
      EXPECT_TRUE(stored.contains(sent.id)) << sent.id << " is acknowledged, and lost";
    } else if (!absl::IsUnknown(outcome->status) && !is_dead) {
      EXPECT_FALSE(stored.contains(sent.id)) << sent.id << " is stored: " << outcome->status;
    }
    if (is_dead || outcome->status.ok() || absl::IsResourceExhausted(outcome->status)) return;
    const bool is_listed = std::any_of(undelivered_.messages.begin(), undelivered_.messages.end(),
                                       [&](const SendOutcome& one) { return one.id == sent.id; });
    EXPECT_TRUE(is_listed || world_.Now() > start_ + absl::Seconds(30)) << sent.id;
  }

  void CollectFacts() {
    const auto& messages = world_.topics().messages();
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const OutgoingMessage& message = messages[i];
      std::string buffer;
      if (message.topic == "t") {
        const auto stamp = StampOf(message, buffer);
        ASSERT_TRUE(stamp.has_value());
        StreamFacts& facts = streams_[std::string(stamp->stream)];
        facts.ids[stamp->sequence].insert(*LastHeader(message, "once-id"));
        facts.offsets[stamp->sequence].insert(world_.topics().offsets()[i]);
        continue;
      }
      const auto mark = DecodeMark(*message.key, *message.value, "t");
      ASSERT_TRUE(mark.has_value());
      StreamFacts& facts = streams_[std::string(mark->stream)];
      if (mark->mark) facts.marks.push_back(*mark->mark);
      if (!mark->gone) continue;
      for (auto number = mark->gone->first; number <= mark->gone->last; ++number) {
        facts.voids.insert(number);
      }
    }
  }

  void JudgeStream(const std::string& name, const StreamFacts& facts) {
    for (const StreamMark& mark : facts.marks) {
      for (std::uint64_t number = 1; number <= mark.last; ++number) {
        if (facts.voids.contains(number)) continue;
        ASSERT_TRUE(facts.offsets.contains(number))
            << name << ": marked up to " << mark.last << ", and " << number << " is not stored";
        const std::set<std::int64_t>& offsets = facts.offsets.at(number);
        EXPECT_LE(*offsets.begin(), mark.last_offset) << name << " " << number;
        if (number == 1) {
          EXPECT_GE(*offsets.rbegin(), mark.first_offset) << name;
        }
      }
    }
    // Without a death every number that was given is stored or void, and so nothing looks lost.
    if (world_.process()->is_dead() || facts.ids.empty()) return;
    const std::uint64_t last = facts.ids.rbegin()->first;
    for (std::uint64_t number = 1; number <= last; ++number) {
      const bool is_known = facts.ids.contains(number) || facts.voids.contains(number);
      EXPECT_TRUE(is_known || undelivered_.count > 0) << name << ": " << number;
    }
  }

  const std::uint64_t seed_;
  testing::SeededOracle oracle_;
  ProducerWorld world_;
  const absl::Time start_ = world_.Now();
  std::vector<Sent> sent_;
  Undelivered undelivered_;
  std::map<std::string, StreamFacts> streams_;
};

void RunWalks(testing::FaultSet faults) {
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    Walk(seed, faults).Run();
    if (::testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
}

TEST(ProducerWalk, NoFaultGivesANumberToTwoMessagesOrLosesOneSilently) {
  RunWalks({Fault::kFailure, Fault::kUnknownApplied, Fault::kUnknownNotApplied});
}

TEST(ProducerWalk, NorDoesADeath) {
  RunWalks({Fault::kFailure, Fault::kUnknownApplied, Fault::kUnknownNotApplied, Fault::kCrashBefore,
            Fault::kCrashAfter});
}

}  // namespace
}  // namespace once
