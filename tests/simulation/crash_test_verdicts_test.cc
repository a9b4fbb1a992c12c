// Each verdict of RunEveryCrash is worth what it catches: here the store between engine and data is
// the wrong one, and the handler is right.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "once/memory/store.h"
#include "once/testing/crash_test.h"
#include "src/test_hooks.h"
#include "tests/simulation/wrapped_seams.h"

namespace once::testing {
namespace {

// The position of whatever is committed is the end of the log.
class PositionAtTheEnd : public WrappedTransaction {
 public:
  using WrappedTransaction::WrappedTransaction;
  absl::Status SetPositions(std::span<const PositionUpdate> updates) override {
    std::vector<PositionUpdate> ends(updates.begin(), updates.end());
    for (PositionUpdate& end : ends) end.position = 3;
    return inner_->SetPositions(ends);
  }
};

// `Store` around a memory store that outlives the processes; one message per batch.
template <typename Store>
CrashTest TestOver(CrashHandler handler) {
  const auto store = std::make_shared<std::shared_ptr<DedupStore>>();
  return {
      .open_store = [store](const CrashWorld&) { return *store; },
      .reset =
          [store](const CrashWorld& world) {
            *store = std::make_shared<Store>(memory::OpenStore({.now = world.now}));
            return absl::OkStatus();
          },
      .messages = {{.id = "a", .value = "1"}, {.id = "b", .value = "2"}, {.id = "a", .value = "1"}},
      .handler = std::move(handler),
      .messages_per_poll = 1};
}

absl::Status Transactional(const Message&, Transaction&) { return absl::OkStatus(); }
absl::Status Plain(const Message&) { return absl::OkStatus(); }

CrashVerdict VerdictOf(const CrashReport& report) {
  EXPECT_TRUE(report.error.ok()) << report;
  EXPECT_EQ(report.ok(), !report.witness.has_value());
  return report.witness.has_value() ? report.witness->verdict : CrashVerdict::kFine;
}

TEST(CrashVerdicts, AHandlerThatIsCommittedTwiceForOneIdIsTwice) {
  const CrashReport report = RunEveryCrash(TestOver<StoreOf<IdsNeverFound>>(Transactional));
  EXPECT_EQ(VerdictOf(report), CrashVerdict::kTwice) << report;
  EXPECT_NE(report.witness->what.find("\"a\""), std::string::npos) << report;
}

TEST(CrashVerdicts, AMessageThatIsPassedOverIsLost) {
  const CrashReport report = RunEveryCrash(TestOver<StoreOf<PositionAtTheEnd>>(Transactional));
  EXPECT_EQ(VerdictOf(report), CrashVerdict::kLost) << report;
  EXPECT_NE(report.witness->what.find("\"a\""), std::string::npos) << report;
}

TEST(CrashVerdicts, ARepetitionThatNobodyAnnouncesIsUnannounced) {
  const CrashReport report = RunEveryCrash(TestOver<ClaimsOf<TakeoverIsFresh>>(Plain));
  EXPECT_EQ(VerdictOf(report), CrashVerdict::kUnannounced) << report;
}

// The engine itself, with bugs that its test build can switch on.
class WrongEngine : public ::testing::TestWithParam<std::pair<const char*, CrashVerdict>> {};

TEST_P(WrongEngine, IsCaughtWithoutAnyCheckOfTheUsers) {
  if (!test_hooks::AreCompiledIn()) GTEST_SKIP() << "this build has no switches in its engine";
  const auto [bug, verdict] = GetParam();
  CrashTest test = TestOver<WrappedStore>(Transactional);
  test.messages_per_poll = 1000;
  EXPECT_EQ(VerdictOf(RunEveryCrash(test)), CrashVerdict::kFine);
  ASSERT_TRUE(test_hooks::PlantBug(bug));
  const CrashReport report = RunEveryCrash(test);
  test_hooks::PlantBug("");
  EXPECT_EQ(VerdictOf(report), verdict) << report;
}

INSTANTIATE_TEST_SUITE_P(
    Engine, WrongEngine,
    ::testing::Values(std::pair("unknown-commit-settles", CrashVerdict::kStuck),
                      std::pair("position-set-at-begin", CrashVerdict::kLost)),
    [](const ::testing::TestParamInfo<std::pair<const char*, CrashVerdict>>& one) {
      std::string name = one.param.first;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

}  // namespace
}  // namespace once::testing
