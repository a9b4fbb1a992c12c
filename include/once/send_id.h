// The id of a message on its way out: by it consumers recognise what was sent twice. For adapters
// that send by themselves; Producer and the outbox do it on their own.
// Thread-safety: as the Random.
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "once/executor.h"
#include "once/producer.h"
#include "once/publisher.h"

namespace once {

// Finds the id among the headers, or draws one and appends it, and takes stamps of another life
// out. `id_header` becomes the index of the id's header; behind the last one where there is none.
// kInvalidArgument: there is none and none may be drawn, or it is no valid id.
absl::Status IdentifyOutgoing(OutgoingMessage& message, const IdOptions& ids, Random& random,
                              std::size_t& id_header);

}  // namespace once
