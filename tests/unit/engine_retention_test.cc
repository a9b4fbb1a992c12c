// Log time: what the engine tells the store of a partition's age, and that a partition does not
// begin over a store that forgets ids sooner than their last copy may come.
#include <limits>

#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::int64_t kFarFuture = 4'000'000'000'000;  // 2096

class EngineRetention : public EngineTest {
 protected:
  EngineRetention() { store_->SetDurability(Durability::kMachine, ""); }

  void SendAt(const TopicPartition& partition, std::string id, std::int64_t timestamp_ms) {
    log_->Append(partition,
                 {.value = "v", .headers = {{"id", std::move(id)}}, .timestamp_ms = timestamp_ms});
  }
  std::int64_t LogTimeOf(const TopicPartition& partition) {
    const auto applied = store_->FindRow(KeyOf(partition)).last_applied;
    return applied ? applied->log_time_ms : -2;
  }
  std::int64_t now_ms() { return absl::ToUnixMillis(clock_->Now()); }
};

TEST_F(EngineRetention, LogTimeIsTheEarliestRecordTimeOfEachBatch) {
  const std::int64_t sent = now_ms() - 10'000;
  SendAt(kOrders0, "a", sent);
  SendAt(kOrders0, "b", sent + 500);
  SendAt(kOrders0, "c", sent + 200);
  SendAt(kOrders1, "d", sent - 700);
  StartAndSettle({kOrders0, kOrders1});
  EXPECT_EQ(LogTimeOf(kOrders0), sent);
  EXPECT_EQ(LogTimeOf(kOrders1), sent - 700);
  SendAt(kOrders0, "e", sent + 300);
  SendAt(kOrders0, "f", sent + 100);
  Settle();
  EXPECT_EQ(LogTimeOf(kOrders0), sent + 100);
  SendAt(kOrders0, "g", sent - 100);
  Settle();
  EXPECT_EQ(LogTimeOf(kOrders0), sent + 100) << "it never goes back";
}

TEST_F(EngineRetention, ItGoesOnFromTheRowAfterARestart) {
  const std::int64_t sent = now_ms() - 10'000;
  SendAt(kOrders0, "a", sent);
  StartAndSettle({kOrders0});
  SendAt(kOrders0, "b", sent - 5'000);
  Restart({kOrders0});
  Settle();
  ASSERT_EQ(PositionOf(kOrders0), 2);
  EXPECT_EQ(LogTimeOf(kOrders0), sent);
}

TEST_F(EngineRetention, ARecordFromTheFutureCountsAsOfItsReceipt) {
  SendAt(kOrders0, "a", kFarFuture);
  const std::int64_t received = now_ms();
  StartAndSettle({kOrders0});
  EXPECT_EQ(LogTimeOf(kOrders0), received);
}

TEST_F(EngineRetention, OneFromTheFutureInABacklogAgesNothing) {
  const std::int64_t sent = now_ms() - absl::ToInt64Milliseconds(absl::Hours(24 * 60));
  SendAt(kOrders0, "a", sent);
  SendAt(kOrders0, "b", kFarFuture);
  SendAt(kOrders0, "c", sent + 500);
  StartAndSettle({kOrders0});
  EXPECT_EQ(LogTimeOf(kOrders0), sent);
}

TEST_F(EngineRetention, WhileNothingIsAppliedItStandsStill) {
  const std::int64_t sent = now_ms() - 10'000;
  SendAt(kOrders0, "a", sent);
  StartAndSettle({kOrders0});
  Advance(absl::Hours(240));
  Settle();
  EXPECT_EQ(LogTimeOf(kOrders0), sent);
}

TEST_F(EngineRetention, WithoutRecordTimesItIsNotKnown) {
  SendAt(kOrders0, "a", -1);
  StartAndSettle({kOrders0});
  EXPECT_EQ(LogTimeOf(kOrders0), -1);
}

TEST_F(EngineRetention, AStoreThatForgetsTooSoonStopsThePartitionBeforeAnythingIsHandled) {
  store_->SetRetention(absl::Hours(24 * 7));
  log_->SetRetention(absl::Hours(24 * 7));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), IsEmpty());
  EXPECT_THAT(StopReason(), HasSubstr("raise StoreOptions::retention"));
  EXPECT_EQ(consumer_->guarantee().level, GuaranteeLevel::kEffectivelyOnceRollbackSafe)
      << "nothing is handled that could be repeated";
  EXPECT_EQ(metrics_->counter("once_start_findings_total retention_short"), 1);
}

TEST_F(EngineRetention, OneThatKeepsIdsLongEnoughIsTrusted) {
  store_->SetRetention(absl::Hours(24 * 8));
  log_->SetRetention(absl::Hours(24 * 7));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_EQ(consumer_->guarantee().level, GuaranteeLevel::kEffectivelyOnceRollbackSafe);
}

TEST_F(EngineRetention, WhoeverAcceptsItIsToldThatTheGuaranteeFell) {
  store_->SetRetention(absl::Hours(1));
  log_->SetRetention(absl::Hours(24));
  options_.short_retention = ShortRetention::kWarn;
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_THAT(events_->actions(), Contains("retention_short"));
  EXPECT_EQ(consumer_->guarantee().level, GuaranteeLevel::kAtLeastOnce);
  Advance(absl::Seconds(10));
  Settle();
  EXPECT_THAT(events_->actions(), Contains("guarantee_lowered"));
  EXPECT_EQ(metrics_->gauge("once_guarantee_level"),
            static_cast<double>(GuaranteeLevel::kAtLeastOnce));
}

TEST_F(EngineRetention, ABrokerThatDoesNotSayIsAWarning) {
  store_->SetRetention(absl::Hours(1));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(effects(), ElementsAre("a"));
  EXPECT_THAT(events_->actions(), Contains("retention_unknown"));
  EXPECT_EQ(consumer_->guarantee().level, GuaranteeLevel::kAtLeastOnce);
}

TEST_F(EngineRetention, ABrokerThatIsAwayIsAskedAgain) {
  store_->SetRetention(absl::Hours(1));
  log_->FailRetention(absl::DeadlineExceededError("no answer"));
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(invoked(), IsEmpty());
  log_->SetRetention(absl::Hours(24));
  Advance(absl::Seconds(10));
  Settle();
  EXPECT_THAT(StopReason(), HasSubstr("raise StoreOptions::retention"));
}

TEST_F(EngineRetention, OfAStoreThatNeverForgetsNobodyAsksTheBroker) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_THAT(events_->actions(), Not(Contains("retention_unknown")));
}

TEST_F(EngineRetention, AStoreThatComesToKeepLessIsReportedOnce) {
  Send(kOrders0, "a");
  StartAndSettle({kOrders0});
  EXPECT_EQ(metrics_->gauge("once_guarantee_level"),
            static_cast<double>(GuaranteeLevel::kEffectivelyOnceRollbackSafe));
  store_->SetDurability(Durability::kProcess, "it failed over to a machine that lags behind");
  for (int i = 0; i < 3; ++i) {
    Advance(absl::Seconds(10));
    Settle();
  }
  const std::vector<std::string> actions = events_->actions();
  EXPECT_EQ(std::count(actions.begin(), actions.end(), "guarantee_lowered"), 1);
  EXPECT_THAT(events_->messages(), Contains(HasSubstr("failed over to a machine that lags")));
  EXPECT_EQ(metrics_->gauge("once_guarantee_level"),
            static_cast<double>(GuaranteeLevel::kEffectivelyOnce));
}

}  // namespace
}  // namespace once
