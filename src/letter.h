// MakeLetter: the outbox row, or the message to publish, for a message that is dead-lettered; and
// what the log says of one that is discarded instead.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "once/dead_letter.h"
#include "once/outbox.h"
#include "once/outcome.h"

namespace once {

struct LetterRequest {
  const DeadLetterSink& sink;
  const PartitionKey& origin;
  const Message& message;
  const DeadLetterReason& reason;
};

// kFailedPrecondition, naming the message and the way out, when there is no publisher; kInternal
// when the user's topic function throws.
absl::StatusOr<OutboxRow> MakeLetter(const LetterRequest& request);

// Why a message is discarded whose handler said `outcome`, for the log: its own word, or that of
// RetryPolicy::give_up.
std::string DescribeSkip(const Outcome& outcome);

}  // namespace once
