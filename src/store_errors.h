// What an error of a store means for the batch that met it.
#pragma once

#include "absl/status/status.h"

namespace once {

// A commit that was refused because of what is in it (a deferred constraint, say): trying the same
// content again cannot help. Everything else is the store's own trouble and charged to no message.
bool IsRefusal(const absl::Status& status);

// True when waiting may help (busy, full, unreachable). Otherwise the consumer must end: the store
// is corrupted, gone, or not allowed.
bool IsTransientTrouble(const absl::Status& status);

}  // namespace once
