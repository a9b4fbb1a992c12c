// Losses as a consumer with a plain handler sees them: it has no row that an operator could move.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/sequence.h"
#include "tests/unit/engine_claims_fixture.h"

namespace once {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const TopicPartition kOrders = {"orders", 0};

class EngineClaimsLossTest : public EngineClaimsTest {
 protected:
  EngineClaimsLossTest() {
    options_.loss = {.mode = LossMode::kObserve,
                     .gap_grace = absl::Minutes(5),
                     .on_loss = [this](const LossEvent& event) {
                       told_.push_back(absl::StrCat(std::string(ToString(event.kind)), " ",
                                                    event.first, "-", event.last));
                     }};
  }

  void SendNumber(std::uint64_t number) {
    const std::string name =
        StreamName(kOrders.topic, kOrders.partition, {.producer = "shop-1", .epoch = 7});
    log_->Append(kOrders,
                 {.value = "v",
                  .headers = {{"id", absl::StrCat(number)},
                              {std::string(kSequenceHeader), EncodeStamp(name, number, false)}},
                  .timestamp_ms = absl::ToUnixMillis(clock_->Now())});
  }

  std::vector<std::string> told_;
};

TEST_F(EngineClaimsLossTest, WhatIsMissingBehindAHoleIsNotExcused) {
  SendNumber(1);
  log_->AppendHole(kOrders);  // the end of an aborted transaction
  StartAndSettle({kOrders});
  SendNumber(3);
  Settle();
  SettleAfter(absl::Minutes(6));
  SettleAfter(absl::Minutes(6));

  EXPECT_THAT(told_, ElementsAre("suspected 2-2"));
}

TEST_F(EngineClaimsLossTest, AHoleAloneProvesNothing) {
  SendNumber(1);
  log_->AppendHole(kOrders);
  StartAndSettle({kOrders});
  SendNumber(2);
  Settle();
  SettleAfter(absl::Minutes(6));
  SettleAfter(absl::Minutes(6));

  EXPECT_THAT(told_, IsEmpty());
}

}  // namespace
}  // namespace once
