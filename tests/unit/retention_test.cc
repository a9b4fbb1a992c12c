// Which ids are old enough to be forgotten.
#include "src/stores/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/stores/id_log/id_log.h"

namespace once::stores {
namespace {

StoredPosition At(std::int64_t log_time_ms) {
  return {.last_applied = AppliedRecord{.log_time_ms = log_time_ms}};
}
PositionUpdate To(std::int64_t log_time_ms) {
  return {.last_applied = AppliedRecord{.log_time_ms = log_time_ms}};
}

TEST(Retention, TheSlowestPartitionDecides) {
  const StoredPosition positions[] = {At(90'000), At(70'000), At(80'000)};
  EXPECT_EQ(ExpiryLimit(positions, absl::Seconds(10)), 60'000);
}

TEST(Retention, NothingIsForgottenWhileOnePartitionsAgeIsUnknown) {
  const StoredPosition unknown[] = {At(90'000), At(-1)};
  EXPECT_EQ(ExpiryLimit(unknown, absl::Seconds(10)), std::nullopt);
  const StoredPosition unread[] = {At(90'000), StoredPosition{}};
  EXPECT_EQ(ExpiryLimit(unread, absl::Seconds(10)), std::nullopt);
  EXPECT_EQ(ExpiryLimit({}, absl::Seconds(10)), std::nullopt);
}

TEST(Retention, ForEverIsForEver) {
  const StoredPosition positions[] = {At(90'000)};
  EXPECT_EQ(ExpiryLimit(positions, absl::InfiniteDuration()), std::nullopt);
}

TEST(Retention, ATransactionIsAsYoungAsItsYoungestPartition) {
  const PositionUpdate updates[] = {To(5), To(9), To(7)};
  EXPECT_EQ(LogTimeOf(updates), 9);
  const PositionUpdate unknown[] = {To(5), To(-1)};
  EXPECT_EQ(LogTimeOf(unknown), kUnknownLogTime);
  const PositionUpdate one_applied[] = {PositionUpdate{}, To(5)};
  EXPECT_EQ(LogTimeOf(one_applied), 5) << "of the other one there are no ids";
  const PositionUpdate none_applied[] = {PositionUpdate{}};
  EXPECT_EQ(LogTimeOf(none_applied), kUnknownLogTime);
  EXPECT_EQ(LogTimeOf({}), kUnknownLogTime);
}

TEST(Retention, OutOfBoundsIsRefusedByName) {
  EXPECT_TRUE(CheckRetention("sqlite", absl::Hours(24)).ok());
  EXPECT_TRUE(CheckRetention("sqlite", absl::InfiniteDuration()).ok());
  for (const absl::Duration bad :
       {absl::ZeroDuration(), absl::Seconds(-5), 2 * kRetentionMax, -absl::InfiniteDuration()}) {
    EXPECT_THAT(CheckRetention("sqlite", bad).ToString(),
                ::testing::HasSubstr("StoreOptions::retention"));
  }
}

}  // namespace
}  // namespace once::stores
