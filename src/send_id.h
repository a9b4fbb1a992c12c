// The id of a message that is sent. Thread-safety: as the Random.
#pragma once

#include "absl/status/status.h"
#include "once/executor.h"
#include "once/producer.h"
#include "src/pending_send.h"

namespace once {

// As IdentifyOutgoing (once/send_id.h), of the message and the index of `pending`.
absl::Status IdentifySend(PendingSend& pending, const IdOptions& ids, Random& random);

}  // namespace once
