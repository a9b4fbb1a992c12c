// The log time of a partition, as the engine writes it into the row: what ids age by.
#include "tests/unit/engine_fixture.h"

namespace once {
namespace {

class EngineLogTime : public EngineTest {
 protected:
  void SendAt(std::string id, std::int64_t timestamp_ms) {
    log_->Append(kOrders0,
                 {.value = "v", .headers = {{"id", std::move(id)}}, .timestamp_ms = timestamp_ms});
  }
  std::int64_t NowMs() { return absl::ToUnixMillis(clock_->Now()); }
  std::int64_t LogTime() {
    const StoredPosition row = store_->FindRow(KeyOf(kOrders0));
    return row.last_applied ? row.last_applied->log_time_ms : -1;
  }
};

TEST_F(EngineLogTime, IsTheGreatestOfWhatWasApplied) {
  SendAt("a", NowMs() - 5000);
  SendAt("b", NowMs() - 9000);
  StartAndSettle({kOrders0});
  EXPECT_EQ(LogTime(), NowMs() - 5000);
  SendAt("c", NowMs() - 7000);
  Settle();
  EXPECT_EQ(LogTime(), NowMs() - 5000);
  SendAt("d", NowMs() - 1000);
  Settle();
  EXPECT_EQ(LogTime(), NowMs() - 1000);
}

TEST_F(EngineLogTime, IsThePresentAtMostWhateverARecordSays) {
  SendAt("from 2099", 4'070'908'800'000);
  StartAndSettle({kOrders0});
  EXPECT_EQ(LogTime(), NowMs());
}

TEST_F(EngineLogTime, StandsStillWithItsPartition) {
  SendAt("a", NowMs() - 5000);
  const std::int64_t then = NowMs() - 5000;
  StartAndSettle({kOrders0});
  Advance(absl::Hours(24 * 10));
  Settle();
  EXPECT_EQ(LogTime(), then);
}

TEST_F(EngineLogTime, OfARecordWithoutATimestampIsItsReceipt) {
  SendAt("a", -1);
  StartAndSettle({kOrders0});
  EXPECT_EQ(LogTime(), NowMs());
}

TEST_F(EngineLogTime, DoesNotGoBackWithTheNextProcess) {
  SendAt("a", NowMs() - 5000);
  const std::int64_t then = NowMs() - 5000;
  StartAndSettle({kOrders0});
  SendAt("b", NowMs() - 90'000);
  Restart({kOrders0});
  Settle();
  EXPECT_EQ(LogTime(), then);
  EXPECT_EQ(PositionOf(kOrders0), 2);
}

}  // namespace
}  // namespace once
