// An IdLog on a storage that fails: at every call in turn, in every way, survived in every way; and
// on long random walks. Afterwards the log agrees with the truth that the storage kept beside it.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/id_log/log_user.h"

namespace once::stores {
namespace {

constexpr IdLogOptions kTiny = {.recent = {.bytes_max = 4096, .chunk_bytes = 512},
                                .page_bytes = 256,
                                .merge = {.runs_max = 1},
                                .seal_bytes = 2048,
                                .seal_segments = 5};

PutRow Put(const std::string& id, const IdRecord& record, const std::string& extra = "") {
  return {.key = {"scope", id}, .row = {.record = record, .extra = extra}};
}

constexpr IdRecord kRetrying = {.state = IdState::kRetrying, .attempt = 2};

// Everything that a log does, once or twice. A step that fails is not repeated; the next one comes.
void PlayStep(int step, LogUser& user) {
  const auto number = static_cast<std::uint64_t>(step);
  switch (step) {
    case 0:
      return user.Transact({Put("a", Completed(1)), Put("b", Completed(2)), Put("c", kRetrying)},
                           1);
    case 1:
      return user.Transact({Put("c", Completed(3)), Put("d", {.state = IdState::kClaimed}, "me")},
                           2, false);
    case 2:
    case 5:
    case 6:
      user.Compact(step != 6);  // 6: a merge
      return;
    case 3:
      return user.Transact({Put("a", {}), Put("b", Completed(9)), Put("d", Completed(4))}, 3);
    case 4:
      return user.TransactWithSavepoint({Put("e", Completed(number))}, {Put("b", kRetrying)}, 4);
    case 7:
    case 11:
      return user.DropAll();
    case 8:
      return user.Transact({Put("a", Completed(5)), Put("f", {.state = IdState::kDead})}, 9, false);
    case 9:
      return user.Transact({Put("f", {}), Put("g", Completed(6))}, 10);
    default:
      return user.Expire(5);
  }
}
constexpr int kSteps = 12;

// How many calls the play made.
std::uint64_t Play(std::uint64_t fail_at, Fault fault, Restart restart) {
  LogUser user(kTiny);
  std::mt19937_64 random(fail_at);
  user.storage().FailCall(fail_at, fault);
  for (int step = 0; step < kSteps; ++step) {
    PlayStep(step, user);
    user.ReopenIfDead(restart, random);
  }
  // The end of a play: what was planned for later strikes nobody.
  user.storage().FailNoCall();
  user.Check();
  const std::uint64_t calls = user.storage().calls();
  user.Reopen(restart, random);
  user.Check();
  user.Compact(true);
  user.DropAll();
  user.Check();
  return calls;
}

class IdLogFaults : public ::testing::TestWithParam<Fault> {};

TEST_P(IdLogFaults, StrikeAtEveryCallAndNothingIsLostOrMadeUp) {
  const std::uint64_t calls = Play(UINT64_MAX / 2, Fault::kError, Restart::kKill);
  EXPECT_GT(calls, std::uint64_t{kSteps});  // a step is one call at least, most are several
  for (const Restart restart : kRestarts) {
    for (std::uint64_t call = 0; call < calls; ++call) {
      Play(call, GetParam(), restart);
      ASSERT_FALSE(HasFailure()) << "call " << call << ", restart " << static_cast<int>(restart);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, IdLogFaults, ::testing::ValuesIn(kFaults));

IdRecord RandomRecord(std::mt19937_64& random) {
  switch (random() % 8) {
    case 0:
      return {};
    case 1:
      return {.state = IdState::kRetrying,
              .attempt = static_cast<int>(random() % 9),
              .not_before = absl::FromUnixMicros(static_cast<std::int64_t>(random() % 1000))};
    case 2:
      return {.state = IdState::kDead, .fingerprint = {.high = random(), .low = 1}};
    case 3:
      return Completed(random(), static_cast<int>(random() % 100'000));
    default:
      return Completed(random() % 2);
  }
}

std::vector<PutRow> RandomRows(std::mt19937_64& random, std::size_t max) {
  std::vector<PutRow> rows(random() % max);
  for (PutRow& put : rows) {
    const std::uint64_t number = random() % 400;
    put.key = {"scope" + std::to_string(number % 3), std::to_string(number)};
    if (number % 5 == 0)
      put.key.second = "00112233445566778899aabbccdd" + std::to_string(1000 + number);
    put.row.record = RandomRecord(random);
    const bool has_extra = put.row.record.state != IdState::kCompleted &&
                           put.row.record.state != IdState::kAbsent && random() % 2 == 0;
    if (has_extra) put.row.extra = "extra" + std::to_string(random() % 100);
  }
  return rows;
}

class IdLogWalk : public ::testing::TestWithParam<std::uint64_t> {};

TEST_P(IdLogWalk, AgreesWithAPlainMapWhateverHappens) {
  std::mt19937_64 random(GetParam());
  IdLogOptions options = kTiny;
  options.recent.bytes_max = 512 * (1 + random() % 40);
  options.page_bytes = 256 + random() % 512;
  options.merge.runs_max = 1 + random() % 4;
  options.reload_bytes = random() % 3 * 2000;
  LogUser user(options);
  std::int64_t log_time_ms = 0;
  for (int step = 0; step < 400; ++step) {
    if (random() % 10 == 0) {
      user.storage().FailCall(random() % 12, kFaults[random() % std::size(kFaults)]);
    }
    log_time_ms += static_cast<std::int64_t>(random() % 10);
    switch (random() % 12) {
      case 0:
        user.StartCompaction(random() % 2 == 0);
        break;
      case 1:
      case 2:
      case 3:
        user.StepCompaction(random() % 2000);
        break;
      case 4:
        user.DropAll();
        break;
      case 5:
        if (random() % 4 == 0) user.Expire(log_time_ms - 400);
        break;
      case 6:
        if (random() % 4 == 0) user.Reopen(kRestarts[random() % std::size(kRestarts)], random);
        break;
      default:
        user.Transact(RandomRows(random, 30), log_time_ms, random() % 2 == 0);
    }
    user.ReopenIfDead(kRestarts[random() % std::size(kRestarts)], random);
    if (step % 20 != 0) continue;
    user.storage().FailNoCall();
    user.Check();
    ASSERT_FALSE(HasFailure()) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, IdLogWalk, ::testing::Range<std::uint64_t>(0, 40));

}  // namespace
}  // namespace once::stores
