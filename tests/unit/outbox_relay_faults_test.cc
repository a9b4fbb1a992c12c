// The relay in a world where clients break, processes die and answers of the store are lost: every
// committed message arrives, none that is not committed, in the order of its key, and no number
// ever names two messages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "tests/forwarding_seams.h"
#include "tests/unit/relay_world.h"

namespace once {
namespace {

// What it writes may fail, may be written without anybody hearing of it, or may seem to be.
class DoubtfulLog final : public testing::ForwardingOutgoingLog {
 public:
  DoubtfulLog(OutgoingLog& inner, testing::SplitMix& dice, const bool& is_quiet)
      : ForwardingOutgoingLog(inner), dice_(dice), is_quiet_(is_quiet) {}

  absl::Status Advance(const OutgoingProgress& progress) override {
    const int fate = is_quiet_ ? 0 : dice_.Below(20);
    if (fate == 1) return absl::UnavailableError("busy");
    if (fate == 2) return absl::UnknownError("no answer, and nothing written");
    const absl::Status advanced = ForwardingOutgoingLog::Advance(progress);
    return fate == 3 ? absl::UnknownError("no answer") : advanced;
  }

 private:
  testing::SplitMix& dice_;
  const bool& is_quiet_;
};

class DoubtfulStore final : public testing::ForwardingStore {
 public:
  DoubtfulStore(std::shared_ptr<DedupStore> inner, testing::SplitMix& dice, const bool& is_quiet)
      : ForwardingStore(inner), log_(*inner->transactions()->outgoing(), dice, is_quiet) {}
  OutgoingLog* outgoing() override { return &log_; }

 private:
  DoubtfulLog log_;
};

// Who committed what, in the order of commits.
struct Committed {
  std::map<std::string, std::vector<std::string>> by_key;
  std::set<std::string> values;
};

void PublishSome(RelayWorld& world, Committed& committed, int& count) {
  for (int rows = world.dice().Below(8); rows > 0; --rows) {
    const std::string value = absl::StrCat(++count);
    const std::string key = absl::StrCat("k", world.dice().Below(6));
    const bool is_lost = world.dice().OneIn(6);
    const absl::Status done = Transact(world.store(), [&](Transaction& transaction) {
      EXPECT_TRUE(transaction.Publish({.topic = "orders", .key = key, .value = value}).ok());
      return is_lost ? absl::AbortedError("rolled back") : absl::OkStatus();
    });
    if (is_lost) continue;
    EXPECT_TRUE(done.ok()) << done;
    committed.by_key[key].push_back(value);
    committed.values.insert(value);
  }
}

void Judge(const RelayWorld& world, const Committed& committed) {
  std::set<std::string> seen;
  std::map<std::string, std::vector<std::string>> order;
  std::map<std::pair<std::string, std::uint64_t>, std::string> numbers;
  for (const Received& message : world.Read("orders")) {
    EXPECT_TRUE(committed.values.contains(message.value)) << message.value << " is not committed";
    const auto [first, is_new] =
        numbers.try_emplace({message.stream, message.sequence}, message.value);
    EXPECT_EQ(first->second, message.value) << "a number that names two messages";
    EXPECT_EQ(is_new, seen.insert(message.value).second) << "a message with two numbers";
    if (is_new) order[message.key].push_back(message.value);
  }
  EXPECT_EQ(seen, committed.values) << "every committed message";
  EXPECT_EQ(order, committed.by_key) << "in the order of commits";
}

struct Figures {
  int broken = 0;
  int deaths = 0;
};

void PlayOne(std::uint64_t seed, Figures& figures) {
  RelayWorld world(seed, {.faults = 12, .preemptions = 0}, testing::FaultSet::All());
  bool is_quiet = false;
  Committed committed;
  world.Play([&] {
    testing::SplitMix dice(seed * 31 + 7);
    world.dice() = testing::SplitMix(seed);
    // The store is asked by the relay with faults, and by the writers without.
    const std::shared_ptr<DedupStore> inner(&world.store(), [](DedupStore*) {});
    int count = 0;
    const auto start = [&] {
      world.StartRelay(std::make_shared<DoubtfulStore>(inner, dice, is_quiet));
    };
    start();
    for (int turn = 0; turn < 120; ++turn) {
      PublishSome(world, committed, count);
      if (world.process().is_dead() || dice.OneIn(25)) {
        ++figures.deaths;
        start();
      }
      world.StepRelay().IgnoreError();
      if (dice.OneIn(3)) {
        world.scheduler().SleepUntil(world.scheduler().Now() + absl::Milliseconds(100));
      }
    }
    is_quiet = true;
    figures.broken += world.oracle().faults_used();
    world.oracle().Quiet();
    start();
    EXPECT_TRUE(world.RunUntilIdle());
    EXPECT_EQ(world.log().Count().value().waiting, 0u);
    world.EndRelay();
  });
  Judge(world, committed);
}

TEST(OutboxRelayFaults, NothingIsLostNothingIsInvertedAndNoNumberIsReused) {
  Figures figures;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    PlayOne(seed, figures);
    if (::testing::Test::HasFailure()) FAIL() << "seed " << seed;
  }
  EXPECT_GT(figures.broken, 300) << "the test must be one";
  EXPECT_GT(figures.deaths, 300);
}

}  // namespace
}  // namespace once
