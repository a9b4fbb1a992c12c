// A spool whose disk does not write, or is full, or whose end comes: what is told of a message is
// true, and comes in time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/memory/store.h"
#include "once/spool.h"
#include "tests/forwarding_seams.h"
#include "tests/unit/producer_world.h"

namespace once {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What becomes of the next transactions, in their order; then of all others.
struct DiskFate {
  std::deque<absl::Status> next;
  absl::Status then = absl::OkStatus();

  absl::Status Take() {
    if (next.empty()) return then;
    absl::Status status = next.front();
    next.pop_front();
    return status;
  }
};

// kUnknown: nothing is written, and nobody hears of it.
class FatefulTransaction final : public testing::ForwardingTransaction {
 public:
  FatefulTransaction(std::unique_ptr<StoreTransaction> inner, DiskFate& fate)
      : ForwardingTransaction(std::move(inner)), fate_(fate) {}
  absl::Status Commit(Durability wanted) override {
    const absl::Status fate = fate_.Take();
    if (fate.ok()) return ForwardingTransaction::Commit(wanted);
    Rollback();
    return fate;
  }

 private:
  DiskFate& fate_;
};

class FatefulStore final : public testing::ForwardingStore {
 public:
  FatefulStore(std::shared_ptr<DedupStore> inner, DiskFate& fate)
      : ForwardingStore(std::move(inner)), fate_(fate) {}
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    absl::StatusOr<BeginResult> begun = ForwardingStore::Begin(locks);
    if (begun.ok() && begun->transaction != nullptr) {
      begun->transaction =
          std::make_unique<FatefulTransaction>(std::move(begun->transaction), fate_);
    }
    return begun;
  }

 private:
  DiskFate& fate_;
};

class SpoolTrouble : public ::testing::Test {
 protected:
  SpoolOptions Options() {
    SpoolOptions options;
    options.store = std::make_shared<FatefulStore>(disk_, fate_);
    options.producer = world_.Options();
    return options;
  }

  void Run(SpoolOptions options, const std::function<void(Producer&)>& body) {
    world_.Run([&] {
      auto producer = OpenSpool(std::move(options));
      ASSERT_TRUE(producer.ok()) << producer.status();
      body(**producer);
    });
  }

  NamedFaults faults_;
  ProducerWorld world_{faults_};
  DiskFate fate_;
  std::shared_ptr<DedupStore> disk_ = memory::OpenStore({.now = [this] { return world_.Now(); }});
};

TEST_F(SpoolTrouble, WhatMayBeOnTheDiskIsNeverToldAsNotSent) {
  SpoolOptions options = Options();
  options.producer.times.send_timeout = absl::Seconds(5);
  Run(std::move(options), [this](Producer& producer) {
    fate_.next = {absl::UnknownError("no answer")};
    fate_.then = absl::UnavailableError("the disk is full");
    Ticket ticket = producer.Send(MessageOf("1"));
    const SendOutcome* outcome = ticket.Wait(world_.In(absl::Seconds(30)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_EQ(outcome->status.code(), absl::StatusCode::kUnknown) << outcome->status;
    EXPECT_THAT(std::string(outcome->status.message()), HasSubstr("the disk is full"));
    // And what was never there is told as such.
    Ticket second = producer.Send(MessageOf("2"));
    outcome = second.Wait(world_.In(absl::Seconds(30)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_EQ(outcome->status.code(), absl::StatusCode::kUnavailable) << outcome->status;
  });
}

TEST_F(SpoolTrouble, WhatMayBeWithTheBrokersIsNeverToldAsNotSent) {
  SpoolOptions options = Options();
  options.mode = SpoolMode::kWhenUnreachable;
  options.producer.times.send_timeout = absl::Seconds(5);
  Run(std::move(options), [this](Producer& producer) {
    ASSERT_NE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5))), nullptr);
    fate_.then = absl::UnavailableError("the disk is full");
    world_.topics().set_is_reachable(false);
    // The purge of the direct road leaves it in doubt.
    faults_.Arm("given-up", 2);
    Ticket ticket = producer.Send(MessageOf("1"));
    const SendOutcome* outcome = ticket.Wait(world_.In(absl::Seconds(60)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_EQ(outcome->status.code(), absl::StatusCode::kUnknown) << outcome->status;
  });
}

TEST_F(SpoolTrouble, TheEndComesByItsDeadlineAlsoWithoutBrokers) {
  Run(Options(), [this](Producer& producer) {
    ASSERT_NE(producer.Send(MessageOf("0")).Wait(world_.In(absl::Seconds(5))), nullptr);
    world_.Sleep(absl::Seconds(2));
    world_.topics().set_is_reachable(false);
    ASSERT_NE(producer.Send(MessageOf("1")).Wait(world_.In(absl::Seconds(5))), nullptr);
    world_.Sleep(absl::Seconds(1));
    const absl::Time deadline = world_.In(absl::Seconds(1));
    EXPECT_EQ(producer.Close(deadline).count, 0U) << "both are on the disk";
    EXPECT_LE(world_.Now(), deadline + absl::Milliseconds(200));
  });
}

TEST_F(SpoolTrouble, AFlushCountsWhatWasSentBeforeItAndNothingElse) {
  SpoolOptions options = Options();
  options.producer.times.send_timeout = absl::Seconds(5);
  Run(std::move(options), [this](Producer& producer) {
    fate_.then = absl::UnavailableError("the disk is full");
    Ticket first = producer.Send(MessageOf("1"));
    std::vector<Ticket> later;
    const auto sender = world_.process()->Spawn("sender", [&] {
      world_.Sleep(absl::Milliseconds(10));
      for (int i = 0; i < 5; ++i) later.push_back(producer.Send(MessageOf(absl::StrCat(i))));
    });
    const Undelivered undelivered = producer.Flush(world_.In(absl::Seconds(30)));
    EXPECT_EQ(undelivered.count, 1U);
    ASSERT_NE(first.TryGet(), nullptr);
    for (Ticket& ticket : later) {
      EXPECT_NE(ticket.Wait(world_.In(absl::Seconds(30))), nullptr);
    }
  });
}

TEST_F(SpoolTrouble, WhatFailsAtTheEndIsCounted) {
  SpoolOptions options = Options();
  Run(std::move(options), [this](Producer& producer) {
    fate_.then = absl::UnavailableError("the disk is full");
    std::vector<Ticket> tickets;
    for (int i = 0; i < 3; ++i) tickets.push_back(producer.Send(MessageOf(absl::StrCat(i))));
    EXPECT_EQ(producer.Close(world_.In(absl::Seconds(1))).count, 3U);
    for (Ticket& ticket : tickets) {
      ASSERT_NE(ticket.TryGet(), nullptr);
      EXPECT_FALSE(ticket.TryGet()->status.ok());
    }
  });
}

TEST_F(SpoolTrouble, AFullLineInMemoryIsNoFullSpool) {
  world_.topics().set_is_reachable(false);
  SpoolOptions options = Options();
  options.limits.when_full = WhenFull::kRefuse;
  options.producer.limits.messages_max = 1;
  Run(std::move(options), [this](Producer& producer) {
    std::vector<Ticket> tickets;
    for (int i = 0; i < 5; ++i) tickets.push_back(producer.Send(MessageOf(absl::StrCat(i))));
    for (Ticket& ticket : tickets) {
      const SendOutcome* outcome = ticket.Wait(world_.In(absl::Seconds(5)));
      ASSERT_NE(outcome, nullptr);
      EXPECT_TRUE(outcome->status.ok()) << outcome->status;
      EXPECT_TRUE(outcome->is_spooled);
    }
  });
}

TEST_F(SpoolTrouble, BytesThatWereFoundThereCountUntilTheyArePublished) {
  world_.topics().set_is_reachable(false);
  Run(Options(), [this](Producer& producer) {
    for (int i = 0; i < 20; ++i) {
      Ticket ticket = producer.Send(MessageOf(std::string(1000, 'v')));
      ASSERT_NE(ticket.Wait(world_.In(absl::Seconds(5))), nullptr);
    }
  });
  SpoolOptions options = Options();
  options.limits.bytes_max = 10'000;
  options.limits.when_full = WhenFull::kRefuse;
  Run(std::move(options), [this](Producer& producer) {
    world_.Sleep(absl::Seconds(2));
    Ticket refused = producer.Send(MessageOf("1"));
    ASSERT_NE(refused.TryGet(), nullptr);
    EXPECT_EQ(refused.TryGet()->status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(refused.TryGet()->status.message()), HasSubstr("limits.bytes_max"));
    world_.topics().set_is_reachable(true);
    world_.Sleep(absl::Seconds(10));
    Ticket taken = producer.Send(MessageOf("2"));
    const SendOutcome* outcome = taken.Wait(world_.In(absl::Seconds(5)));
    ASSERT_NE(outcome, nullptr);
    EXPECT_TRUE(outcome->status.ok()) << outcome->status;
  });
}

}  // namespace
}  // namespace once
