// A spool in a log that processes share: an append without an answer is decided before anything
// else is written, and what others have there goes first.
#include "once/spool_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/memory/store.h"
#include "once/spool.h"
#include "once/transact.h"
#include "tests/unit/producer_world.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A log of a memory store, whose answers get lost as a test says.
class LossyLog final : public SpoolLog {
 public:
  enum class Fate : std::uint8_t { kAnswered, kUnanswered, kUnheard };

  explicit LossyLog(std::shared_ptr<DedupStore> store) : store_(std::move(store)) {}

  StoreTraits traits() const override {
    return {.name = "lossy", .durability = durability, .weakness = "as told", .is_shared = true};
  }
  OutgoingLog& outgoing() override { return *store_->transactions()->outgoing(); }

  absl::Status Append(const SpoolAppend& append) override {
    EXPECT_GT(append.number, last_);
    EXPECT_TRUE(is_decided_) << "the last one is still in doubt";
    last_ = append.number;
    Fate fate = Fate::kAnswered;
    if (!fates.empty()) {
      fate = fates.front();
      fates.pop_front();
    }
    if (fate == Fate::kUnheard) {
      is_decided_ = false;
      return absl::UnknownError("unheard");
    }
    std::vector<OutgoingMessage> messages;
    for (const OutgoingMessage* const message : append.messages) messages.push_back(*message);
    const absl::Status put = Put(messages);
    EXPECT_TRUE(put.ok()) << put;
    applied_.insert(append.number);
    if (fate == Fate::kAnswered) return put;
    is_decided_ = false;
    return absl::UnknownError("unanswered");
  }
  absl::StatusOr<bool> Resolve(std::uint64_t number) override {
    EXPECT_EQ(number, last_);
    if (silent_resolves > 0) {
      --silent_resolves;
      return absl::UnavailableError("silent");
    }
    is_decided_ = true;
    return applied_.contains(number);
  }

  // As another process does.
  absl::Status Put(const std::vector<OutgoingMessage>& messages) {
    return Transact(*store_, [&](Transaction& transaction) -> absl::Status {
      for (const OutgoingMessage& message : messages) {
        if (absl::Status put = transaction.Publish(message); !put.ok()) return put;
      }
      return absl::OkStatus();
    });
  }

  std::deque<Fate> fates;
  int silent_resolves = 0;
  Durability durability = Durability::kMachine;

 private:
  const std::shared_ptr<DedupStore> store_;
  std::uint64_t last_ = 0;
  bool is_decided_ = true;
  std::set<std::uint64_t> applied_;
};

using Fate = LossyLog::Fate;

class SpoolInALog : public ::testing::Test {
 protected:
  void Run(const std::function<void(Producer&)>& body, SpoolMode mode = SpoolMode::kWriteAhead) {
    world_.Run([&] {
      SpoolOptions options;
      options.log = log_;
      options.producer = world_.Options();
      options.producer.times.send_timeout = absl::Seconds(20);
      options.mode = mode;
      auto producer = OpenSpool(std::move(options));
      ASSERT_TRUE(producer.ok()) << producer.status();
      body(**producer);
    });
  }
  SendOutcome Await(Ticket& ticket) {
    const SendOutcome* const outcome = ticket.Wait(world_.In(absl::Seconds(60)));
    EXPECT_NE(outcome, nullptr);
    return outcome == nullptr ? SendOutcome{} : *outcome;
  }
  void ExpectAllSpooledOnce(Producer& producer) {
    std::vector<Ticket> tickets;
    std::vector<std::string> expected;
    for (int i = 0; i < 20; ++i) {
      expected.push_back(absl::StrCat(i));
      tickets.push_back(producer.Send(MessageOf(expected.back())));
      if (i == 5) world_.Sleep(absl::Milliseconds(20));
    }
    for (Ticket& ticket : tickets) {
      const SendOutcome outcome = Await(ticket);
      EXPECT_TRUE(outcome.status.ok()) << outcome.status;
      EXPECT_TRUE(outcome.is_spooled);
    }
    world_.Sleep(absl::Seconds(5));
    EXPECT_EQ(world_.Values("t"), expected);
  }

  NamedFaults faults_;
  ProducerWorld world_{faults_};
  std::shared_ptr<LossyLog> log_ =
      std::make_shared<LossyLog>(memory::OpenStore({.now = [this] { return world_.Now(); }}));
};

TEST_F(SpoolInALog, WhatWasAppendedWithoutAnAnswerIsNotAppendedAgain) {
  log_->fates = {Fate::kUnanswered, Fate::kUnanswered, Fate::kAnswered, Fate::kUnanswered};
  Run([this](Producer& producer) { ExpectAllSpooledOnce(producer); });
}

TEST_F(SpoolInALog, WhatWasNotAppendedIsAppendedInItsPlace) {
  log_->fates = {Fate::kUnheard, Fate::kUnheard, Fate::kUnanswered, Fate::kUnheard};
  Run([this](Producer& producer) { ExpectAllSpooledOnce(producer); });
}

TEST_F(SpoolInALog, NothingIsAppendedWhileNobodySaysWhatBecameOfTheLast) {
  log_->fates = {Fate::kUnanswered, Fate::kUnheard};
  log_->silent_resolves = 7;
  Run([this](Producer& producer) { ExpectAllSpooledOnce(producer); });
  EXPECT_EQ(log_->silent_resolves, 0);
}

TEST_F(SpoolInALog, WhoeverWasGivenUpInDoubtIsNotAppendedLater) {
  log_->fates = {Fate::kUnheard};
  log_->silent_resolves = 1'000'000;
  Run([this](Producer& producer) {
    Ticket given_up = producer.Send(MessageOf("given up"));
    const SendOutcome outcome = Await(given_up);
    EXPECT_TRUE(absl::IsUnknown(outcome.status)) << outcome.status;
    log_->silent_resolves = 0;
    Ticket next = producer.Send(MessageOf("next"));
    EXPECT_TRUE(Await(next).status.ok());
    world_.Sleep(absl::Seconds(5));
    EXPECT_THAT(world_.Values("t"), ElementsAre("next"));
  });
}

TEST_F(SpoolInALog, WhatAnotherProcessHasSpooledClosesTheDirectWay) {
  Run(
      [this](Producer& producer) {
        Ticket direct = producer.Send(MessageOf("direct"));
        EXPECT_FALSE(Await(direct).is_spooled);
        // Of a topic that nobody knows yet, so that it stays.
        ASSERT_TRUE(log_->Put({MessageOf("theirs", "missing")}).ok());
        world_.Sleep(absl::Seconds(3));
        Ticket behind = producer.Send(MessageOf("behind"));
        const SendOutcome outcome = Await(behind);
        EXPECT_TRUE(outcome.status.ok()) << outcome.status;
        EXPECT_TRUE(outcome.is_spooled);
        world_.topics().CreateTopic("missing", 1);
        world_.topics().CreateTopic("missing.once-marks", 1);
        world_.Sleep(absl::Seconds(60));
        Ticket again = producer.Send(MessageOf("direct again"));
        EXPECT_FALSE(Await(again).is_spooled);
        EXPECT_THAT(world_.Values("t"), ElementsAre("direct", "behind", "direct again"));
        EXPECT_THAT(world_.Values("missing"), ElementsAre("theirs"));
      },
      SpoolMode::kWhenUnreachable);
}

TEST_F(SpoolInALog, WhatItCanLoseIsSaidWhenItIsOpenedAndWhenItComesTrue) {
  log_->durability = Durability::kProcess;
  Run([this](Producer&) {
    const auto said = [this] {
      int lines = 0;
      for (const std::string& line : world_.log().messages()) {
        lines += line.find("spool_not_durable") != std::string::npos ? 1 : 0;
      }
      return lines;
    };
    EXPECT_EQ(said(), 1);
    log_->durability = Durability::kNothing;
    world_.Sleep(absl::Seconds(5));
    EXPECT_EQ(said(), 2);
  });
}

TEST_F(SpoolInALog, ASpoolHasOnePlace) {
  SpoolOptions options;
  options.log = log_;
  options.store = memory::OpenStore({});
  options.producer = world_.Options();
  const absl::Status refused = OpenSpool(std::move(options)).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(refused.ToString(), HasSubstr("both set"));
}

}  // namespace
}  // namespace once
