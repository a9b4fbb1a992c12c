// Names and rules of loss detection.
#include "once/loss.h"

#include <string>

namespace once {

std::string_view ToString(LossKind kind) {
  switch (kind) {
    case LossKind::kSuspected:
      return "suspected";
    case LossKind::kRecovered:
      return "recovered";
    case LossKind::kGivenUp:
      return "given_up";
  }
  return "unknown";
}

absl::Status ValidateLossOptions(const LossOptions& options) {
  if (options.gap_grace < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("loss.gap_grace: must not be negative");
  }
  if (options.streams_max < 2 || options.streams_max > kTrackedStreamsMax) {
    return absl::InvalidArgumentError("loss.streams_max: must be at least 2 and at most " +
                                      std::to_string(kTrackedStreamsMax));
  }
  if (options.ranges_max < 1 || options.ranges_max > kMissingRangesMax) {
    return absl::InvalidArgumentError("loss.ranges_max: must be at least 1 and at most " +
                                      std::to_string(kMissingRangesMax));
  }
  return absl::OkStatus();
}

}  // namespace once
