// RunEveryCrash over the in-memory store: right handlers pass, wrong ones are caught.
#include "once/testing/crash_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/memory/store.h"

namespace once::testing {
namespace {

const std::vector<CrashMessage> kOrders = {
    {.id = "a", .value = "1"}, {.id = "b", .value = "2"}, {.id = "a", .value = "1"}};

// A store in memory that outlives the processes, as a server does, and another system beside it.
struct World {
  std::shared_ptr<memory::Store> store;
  std::vector<std::string> elsewhere;

  CrashTest Test(CrashHandler handler) {
    return {.open_store = [this](const CrashWorld&) { return store; },
            .reset =
                [this](const CrashWorld& world) {
                  store = memory::OpenStore({.now = world.now});
                  elsewhere.clear();
                  return absl::OkStatus();
                },
            .messages = kOrders,
            .handler = std::move(handler)};
  }
};

absl::Status EachOnce(std::vector<std::string> rows, std::vector<std::string> expected) {
  std::sort(rows.begin(), rows.end());
  std::sort(expected.begin(), expected.end());
  if (rows == expected) return absl::OkStatus();
  std::string text = "there are the effects";
  for (const std::string& row : rows) text += " " + row;
  return absl::InternalError(text);
}

absl::Status Book(const Message& message, Transaction& transaction) {
  memory::Records(transaction)->Append("booked", message.id());
  return absl::OkStatus();
}

const CrashPoint* Find(const CrashReport& report, std::string_view name) {
  for (const CrashPoint& point : report.points) {
    if (point.name == name) return &point;
  }
  return nullptr;
}

TEST(CrashTest, ARightTransactionalHandlerSurvivesEveryCrash) {
  World world;
  CrashTest test = world.Test(Book);
  test.check = [&](const CrashWorld&) {
    return EachOnce(world.store->ReadRecords("booked"), {"a", "b"});
  };
  test.seeds = 100;
  const CrashReport report = RunEveryCrash(test);
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_EQ(report.executions, 1 + report.singles + report.pairs + test.seeds);
  EXPECT_EQ(report.pairs, test.pairs_max);
  EXPECT_GT(report.pairs_possible, report.pairs);
  for (const char* name : {"commit/failure", "commit/unknown-applied", "commit/unknown-not-applied",
                           "commit/crash-before", "commit/crash-after", "begin/crash-before",
                           "handler/crash-before", "handler/crash-after", "poll/crash-after"}) {
    EXPECT_NE(Find(report, name), nullptr) << name << "\n" << report;
  }
}

TEST(CrashTest, TwoPartitionsOneByOneWithARejectAFailureAndASkipSurviveToo) {
  World world;
  std::map<std::string, int> failures;
  CrashTest test = world.Test([&](const Message& message, Transaction& transaction) -> Outcome {
    if (message.id() == "reject") return Reject("no such account");
    if (message.id() == "skip") return Skip("a test order");
    if (message.id() == "fail" && ++failures["fail"] == 1) return Retry("not yet");
    return Book(message, transaction);
  });
  test.messages = {{.id = "a", .value = "1"},
                   {.id = "reject", .value = "2"},
                   {.id = "fail", .value = "3", .partition = 1},
                   {.id = "skip", .value = "4", .partition = 1},
                   {.id = "a", .value = "another", .partition = 1}};
  const auto reset = test.reset;
  test.reset = [&](const CrashWorld& fresh) {
    failures.clear();
    return reset(fresh);
  };
  test.check = [&](const CrashWorld& done) {
    std::set<std::string> rejected;
    for (const OutgoingMessage& letter : done.letters) rejected.insert(*letter.value);
    // Either value may come first; the other one is in conflict with it.
    if (rejected.size() != 2 || !rejected.contains("2")) return absl::InternalError("the letters");
    return EachOnce(world.store->ReadRecords("booked"), {"a", "fail"});
  };
  test.pairs_max = 300;
  const CrashReport report = RunEveryCrash(test);
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_TRUE(report.never_reached.empty()) << report;
}

TEST(CrashTest, AnEffectOutsideOfTheTransactionIsSeenTwice) {
  World world;
  CrashTest test = world.Test([&](const Message& message, Transaction&) {
    world.elsewhere.emplace_back(message.id());  // a second connection, a file, a mail
    return absl::OkStatus();
  });
  test.check = [&](const CrashWorld&) { return EachOnce(world.elsewhere, {"a", "b"}); };
  const CrashReport report = RunEveryCrash(test);
  ASSERT_TRUE(report.witness.has_value()) << report;
  EXPECT_EQ(report.witness->verdict, CrashVerdict::kWrongState) << report;
  EXPECT_EQ(report.witness->faults.size(), 1u) << report;
  EXPECT_EQ(Find(report, "commit/unknown-not-applied")->verdict, CrashVerdict::kWrongState);
  EXPECT_EQ(Find(report, "commit/crash-before")->verdict, CrashVerdict::kWrongState);
  // What strikes before the handler, or after the commit, does no harm.
  EXPECT_EQ(Find(report, "begin/crash-before")->verdict, CrashVerdict::kFine);
  EXPECT_EQ(Find(report, "commit/crash-after")->verdict, CrashVerdict::kFine);
  EXPECT_EQ(report.pairs, 0);
}

TEST(CrashTest, ASwallowedErrorIsAnEffectThatIsMissing) {
  World world;
  CrashTest test = world.Test([](const Message& message, Transaction& transaction) {
    // The ledger that the booking asks first; its failure is only logged.
    if (MayFail("ledger").ok()) memory::Records(transaction)->Append("booked", message.id());
    return absl::OkStatus();
  });
  test.check = [&](const CrashWorld&) {
    return EachOnce(world.store->ReadRecords("booked"), {"a", "b"});
  };
  const CrashReport report = RunEveryCrash(test);
  ASSERT_TRUE(report.witness.has_value()) << report;
  ASSERT_NE(Find(report, "handler:ledger/failure"), nullptr) << report;
  EXPECT_EQ(Find(report, "handler:ledger/failure")->verdict, CrashVerdict::kWrongState);
  EXPECT_EQ(Find(report, "commit/unknown-not-applied")->verdict, CrashVerdict::kFine) << report;
}

// A bank that books every call, or one per idempotency key.
struct Bank {
  std::vector<std::string> booked;
  std::set<std::string> keys;

  void Charge(const Message& message) { booked.emplace_back(message.id()); }
  void ChargeOnce(const Message& message) {
    if (keys.insert(message.idempotency_key()).second) Charge(message);
  }
};

CrashTest WithBank(World& world, Bank& bank, CrashHandler handler) {
  CrashTest test = world.Test(std::move(handler));
  test.reset = [&, reset = test.reset](const CrashWorld& fresh) {
    bank = {};
    return reset(fresh);
  };
  test.check = [&](const CrashWorld&) { return EachOnce(bank.booked, {"a", "b"}); };
  return test;
}

TEST(CrashTest, APlainHandlerThatIgnoresThatItMayBeRepeatedIsShownWhen) {
  World world;
  Bank bank;
  const CrashReport report = RunEveryCrash(WithBank(world, bank, [&](const Message& message) {
    bank.Charge(message);
    return absl::OkStatus();
  }));
  ASSERT_TRUE(report.witness.has_value()) << report;
  EXPECT_EQ(report.witness->verdict, CrashVerdict::kWrongState) << report;
  EXPECT_NE(report.witness->what.find("maybe_repeated()"), std::string::npos) << report;
  EXPECT_EQ(Find(report, "plain-handler/crash-after")->verdict, CrashVerdict::kWrongState);
  EXPECT_GT(report.announced_repeats, 0);
}

TEST(CrashTest, APlainHandlerThatPassesTheKeyOnSurvives) {
  World world;
  Bank bank;
  CrashTest test = WithBank(world, bank, [&](const Message& message) {
    MayCrash("before the charge");
    bank.ChargeOnce(message);
    if (const absl::Status lost = MayFail("the answer"); !lost.ok()) return lost;
    MayCrash("after the charge");
    return absl::OkStatus();
  });
  const CrashReport report = RunEveryCrash(test);
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_GT(report.announced_repeats, 0) << report;
  for (const char* name : {"plain-handler/crash-after", "complete/unknown-not-applied",
                           "sync/crash-before", "handler:after the charge/crash"}) {
    EXPECT_NE(Find(report, name), nullptr) << name << "\n" << report;
  }
}

TEST(CrashTest, ADownstreamThatIsAskedSettlesWhatMayHaveHappened) {
  World world;
  Bank bank;
  CrashTest test = WithBank(world, bank, [&](const Message& message) {
    bank.Charge(message);
    MayCrash("after the charge");
    return absl::OkStatus();
  });
  test.claims.on_lost = LostClaim::kReconcile;
  test.claims.reconcile = [&](const Message& message) {
    const bool has_it = std::count(bank.booked.begin(), bank.booked.end(), message.id()) > 0;
    return has_it ? Reconciled::kHappened : Reconciled::kNotHappened;
  };
  const CrashReport report = RunEveryCrash(test);
  EXPECT_TRUE(report.ok()) << report;
}

TEST(CrashTest, MemoryOfTheHandlerDoesNotSurviveTheProcess) {
  World world;
  // Remembers what it has done, as if it lived for ever.
  CrashTest test = world.Test(
      [&world, seen = std::set<std::string>()](const Message& message, Transaction&) mutable {
        if (seen.emplace(message.id()).second) world.elsewhere.emplace_back(message.id());
        return absl::OkStatus();
      });
  test.check = [&](const CrashWorld&) { return EachOnce(world.elsewhere, {"a", "b"}); };
  const CrashReport report = RunEveryCrash(test);
  ASSERT_TRUE(report.witness.has_value()) << report;
  EXPECT_EQ(Find(report, "commit/crash-before")->verdict, CrashVerdict::kWrongState);
  EXPECT_EQ(Find(report, "commit/unknown-not-applied")->verdict, CrashVerdict::kFine);
}

TEST(CrashTest, AWitnessIsReplayedAlone) {
  World world;
  CrashTest test = world.Test([&](const Message& message, Transaction&) {
    world.elsewhere.emplace_back(message.id());
    return absl::OkStatus();
  });
  test.check = [&](const CrashWorld&) { return EachOnce(world.elsewhere, {"a", "b"}); };
  const CrashReport first = RunEveryCrash(test);
  ASSERT_TRUE(first.witness.has_value());
  test.replay = first.witness->choices;
  const CrashReport again = RunEveryCrash(test);
  ASSERT_TRUE(again.witness.has_value()) << again;
  EXPECT_EQ(again.executions, 1);
  EXPECT_EQ(again.witness->faults, first.witness->faults);
  EXPECT_EQ(again.witness->history, first.witness->history);
  test.replay = "what?";
  EXPECT_NE(RunEveryCrash(test).error.message().find("CrashTest::replay"), std::string::npos);
}

TEST(CrashTest, TheSameTestGivesTheSameReport) {
  World world;
  const auto run = [&] {
    CrashTest test = world.Test(Book);
    test.pairs_max = 50;
    test.seeds = 20;
    return ToJson(RunEveryCrash(test));
  };
  EXPECT_EQ(run(), run());
}

TEST(CrashTest, APartitionThatStaysStoppedIsStuckAndSaysWhy) {
  World world;
  CrashTest test = world.Test([](const Message&, Transaction&) { return Pause("closed"); });
  const CrashReport report = RunEveryCrash(test);
  ASSERT_TRUE(report.witness.has_value()) << report;
  EXPECT_EQ(report.witness->verdict, CrashVerdict::kStuck);
  EXPECT_NE(report.witness->what.find("closed"), std::string::npos) << report;
  EXPECT_TRUE(report.witness->faults.empty());
}

TEST(CrashTest, AStoreOnAnotherClockIsSaidToBeTheReason) {
  World world;
  CrashTest test = world.Test([](const Message&) { return absl::OkStatus(); });
  test.reset = [&](const CrashWorld&) {
    world.store = memory::OpenStore();
    return absl::OkStatus();
  };
  test.drain_max = absl::Minutes(2);
  const CrashReport report = RunEveryCrash(test);
  ASSERT_TRUE(report.witness.has_value()) << report;
  EXPECT_EQ(report.witness->verdict, CrashVerdict::kStuck);
  EXPECT_NE(report.witness->what.find("CrashWorld::now"), std::string::npos) << report;
}

TEST(CrashTest, AStoreThatDoesNotOpenAgainIsAFinding) {
  World world;
  int opened = 0;
  // Without a fault it is opened twice: after the end all must be settled for a new process, too.
  int opened_max = 2;
  CrashTest test = world.Test(Book);
  test.open_store = [&](const CrashWorld&) -> absl::StatusOr<std::shared_ptr<DedupStore>> {
    if (++opened > opened_max) return absl::FailedPreconditionError("it is open already");
    return world.store;
  };
  const auto reset = test.reset;
  test.reset = [&](const CrashWorld& fresh) {
    opened = 0;
    return reset(fresh);
  };
  const CrashReport report = RunEveryCrash(test);
  ASSERT_TRUE(report.witness.has_value()) << report;
  EXPECT_EQ(report.witness->verdict, CrashVerdict::kNotRestarted);
  EXPECT_EQ(Find(report, "begin/crash-before")->verdict, CrashVerdict::kNotRestarted) << report;
  EXPECT_EQ(Find(report, "begin/failure")->verdict, CrashVerdict::kFine) << report;
  opened_max = 1;
  EXPECT_NE(RunEveryCrash(test).error.message().find("it is open already"), std::string::npos);
}

TEST(CrashTest, WhatCannotBeRunSaysWhy) {
  World world;
  const auto error_of = [](const CrashTest& test) {
    return std::string(RunEveryCrash(test).error.message());
  };
  CrashTest test = world.Test(Book);
  test.messages.clear();
  EXPECT_NE(error_of(test).find("CrashTest::messages"), std::string::npos);
  test = world.Test(Book);
  test.open_store = nullptr;
  EXPECT_NE(error_of(test).find("CrashTest::open_store"), std::string::npos);
  test.open_store = [](const CrashWorld&) { return absl::NotFoundError("no such folder"); };
  EXPECT_NE(error_of(test).find("open_store: no such folder"), std::string::npos);
  test = world.Test(Book);
  test.reset = [](const CrashWorld&) { return absl::UnavailableError("no bank"); };
  EXPECT_NE(error_of(test).find("reset: no bank"), std::string::npos);
  test = world.Test(Book);
  test.messages[0].partition = 99;
  EXPECT_NE(error_of(test).find("partition 99"), std::string::npos);
}

TEST(CrashTest, WhatDependsOnAnEarlierExecutionIsRefused) {
  World world;
  int runs = 0;
  CrashTest test = world.Test([&](const Message& message, Transaction& transaction) -> Outcome {
    if (++runs % 5 == 0) return Retry("every fifth");
    return Book(message, transaction);
  });
  const CrashReport report = RunEveryCrash(test);
  EXPECT_NE(report.error.message().find("reset"), std::string::npos) << report;
}

TEST(CrashTest, TheReportIsATableAndJson) {
  World world;
  CrashTest test = world.Test([&](const Message& message, Transaction&) {
    world.elsewhere.emplace_back(message.id());
    return absl::OkStatus();
  });
  test.check = [&](const CrashWorld&) { return EachOnce(world.elsewhere, {"a", "b"}); };
  const CrashReport report = RunEveryCrash(test);
  std::ostringstream text;
  text << report;
  EXPECT_NE(text.str().find("commit/unknown-not-applied"), std::string::npos);
  EXPECT_NE(text.str().find("replay: .replay = \""), std::string::npos);
  const std::string json = ToJson(report);
  EXPECT_NE(json.find(R"("ok":false)"), std::string::npos);
  EXPECT_NE(json.find(R"("verdict":"wrong-state")"), std::string::npos);
}

TEST(CrashTest, PointsDoNothingOutsideOfATest) {
  MayCrash("anywhere");
  EXPECT_TRUE(MayFail("anywhere").ok());
}

}  // namespace
}  // namespace once::testing
