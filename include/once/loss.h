// What a consumer does about messages that never arrive. Producers that number their messages
// (sequence.h) let it see which ones are missing; messages without a stamp pass as they always did.
//
//   .loss = {.mode = LossMode::kReport, .on_loss = [](const LossEvent& event) { … }}
//
// Source of the protocol: docs/loss-detection.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/mark_source.h"
#include "once/position.h"

namespace once {

enum class LossMode : std::uint8_t {
  kOff,      // stamps are not looked at
  kObserve,  // events and metrics; what is known ends with the process or the assignment
  // The same, and what is known is kept in the store, in the transaction of the messages: it
  // survives restarts and rebalances, and `once loss report` names what is missing. Transactional
  // handlers; with a plain one it is kObserve.
  kReport,
};

enum class LossKind : std::uint8_t {
  kSuspected,  // missing for longer than gap_grace
  kRecovered,  // arrived, or declared void, after it was suspected
  kGivenUp,    // missing, and no longer looked for: the stream has more gaps than ranges_max
};

// "suspected", "recovered", "given_up".
std::string_view ToString(LossKind kind);

// Of one producer's incarnation in one partition: the numbers from `first` to `last`.
struct LossEvent {
  LossKind kind = LossKind::kSuspected;
  TopicPartition partition;
  std::string producer;
  std::uint64_t epoch = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};

// Of LossOptions::streams_max …
inline constexpr std::size_t kTrackedStreamsMax = 10'000'000;
// … and of LossOptions::ranges_max: so many fit into one note of a store.
inline constexpr std::size_t kMissingRangesMax = 30'000;

struct LossOptions {
  LossMode mode = LossMode::kOff;
  // How long a number may be missing before it is suspected to be lost: in log time
  // (AppliedRecord::log_time_ms), and in the consumer's own time where a partition is read to its
  // end. Longer than producers try to send.
  absl::Duration gap_grace = absl::Minutes(5);
  // Streams in memory per partition; the others are read from the store when they are met, or, in
  // kObserve, begun anew.
  std::size_t streams_max = 100'000;
  // Missing ranges per stream, up to kMissingRangesMax; beyond it the oldest is given up.
  std::size_t ranges_max = 4096;
  // Where producers say how far they have come and what they have given up, e.g. kafka::OpenMarks.
  // Null: a lost tail is not seen before something follows it, and what was given up is missing.
  std::shared_ptr<MarkSource> marks;
  // Called on the polling thread, after the transaction that found it has ended; must be quick, and
  // may see one event twice, or not at all if the process dies in between: the report has them all.
  std::function<void(const LossEvent&)> on_loss;
};

// kInvalidArgument, naming the field and the rule.
absl::Status ValidateLossOptions(const LossOptions& options);

}  // namespace once
