// The id of a message that is sent. Thread-safety: as the Random.
#pragma once

#include "absl/status/status.h"
#include "once/executor.h"
#include "once/producer.h"
#include "src/pending_send.h"

namespace once {

// As IdentifyOutgoing (once/send_id.h); `pending` gets the id, also one that is refused.
absl::Status IdentifySend(OutgoingMessage& message, const IdOptions& ids, Random& random,
                          PendingSend& pending);

}  // namespace once
