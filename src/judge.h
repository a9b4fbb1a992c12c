// Judge: the pure decision what a message is, given what the store knows of its id.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "once/message_id.h"
#include "once/transaction.h"

namespace once {

enum class Judgement : std::uint8_t {
  kHandle,     // never seen, or retrying and due
  kWait,       // retrying, not before IdRecord::not_before
  kExhausted,  // retrying, and all attempts are used up: dead-letter without another invocation
  kDuplicate,  // completed
  kSettled,    // dead, discarded or uncertain: acknowledge and count, never handle
  kConflict,   // another fingerprint under the same id
};

// Only `completed` makes a duplicate; an id that merely exists proves nothing.
Judgement Judge(const IdRecord& record, const Fingerprint& fingerprint, int max_attempts,
                absl::Time now);

}  // namespace once
