// The id of a message that is sent. Thread-safety: as the Random.
#pragma once

#include "absl/status/status.h"
#include "once/executor.h"
#include "once/producer.h"
#include "src/pending_send.h"

namespace once {

// Finds the id among the headers, or draws one, and takes stamps of another life out.
// kInvalidArgument: there is none and none may be drawn, or it is no valid id.
absl::Status IdentifySend(PendingSend& pending, const IdOptions& ids, Random& random);

}  // namespace once
