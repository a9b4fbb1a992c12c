// MakeLetter: the outbox row, or the message to publish, for a message that is dead-lettered.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "once/dead_letter.h"
#include "once/outbox.h"

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

}  // namespace once
