// The relay publishes committed outbox rows, at least once, and marks them. Of one destination and
// key it publishes them in commit order: the next one once the broker has acknowledged the one
// before it, or has refused it for good. It never publishes what is not committed, and never marks
// what the broker has not acknowledged.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "once/executor.h"
#include "once/log.h"
#include "once/metrics.h"
#include "once/outbox.h"
#include "once/publisher.h"

namespace once {

struct RelayContext {
  Outbox& outbox;
  Publisher& publisher;
  Executor& executor;
  LogSink& log;
  MetricsSink& metrics;
  absl::Duration publish_timeout;
};

// Rows published per round.
inline constexpr std::size_t kRelayRowsMax = 500;

struct RelayRound {
  std::size_t found = 0;      // rows that were pending
  std::size_t published = 0;  // acknowledged and marked
  std::size_t parked = 0;     // given up, kept for an operator
};

// One round. An error means that the outbox could not be read or marked; rows that the broker did
// not acknowledge stay pending and are no error.
absl::StatusOr<RelayRound> RelayOnce(const RelayContext& context);

}  // namespace once
